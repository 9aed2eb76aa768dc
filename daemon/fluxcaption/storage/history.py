"""Queries and updates over several tables."""

from collections.abc import Collection, Mapping, Sequence

import aiosqlite

from fluxcaption.domain.deliveries import DeliveryState
from fluxcaption.domain.gaps import SourceHistory, TargetHistory
from fluxcaption.domain.jobs import ANY_SKIP_KEY
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import Item, MediaSource
from fluxcaption.domain.sources import KnownTracks
from fluxcaption.domain.units import SourceId
from fluxcaption.storage.database import Database
from fluxcaption.storage.rows import marks, tag_of


class HistoryQueries:
    """Queries and updates over several tables."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def rebind_moved_media(self, items: Sequence[Item]) -> int:
        """Where a file that was known by path and size has a new id, everything about it moves there; returns how many moved."""
        sources = [
            (item, source) for item in items for source in item.sources if source.path and source.size_bytes
        ]
        if not sources or not await self._db.read("SELECT 1 FROM identities LIMIT 1"):
            return 0
        rows = await self._db.read(
            f"SELECT server_id, source_id, path, size_bytes FROM identities WHERE server_id=? AND path IN ({marks(sources)})",
            (items[0].server_id, *[source.path for _, source in sources]),
        )
        known = {(row["path"], row["size_bytes"]): SourceId(row["source_id"]) for row in rows}
        moved = [
            (old, source.id, item.id)
            for item, source in sources
            if (old := known.get((source.path, source.size_bytes))) is not None and old != source.id
        ]

        async def body(connection: aiosqlite.Connection) -> None:
            for old, new, item_id in moved:
                for table in ("identities", "deliveries", "track_facts"):
                    await connection.execute(
                        f"UPDATE OR REPLACE {table} SET source_id=? WHERE server_id=? AND source_id=?",
                        (new, items[0].server_id, old),
                    )
                for table in ("jobs", "deliveries"):
                    await connection.execute(
                        f"UPDATE OR REPLACE {table} SET source_id=?, item_id=? WHERE server_id=? AND source_id IN (?,?)",
                        (new, item_id, items[0].server_id, old, new),
                    )

        if moved:
            await self._db.checkpoint(body)
        return len(moved)

    async def load(self, items: Sequence[Item], skip_key: str) -> Mapping[SourceId, SourceHistory]:
        """What is remembered about every media source of some items of one server; one that nothing is known of is left out."""
        sources = [(item, source) for item in items for source in item.sources]
        if not sources:
            return {}
        server_id, ids = items[0].server_id, [source.id for _, source in sources]
        id_marks = marks(ids)
        facts = await self._db.read(
            f"SELECT * FROM track_facts WHERE server_id=? AND source_id IN ({id_marks})",
            (server_id, *ids),
        )
        deliveries = await self._db.read(
            f"SELECT * FROM deliveries WHERE server_id=? AND source_id IN ({id_marks})",
            (server_id, *ids),
        )
        skips = await self._db.read(
            f"SELECT i.source_id, i.revision, s.target, s.reason FROM identities AS i JOIN settled AS s ON s.fingerprint=i.fingerprint"
            f" WHERE i.server_id=? AND i.source_id IN ({id_marks}) AND s.settings_hash IN (?, ?)",
            (server_id, *ids, skip_key, ANY_SKIP_KEY),
        )
        if not (facts or deliveries or skips):
            return {}
        ours = await self._hashes_of_ours([row["cues_hash"] for row in facts if row["cues_hash"]])
        memory: dict[SourceId, SourceHistory] = {}
        for item, source in sources:
            own_facts = [row for row in facts if row["source_id"] == source.id]
            targets: dict[LanguageTag, TargetHistory] = {}
            for row in skips:
                # A decision is about the media that was read: of another file behind the same id it says nothing.
                if (row["source_id"], row["revision"]) == (source.id, source.revision):
                    targets[tag_of(row["target"])] = TargetHistory(skip_reason=row["reason"])
            for row in deliveries:
                if row["source_id"] == source.id:
                    target = tag_of(row["target"])
                    before = targets.get(target, TargetHistory())
                    targets[target] = TargetHistory(
                        before.skip_reason,
                        DeliveryState(row["state"]),
                        row["made_for"],
                        bool(row["is_asked"]),
                    )
            if own_facts or targets:
                memory[source.id] = SourceHistory(_known(own_facts, ours, item, source), targets)
        return memory

    async def _hashes_of_ours(self, hashes: Collection[str]) -> frozenset[str]:
        if not hashes:
            return frozenset()
        rows = await self._db.read(
            f"SELECT cues_hash FROM deliveries WHERE cues_hash IN ({marks(hashes)})",
            tuple(hashes),
        )
        return frozenset(row["cues_hash"] for row in rows)


def _known(
    facts: Sequence[aiosqlite.Row], ours: frozenset[str], item: Item, source: MediaSource
) -> KnownTracks:
    """What still holds: a language until the media is replaced, a misfit until the item is saved, what is ours until it is read again."""
    of_this_media = [row for row in facts if row["media"] == source.revision or row["revision"] == item.etag]
    return KnownTracks(
        languages={
            row["track"]: tag_of(row["language"]) if row["language"] else None
            for row in of_this_media
            if row["language"] or (row["media"] and not row["is_compared"])
        },
        ours=frozenset(row["track"] for row in facts if row["cues_hash"] in ours),
        unusable={
            row["track"]: row["misfit"]
            for row in of_this_media
            if row["misfit"] and row["revision"] == item.etag
        },
    )
