"""Clean-up over several tables."""

from datetime import datetime, timedelta

from fluxcaption.domain.jobs import JobState
from fluxcaption.domain.retry import MAX_DELAY
from fluxcaption.storage.database import Database
from fluxcaption.storage.rows import as_json_list, as_ms

EVENT_RETENTION = timedelta(days=30)
"""Age at which handled events and playback times are deleted."""

PRUNE_BATCH_ROWS = 500
"""Rows deleted in one transaction, so that a webhook request does not wait for years of leftovers."""

_SPENT_STATES = as_json_list([JobState.DONE, JobState.SKIPPED, JobState.CANCELLED])
"""States of jobs whose documents are not needed again."""

# The literals repeat the condition of the partial index `jobs_next`.
_IS_WAITING_TOO_LONG = "next_try_at > :latest AND state IN ('queued', 'parked') AND is_held = 0"

_CLAMP = (
    (
        f"SELECT 1 FROM jobs WHERE {_IS_WAITING_TOO_LONG} LIMIT 1",
        f"UPDATE jobs SET next_try_at = :now WHERE {_IS_WAITING_TOO_LONG}",
    ),
    (
        "SELECT 1 FROM events WHERE handled_at IS NULL AND due_at > :latest LIMIT 1",
        "UPDATE events SET due_at = :now WHERE handled_at IS NULL AND due_at > :latest",
    ),
    (
        "SELECT 1 FROM playback WHERE played_at > :latest LIMIT 1",
        "UPDATE playback SET played_at = :now WHERE played_at > :latest",
    ),
)
"""Pairs of a query that is true if there is a time in the future, and the statement that corrects it."""

_PRUNE_EVENTS = (
    "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE handled_at < :oldest LIMIT :batch)"
)

_PRUNE_PLAYBACK = """
    DELETE FROM playback WHERE (server_id, item_id) IN (
        SELECT server_id, item_id FROM playback WHERE played_at < :oldest LIMIT :batch)
"""

_PRUNE_DOCUMENTS = """
    DELETE FROM documents WHERE ref IN (
        SELECT ref FROM documents WHERE ref NOT IN (
            SELECT source_ref FROM jobs
            WHERE source_ref IS NOT NULL AND state NOT IN (SELECT value FROM json_each(:spent_states))
            UNION ALL
            SELECT track_ref FROM jobs
            WHERE track_ref IS NOT NULL AND state NOT IN (SELECT value FROM json_each(:spent_states))
            UNION ALL
            SELECT previous_ref FROM deliveries WHERE previous_ref IS NOT NULL)
        LIMIT :batch)
"""


class MaintenanceQueries:
    """Clean-up over several tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def clamp_future_times(self, now: datetime) -> None:
        """Replace times that lie further ahead than any delay by the present time."""
        values = {"now": as_ms(now), "latest": as_ms(now + MAX_DELAY)}
        for is_needed, clamp in _CLAMP:
            if await self._database.read(is_needed, values):
                await self._database.write(clamp, values)

    async def prune(self, now: datetime) -> None:
        """Delete old events, old playback times and documents of finished jobs."""
        values = {
            "oldest": as_ms(now - EVENT_RETENTION),
            "spent_states": _SPENT_STATES,
            "batch": PRUNE_BATCH_ROWS,
        }
        for statement in (_PRUNE_EVENTS, _PRUNE_PLAYBACK, _PRUNE_DOCUMENTS):
            while await self._database.write(statement, values) == PRUNE_BATCH_ROWS:
                pass
