"""Held jobs of the existing library, released title by title."""

from datetime import datetime, timedelta

from fluxcaption.domain.backlog import BacklogProgress
from fluxcaption.storage.database import Connection, Database, fetch_all
from fluxcaption.storage.rows import as_ms

# Read every minute: the counts go over released jobs only, through the index `jobs_released`.
_PROGRESS = """
    SELECT
        EXISTS (SELECT 1 FROM jobs WHERE released_at IS NOT NULL) AS has_started,
        (SELECT count(DISTINCT server_id || ' ' || source_id) FROM jobs
            WHERE released_at > :a_day_ago) AS started_today,
        EXISTS (
            SELECT 1 FROM jobs AS ended
            WHERE released_at IS NOT NULL AND state NOT IN ('queued', 'running', 'parked') AND NOT EXISTS (
                SELECT 1 FROM jobs
                WHERE server_id = ended.server_id AND source_id = ended.source_id
                    AND released_at IS NOT NULL AND state IN ('queued', 'running', 'parked'))) AS has_finished
"""

# `is_held = 1` is the condition of the index `jobs_held` and has to be a literal for SQLite to use it.
_NEXT_TITLES = """
    SELECT server_id, source_id FROM jobs WHERE is_held = 1
    GROUP BY server_id, source_id ORDER BY :sign * max(added_at), min(id) LIMIT :titles
"""

_RELEASE_TITLE = """
    UPDATE jobs SET is_held = 0, released_at = :now, next_try_at = :now
    WHERE server_id = :server_id AND source_id = :source_id AND is_held = 1
"""

_RELEASE_ALL = "UPDATE jobs SET is_held = 0, released_at = :now, next_try_at = :now WHERE is_held = 1"


class BacklogQueries:
    """Held jobs of the existing library."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def progress(self, now: datetime) -> BacklogProgress:
        """Return how much of the backlog was started and finished."""
        rows = await self._database.read(_PROGRESS, {"a_day_ago": as_ms(now - timedelta(days=1))})
        return BacklogProgress(
            has_started=bool(rows[0]["has_started"]),
            started_today=rows[0]["started_today"],
            has_finished=bool(rows[0]["has_finished"]),
        )

    async def release(self, titles: int, newest_first: bool, now: datetime) -> int:
        """Make all held jobs of the next titles due. Return the number of titles."""

        async def body(connection: Connection) -> int:
            rows = await fetch_all(
                connection, _NEXT_TITLES, {"sign": -1 if newest_first else 1, "titles": titles}
            )
            for row in rows:
                await connection.execute(_RELEASE_TITLE, {**dict(row), "now": as_ms(now)})
            return len(rows)

        return await self._database.transaction(body)

    async def release_all(self, now: datetime) -> int:
        """Make every held job due now. Return the number of jobs."""
        return await self._database.write(_RELEASE_ALL, {"now": as_ms(now)})
