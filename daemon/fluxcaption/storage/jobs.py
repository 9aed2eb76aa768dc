"""Jobs: one row for each server, media source and target language."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from fluxcaption.domain.jobs import (
    Job,
    JobState,
    ManualRequest,
    NewJob,
    Outcome,
    Priority,
    Provenance,
    Stage,
)
from fluxcaption.domain.retry import MAX_CRASHES, POISON, after_crash
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, JobId, ServerId, SourceId
from fluxcaption.storage.database import Body, Connection, Database, Row, fetch_all
from fluxcaption.storage.retry_pauses import FAILED_PAUSE_MS
from fluxcaption.storage.rows import (
    as_json_list,
    as_ms,
    as_time,
    optional_time,
    parse_tag,
    provenance_from_json,
    provenance_to_json,
)
from fluxcaption.storage.transitions import check_job_move, states_before

DURABLE_STATES = frozenset({JobState.DONE, JobState.SKIPPED})
"""Ends of a job that are on disk for good before its stage goes on."""

CANCELLED_BY_USER = "cancelled"
"""Reason code of a job that a user cancelled."""

REQUEST_CHANGED = "it was asked for in another way meanwhile"

_STATES = {
    **{state.value: state for state in JobState},
    "open_states": as_json_list(sorted(states_before(JobState.CANCELLED))),
}
"""Parameters for states: each by its own name, and those of jobs that are not finished."""

# The literals `state IN ('queued', 'parked') AND is_held = 0`, `state = 'parked'` and `state = 'running'` below repeat the
# conditions of partial indexes: SQLite uses such an index only if the query has the condition as a literal.

_INSERT = """
    INSERT INTO jobs (
        server_id, item_id, source_id, target, title, priority, priority_rank, added_at,
        stage, state, next_try_at, is_held, reason, request, created_at, updated_at)
    VALUES (
        :server_id, :item_id, :source_id, :target, :title, :priority, :priority_rank, :added_at,
        :stage, :queued, :now, :is_held, :reason, :request, :now, :now)
    ON CONFLICT (server_id, source_id, target) DO NOTHING
"""

_RAISE_PRIORITY = """
    UPDATE jobs SET
        item_id = :item_id,
        priority = iif(priority_rank > :priority_rank, :priority, priority),
        is_held = iif(priority_rank > :priority_rank, :is_held, is_held),
        priority_rank = min(priority_rank, :priority_rank),
        updated_at = :now
    WHERE server_id = :server_id AND source_id = :source_id AND target = :target
        AND state IN (SELECT value FROM json_each(:open_states))
        AND (item_id <> :item_id OR priority_rank > :priority_rank)
"""

_RESTART_CHANGED_REQUEST = """
    UPDATE jobs SET
        stage = :stage, attempts = 0, source_ref = NULL, track_ref = NULL, ready_at = NULL,
        provenance = '', upload_attempts = 0, confirm_attempts = 0
    WHERE server_id = :server_id AND source_id = :source_id AND target = :target
        AND state IN (:queued, :parked) AND request <> :request
"""

_MAKE_REQUESTED_DUE = """
    UPDATE jobs SET request = :request, next_try_at = :now, updated_at = :now
    WHERE server_id = :server_id AND source_id = :source_id AND target = :target
        AND state IN (SELECT value FROM json_each(:open_states))
"""

_RESTART_ENDED = f"""
    UPDATE jobs SET
        priority = :priority, priority_rank = :priority_rank, is_held = :is_held,
        state = :queued, stage = :stage, attempts = 0, crashes = 0,
        next_try_at = :now, updated_at = :now, reason = :reason, reason_code = '',
        source_ref = NULL, track_ref = NULL, ready_at = NULL,
        provenance = '', upload_attempts = 0, confirm_attempts = 0,
        released_at = iif(:is_held, NULL, released_at), request = :request, item_id = :item_id,
        restarts = iif(state = :failed, restarts + 1, 0)
    WHERE server_id = :server_id AND source_id = :source_id AND target = :target
        AND CASE state
            WHEN :done THEN 1
            WHEN :skipped THEN 1
            WHEN :cancelled THEN :is_requested OR reason_code <> :cancelled_by_user
            WHEN :failed THEN :is_requested
                OR (reason_code <> :poison AND updated_at <= :now - {FAILED_PAUSE_MS})
            ELSE 0 END
"""

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

_GET = "SELECT * FROM jobs WHERE id = :id"

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

_UPDATE_PROGRESS = """
    UPDATE jobs SET
        fingerprint = coalesce(:fingerprint, fingerprint),
        source_ref = coalesce(:source_ref, source_ref),
        track_ref = coalesce(:track_ref, track_ref),
        provenance = coalesce(:provenance, provenance),
        upload_attempts = coalesce(:upload_attempts, upload_attempts),
        confirm_attempts = coalesce(:confirm_attempts, confirm_attempts)
    WHERE id = :id
"""

_PAGE = """
    SELECT * FROM jobs
    WHERE state IN (SELECT value FROM json_each(:states)) AND id < :before
    ORDER BY id DESC LIMIT :limit
"""

# A statement of its own: `:item_id IS NULL OR item_id = :item_id` would read the whole table.
_PAGE_OF_ITEM = """
    SELECT * FROM jobs
    WHERE state IN (SELECT value FROM json_each(:states)) AND item_id = :item_id AND id < :before
    ORDER BY id DESC LIMIT :limit
"""

_OF_SOURCE = "SELECT * FROM jobs WHERE server_id = :server_id AND source_id = :source_id ORDER BY id"

_RETRY = """
    UPDATE jobs SET
        priority = :priority, priority_rank = :priority_rank, is_held = 0, attempts = 0, crashes = 0,
        upload_attempts = 0, confirm_attempts = 0, next_try_at = :now, updated_at = :now,
        stage = iif(state IN (:queued, :parked, :failed), stage, :first_stage), state = :queued
    WHERE id = :id AND state <> :running
    RETURNING *
"""

_FORGET_SKIPS = "DELETE FROM skips WHERE fingerprint = :fingerprint AND target = :target"

_CANCEL = """
    UPDATE jobs SET state = :cancelled, reason = 'cancelled by a person', reason_code = :code, updated_at = :now
    WHERE id = :id AND state IN (SELECT value FROM json_each(:open_states))
"""

_RELEASE_WAITING_UPLOADS = """
    UPDATE jobs SET next_try_at = :now
    WHERE server_id = :server_id AND source_id = :source_id
        AND stage = :upload AND state = :queued AND reason_code = 'together'
"""

_POSITION = """
    SELECT count(*) AS position FROM jobs
    WHERE stage = :stage AND state IN ('queued', 'parked') AND is_held = 0
        AND (priority_rank, -added_at, id) < (:priority_rank, -:added_at, :id)
"""

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
        state = :state, crashes = :crashes, windows_at_crash = :windows, next_try_at = :next_try_at, updated_at = :now,
        reason = coalesce(nullif(:reason, ''), reason), reason_code = coalesce(nullif(:reason_code, ''), reason_code)
    WHERE id = :id
"""

_UNPARK = """
    UPDATE jobs SET next_try_at = :now
    WHERE state = 'parked' AND reason_code = :code AND next_try_at > :now
"""


def _job(row: Row) -> Job:
    return Job(
        id=JobId(row["id"]),
        server_id=ServerId(row["server_id"]),
        item_id=ItemId(row["item_id"]),
        source_id=SourceId(row["source_id"]),
        target=parse_tag(row["target"]),
        title=row["title"],
        priority=Priority(row["priority"]),
        added_at=as_time(row["added_at"]),
        stage=Stage(row["stage"]),
        state=JobState(row["state"]),
        attempts=row["attempts"],
        next_try_at=as_time(row["next_try_at"]),
        reason=row["reason"],
        reason_code=row["reason_code"],
        fingerprint=Fingerprint(row["fingerprint"]) if row["fingerprint"] else None,
        source_ref=ContentHash(row["source_ref"]) if row["source_ref"] else None,
        track_ref=ContentHash(row["track_ref"]) if row["track_ref"] else None,
        is_held=bool(row["is_held"]),
        ready_at=optional_time(row["ready_at"]),
        request=_request_from_json(row["request"]),
        provenance=provenance_from_json(row["provenance"]),
        upload_attempts=row["upload_attempts"],
        confirm_attempts=row["confirm_attempts"],
        claim=row["claims"],
    )


def _request_to_json(request: ManualRequest) -> str:
    if request.is_default:
        return ""
    return json.dumps({"source": request.source, "model": request.model, "redo": request.redo})


def _request_from_json(text: str) -> ManualRequest:
    return ManualRequest(**json.loads(text)) if text else ManualRequest()


class JobTable:
    """Jobs by id, item and media source, and the queue of the worker pool."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- Jobs --------------------------------------------------------------------------------------------------------

    async def add(self, new: Sequence[NewJob], now: datetime) -> int:
        """Queue jobs for gaps. Return the number of jobs that are new or were started again."""

        async def body(connection: Connection) -> int:
            return sum([await _add(connection, job, now) for job in new])

        return await self._database.transaction(body)

    async def update_progress(
        self,
        job_id: JobId,
        *,
        fingerprint: Fingerprint | None = None,
        source_ref: ContentHash | None = None,
        track_ref: ContentHash | None = None,
        provenance: Provenance | None = None,
        upload_attempts: int | None = None,
        confirm_attempts: int | None = None,
    ) -> None:
        """Store facts that a stage found before it ends."""
        await self._database.write(
            _UPDATE_PROGRESS,
            {
                "id": job_id,
                "fingerprint": fingerprint,
                "source_ref": source_ref,
                "track_ref": track_ref,
                "provenance": provenance_to_json(provenance) if provenance else None,
                "upload_attempts": upload_attempts,
                "confirm_attempts": confirm_attempts,
            },
        )

    async def get(self, job_id: JobId) -> Job | None:
        """Return a job, None if there is none with this id."""
        rows = await self._database.read(_GET, {"id": job_id})
        return _job(rows[0]) if rows else None

    async def page(
        self,
        *,
        states: Collection[JobState] = (),
        item_id: ItemId | None = None,
        limit: int = 100,
        before: JobId | None = None,
    ) -> Sequence[Job]:
        """Return one page of jobs, highest id first."""
        values = {
            "states": as_json_list(states or list(JobState)),
            "item_id": item_id,
            "before": before if before is not None else 2**62,
            "limit": limit,
        }
        rows = await self._database.read(_PAGE if item_id is None else _PAGE_OF_ITEM, values)
        return [_job(row) for row in rows]

    async def of_source(self, server_id: ServerId, source_id: SourceId) -> Sequence[Job]:
        """Return all jobs of one media source, lowest id first."""
        rows = await self._database.read(_OF_SOURCE, {"server_id": server_id, "source_id": source_id})
        return [_job(row) for row in rows]

    async def position(self, job: Job) -> int:
        """Return the number of jobs of the same stage that are claimed before a job."""
        rows = await self._database.read(
            _POSITION,
            {
                "stage": job.stage,
                "priority_rank": job.priority.rank,
                "added_at": as_ms(job.added_at),
                "id": job.id,
            },
        )
        return int(rows[0]["position"])

    async def retry(self, job_id: JobId, now: datetime) -> Job | None:
        """Queue a job that ended or waits as requested by a user, and forget an earlier skip of its media."""

        async def body(connection: Connection) -> Job | None:
            rows = await fetch_all(
                connection,
                _RETRY,
                {
                    "id": job_id,
                    "priority": Priority.REQUESTED,
                    "priority_rank": Priority.REQUESTED.rank,
                    "first_stage": Stage.ACQUIRE,
                    "now": as_ms(now),
                    **_STATES,
                },
            )
            rows = rows or await fetch_all(connection, _GET, {"id": job_id})
            if not rows:
                return None
            job = _job(rows[0])
            if job.fingerprint:
                await connection.execute(
                    _FORGET_SKIPS, {"fingerprint": job.fingerprint, "target": str(job.target)}
                )
            return job

        return await self._database.transaction(body)

    async def cancel(self, job_id: JobId, now: datetime) -> Job | None:
        """Cancel an open job. Return the job afterwards, None if there is none with this id."""
        await self._database.write(
            _CANCEL,
            {
                "id": job_id,
                "code": CANCELLED_BY_USER,
                "now": as_ms(now),
                **_STATES,
            },
        )
        return await self.get(job_id)

    async def release_waiting_uploads(self, server_id: ServerId, source_id: SourceId, now: datetime) -> int:
        """Make uploads due now that wait for another language of the same media source. Return their number."""
        return await self._database.write(
            _RELEASE_WAITING_UPLOADS,
            {
                "server_id": server_id,
                "source_id": source_id,
                "upload": Stage.UPLOAD,
                "now": as_ms(now),
                **_STATES,
            },
        )

    # -- JobQueue ----------------------------------------------------------------------------------------------------

    async def claim(self, stage: Stage, now: datetime, lowest: Priority | None = None) -> Job | None:
        """Mark the first due job of a stage as running and count the attempt. Return None if nothing is due."""
        values = {"stage": stage, "now": as_ms(now), "lowest_rank": (lowest or list(Priority)[-1]).rank}
        # The search runs on the reading connection; under the writer's lock only one row is touched. If another claim took
        # the job in between, the search is repeated.
        while found := await self._database.read(_FIND_DUE, values):
            if (job := await self._database.transaction(_claiming(JobId(found[0]["id"]), now))) is not None:
                return job
        return None

    async def record(self, job: Job, outcome: Outcome, now: datetime) -> Job | None:
        """Store the outcome of a claimed job if the claim still holds."""
        check_job_move(job.id, JobState.RUNNING, outcome.state)

        async def body(connection: Connection) -> Job | None:
            rows = await fetch_all(connection, _GET_CLAIMED, {"id": job.id, "claim": job.claim})
            return await _record(connection, _job(rows[0]), job.request, outcome, now) if rows else None

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
                outcome = after_crash(crashes, suspects)
                suspects += outcome.wait > timedelta(0) or crashes == MAX_CRASHES - 1
                await _requeue(connection, row, crashes, outcome, now)
            return len(rows)

        return await self._database.transaction(body)

    async def unpark(self, code: str, now: datetime) -> int:
        """Make jobs due now that are parked for a reason code. Return their number."""
        return await self._database.write(_UNPARK, {"code": code, "now": as_ms(now)})


async def _add(connection: Connection, job: NewJob, now: datetime) -> int:
    """Insert a job, or apply the gap to the job that exists. Return 1 if a job is new or starts again, else 0."""
    values = {
        "server_id": job.server_id,
        "item_id": job.item_id,
        "source_id": job.source_id,
        "target": str(job.target),
        "title": job.title,
        "priority": job.priority,
        "priority_rank": job.priority.rank,
        "added_at": as_ms(job.added_at),
        "stage": Stage.ACQUIRE,
        "is_held": int(job.is_held),
        "reason": job.reason,
        "request": _request_to_json(job.request),
        "now": as_ms(now),
        "is_requested": int(job.priority is Priority.REQUESTED),
        "cancelled_by_user": CANCELLED_BY_USER,
        "poison": POISON,
        **_STATES,
    }
    if (await connection.execute(_INSERT, values)).rowcount:
        return 1
    await connection.execute(_RAISE_PRIORITY, values)
    if job.priority is Priority.REQUESTED:
        # An open job is due now. If it is wanted in another way it starts again; a running one does when its attempt ends.
        if values["request"]:
            await connection.execute(_RESTART_CHANGED_REQUEST, values)
        await connection.execute(_MAKE_REQUESTED_DUE, values)
    return (await connection.execute(_RESTART_ENDED, values)).rowcount


def _claiming(job_id: JobId, now: datetime) -> Body[Job | None]:
    """Return a transaction that claims one job if it is still due."""

    async def body(connection: Connection) -> Job | None:
        rows = await fetch_all(connection, _CLAIM, {"id": job_id, "now": as_ms(now), **_STATES})
        return _job(rows[0]) if rows else None

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
        # Nothing was made, so the item does not change: without this mark the next complete scan would not decide it again.
        await connection.execute(_REREAD_ITEM, {"server_id": job.server_id, "item_id": job.item_id})
    return _job(rows[0])


def _attempts_after(job: Job, outcome: Outcome) -> int:
    if outcome.gives_back_attempt:
        return max(0, job.attempts - 1)
    return job.attempts if outcome.keeps_attempts else 0


def _crashes_now(row: Row) -> int:
    """Return the crashes in a row, this one included; progress since the last crash starts the count again."""
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
