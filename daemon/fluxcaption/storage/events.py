"""Webhook events that are not processed yet."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import aiosqlite

from fluxcaption.domain.events import Event, EventKind
from fluxcaption.domain.units import ItemId, ServerId
from fluxcaption.storage.database import Database
from fluxcaption.storage.rows import as_ms, as_time

REPEATED_WITHIN = timedelta(minutes=10)
"""An event that comes again this soon after it was handled is the same one; the plugin sends doubles within minutes."""


class EventTable:
    """Webhook events that are not processed yet."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def add(self, server_id: ServerId, kind: str, item_id: ItemId, now: datetime) -> int:
        """Store an event as a promise; a repeat of one not handled yet, or only lately, is the same event, open again."""

        async def body(connection: aiosqlite.Connection) -> int:
            # One round trip to the database's thread: this is the way of every acknowledgement.
            rows = list(
                await connection.execute_fetchall(
                    "INSERT INTO events (id, server_id, kind, item_id, received_at) VALUES ((SELECT max(id) FROM events"
                    " WHERE server_id=?1 AND kind=?2 AND item_id=?3 AND coalesce(handled_at, ?4)>?5), ?1, ?2, ?3, ?4) ON CONFLICT (id) DO UPDATE SET"
                    " due_at=iif(handled_at IS NULL, due_at, 0), looks=iif(handled_at IS NULL, looks, 0), handled_at=NULL RETURNING id",
                    (server_id, kind, item_id, as_ms(now), as_ms(now - REPEATED_WITHIN)),
                )
            )
            return int(rows[0]["id"])

        return await self._db.promise(body)

    async def due(self, now: datetime, limit: int = 100) -> Sequence[Event]:
        """Events that are due and not handled yet, oldest first."""
        rows = await self._db.read(
            "SELECT * FROM events WHERE handled_at IS NULL AND due_at<=? ORDER BY id LIMIT ?",
            (as_ms(now), limit),
        )
        return [
            Event(
                row["id"],
                ServerId(row["server_id"]),
                EventKind(row["kind"]),
                ItemId(row["item_id"]),
                as_time(row["received_at"]),
                row["looks"],
            )
            for row in rows
        ]

    async def reschedule(self, event_id: int, until: datetime) -> None:
        """Look at an event again later; the looks are counted."""
        await self._db.write("UPDATE events SET due_at=?, looks=looks+1 WHERE id=?", (as_ms(until), event_id))

    async def close(self, event_ids: Sequence[int], now: datetime) -> None:
        """Events were handled."""
        if not event_ids:
            return

        async def body(connection: aiosqlite.Connection) -> None:
            await connection.executemany(
                "UPDATE events SET handled_at=? WHERE id=?",
                [(as_ms(now), event_id) for event_id in event_ids],
            )

        await self._db.checkpoint(body)
