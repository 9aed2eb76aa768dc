"""Webhook events that are not processed yet."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from fluxcaption.domain.events import Event, EventKind
from fluxcaption.domain.units import ItemId, ServerId
from fluxcaption.storage.database import Connection, Database, Row, fetch_all
from fluxcaption.storage.rows import as_ms, as_time

REPEAT_INTERVAL = timedelta(minutes=10)
"""An event repeated this soon after it was handled is the same event: the webhook plugin sends some twice."""

# One statement and so one round trip to the database's thread: every webhook request waits for it.
_ADD = """
    INSERT INTO events (id, server_id, kind, item_id, received_at)
    VALUES (
        (SELECT max(id) FROM events
            WHERE server_id = :server_id AND kind = :kind AND item_id = :item_id
                AND coalesce(handled_at, :now) > :repeats_since),
        :server_id, :kind, :item_id, :now)
    ON CONFLICT (id) DO UPDATE SET
        due_at = iif(handled_at IS NULL, due_at, 0),
        attempts = iif(handled_at IS NULL, attempts, 0),
        handled_at = NULL
    RETURNING id
"""

_DUE = """
    SELECT id, server_id, kind, item_id, received_at, attempts FROM events
    WHERE handled_at IS NULL AND due_at <= :now
    ORDER BY id LIMIT :limit
"""

_RESCHEDULE = "UPDATE events SET due_at = :due_at, attempts = attempts + 1 WHERE id = :id"

_CLOSE = "UPDATE events SET handled_at = :now WHERE id = :id"


def _event(row: Row) -> Event:
    return Event(
        id=row["id"],
        server_id=ServerId(row["server_id"]),
        kind=EventKind(row["kind"]),
        item_id=ItemId(row["item_id"]),
        received_at=as_time(row["received_at"]),
        attempts=row["attempts"],
    )


class EventTable:
    """Webhook events until they are processed, and for some time afterwards."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, server_id: ServerId, kind: EventKind, item_id: ItemId, now: datetime) -> int:
        """Store an event. Durable: returns after fsync. Return the id of the open event."""
        values = {
            "server_id": server_id,
            "kind": kind,
            "item_id": item_id,
            "now": as_ms(now),
            "repeats_since": as_ms(now - REPEAT_INTERVAL),
        }

        async def body(connection: Connection) -> int:
            (row,) = await fetch_all(connection, _ADD, values)
            return int(row["id"])

        return await self._database.durable_transaction(body)

    async def due(self, now: datetime, limit: int = 100) -> Sequence[Event]:
        """Return open events that are due, oldest first."""
        return [_event(row) for row in await self._database.read(_DUE, {"now": as_ms(now), "limit": limit})]

    async def reschedule(self, event_id: int, until: datetime) -> None:
        """Make an event due again at a later moment, and count the attempt."""
        await self._database.write(_RESCHEDULE, {"id": event_id, "due_at": as_ms(until)})

    async def close(self, event_ids: Sequence[int], now: datetime) -> None:
        """Mark events as handled."""
        await self._database.write_many(
            _CLOSE, [{"id": event_id, "now": as_ms(now)} for event_id in event_ids]
        )
