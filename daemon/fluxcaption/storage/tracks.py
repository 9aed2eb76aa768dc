"""Facts read from subtitle and audio tracks."""

import json
from collections.abc import Sequence

from fluxcaption.domain.cues import Span
from fluxcaption.domain.sync_check import SpeechSample
from fluxcaption.domain.units import ContentHash, Ms, ServerId, SourceId
from fluxcaption.ports.storage import TrackFact
from fluxcaption.storage.database import Database, Row
from fluxcaption.storage.rows import parse_optional_tag

_FACTS = "SELECT * FROM track_facts WHERE server_id = :server_id AND source_id = :source_id"

_SAVE_FACT = """
    INSERT OR REPLACE INTO track_facts (
        server_id, source_id, track, revision, language, cues_hash, unusable_reason, is_compared, media)
    VALUES (
        :server_id, :source_id, :track, :revision, :language, :cues_hash,
        :unusable_reason, :is_compared, :media)
"""

_SPEECH_SAMPLES = """
    SELECT samples FROM speech_samples
    WHERE server_id = :server_id AND source_id = :source_id AND ordinal = :ordinal AND revision = :revision
"""

_SAVE_SPEECH_SAMPLES = """
    INSERT OR REPLACE INTO speech_samples (server_id, source_id, ordinal, revision, samples)
    VALUES (:server_id, :source_id, :ordinal, :revision, :samples)
"""


def _track_fact(row: Row) -> TrackFact:
    return TrackFact(
        track=row["track"],
        revision=row["revision"],
        language=parse_optional_tag(row["language"]),
        cues_hash=ContentHash(row["cues_hash"]),
        unusable_reason=row["unusable_reason"],
        is_compared=bool(row["is_compared"]),
        media=row["media"],
    )


def _samples_to_json(samples: Sequence[SpeechSample]) -> str:
    return json.dumps(
        [
            [sample.start, sample.stop, [[span.start, span.end] for span in sample.speech]]
            for sample in samples
        ]
    )


def _samples_from_json(text: str) -> list[SpeechSample]:
    return [
        SpeechSample(Ms(start), Ms(stop), tuple(Span(Ms(first), Ms(last)) for first, last in speech))
        for start, stop, speech in json.loads(text)
    ]


class TrackTable:
    """Facts read from text tracks, and samples of speech in audio tracks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def facts(self, server_id: ServerId, source_id: SourceId) -> Sequence[TrackFact]:
        """Return the facts about the text tracks of a media source."""
        rows = await self._database.read(_FACTS, {"server_id": server_id, "source_id": source_id})
        return [_track_fact(row) for row in rows]

    async def save_fact(self, server_id: ServerId, source_id: SourceId, fact: TrackFact) -> None:
        """Store the fact about a track in place of an earlier one."""
        await self._database.write(
            _SAVE_FACT,
            {
                "server_id": server_id,
                "source_id": source_id,
                "track": fact.track,
                "revision": fact.revision,
                "language": str(fact.language) if fact.language else None,
                "cues_hash": fact.cues_hash,
                "unusable_reason": fact.unusable_reason,
                "is_compared": int(fact.is_compared),
                "media": fact.media,
            },
        )

    async def speech_samples(
        self, server_id: ServerId, source_id: SourceId, revision: str, ordinal: int
    ) -> Sequence[SpeechSample] | None:
        """Return the speech samples of an audio track at this media revision, None if none were taken."""
        rows = await self._database.read(
            _SPEECH_SAMPLES,
            {"server_id": server_id, "source_id": source_id, "ordinal": ordinal, "revision": revision},
        )
        return _samples_from_json(rows[0]["samples"]) if rows else None

    async def save_speech_samples(
        self,
        server_id: ServerId,
        source_id: SourceId,
        revision: str,
        ordinal: int,
        heard: Sequence[SpeechSample],
    ) -> None:
        """Store the speech samples of an audio track in place of earlier ones."""
        await self._database.write(
            _SAVE_SPEECH_SAMPLES,
            {
                "server_id": server_id,
                "source_id": source_id,
                "ordinal": ordinal,
                "revision": revision,
                "samples": _samples_to_json(heard),
            },
        )
