"""Clean-up over several tables."""

from datetime import datetime, timedelta

from fluxcaption.domain.retry import MAX_DELAY
from fluxcaption.storage.database import Database
from fluxcaption.storage.rows import as_ms

EVENTS_KEPT = timedelta(days=30)
"""Handled events, and what was watched."""


PRUNE_BATCH = 500


class MaintenanceQueries:
    """Clean-up over several tables."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def clamp_future_times(self, now: datetime) -> None:
        """What was written by a clock that went ahead counts as written now."""
        latest = (as_ms(now), as_ms(now + MAX_DELAY))
        far = "next_try_at>? AND state IN ('queued','parked') AND is_held=0"
        if await self._db.read(f"SELECT 1 FROM jobs WHERE {far} LIMIT 1", latest[1:]):
            await self._db.write(f"UPDATE jobs SET next_try_at=? WHERE {far}", latest)
        if await self._db.read(
            "SELECT 1 FROM events WHERE handled_at IS NULL AND due_at>? LIMIT 1", latest[1:]
        ):
            await self._db.write("UPDATE events SET due_at=? WHERE handled_at IS NULL AND due_at>?", latest)
        if await self._db.read("SELECT 1 FROM watched WHERE watched_at>? LIMIT 1", latest[1:]):
            await self._db.write("UPDATE watched SET watched_at=? WHERE watched_at>?", latest)

    async def prune(self, now: datetime) -> None:
        """Let go of what can never be used again; transcripts and translations stay."""
        old = (as_ms(now - EVENTS_KEPT),)
        is_open = "state NOT IN ('done','settled','cancelled')"
        used = (
            f"SELECT source_ref FROM jobs WHERE source_ref IS NOT NULL AND {is_open}"
            f" UNION ALL SELECT track_ref FROM jobs WHERE track_ref IS NOT NULL AND {is_open}"
            " UNION ALL SELECT previous_ref FROM deliveries WHERE previous_ref IS NOT NULL"
        )
        for statement, values in (
            ("DELETE FROM events WHERE id IN (SELECT id FROM events WHERE handled_at<? LIMIT ?)", old),
            (
                "DELETE FROM watched WHERE (server_id, item_id) IN (SELECT server_id, item_id FROM watched WHERE watched_at<? LIMIT ?)",
                old,
            ),
            (
                f"DELETE FROM documents WHERE ref IN (SELECT ref FROM documents WHERE ref NOT IN ({used}) LIMIT ?)",
                (),
            ),
        ):
            # In parts: an acknowledgement never waits behind years of leftovers.
            while await self._db.write(statement, (*values, PRUNE_BATCH)) == PRUNE_BATCH:
                pass
