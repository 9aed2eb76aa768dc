"""Held jobs of the existing library."""

from datetime import datetime, timedelta

import aiosqlite

from fluxcaption.domain.backlog import BacklogProgress
from fluxcaption.storage.database import Database
from fluxcaption.storage.rows import as_ms


class BacklogQueries:
    """Held jobs of the existing library."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def progress(self, now: datetime) -> BacklogProgress:
        """Whether titles of the backlog were begun and finished, and how many were begun today; asked every minute, so nothing old is counted."""
        rows = await self._db.read(
            "SELECT EXISTS (SELECT 1 FROM jobs WHERE begun_at IS NOT NULL) AS has_begun,"
            " (SELECT count(DISTINCT server_id || ' ' || source_id) FROM jobs WHERE begun_at>?) AS today,"
            " EXISTS (SELECT 1 FROM jobs AS ended WHERE begun_at IS NOT NULL AND state NOT IN ('queued','running','parked') AND NOT EXISTS"
            " (SELECT 1 FROM jobs WHERE server_id=ended.server_id AND source_id=ended.source_id AND begun_at IS NOT NULL"
            " AND state IN ('queued','running','parked'))) AS has_finished",
            (as_ms(now - timedelta(days=1)),),
        )
        return BacklogProgress(bool(rows[0]["has_begun"]), rows[0]["today"], bool(rows[0]["has_finished"]))

    async def release(self, titles: int, newest_first: bool, now: datetime) -> int:
        """Make all held jobs of the next titles due."""
        order = "DESC" if newest_first else "ASC"

        async def body(connection: aiosqlite.Connection) -> int:
            rows = list(
                await connection.execute_fetchall(
                    f"SELECT server_id, source_id FROM jobs WHERE is_held=1 GROUP BY server_id, source_id ORDER BY max(added_at) {order}, min(id) LIMIT ?",
                    (titles,),
                )
            )
            for row in rows:
                await connection.execute(
                    "UPDATE jobs SET is_held=0, begun_at=?, next_try_at=? WHERE server_id=? AND source_id=? AND is_held=1",
                    (as_ms(now), as_ms(now), row["server_id"], row["source_id"]),
                )
            return len(rows)

        return await self._db.checkpoint(body)

    async def release_all(self, now: datetime) -> int:
        """Make every held job due now."""
        return await self._db.write(
            "UPDATE jobs SET is_held=0, begun_at=?, next_try_at=? WHERE is_held=1", (as_ms(now), as_ms(now))
        )
