"""Transcripts, and the sketches by which a sound is found again in another file."""

import json
from collections.abc import Sequence
from dataclasses import replace

from fluxcaption.domain.cues import Segment
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.transcripts import SavedTranscript, TranscribedWindow, TranscriptKey
from fluxcaption.domain.units import Fingerprint, Ms
from fluxcaption.storage.database import Connection, Database, Row
from fluxcaption.storage.rows import parse_optional_tag

_GET = """
    SELECT id, language, is_complete FROM transcripts
    WHERE fingerprint = :fingerprint AND ordinal = :ordinal AND recognizer = :recognizer
        AND model_revision = :model_revision AND asr_settings_key = :asr_settings_key
"""

_OPEN = """
    INSERT INTO transcripts (fingerprint, ordinal, recognizer, model_revision, asr_settings_key, duration_ms)
    VALUES (:fingerprint, :ordinal, :recognizer, :model_revision, :asr_settings_key, :duration_ms)
    ON CONFLICT DO NOTHING
"""

_WINDOWS = "SELECT start_ms, end_ms, segments FROM windows WHERE transcript_id = :id ORDER BY start_ms"

_SAVE_WINDOW = """
    INSERT OR REPLACE INTO windows (transcript_id, start_ms, end_ms, segments)
    VALUES (:id, :start_ms, :end_ms, :segments)
"""

_SET_LANGUAGE = "UPDATE transcripts SET language = :language WHERE id = :id AND language IS NOT :language"

_FINISH = "UPDATE transcripts SET is_complete = 1, language = :language WHERE id = :id"

_SAVE_SKETCH = """
    INSERT OR REPLACE INTO sketches (fingerprint, ordinal, duration_ms, sketch)
    VALUES (:fingerprint, :ordinal, :duration_ms, :sketch)
"""

_SKETCHES = """
    SELECT fingerprint, ordinal, sketch FROM sketches
    WHERE duration_ms BETWEEN :min_duration_ms AND :max_duration_ms
"""

_SAVE_ALIAS = """
    INSERT OR REPLACE INTO sound_aliases (fingerprint, ordinal, known_fingerprint, known_ordinal)
    VALUES (:fingerprint, :ordinal, :known_fingerprint, :known_ordinal)
"""

_ALIAS = """
    SELECT known_fingerprint, known_ordinal FROM sound_aliases
    WHERE fingerprint = :fingerprint AND ordinal = :ordinal
"""


def _columns(key: TranscriptKey) -> dict[str, object]:
    return {
        "fingerprint": key.fingerprint,
        "ordinal": key.ordinal,
        "recognizer": key.recognizer,
        "model_revision": key.model_revision,
        "asr_settings_key": key.asr_settings_key,
    }


def _window(row: Row) -> TranscribedWindow:
    return TranscribedWindow(
        Ms(row["start_ms"]),
        Ms(row["end_ms"]),
        tuple(
            Segment(Ms(start), Ms(end), text, confidence)
            for start, end, text, confidence in json.loads(row["segments"])
        ),
    )


def _segments_to_json(window: TranscribedWindow) -> str:
    return json.dumps(
        [
            [segment.start, segment.end, segment.text, round(segment.confidence, 4)]
            for segment in window.segments
        ],
        ensure_ascii=False,
    )


class TranscriptTables:
    """Transcripts with their windows, sketches of sounds, and aliases between sounds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key: TranscriptKey) -> SavedTranscript | None:
        """Return the transcript of a sound as far as it was saved, None if it was never opened."""
        rows = await self._database.read(_GET, _columns(await self._resolve_alias(key)))
        return await self._saved(rows[0]) if rows else None

    async def open(self, key: TranscriptKey, duration_ms: Ms) -> SavedTranscript:
        """Return the transcript of a sound; create it if there is none."""
        key = await self._resolve_alias(key)
        await self._database.write(_OPEN, {**_columns(key), "duration_ms": duration_ms})
        saved = await self.get(key)
        assert saved is not None
        return saved

    async def save_window(
        self, transcript_id: int, window: TranscribedWindow, language: LanguageTag | None
    ) -> None:
        """Store one window, in place of one with the same start, and the language if it is known."""
        values = {
            "id": transcript_id,
            "start_ms": window.start,
            "end_ms": window.end,
            "segments": _segments_to_json(window),
            "language": str(language),
        }

        async def body(connection: Connection) -> None:
            await connection.execute(_SAVE_WINDOW, values)
            if language is not None:
                await connection.execute(_SET_LANGUAGE, values)

        await self._database.transaction(body)

    async def finish(self, transcript_id: int, language: LanguageTag) -> None:
        """Mark a transcript as complete."""
        await self._database.write(_FINISH, {"id": transcript_id, "language": str(language)})

    async def save_sketch(
        self, fingerprint: Fingerprint, ordinal: int, duration_ms: Ms, sketch: bytes
    ) -> None:
        """Store the sketch of a sound, in place of an earlier one."""
        await self._database.write(
            _SAVE_SKETCH,
            {"fingerprint": fingerprint, "ordinal": ordinal, "duration_ms": duration_ms, "sketch": sketch},
        )

    async def sketches(self, duration_ms: Ms, tolerance_ms: int) -> Sequence[tuple[Fingerprint, int, bytes]]:
        """Return fingerprint, audio ordinal and sketch of each sound of about this length."""
        rows = await self._database.read(
            _SKETCHES,
            {"min_duration_ms": duration_ms - tolerance_ms, "max_duration_ms": duration_ms + tolerance_ms},
        )
        return [(Fingerprint(row["fingerprint"]), row["ordinal"], row["sketch"]) for row in rows]

    async def alias_sound(
        self, fingerprint: Fingerprint, ordinal: int, known: Fingerprint, known_ordinal: int
    ) -> None:
        """Make one sound stand for another: its transcripts are looked up there from now on."""
        await self._database.write(
            _SAVE_ALIAS,
            {
                "fingerprint": fingerprint,
                "ordinal": ordinal,
                "known_fingerprint": known,
                "known_ordinal": known_ordinal,
            },
        )

    async def _resolve_alias(self, key: TranscriptKey) -> TranscriptKey:
        rows = await self._database.read(_ALIAS, {"fingerprint": key.fingerprint, "ordinal": key.ordinal})
        if not rows:
            return key
        return replace(
            key, fingerprint=Fingerprint(rows[0]["known_fingerprint"]), ordinal=rows[0]["known_ordinal"]
        )

    async def _saved(self, row: Row) -> SavedTranscript:
        windows = [_window(part) for part in await self._database.read(_WINDOWS, {"id": row["id"]})]
        return SavedTranscript(
            id=row["id"],
            language=parse_optional_tag(row["language"]),
            is_complete=bool(row["is_complete"]),
            transcribed_until=Ms(max((window.end for window in windows), default=0)),
            windows=tuple(windows),
        )
