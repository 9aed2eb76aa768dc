"""The queue of jobs as the worker pool claims and ends them."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from fluxcaption.domain.jobs import Job, JobState, ManualRequest, Outcome, Priority, Stage
from fluxcaption.domain.retry import MAX_CRASHES, retry_or_fail_after_crash
from fluxcaption.domain.units import JobId
from fluxcaption.storage.database import Body, Connection, Database, Row, fetch_all
from fluxcaption.storage.job_rows import STATE_VALUES, job_from_row
from fluxcaption.storage.rows import as_ms, optional_time
from fluxcaption.storage.transitions import check_job_move

DURABLE_STATES = frozenset({JobState.DONE, JobState.SKIPPED})
"""Final states that are fsynced before the worker continues."""

REQUEST_CHANGED = "the request changed while the job was running"

# `state IN ('queued', 'parked') AND is_held = 0`, `state = 'parked'` and `state = 'running'` below repeat the
# conditions of partial indexes: with parameters in their place SQLite could not use the index.

_FIND_DUE = """
    SELECT id FROM jobs
    WHERE stage = :stage AND state IN ('queued', 'parked') AND is_held = 0
        AND next_try_at <= :now AND priority_rank <= :lowest_rank
    ORDER BY priority_rank, added_at DESC, id LIMIT 1
"""

_CLAIM = """
    UPDATE jobs SET state = :running, attempts = attempts + 1, claims = claims + 1, updated_at = :now
    WHERE id = :id AND state IN (:queued, :parked) AND is_held = 0 AND next_try_at <= :now
    RETURNING *
"""

_GET_CLAIMED = "SELECT * FROM jobs WHERE id = :id AND claims = :claim"

_RECORD = """
    UPDATE jobs SET
        state = :state, stage = :stage, attempts = :attempts, crashes = 0, next_try_at = :next_try_at,
        reason = :reason, reason_code = :reason_code, updated_at = :now,
        ready_at = CASE :stage WHEN :upload THEN coalesce(ready_at, :now) WHEN :confirm THEN ready_at END
    WHERE id = :id
    RETURNING *
"""

_REREAD_ITEM = (
    "UPDATE items SET needs_reread = 1 WHERE server_id = :server_id AND id = :item_id AND needs_reread = 0"
)

_COUNTS = "SELECT stage, state, count(*) AS jobs FROM jobs GROUP BY stage, state"

_NEXT_DUE = """
    SELECT min(next_try_at) AS next_due FROM jobs
    WHERE state IN ('queued', 'parked') AND is_held = 0 AND next_try_at > :after
"""

_RUNNING = """
    SELECT id, crashes, windows_at_crash, (
        SELECT count(*) FROM transcripts JOIN windows ON windows.transcript_id = transcripts.id
        WHERE transcripts.fingerprint = jobs.fingerprint) AS windows
    FROM jobs WHERE state = 'running' ORDER BY priority_rank, added_at DESC, id
"""

_REQUEUE = """
    UPDATE jobs SET
        state = :state, crashes = :crashes, windows_at_crash = :windows,
        next_try_at = :next_try_at, updated_at = :now,
        reason = coalesce(nullif(:reason, ''), reason),
        reason_code = coalesce(nullif(:reason_code, ''), reason_code)
    WHERE id = :id
"""

_UNPARK = """
    UPDATE jobs SET next_try_at = :now
    WHERE state = 'parked' AND reason_code = :code AND next_try_at > :now
"""


class JobQueueQueries:
    """Jobs as the worker pool claims and ends them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, stage: Stage, now: datetime, lowest: Priority | None = None) -> Job | None:
        """Mark the first due job of a stage as running and count the attempt."""
        values = {"stage": stage, "now": as_ms(now), "lowest_rank": (lowest or list(Priority)[-1]).rank}
        # The search runs on the reading connection, so that the writer's lock is held for one row only. If
        # another claim takes the job in between, the search is repeated.
        while found := await self._database.read(_FIND_DUE, values):
            if (job := await self._database.transaction(_claiming(JobId(found[0]["id"]), now))) is not None:
                return job
        return None

    async def record(self, job: Job, outcome: Outcome, now: datetime) -> Job | None:
        """Store the outcome of a claimed job if the claim still holds."""
        check_job_move(job.id, JobState.RUNNING, outcome.state)

        async def body(connection: Connection) -> Job | None:
            rows = await fetch_all(connection, _GET_CLAIMED, {"id": job.id, "claim": job.claim})
            return (
                await _record(connection, job_from_row(rows[0]), job.request, outcome, now) if rows else None
            )

        if outcome.state in DURABLE_STATES:
            return await self._database.durable_transaction(body)
        return await self._database.transaction(body)

    async def counts(self) -> Mapping[tuple[Stage, JobState], int]:
        """Return the number of jobs by stage and state, without zeros."""
        rows = await self._database.read(_COUNTS)
        return {(Stage(row["stage"]), JobState(row["state"])): row["jobs"] for row in rows}

    async def next_due(self, after: datetime | None = None) -> datetime | None:
        """Return when the first waiting job is due, or the first one due later than `after`."""
        rows = await self._database.read(_NEXT_DUE, {"after": as_ms(after) if after else -1})
        return optional_time(rows[0]["next_due"])

    async def requeue_interrupted(self, now: datetime, *, by_crash: bool = True) -> int:
        """Queue the jobs that were running when the process ended. Return their number."""

        async def body(connection: Connection) -> int:
            rows = await fetch_all(connection, _RUNNING)
            suspects = 0
            for row in rows:
                crashes = _crashes_now(row) if by_crash else row["crashes"]
                outcome = retry_or_fail_after_crash(crashes, suspects)
                suspects += outcome.wait > timedelta(0) or crashes == MAX_CRASHES - 1
                await _requeue(connection, row, crashes, outcome, now)
            return len(rows)

        return await self._database.transaction(body)

    async def unpark(self, code: str, now: datetime) -> int:
        """Make jobs due now that are parked for a reason code. Return their number."""
        return await self._database.write(_UNPARK, {"code": code, "now": as_ms(now)})


def _claiming(job_id: JobId, now: datetime) -> Body[Job | None]:
    """Return a transaction that claims one job if it is still due."""

    async def body(connection: Connection) -> Job | None:
        rows = await fetch_all(connection, _CLAIM, {"id": job_id, "now": as_ms(now), **STATE_VALUES})
        return job_from_row(rows[0]) if rows else None

    return body


async def _record(
    connection: Connection, job: Job, claimed_request: ManualRequest, outcome: Outcome, now: datetime
) -> Job | None:
    """Move a claimed job on, unless it was cancelled or requested in another way since it was claimed."""
    if job.state is not JobState.RUNNING:
        return job if job.state is JobState.CANCELLED else None
    if job.request != claimed_request and not job.request.is_default:
        outcome = Outcome.next(Stage.ACQUIRE, REQUEST_CHANGED)
    rows = await fetch_all(
        connection,
        _RECORD,
        {
            "id": job.id,
            "state": outcome.state,
            "stage": outcome.stage or job.stage,
            "upload": Stage.UPLOAD,
            "confirm": Stage.CONFIRM,
            "attempts": _attempts_after(job, outcome),
            "next_try_at": as_ms(now + outcome.wait),
            "reason": outcome.reason or job.reason,
            "reason_code": outcome.reason_code,
            "now": as_ms(now),
        },
    )
    if outcome.state is JobState.CANCELLED or (
        outcome.state in DURABLE_STATES and job.stage is Stage.ACQUIRE
    ):
        # Nothing was made, so the server does not save the item: without this mark no scan would decide it
        # again.
        await connection.execute(_REREAD_ITEM, {"server_id": job.server_id, "item_id": job.item_id})
    return job_from_row(rows[0])


def _attempts_after(job: Job, outcome: Outcome) -> int:
    if outcome.gives_back_attempt:
        return max(0, job.attempts - 1)
    return job.attempts if outcome.keeps_attempts else 0


def _crashes_now(row: Row) -> int:
    """Return the crashes in a row, this one included; progress since the last one starts the count again."""
    return 1 if row["windows"] > row["windows_at_crash"] else int(row["crashes"]) + 1


async def _requeue(connection: Connection, row: Row, crashes: int, outcome: Outcome, now: datetime) -> None:
    check_job_move(JobId(row["id"]), JobState.RUNNING, outcome.state)
    await connection.execute(
        _REQUEUE,
        {
            "id": row["id"],
            "state": outcome.state,
            "crashes": crashes,
            "windows": row["windows"],
            "next_try_at": as_ms(now + outcome.wait),
            "reason": outcome.reason,
            "reason_code": outcome.reason_code,
            "now": as_ms(now),
        },
    )
