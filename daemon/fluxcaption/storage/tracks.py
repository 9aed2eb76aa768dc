"""Facts read from subtitle and audio tracks."""

import json
from collections.abc import Sequence

import aiosqlite

from fluxcaption.domain.cues import Span
from fluxcaption.domain.sync_check import SpeechSample
from fluxcaption.domain.units import ContentHash, Ms, ServerId, SourceId
from fluxcaption.ports.storage import TrackFact
from fluxcaption.storage.database import Database
from fluxcaption.storage.rows import tag_of


class TrackTable:
    """Facts read from subtitle and audio tracks."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def facts(self, server_id: ServerId, source_id: SourceId) -> Sequence[TrackFact]:
        """What reading the tracks of a media source has told."""
        rows = await self._db.read(
            "SELECT * FROM track_facts WHERE server_id=? AND source_id=?", (server_id, source_id)
        )
        return [_track_fact(row) for row in rows]

    async def save_fact(self, server_id: ServerId, source_id: SourceId, fact: TrackFact) -> None:
        """Remember what reading a track told."""
        await self._db.write(
            "INSERT OR REPLACE INTO track_facts (server_id, source_id, track, revision, language, cues_hash, misfit, is_compared, media) VALUES (?,?,?,?,?,?,?,?,?)",
            (
                server_id,
                source_id,
                fact.track,
                fact.revision,
                str(fact.language) if fact.language else None,
                fact.cues_hash,
                fact.unusable_reason,
                int(fact.is_compared),
                fact.media,
            ),
        )

    async def speech_samples(
        self, server_id: ServerId, source_id: SourceId, revision: str, ordinal: int
    ) -> Sequence[SpeechSample] | None:
        """Where somebody speaks in some stretches of a sound track of that file, if they were listened to."""
        rows = await self._db.read(
            "SELECT heard FROM speech_maps WHERE server_id=? AND source_id=? AND ordinal=? AND revision=?",
            (server_id, source_id, ordinal, revision),
        )
        if not rows:
            return None
        return [
            SpeechSample(Ms(start), Ms(stop), tuple(Span(Ms(first), Ms(last)) for first, last in speech))
            for start, stop, speech in json.loads(rows[0]["heard"])
        ]

    async def save_speech_samples(
        self,
        server_id: ServerId,
        source_id: SourceId,
        revision: str,
        ordinal: int,
        heard: Sequence[SpeechSample],
    ) -> None:
        """Remember it, in the place of an older one."""
        told = json.dumps(
            [
                [stretch.start, stretch.stop, [[span.start, span.end] for span in stretch.speech]]
                for stretch in heard
            ]
        )
        await self._db.write(
            "INSERT OR REPLACE INTO speech_maps VALUES (?,?,?,?,?)",
            (server_id, source_id, ordinal, revision, told),
        )


def _track_fact(row: aiosqlite.Row) -> TrackFact:
    language = tag_of(row["language"]) if row["language"] else None
    return TrackFact(
        row["track"],
        row["revision"],
        language,
        ContentHash(row["cues_hash"]),
        row["misfit"],
        bool(row["is_compared"]),
        row["media"],
    )
