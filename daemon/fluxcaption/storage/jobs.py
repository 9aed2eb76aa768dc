"""Jobs: one row for each server, media source and target language."""

from collections.abc import Collection, Sequence
from datetime import datetime

from fluxcaption.domain.jobs import Job, JobState, NewJob, Priority, Provenance, Stage
from fluxcaption.domain.retry import POISON
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, JobId, ServerId, SourceId
from fluxcaption.storage.database import Connection, Database, fetch_all
from fluxcaption.storage.job_rows import STATE_VALUES, job_from_row, request_to_json
from fluxcaption.storage.retry_pauses import FAILED_PAUSE_MS
from fluxcaption.storage.rows import as_json_list, as_ms, provenance_to_json

CANCELLED_BY_USER = "cancelled"
"""Reason code of a job that a user cancelled."""

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

_GET = "SELECT * FROM jobs WHERE id = :id"

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
    UPDATE jobs SET
        state = :cancelled, reason = 'cancelled by a person', reason_code = :code, updated_at = :now
    WHERE id = :id AND state IN (SELECT value FROM json_each(:open_states))
"""

_RELEASE_WAITING_UPLOADS = """
    UPDATE jobs SET next_try_at = :now
    WHERE server_id = :server_id AND source_id = :source_id
        AND stage = :upload AND state = :queued AND reason_code = 'together'
"""

# The literals repeat the condition of the partial index `jobs_due`: with parameters SQLite could not use it.
_POSITION = """
    SELECT count(*) AS position FROM jobs
    WHERE stage = :stage AND state IN ('queued', 'parked') AND is_held = 0
        AND (priority_rank, -added_at, id) < (:priority_rank, -:added_at, :id)
"""


class JobTable:
    """Jobs by id, item and media source."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
        return job_from_row(rows[0]) if rows else None

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
        return [job_from_row(row) for row in rows]

    async def of_source(self, server_id: ServerId, source_id: SourceId) -> Sequence[Job]:
        """Return all jobs of one media source, lowest id first."""
        rows = await self._database.read(_OF_SOURCE, {"server_id": server_id, "source_id": source_id})
        return [job_from_row(row) for row in rows]

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
                    **STATE_VALUES,
                },
            )
            rows = rows or await fetch_all(connection, _GET, {"id": job_id})
            if not rows:
                return None
            job = job_from_row(rows[0])
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
                **STATE_VALUES,
            },
        )
        return await self.get(job_id)

    async def release_waiting_uploads(self, server_id: ServerId, source_id: SourceId, now: datetime) -> int:
        """Make uploads of a media source due now that wait for another language. Return their number."""
        return await self._database.write(
            _RELEASE_WAITING_UPLOADS,
            {
                "server_id": server_id,
                "source_id": source_id,
                "upload": Stage.UPLOAD,
                "now": as_ms(now),
                **STATE_VALUES,
            },
        )


async def _add(connection: Connection, job: NewJob, now: datetime) -> int:
    """Insert a job or apply the gap to the existing one. Return 1 if a job is new or starts again, else 0."""
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
        "request": request_to_json(job.request),
        "now": as_ms(now),
        "is_requested": int(job.priority is Priority.REQUESTED),
        "cancelled_by_user": CANCELLED_BY_USER,
        "poison": POISON,
        **STATE_VALUES,
    }
    if (await connection.execute(_INSERT, values)).rowcount:
        return 1
    await connection.execute(_RAISE_PRIORITY, values)
    if job.priority is Priority.REQUESTED:
        # An open job is due now. One requested in another way starts again; a running one when its attempt
        # ends.
        if values["request"]:
            await connection.execute(_RESTART_CHANGED_REQUEST, values)
        await connection.execute(_MAKE_REQUESTED_DUE, values)
    return (await connection.execute(_RESTART_ENDED, values)).rowcount
