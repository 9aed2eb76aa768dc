"""Playback times of items."""

from collections.abc import Sequence
from datetime import datetime

import aiosqlite

from fluxcaption.domain.units import ItemId, ServerId, SourceId
from fluxcaption.storage.database import Database
from fluxcaption.storage.rows import as_ms, as_time


class PlaybackTable:
    """Playback times of items."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def save(self, server_id: ServerId, seen: Sequence[tuple[ItemId, SourceId, datetime]]) -> None:
        """Remember what was played, and when last."""

        async def body(connection: aiosqlite.Connection) -> None:
            await connection.executemany(
                "INSERT INTO watched VALUES (?,?,?,?) ON CONFLICT (server_id, item_id) DO UPDATE SET source_id=excluded.source_id,"
                " watched_at=max(watched_at, excluded.watched_at)",
                [(server_id, item_id, source_id, as_ms(at)) for item_id, source_id, at in seen],
            )

        if seen:
            await self._db.checkpoint(body)

    async def since(
        self, server_id: ServerId, since: datetime
    ) -> Sequence[tuple[ItemId, SourceId, datetime]]:
        """What was played since then, latest first."""
        rows = await self._db.read(
            "SELECT * FROM watched WHERE server_id=? AND watched_at>=? ORDER BY watched_at DESC LIMIT 200",
            (server_id, as_ms(since)),
        )
        return [
            (ItemId(row["item_id"]), SourceId(row["source_id"]), as_time(row["watched_at"])) for row in rows
        ]
