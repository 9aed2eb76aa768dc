"""Jobs by id, item and media source."""

import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta

import aiosqlite

from fluxcaption.domain.jobs import (
    LEGAL_MOVES,
    OPEN_STATES,
    Job,
    JobState,
    ManualRequest,
    NewJob,
    Outcome,
    Priority,
    Provenance,
    Stage,
)
from fluxcaption.domain.reasons import ReasonCode
from fluxcaption.domain.retry import FAILED_RETRY_DELAYS, MAX_CRASHES, POISON, after_crash
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, JobId, ServerId, SourceId
from fluxcaption.storage.database import Database
from fluxcaption.storage.rows import as_ms, as_time, marks, maybe_time, provenance_of, provenance_text, tag_of

PROMISED = frozenset({JobState.DONE, JobState.SKIPPED})


class JobTable:
    """Jobs by id, item and media source."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def add(self, new: Sequence[NewJob], now: datetime) -> int:
        """Queue gaps and say how many were new."""

        async def body(connection: aiosqlite.Connection) -> int:
            added = 0
            for job in new:
                cursor = await connection.execute(
                    "INSERT INTO jobs (server_id, item_id, source_id, target, title, tier, tier_rank, added_at, stage, state, next_try_at, is_held, reason,"
                    " created_at, updated_at, asked) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (server_id, source_id, target) DO NOTHING",
                    (
                        job.server_id,
                        job.item_id,
                        job.source_id,
                        str(job.target),
                        job.title,
                        job.priority.value,
                        job.priority.rank,
                        as_ms(job.added_at),
                        Stage.ACQUIRE.value,
                        JobState.QUEUED.value,
                        as_ms(now),
                        int(job.is_held),
                        job.reason,
                        as_ms(now),
                        as_ms(now),
                        _asked_text(job.request),
                    ),
                )
                added += cursor.rowcount
                if cursor.rowcount == 0:
                    added += await self._gap_again(connection, job, now)
            return added

        return await self._db.checkpoint(body)

    @staticmethod
    async def _gap_again(connection: aiosqlite.Connection, job: NewJob, now: datetime) -> int:
        """A gap that has a job already: an open one may move up; an ended one starts again, unless a person cancelled it or it failed just now."""
        key = (job.server_id, job.source_id, str(job.target))
        rank = job.priority.rank
        await connection.execute(
            "UPDATE jobs SET item_id=?, tier=iif(tier_rank>?, ?, tier), is_held=iif(tier_rank>?, ?, is_held), tier_rank=min(tier_rank, ?), updated_at=?"
            " WHERE server_id=? AND source_id=? AND target=? AND state IN ('queued','parked','running') AND (item_id<>? OR tier_rank>?)",
            (
                job.item_id,
                rank,
                job.priority.value,
                rank,
                int(job.is_held),
                rank,
                as_ms(now),
                *key,
                job.item_id,
                rank,
            ),
        )
        is_requested = job.priority is Priority.REQUESTED
        if is_requested:
            await _hurry(connection, job, now)
        pauses = " ".join(
            f"WHEN {number} THEN {int(pause.total_seconds() * 1000)}"
            for number, pause in enumerate(FAILED_RETRY_DELAYS)
        )
        last = int(FAILED_RETRY_DELAYS[-1].total_seconds() * 1000)
        statement = (
            "UPDATE jobs SET tier=?, tier_rank=?, is_held=?, state='queued', stage='listen', attempts=0, crashes=0, next_try_at=?, updated_at=?, reason=?, reason_code='',"
            " source_ref=NULL, track_ref=NULL, ready_at=NULL, grade='', sends=0, looks=0, begun_at=CASE WHEN ? THEN begun_at ELSE NULL END, asked=?, item_id=?,"
            " revivals=CASE state WHEN 'failed' THEN revivals+1 ELSE 0 END"
            " WHERE server_id=? AND source_id=? AND target=? AND (state IN ('done','settled') OR (state='cancelled' AND (reason_code<>'cancelled' OR ?))"
            f" OR (state='failed' AND ((updated_at<=? - CASE revivals {pauses} ELSE {last} END AND reason_code<>'{POISON}') OR ?)))"
        )
        cursor = await connection.execute(
            statement,
            (
                job.priority.value,
                job.priority.rank,
                int(job.is_held),
                as_ms(now),
                as_ms(now),
                job.reason,
                int(not job.is_held),
                _asked_text(job.request),
                job.item_id,
                *key,
                int(is_requested),
                as_ms(now),
                int(is_requested),
            ),
        )
        return cursor.rowcount

    async def claim(self, stage: Stage, now: datetime, lowest: Priority | None = None) -> Job | None:
        """Take the first due job of a stage and count the attempt; with `lowest`, of that tier or an earlier one."""
        values = [stage.value, as_ms(now), (lowest or list(Priority)[-1]).rank]
        query = (
            "SELECT id FROM jobs WHERE stage=? AND state IN ('queued','parked') AND is_held=0 AND next_try_at<=? AND tier_rank<=?"
            " ORDER BY tier_rank, added_at DESC, id LIMIT 1"
        )
        while found := await self._db.read(query, values):
            # Only what one row needs is done under the writer's lock; somebody else may have been quicker.
            if (job := await self._db.checkpoint(_taking(found[0]["id"], now))) is not None:
                return job
        return None

    async def record(self, job: Job, outcome: Outcome, now: datetime) -> Job | None:
        """Write what became of a claimed job, if that claim still holds."""
        if outcome.state not in LEGAL_MOVES[JobState.RUNNING]:
            raise ValueError(f"job {job.id} cannot go from {JobState.RUNNING} to {outcome.state}")

        async def body(connection: aiosqlite.Connection) -> Job | None:
            rows = list(
                await connection.execute_fetchall(
                    "SELECT * FROM jobs WHERE id=? AND claims=?", (job.id, job.claim)
                )
            )
            return await _move(connection, _job(rows[0]), job.request, outcome, now) if rows else None

        return await (self._db.promise(body) if outcome.state in PROMISED else self._db.checkpoint(body))

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
        """Remember what a stage found."""
        await self._db.write(
            "UPDATE jobs SET fingerprint=coalesce(?, fingerprint), source_ref=coalesce(?, source_ref), track_ref=coalesce(?, track_ref),"
            " grade=coalesce(?, grade), sends=coalesce(?, sends), looks=coalesce(?, looks) WHERE id=?",
            (
                fingerprint,
                source_ref,
                track_ref,
                provenance_text(provenance) if provenance else None,
                upload_attempts,
                confirm_attempts,
                job_id,
            ),
        )

    async def get(self, job_id: JobId) -> Job | None:
        """One job."""
        rows = await self._db.read("SELECT * FROM jobs WHERE id=?", (job_id,))
        return _job(rows[0]) if rows else None

    async def page(
        self,
        *,
        states: Collection[JobState] = (),
        item_id: ItemId | None = None,
        limit: int = 100,
        before: JobId | None = None,
    ) -> Sequence[Job]:
        """Jobs, newest id first, one page."""
        wanted = [state.value for state in states] or [state.value for state in JobState]
        # Only what is asked for stands in the query: `? IS NULL OR item_id=?` would read the whole table.
        of_item, values = ("", []) if item_id is None else (" AND item_id=?", [item_id])
        rows = await self._db.read(
            f"SELECT * FROM jobs WHERE state IN ({marks(wanted)}){of_item} AND id<? ORDER BY id DESC LIMIT ?",
            (*wanted, *values, before if before is not None else 2**62, limit),
        )
        return [_job(row) for row in rows]

    async def retry(self, job_id: JobId, now: datetime) -> Job | None:
        """Queue a job that ended or waits, as asked for."""

        async def body(connection: aiosqlite.Connection) -> Job | None:
            rows = list(
                await connection.execute_fetchall(
                    "UPDATE jobs SET tier='asked', tier_rank=0, is_held=0, attempts=0, crashes=0, sends=0, looks=0, next_try_at=?, updated_at=?,"
                    " stage=CASE WHEN state IN ('queued','parked','failed') THEN stage ELSE 'listen' END, state='queued'"
                    " WHERE id=? AND state<>'running' RETURNING *",
                    (as_ms(now), as_ms(now), job_id),
                )
            )
            if not rows:
                rows = list(await connection.execute_fetchall("SELECT * FROM jobs WHERE id=?", (job_id,)))
            if not rows:
                return None
            job = _job(rows[0])
            if job.fingerprint:
                await connection.execute(
                    "DELETE FROM settled WHERE fingerprint=? AND target=?", (job.fingerprint, str(job.target))
                )
            return job

        return await self._db.checkpoint(body)

    async def cancel(self, job_id: JobId, now: datetime) -> Job | None:
        """Cancel an open job."""
        open_states = ",".join(f"'{state.value}'" for state in sorted(OPEN_STATES))
        await self._db.write(
            f"UPDATE jobs SET state='cancelled', reason='cancelled by a person', reason_code='cancelled', updated_at=? WHERE id=? AND state IN ({open_states})",
            (as_ms(now), job_id),
        )
        return await self.get(job_id)

    async def of_source(self, server_id: ServerId, source_id: SourceId) -> Sequence[Job]:
        """All jobs of one media source."""
        rows = await self._db.read(
            "SELECT * FROM jobs WHERE server_id=? AND source_id=? ORDER BY id", (server_id, source_id)
        )
        return [_job(row) for row in rows]

    async def release_waiting_uploads(self, server_id: ServerId, source_id: SourceId, now: datetime) -> int:
        """Finished tracks of a media source that wait for each other look again now."""
        return await self._db.write(
            "UPDATE jobs SET next_try_at=? WHERE server_id=? AND source_id=? AND stage='upload' AND state='queued' AND reason_code=?",
            (as_ms(now), server_id, source_id, ReasonCode.WAITING_FOR_LANGUAGES.value),
        )

    async def position(self, job: Job) -> int:
        """How many jobs of its stage go before it."""
        rows = await self._db.read(
            "SELECT count(*) AS n FROM jobs WHERE stage=? AND state IN ('queued','parked') AND is_held=0 AND (tier_rank, -added_at, id) < (?, ?, ?)",
            (job.stage.value, job.priority.rank, -as_ms(job.added_at), job.id),
        )
        return int(rows[0]["n"])

    async def counts(self) -> Mapping[tuple[Stage, JobState], int]:
        """How many jobs stand where."""
        rows = await self._db.read("SELECT stage, state, count(*) AS n FROM jobs GROUP BY stage, state")
        return {(Stage(row["stage"]), JobState(row["state"])): row["n"] for row in rows}

    async def next_due(self, after: datetime | None = None) -> datetime | None:
        """When the first waiting job is due; with `after`, of those that are due later than that."""
        rows = await self._db.read(
            "SELECT min(next_try_at) AS at FROM jobs WHERE state IN ('queued','parked') AND is_held=0 AND next_try_at>?",
            (as_ms(after) if after else -1,),
        )
        return None if rows[0]["at"] is None else as_time(rows[0]["at"])

    async def requeue_interrupted(self, now: datetime, *, by_crash: bool = True) -> int:
        """Stages that were running are due again; after a crash each is counted that got no further since the last one."""

        async def body(connection: aiosqlite.Connection) -> int:
            rows = list(
                await connection.execute_fetchall(
                    "SELECT id, crashes, windows_at_crash, (SELECT count(*) FROM transcripts AS t JOIN windows AS w ON w.transcript_id=t.id"
                    " WHERE t.fingerprint=jobs.fingerprint) AS windows FROM jobs WHERE state='running' ORDER BY tier_rank, added_at DESC, id"
                )
            )
            suspects = 0
            for row in rows:
                crashes = (
                    row["crashes"]
                    if not by_crash
                    else 1
                    if row["windows"] > row["windows_at_crash"]
                    else row["crashes"] + 1
                )
                outcome = after_crash(crashes, suspects)
                suspects += outcome.wait > timedelta(0) or crashes == MAX_CRASHES - 1
                await connection.execute(
                    "UPDATE jobs SET state=?, crashes=?, windows_at_crash=?, next_try_at=?, updated_at=?, reason=coalesce(nullif(?, ''), reason),"
                    " reason_code=coalesce(nullif(?, ''), reason_code) WHERE id=?",
                    (
                        outcome.state.value,
                        crashes,
                        row["windows"],
                        as_ms(now + outcome.wait),
                        as_ms(now),
                        outcome.reason,
                        outcome.reason_code,
                        row["id"],
                    ),
                )
            return len(rows)

        return await self._db.checkpoint(body)

    async def unpark(self, code: str, now: datetime) -> int:
        """Jobs parked for that reason are due now."""
        return await self._db.write(
            "UPDATE jobs SET next_try_at=? WHERE state='parked' AND reason_code=? AND next_try_at>?",
            (as_ms(now), code, as_ms(now)),
        )


async def _hurry(connection: aiosqlite.Connection, job: NewJob, now: datetime) -> None:
    """A person asks for an open job: it is due now, and one that is wanted in another way begins anew; a running one does when its attempt ends."""
    key = (job.server_id, job.source_id, str(job.target))
    request = _asked_text(job.request)
    if request:
        await connection.execute(
            "UPDATE jobs SET stage='listen', attempts=0, source_ref=NULL, track_ref=NULL, ready_at=NULL, grade='', sends=0, looks=0"
            " WHERE server_id=? AND source_id=? AND target=? AND state IN ('queued','parked') AND asked<>?",
            (*key, request),
        )
    await connection.execute(
        "UPDATE jobs SET asked=?, next_try_at=?, updated_at=? WHERE server_id=? AND source_id=? AND target=? AND state IN ('queued','parked','running')",
        (request, as_ms(now), as_ms(now), *key),
    )


def _taking(job_id: int, now: datetime) -> Callable[[aiosqlite.Connection], Awaitable[Job | None]]:
    """A transaction that claims one job if it is still due."""

    async def body(connection: aiosqlite.Connection) -> Job | None:
        rows = list(
            await connection.execute_fetchall(
                "UPDATE jobs SET state='running', attempts=attempts+1, claims=claims+1, updated_at=? WHERE id=? AND state IN ('queued','parked')"
                " AND is_held=0 AND next_try_at<=? RETURNING *",
                (as_ms(now), job_id, as_ms(now)),
            )
        )
        return _job(rows[0]) if rows else None

    return body


async def _move(
    connection: aiosqlite.Connection, job: Job, request: ManualRequest, outcome: Outcome, now: datetime
) -> Job | None:
    """Let a claimed job make the move its attempt decided, unless a person has decided otherwise meanwhile."""
    if job.state is not JobState.RUNNING:
        return job if job.state is JobState.CANCELLED else None
    if job.request != request and not job.request.is_default:
        outcome = Outcome.next(Stage.ACQUIRE, "it was asked for in another way meanwhile")
    stage = outcome.stage or job.stage
    if outcome.gives_back_attempt:
        attempts = max(0, job.attempts - 1)
    else:
        attempts = job.attempts if outcome.keeps_attempts else 0
    rows = list(
        await connection.execute_fetchall(
            "UPDATE jobs SET state=?, stage=?, attempts=?, crashes=0, next_try_at=?, reason=?, reason_code=?, updated_at=?,"
            " ready_at=CASE WHEN ?='upload' THEN coalesce(ready_at, ?) WHEN ?='confirm' THEN ready_at END WHERE id=? RETURNING *",
            (
                outcome.state.value,
                stage.value,
                attempts,
                as_ms(now + outcome.wait),
                outcome.reason or job.reason,
                outcome.reason_code,
                as_ms(now),
                stage.value,
                as_ms(now),
                stage.value,
                job.id,
            ),
        )
    )
    if outcome.state is JobState.CANCELLED or (outcome.state in PROMISED and job.stage is Stage.ACQUIRE):
        # Nothing was made, so nothing changes in the library: only this tells the next complete pass that another decision may hold now.
        await connection.execute(
            "UPDATE items SET look_again=1 WHERE server_id=? AND id=? AND look_again=0",
            (job.server_id, job.item_id),
        )
    return _job(rows[0])


def _job(row: aiosqlite.Row) -> Job:
    return Job(
        id=JobId(row["id"]),
        server_id=ServerId(row["server_id"]),
        item_id=ItemId(row["item_id"]),
        source_id=SourceId(row["source_id"]),
        target=tag_of(row["target"]),
        title=row["title"],
        priority=Priority(row["tier"]),
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
        ready_at=maybe_time(row["ready_at"]),
        request=ManualRequest(**json.loads(row["asked"])) if row["asked"] else ManualRequest(),
        provenance=provenance_of(row["grade"]),
        upload_attempts=row["sends"],
        confirm_attempts=row["looks"],
        claim=row["claims"],
    )


def _asked_text(request: ManualRequest) -> str:
    return (
        ""
        if request.is_default
        else json.dumps({"source": request.source, "model": request.model, "redo": request.redo})
    )
