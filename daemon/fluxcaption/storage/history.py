"""History of media sources over several tables: what the decisions about an item rest on."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from fluxcaption.domain.deliveries import DeliveryState
from fluxcaption.domain.gaps import SourceHistory, TargetHistory
from fluxcaption.domain.jobs import ANY_SKIP_KEY
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import Item, MediaSource
from fluxcaption.domain.sources import KnownTracks
from fluxcaption.domain.units import SourceId
from fluxcaption.storage.database import Connection, Database, Row
from fluxcaption.storage.rows import as_json_list, parse_optional_tag, parse_tag

_HAS_IDENTITIES = "SELECT 1 FROM identities LIMIT 1"

_IDENTITIES_AT_PATHS = """
    SELECT source_id, path, size_bytes FROM identities
    WHERE server_id = :server_id AND path IN (SELECT value FROM json_each(:paths))
"""

_REBIND = (
    *(
        f"UPDATE OR REPLACE {table} SET source_id = :new WHERE server_id = :server_id AND source_id = :old"
        for table in ("identities", "deliveries", "track_facts")
    ),
    *(
        f"UPDATE OR REPLACE {table} SET source_id = :new, item_id = :item_id"
        " WHERE server_id = :server_id AND source_id IN (:old, :new)"
        for table in ("jobs", "deliveries")
    ),
)

_FACTS = """
    SELECT * FROM track_facts
    WHERE server_id = :server_id AND source_id IN (SELECT value FROM json_each(:ids))
"""

_DELIVERIES = """
    SELECT source_id, target, state, media_revision, is_requested FROM deliveries
    WHERE server_id = :server_id AND source_id IN (SELECT value FROM json_each(:ids))
"""

_SKIPS = """
    SELECT identities.source_id, identities.revision, skips.target, skips.reason
    FROM identities JOIN skips ON skips.fingerprint = identities.fingerprint
    WHERE identities.server_id = :server_id AND identities.source_id IN (SELECT value FROM json_each(:ids))
        AND skips.skip_key IN (:skip_key, :any_skip_key)
"""

_DELIVERED_HASHES = """
    SELECT cues_hash FROM deliveries
    WHERE cues_hash IN (SELECT value FROM json_each(:hashes)) AND cues_hash <> ''
"""


class HistoryQueries:
    """History of media sources, and its move to new ids."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def rebind_moved_media(self, items: Sequence[Item]) -> int:
        """Move everything stored about a media source to its new id. Return the number of moved sources."""
        sources = [
            (item, source) for item in items for source in item.sources if source.path and source.size_bytes
        ]
        if not sources or not await self._database.read(_HAS_IDENTITIES):
            return 0
        server_id = items[0].server_id
        rows = await self._database.read(
            _IDENTITIES_AT_PATHS,
            {"server_id": server_id, "paths": as_json_list(source.path for _, source in sources)},
        )
        stored_ids = {(row["path"], row["size_bytes"]): SourceId(row["source_id"]) for row in rows}
        moves = [
            {"server_id": server_id, "old": old, "new": source.id, "item_id": item.id}
            for item, source in sources
            if (old := stored_ids.get((source.path, source.size_bytes))) is not None and old != source.id
        ]

        async def body(connection: Connection) -> None:
            for move in moves:
                for statement in _REBIND:
                    await connection.execute(statement, move)

        if moves:
            await self._database.transaction(body)
        return len(moves)

    async def load(self, items: Sequence[Item], skip_key: str) -> Mapping[SourceId, SourceHistory]:
        """Return the history of the media sources of one server's items; sources without any are left out."""
        sources = [(item, source) for item in items for source in item.sources]
        if not sources:
            return {}
        values = {
            "server_id": items[0].server_id,
            "ids": as_json_list(source.id for _, source in sources),
            "skip_key": skip_key,
            "any_skip_key": ANY_SKIP_KEY,
        }
        facts = await self._database.read(_FACTS, values)
        deliveries = await self._database.read(_DELIVERIES, values)
        skips = await self._database.read(_SKIPS, values)
        if not (facts or deliveries or skips):
            return {}
        own_hashes = await self._delivered_hashes([row["cues_hash"] for row in facts if row["cues_hash"]])
        histories: dict[SourceId, SourceHistory] = {}
        for item, source in sources:
            source_facts = [row for row in facts if row["source_id"] == source.id]
            targets = _targets(source, skips, deliveries)
            if source_facts or targets:
                tracks = _known_tracks(source_facts, own_hashes, item, source)
                histories[source.id] = SourceHistory(tracks, targets)
        return histories

    async def _delivered_hashes(self, hashes: Collection[str]) -> frozenset[str]:
        """Return those of some cue hashes that are of deliveries."""
        if not hashes:
            return frozenset()
        rows = await self._database.read(_DELIVERED_HASHES, {"hashes": as_json_list(hashes)})
        return frozenset(row["cues_hash"] for row in rows)


def _targets(
    source: MediaSource, skips: Sequence[Row], deliveries: Sequence[Row]
) -> dict[LanguageTag, TargetHistory]:
    """Return the history of each target of one media source."""
    # A skip is about the media that was read; it does not hold for another file behind the same id.
    targets = {
        parse_tag(row["target"]): TargetHistory(skip_reason=row["reason"])
        for row in skips
        if (row["source_id"], row["revision"]) == (source.id, source.revision)
    }
    for row in deliveries:
        if row["source_id"] == source.id:
            target = parse_tag(row["target"])
            targets[target] = replace(
                targets.get(target, TargetHistory()),
                delivery=DeliveryState(row["state"]),
                media_revision=row["media_revision"],
                is_requested=bool(row["is_requested"]),
            )
    return targets


def _known_tracks(
    facts: Sequence[Row], own_hashes: frozenset[str], item: Item, source: MediaSource
) -> KnownTracks:
    """Return the facts that still hold.

    A language holds until the media is replaced, an unusable reason until the item is saved again, and a
    track is one of ours until it is read again.
    """
    of_this_media = [row for row in facts if row["media"] == source.revision or row["revision"] == item.etag]
    return KnownTracks(
        languages={
            row["track"]: parse_optional_tag(row["language"])
            for row in of_this_media
            if row["language"] or (row["media"] and not row["is_compared"])
        },
        ours=frozenset(row["track"] for row in facts if row["cues_hash"] in own_hashes),
        unusable={
            row["track"]: row["unusable_reason"]
            for row in of_this_media
            if row["unusable_reason"] and row["revision"] == item.etag
        },
    )
