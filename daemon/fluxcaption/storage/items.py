"""Items as the last scan read them."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import aiosqlite

from fluxcaption.domain.forecast import ItemCount
from fluxcaption.domain.media import Item
from fluxcaption.domain.retry import FAILED_RETRY_DELAYS, POISON
from fluxcaption.domain.units import ItemId, ServerId
from fluxcaption.ports.storage import ItemRecord
from fluxcaption.storage.database import Database
from fluxcaption.storage.rows import as_ms, as_time, marks, maybe_time


class ItemTable:
    """Items as the last scan read them."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def records(self, server_id: ServerId, ids: Sequence[ItemId]) -> Mapping[ItemId, ItemRecord]:
        """What is known of some items, by id."""
        rows = await self._db.read(
            f"SELECT * FROM items WHERE server_id=? AND id IN ({marks(ids)})",
            (server_id, *ids),
        )
        return {ItemId(row["id"]): _item_record(row) for row in rows}

    async def save(self, items: Sequence[tuple[Item, bool, ItemCount]], decision_inputs_hash: str) -> None:
        """Remember items as they were read, each with whether it is looked at again however unchanged; equal rows are left alone."""

        async def body(connection: aiosqlite.Connection) -> None:
            await connection.executemany(
                "INSERT INTO items (server_id, id, library, etag, basis, name, series_id, season, episode, look_again, ways, titles, listen_ms, added_at)"
                " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
                " ON CONFLICT (server_id, id) DO UPDATE SET library=excluded.library, etag=excluded.etag, basis=excluded.basis, name=excluded.name, series_id=excluded.series_id,"
                " season=excluded.season, episode=excluded.episode, look_again=excluded.look_again, ways=excluded.ways, titles=excluded.titles,"
                " listen_ms=excluded.listen_ms, added_at=excluded.added_at, missed_since=NULL"
                " WHERE (library, etag, basis, name, look_again, ways, titles, listen_ms, added_at) IS NOT (excluded.library, excluded.etag, excluded.basis,"
                " excluded.name, excluded.look_again, excluded.ways, excluded.titles, excluded.listen_ms, excluded.added_at) OR missed_since IS NOT NULL",
                [
                    (
                        *(
                            item.server_id,
                            item.id,
                            item.library,
                            item.etag,
                            decision_inputs_hash,
                            item.name,
                            item.series_id,
                            item.season,
                            item.episode,
                        ),
                        *(
                            int(look_again),
                            count.actions,
                            count.titles,
                            count.listen_ms,
                            as_ms(count.added_at),
                        ),
                    )
                    for item, look_again, count in items
                ],
            )

        if items:
            await self._db.checkpoint(body)

    async def rows(
        self, server_id: ServerId, after_row: int, limit: int
    ) -> Sequence[tuple[int, datetime | None]]:
        """A page of the rows of a server's items, in order, each with when a complete pass first did not see it."""
        rows = await self._db.read(
            "SELECT row, missed_since FROM items WHERE row>? AND +server_id=? ORDER BY row LIMIT ?",
            (after_row, server_id, limit),
        )
        return [(row["row"], maybe_time(row["missed_since"])) for row in rows]

    async def recheck_failed(self, now: datetime) -> int:
        """Items whose job failed long enough ago are read in full by the next pass, however unchanged."""
        pauses = " ".join(
            f"WHEN {number} THEN {int(pause.total_seconds() * 1000)}"
            for number, pause in enumerate(FAILED_RETRY_DELAYS)
        )
        last = int(FAILED_RETRY_DELAYS[-1].total_seconds() * 1000)
        return await self._db.write(
            "UPDATE items SET look_again=1 WHERE look_again=0 AND (server_id, id) IN (SELECT server_id, item_id FROM jobs WHERE state='failed'"
            f" AND reason_code<>'{POISON}' AND updated_at<=? - CASE revivals {pauses} ELSE {last} END)",
            (as_ms(now),),
        )

    async def mark_missed(self, rows: Sequence[int], now: datetime) -> None:
        """Items that a complete pass did not see, for the first time."""

        async def body(connection: aiosqlite.Connection) -> None:
            await connection.executemany(
                "UPDATE items SET missed_since=? WHERE row=? AND missed_since IS NULL",
                [(as_ms(now), row) for row in rows],
            )

        if rows:
            await self._db.checkpoint(body)

    async def mark_seen(self, rows: Sequence[int]) -> None:
        """Items that were missed by an earlier pass and are there after all."""

        async def body(connection: aiosqlite.Connection) -> None:
            await connection.executemany(
                "UPDATE items SET missed_since=NULL WHERE row=?", [(row,) for row in rows]
            )

        if rows:
            await self._db.checkpoint(body)

    async def forget(self, rows: Sequence[int]) -> None:
        """Items that are gone for good; what was made for them stays known by the media."""

        async def body(connection: aiosqlite.Connection) -> None:
            await connection.executemany("DELETE FROM items WHERE row=?", [(row,) for row in rows])

        if rows:
            await self._db.checkpoint(body)

    async def next_episodes(self, server_id: ServerId, item_id: ItemId, count: int) -> Sequence[ItemId]:
        """The episodes that follow one in its series, in order."""
        rows = await self._db.read(
            "SELECT next.id FROM items AS seen JOIN items AS next ON next.server_id=seen.server_id AND next.series_id=seen.series_id"
            " AND (next.season, next.episode) > (seen.season, seen.episode)"
            " WHERE seen.server_id=? AND seen.id=? AND seen.series_id<>'' AND seen.season>0 ORDER BY next.season, next.episode LIMIT ?",
            (server_id, item_id, count),
        )
        return [ItemId(row["id"]) for row in rows]

    async def find(self, text: str, limit: int = 20) -> Sequence[tuple[ItemId, str]]:
        """Items whose name has a text in it: id and name."""
        pattern = "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        rows = await self._db.read(
            "SELECT id, name FROM items WHERE name LIKE ? ESCAPE '\\' ORDER BY name LIMIT ?", (pattern, limit)
        )
        return [(ItemId(row["id"]), row["name"]) for row in rows]


def _item_record(row: aiosqlite.Row) -> ItemRecord:
    return ItemRecord(
        row=row["row"],
        id=ItemId(row["id"]),
        library=row["library"],
        etag=row["etag"],
        decision_inputs_hash=row["basis"],
        look_again=bool(row["look_again"]),
        missed_since=maybe_time(row["missed_since"]),
        count=None
        if row["ways"] is None
        else ItemCount(row["ways"], row["titles"], row["listen_ms"], as_time(row["added_at"])),
    )
