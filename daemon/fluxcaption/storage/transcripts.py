"""Transcripts and the sketches that find them again."""

import json
from collections.abc import Sequence

import aiosqlite

from fluxcaption.domain.cues import Segment
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.transcripts import SavedTranscript, TranscribedWindow, TranscriptKey
from fluxcaption.domain.units import Fingerprint, Ms
from fluxcaption.storage.database import Database
from fluxcaption.storage.rows import tag_of


class TranscriptTables:
    """Transcripts and the sketches that find them again."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def get(self, key: TranscriptKey) -> SavedTranscript | None:
        """What was heard of a sound so far."""
        key = await self._known_as(key)
        rows = await self._db.read(
            "SELECT * FROM transcripts WHERE fingerprint=? AND ordinal=? AND recognizer=? AND model_revision=? AND settings_hash=?",
            _key_values(key),
        )
        return await self._saved(rows[0]) if rows else None

    async def open(self, key: TranscriptKey, duration_ms: Ms) -> SavedTranscript:
        """The same, made if there is none."""
        key = await self._known_as(key)
        await self._db.write(
            "INSERT INTO transcripts (fingerprint, ordinal, recognizer, model_revision, settings_hash, duration_ms) VALUES (?,?,?,?,?,?) ON CONFLICT DO NOTHING",
            (*_key_values(key), duration_ms),
        )
        saved = await self.get(key)
        assert saved is not None
        return saved

    async def save_window(
        self, transcript_id: int, window: TranscribedWindow, language: LanguageTag | None
    ) -> None:
        """Checkpoint one heard window."""
        segments = json.dumps(
            [[part.start, part.end, part.text, round(part.confidence, 4)] for part in window.segments],
            ensure_ascii=False,
        )

        async def body(connection: aiosqlite.Connection) -> None:
            await connection.execute(
                "INSERT OR REPLACE INTO windows VALUES (?,?,?,?)",
                (transcript_id, window.start, window.end, segments),
            )
            if language is not None:
                await connection.execute(
                    "UPDATE transcripts SET language=? WHERE id=? AND language IS NOT ?",
                    (str(language), transcript_id, str(language)),
                )

        await self._db.checkpoint(body)

    async def finish(self, transcript_id: int, language: LanguageTag) -> None:
        """Everything was heard."""
        await self._db.write(
            "UPDATE transcripts SET is_complete=1, language=? WHERE id=?", (str(language), transcript_id)
        )

    async def save_sketch(
        self, fingerprint: Fingerprint, ordinal: int, duration_ms: Ms, sketch: bytes
    ) -> None:
        """Remember what six stretches of a sound look like."""
        await self._db.write(
            "INSERT OR REPLACE INTO sketches VALUES (?,?,?,?)", (fingerprint, ordinal, duration_ms, sketch)
        )

    async def sketches(self, duration_ms: Ms, tolerance_ms: int) -> Sequence[tuple[Fingerprint, int, bytes]]:
        """Sketches of sounds of about that length."""
        rows = await self._db.read(
            "SELECT * FROM sketches WHERE duration_ms BETWEEN ? AND ?",
            (duration_ms - tolerance_ms, duration_ms + tolerance_ms),
        )
        return [(Fingerprint(row["fingerprint"]), row["ordinal"], row["sketch"]) for row in rows]

    async def alias_sound(
        self, fingerprint: Fingerprint, ordinal: int, known: Fingerprint, known_ordinal: int
    ) -> None:
        """From now on the first is looked up as the second."""
        await self._db.write(
            "INSERT OR REPLACE INTO same_sounds VALUES (?,?,?,?)",
            (fingerprint, ordinal, known, known_ordinal),
        )

    async def _known_as(self, key: TranscriptKey) -> TranscriptKey:
        rows = await self._db.read(
            "SELECT * FROM same_sounds WHERE fingerprint=? AND ordinal=?", (key.fingerprint, key.ordinal)
        )
        if not rows:
            return key
        return TranscriptKey(
            Fingerprint(rows[0]["known_fingerprint"]),
            rows[0]["known_ordinal"],
            key.recognizer,
            key.model_revision,
            key.asr_settings_key,
        )

    async def _saved(self, row: aiosqlite.Row) -> SavedTranscript:
        windows = [
            TranscribedWindow(
                Ms(part["start_ms"]),
                Ms(part["end_ms"]),
                tuple(
                    Segment(Ms(start), Ms(end), text, sure)
                    for start, end, text, sure in json.loads(part["segments"])
                ),
            )
            for part in await self._db.read(
                "SELECT * FROM windows WHERE transcript_id=? ORDER BY start_ms", (row["id"],)
            )
        ]
        language = tag_of(row["language"]) if row["language"] else None
        transcribed_until = Ms(max((window.end for window in windows), default=0))
        return SavedTranscript(
            row["id"], language, bool(row["is_complete"]), transcribed_until, tuple(windows)
        )


def _key_values(key: TranscriptKey) -> tuple[object, ...]:
    return (key.fingerprint, key.ordinal, key.recognizer, key.model_revision, key.asr_settings_key)
