"""Items as the last scan read them."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from fluxcaption.domain.forecast import ItemCount
from fluxcaption.domain.media import Item
from fluxcaption.domain.retry import POISON
from fluxcaption.domain.units import ItemId, ServerId
from fluxcaption.ports.storage import ItemRecord
from fluxcaption.storage.database import Database, Row
from fluxcaption.storage.retry_pauses import FAILED_PAUSE_MS
from fluxcaption.storage.rows import as_json_list, as_ms, as_time, optional_time

_RECORDS = "SELECT * FROM items WHERE server_id = :server_id AND id IN (SELECT value FROM json_each(:ids))"

_SAVE = """
    INSERT INTO items (
        server_id, id, library, etag, decision_inputs_hash, name, series_id, season, episode,
        needs_reread, actions, titles, listen_ms, added_at)
    VALUES (
        :server_id, :id, :library, :etag, :decision_inputs_hash, :name, :series_id, :season, :episode,
        :needs_reread, :actions, :titles, :listen_ms, :added_at)
    ON CONFLICT (server_id, id) DO UPDATE SET
        library = excluded.library, etag = excluded.etag, name = excluded.name,
        decision_inputs_hash = excluded.decision_inputs_hash,
        series_id = excluded.series_id, season = excluded.season, episode = excluded.episode,
        needs_reread = excluded.needs_reread, actions = excluded.actions, titles = excluded.titles,
        listen_ms = excluded.listen_ms, added_at = excluded.added_at, missed_since = NULL
    WHERE missed_since IS NOT NULL
        OR (library, etag, decision_inputs_hash, name, needs_reread, actions, titles, listen_ms, added_at)
        IS NOT (
            excluded.library, excluded.etag, excluded.decision_inputs_hash, excluded.name,
            excluded.needs_reread, excluded.actions, excluded.titles, excluded.listen_ms, excluded.added_at)
"""

# `+server_id` keeps SQLite from using the index on the server: pages go by row.
_ROWS = """
    SELECT row, missed_since FROM items
    WHERE row > :after_row AND +server_id = :server_id
    ORDER BY row LIMIT :limit
"""

# `state = 'failed'` is the condition of the index `jobs_failed` and has to be a literal for SQLite to use it.
_RECHECK_FAILED = f"""
    UPDATE items SET needs_reread = 1
    WHERE needs_reread = 0 AND (server_id, id) IN (
        SELECT server_id, item_id FROM jobs
        WHERE state = 'failed' AND reason_code <> :poison AND updated_at <= :now - {FAILED_PAUSE_MS})
"""

_MARK_MISSED = "UPDATE items SET missed_since = :now WHERE row = :row AND missed_since IS NULL"

_MARK_SEEN = "UPDATE items SET missed_since = NULL WHERE row = :row"

_FORGET = "DELETE FROM items WHERE row = :row"

# `next.series_id <> ''` is the condition of the partial index `items_of_series`.
_NEXT_EPISODES = """
    SELECT next.id FROM items AS played
    JOIN items AS next ON next.server_id = played.server_id AND next.series_id = played.series_id
        AND (next.season, next.episode) > (played.season, played.episode)
    WHERE played.server_id = :server_id AND played.id = :item_id
        AND next.series_id <> '' AND played.season > 0
    ORDER BY next.season, next.episode LIMIT :count
"""

_FIND = r"SELECT id, name FROM items WHERE name LIKE :pattern ESCAPE '\' ORDER BY name LIMIT :limit"


def _item_record(row: Row) -> ItemRecord:
    return ItemRecord(
        row=row["row"],
        id=ItemId(row["id"]),
        library=row["library"],
        etag=row["etag"],
        decision_inputs_hash=row["decision_inputs_hash"],
        needs_reread=bool(row["needs_reread"]),
        missed_since=optional_time(row["missed_since"]),
        count=None
        if row["actions"] is None
        else ItemCount(row["actions"], row["titles"], row["listen_ms"], as_time(row["added_at"])),
    )


class ItemTable:
    """Items of a server's libraries, one row each."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def records(self, server_id: ServerId, ids: Sequence[ItemId]) -> Mapping[ItemId, ItemRecord]:
        """Return the records of items by id; unknown ids are left out."""
        rows = await self._database.read(_RECORDS, {"server_id": server_id, "ids": as_json_list(ids)})
        return {ItemId(row["id"]): _item_record(row) for row in rows}

    async def save(self, items: Sequence[tuple[Item, bool, ItemCount]], decision_inputs_hash: str) -> None:
        """Store items as they were read; rows without a change are not written."""
        await self._database.write_many(
            _SAVE,
            [
                {
                    "server_id": item.server_id,
                    "id": item.id,
                    "library": item.library,
                    "etag": item.etag,
                    "decision_inputs_hash": decision_inputs_hash,
                    "name": item.name,
                    "series_id": item.series_id,
                    "season": item.season,
                    "episode": item.episode,
                    "needs_reread": int(needs_reread),
                    "actions": count.actions,
                    "titles": count.titles,
                    "listen_ms": count.listen_ms,
                    "added_at": as_ms(count.added_at),
                }
                for item, needs_reread, count in items
            ],
        )

    async def recheck_failed(self, now: datetime) -> int:
        """Mark items for a full read whose job failed long enough ago. Return their number."""
        return await self._database.write(_RECHECK_FAILED, {"poison": POISON, "now": as_ms(now)})

    async def rows(
        self, server_id: ServerId, after_row: int, limit: int
    ) -> Sequence[tuple[int, datetime | None]]:
        """Return one page of rows, lowest first: number, and time since which scans miss the item."""
        rows = await self._database.read(
            _ROWS, {"server_id": server_id, "after_row": after_row, "limit": limit}
        )
        return [(row["row"], optional_time(row["missed_since"])) for row in rows]

    async def mark_missed(self, rows: Sequence[int], now: datetime) -> None:
        """Store that a complete scan missed items; an earlier time stays."""
        await self._database.write_many(_MARK_MISSED, [{"row": row, "now": as_ms(now)} for row in rows])

    async def mark_seen(self, rows: Sequence[int]) -> None:
        """Store that items are no longer missed."""
        await self._database.write_many(_MARK_SEEN, [{"row": row} for row in rows])

    async def forget(self, rows: Sequence[int]) -> None:
        """Delete the records of items; deliveries and transcripts of their media stay."""
        await self._database.write_many(_FORGET, [{"row": row} for row in rows])

    async def next_episodes(self, server_id: ServerId, item_id: ItemId, count: int) -> Sequence[ItemId]:
        """Return the episodes that follow an episode in its series, in order."""
        rows = await self._database.read(
            _NEXT_EPISODES, {"server_id": server_id, "item_id": item_id, "count": count}
        )
        return [ItemId(row["id"]) for row in rows]

    async def find(self, text: str, limit: int = 20) -> Sequence[tuple[ItemId, str]]:
        """Return id and name of items whose name contains a text, in order of their names."""
        literal = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        rows = await self._database.read(_FIND, {"pattern": f"%{literal}%", "limit": limit})
        return [(ItemId(row["id"]), row["name"]) for row in rows]
