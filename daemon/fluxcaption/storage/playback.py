"""Playback times of items."""

from collections.abc import Sequence
from datetime import datetime

from fluxcaption.domain.units import ItemId, ServerId, SourceId
from fluxcaption.storage.database import Database
from fluxcaption.storage.rows import as_ms, as_time

_SAVE = """
    INSERT INTO playback (server_id, item_id, source_id, played_at)
    VALUES (:server_id, :item_id, :source_id, :played_at)
    ON CONFLICT (server_id, item_id) DO UPDATE SET
        source_id = excluded.source_id, played_at = max(played_at, excluded.played_at)
"""

_SINCE = """
    SELECT item_id, source_id, played_at FROM playback
    WHERE server_id = :server_id AND played_at >= :since
    ORDER BY played_at DESC LIMIT :limit
"""

MAX_ITEMS = 200


class PlaybackTable:
    """Latest playback time of each item."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, server_id: ServerId, seen: Sequence[tuple[ItemId, SourceId, datetime]]) -> None:
        """Store playback times; an earlier time does not replace a later one."""
        await self._database.write_many(
            _SAVE,
            [
                {
                    "server_id": server_id,
                    "item_id": item_id,
                    "source_id": source_id,
                    "played_at": as_ms(played_at),
                }
                for item_id, source_id, played_at in seen
            ],
        )

    async def since(
        self, server_id: ServerId, since: datetime
    ) -> Sequence[tuple[ItemId, SourceId, datetime]]:
        """Return the items played since a moment, latest first, at most `MAX_ITEMS`."""
        rows = await self._database.read(
            _SINCE, {"server_id": server_id, "since": as_ms(since), "limit": MAX_ITEMS}
        )
        return [
            (ItemId(row["item_id"]), SourceId(row["source_id"]), as_time(row["played_at"])) for row in rows
        ]
