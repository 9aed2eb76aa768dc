"""The worker pool with stages of a few lines: it survives faults of jobs, disk, database and services."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fluxcaption.domain.cues import Transcript
from fluxcaption.domain.errors import DiskLow, ItemGone, KeyRejected, ServiceUnreachable, StateError
from fluxcaption.domain.jobs import Job, JobState, NewJob, Outcome, Priority, Stage
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import AudioTrack, MediaIdentity
from fluxcaption.domain.transcripts import SavedTranscript, TranscriptKey
from fluxcaption.domain.units import Fingerprint, ItemId, Ms, ServerId, SourceId
from fluxcaption.engines import build_engines, build_transcriber
from fluxcaption.pipeline.queue.worker_pool import StagePool, WorkerPool
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.media import MediaLocation
from fluxcaption.settings import LocalSpeech
from fluxcaption.storage.database import Database
from fluxcaption.storage.job_queue import JobQueueQueries
from fluxcaption.storage.maintenance import MaintenanceQueries
from fluxcaption.storage.storage import SqliteStorage
from fluxcaption.storage.transcripts import TranscriptTables

from tests.fakes.clock import START, FastClock, SimulatedClock
from tests.support.waiting import wait_until

UNREACHABLE = ServiceUnreachable("Jellyfin", "http://server", "the connection is refused", was_sent=False)
BROKEN = ServiceUnreachable("Jellyfin", "http://server", "status 500")


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[SqliteStorage]:
    """Yield the storage of one test, on a new state file."""
    opened = await SqliteStorage.open(tmp_path)
    yield opened
    await opened.close()


async def add_jobs(storage: SqliteStorage, count: int) -> None:
    """Add jobs for the media sources `s0`, `s1` and so on; `s0` is claimed first."""
    new_jobs = [
        NewJob(
            ServerId("v"),
            ItemId(f"i{number}"),
            SourceId(f"s{number}"),
            LanguageTag("de"),
            f"Film {number}",
            Priority.NEW,
            START - timedelta(days=number),
            "gap",
        )
        for number in range(count)
    ]
    await storage.jobs.add(new_jobs, START)


def pool_of(storage: SqliteStorage, stage_pool: StagePool, clock: Clock | None = None) -> WorkerPool:
    """Return a worker pool for the stage `acquire` alone."""
    return WorkerPool(storage.queue, storage.maintenance, clock or FastClock(), {Stage.ACQUIRE: stage_pool})


@asynccontextmanager
async def running(workers: WorkerPool) -> AsyncIterator[asyncio.Task[None]]:
    """Run a worker pool for the length of the block."""
    task = asyncio.create_task(workers.run())
    try:
        yield task
    finally:
        workers.stop()
        await asyncio.gather(task, return_exceptions=True)


async def states(storage: SqliteStorage) -> dict[str, JobState]:
    """Return the state of each job by media source."""
    return {job.source_id: job.state for job in await storage.jobs.page(limit=500)}


async def all_are(storage: SqliteStorage, state: JobState) -> bool:
    """Return True if every job has this state."""
    return set((await states(storage)).values()) == {state}


async def wait_for_all_done(storage: SqliteStorage) -> None:
    """Wait until every job is done."""

    async def all_jobs_are_done() -> bool:
        return await all_are(storage, JobState.DONE)

    await wait_until(all_jobs_are_done)


async def succeed(job: Job) -> Outcome:
    """End a job as a stage that has no faults."""
    return Outcome.done("made")


class BlockedStage:
    """A stage whose attempts wait for the test.

    Attributes:
        started: Jobs whose attempts have started.
        may_finish: Lets attempts end with success.
        may_end: Lets attempts end at all, also cancelled ones.
    """

    def __init__(self, *, ends_at_once: bool = True) -> None:
        self.started: list[Job] = []
        self.may_finish = asyncio.Event()
        self.may_end = asyncio.Event()
        if ends_at_once:
            self.may_end.set()

    async def run(self, job: Job) -> Outcome:
        self.started.append(job)
        try:
            await self.may_finish.wait()
        finally:
            await self.may_end.wait()
        return Outcome.done("made")

    async def wait_for_attempts(self, count: int) -> None:
        await wait_until(lambda: len(self.started) >= count)


# -- Faults around one job -------------------------------------------------------------------------


async def test_job_retried_before_its_cancelled_attempt_ends_runs_once_more(storage: SqliteStorage) -> None:
    stage = BlockedStage(ends_at_once=False)
    await add_jobs(storage, 1)
    workers = pool_of(storage, StagePool(stage.run, 2))
    async with running(workers) as task:
        await stage.wait_for_attempts(1)
        job = stage.started[0]
        await storage.jobs.cancel(job.id, START)
        workers.cancel_running(job.id)
        await storage.jobs.retry(job.id, START)
        workers.wake()
        await stage.wait_for_attempts(2)
        stage.may_finish.set()
        stage.may_end.set()
        await wait_for_all_done(storage)
        assert not task.done()


async def test_job_deleted_during_its_attempt_does_not_stop_the_pool(storage: SqliteStorage) -> None:
    stage = BlockedStage()
    await add_jobs(storage, 2)
    async with running(pool_of(storage, StagePool(stage.run, 1))) as task:
        await stage.wait_for_attempts(1)
        await storage.database.write("DELETE FROM jobs WHERE id=:id", {"id": stage.started[0].id})
        stage.may_finish.set()
        await wait_for_all_done(storage)
        assert not task.done()


async def test_failing_job_change_hook_does_not_stop_the_pool(storage: SqliteStorage) -> None:
    async def fail(job: Job) -> None:
        raise DiskLow("/state")

    await add_jobs(storage, 3)
    stages = {Stage.ACQUIRE: StagePool(succeed, 1)}
    workers = WorkerPool(storage.queue, storage.maintenance, FastClock(), stages, on_change=fail)
    async with running(workers) as task:
        await wait_for_all_done(storage)
        assert not task.done()


async def test_end_by_signal_is_not_counted_as_an_attempt(storage: SqliteStorage) -> None:
    await add_jobs(storage, 1)
    for _ in range(4):
        stage = BlockedStage()
        async with running(pool_of(storage, StagePool(stage.run, 1))):
            await stage.wait_for_attempts(1)
            assert stage.started[0].attempts == 1
        await storage.queue.requeue_interrupted(START)
    assert await all_are(storage, JobState.QUEUED)


async def test_item_missing_for_a_moment_keeps_its_job(storage: SqliteStorage) -> None:
    attempts: list[Job] = []

    async def find_item(job: Job) -> Outcome:
        attempts.append(job)
        if job.source_id == "s0" and len(attempts) > 2:
            return Outcome.done("made")
        raise ItemGone(job.item_id)

    await add_jobs(storage, 2)
    clock = FastClock()
    async with running(pool_of(storage, StagePool(find_item, 1), clock)):

        async def only_the_missing_one_is_cancelled() -> bool:
            return await states(storage) == {"s0": JobState.DONE, "s1": JobState.CANCELLED}

        await wait_until(only_the_missing_one_is_cancelled)
    assert len(attempts) == 4
    assert clock.now() >= START + timedelta(seconds=60)


# -- Faults of the database ------------------------------------------------------------------------


class FailingQueue(JobQueueQueries):
    """A job queue whose first writes of an outcome fail.

    Attributes:
        failures_left: Number of writes that fail.
    """

    failures_left = 0

    async def record(self, job: Job, outcome: Outcome, now: datetime) -> Job | None:
        if self.failures_left:
            self.failures_left -= 1
            raise DiskLow("/state")
        return await super().record(job, outcome, now)


class FailingMaintenance(MaintenanceQueries):
    """Maintenance that fails on demand."""

    is_failing = False

    async def clamp_future_times(self, now: datetime) -> None:
        if self.is_failing:
            raise StateError("database is locked")


async def test_failing_database_keeps_the_jobs_and_their_attempts(storage: SqliteStorage) -> None:
    maintenance = FailingMaintenance(storage.database)
    stage = BlockedStage()
    await add_jobs(storage, 2)
    workers = WorkerPool(storage.queue, maintenance, FastClock(), {Stage.ACQUIRE: StagePool(stage.run, 2)})
    async with running(workers) as task:
        await stage.wait_for_attempts(2)
        maintenance.is_failing = True
        workers.wake()
        await asyncio.wait({task}, timeout=10)
        assert task.done()
    assert await all_are(storage, JobState.QUEUED)
    assert [job.attempts for job in await storage.jobs.page()] == [0, 0]


async def test_outcome_refused_by_a_full_disk_is_written_despite_preemption(storage: SqliteStorage) -> None:
    queue = FailingQueue(storage.database)
    queue.failures_left = 1
    clock = SimulatedClock()
    lowest_priority = Priority.BACKLOG
    await add_jobs(storage, 1)
    stages = {Stage.ACQUIRE: StagePool(succeed, 1, lambda: lowest_priority)}
    workers = WorkerPool(queue, storage.maintenance, clock, stages)
    async with running(workers):
        await wait_until(lambda: queue.failures_left == 0)
        lowest_priority = Priority.REQUESTED
        workers.preempt()
        await clock.run_for(timedelta(seconds=31))
        await wait_for_all_done(storage)


# -- Unavailable services --------------------------------------------------------------------------


class Service:
    """A service that fails on demand.

    Attributes:
        error: Error of each request; None: requests succeed.
        requests: Number of requests.
    """

    def __init__(self, error: ServiceUnreachable | KeyRejected | None) -> None:
        self.error = error
        self.requests = 0

    async def request(self, *_: object) -> None:
        self.requests += 1
        if self.error is not None:
            raise self.error

    async def run_stage(self, job: Job) -> Outcome:
        await self.request()
        return Outcome.done("made")


@pytest.mark.parametrize(
    ("error", "max_requests"),
    [
        (UNREACHABLE, 152),
        (BROKEN, 62),
        (KeyRejected("Jellyfin", "http://server"), 12),
        (ServiceUnreachable("Jellyfin", "http://server", "status 429", retry_after_s=300), 4),
    ],
    ids=["unreachable", "broken", "key rejected", "retry after"],
)
async def test_unavailable_service_gets_few_requests_and_the_queue_drains_later(
    error: ServiceUnreachable | KeyRejected, max_requests: int, storage: SqliteStorage
) -> None:
    service = Service(error)
    await add_jobs(storage, 50)
    clock = SimulatedClock()
    stages = {
        Stage.ACQUIRE: StagePool(service.run_stage, 1, probe=service.request),
        Stage.UPLOAD: StagePool(service.run_stage, 2, probe=service.request),
    }
    async with running(WorkerPool(storage.queue, storage.maintenance, clock, stages)):
        await wait_until(lambda: service.requests > 0)
        await clock.run_for(timedelta(minutes=10))
        assert 1 < service.requests <= max_requests
        parked = [job for job in await storage.jobs.page(limit=100) if job.state is JobState.PARKED]
        assert len(parked) == 1, "the other jobs never started"
        service.error = None
        await clock.run_for(timedelta(seconds=5) if error is UNREACHABLE else timedelta(minutes=6))
        await wait_for_all_done(storage)


async def test_one_title_that_a_service_refuses_delays_the_others_by_seconds(storage: SqliteStorage) -> None:
    async def refuse_first(job: Job) -> Outcome:
        if job.source_id == "s0":
            raise BROKEN
        return Outcome.done("made")

    async def probe() -> None:
        return

    async def one_is_parked() -> bool:
        return JobState.PARKED in (await states(storage)).values()

    async def others_are_done() -> bool:
        return list((await states(storage)).values()).count(JobState.DONE) == 19

    await add_jobs(storage, 20)
    clock = SimulatedClock()
    async with running(pool_of(storage, StagePool(refuse_first, 1, probe=probe), clock)):
        await wait_until(one_is_parked)
        await clock.run_for(timedelta(seconds=13))
        await wait_until(others_are_done)


async def test_run_until_idle_does_not_wait_long_for_a_service(storage: SqliteStorage) -> None:
    service = Service(BROKEN)
    await add_jobs(storage, 20)
    clock = FastClock()
    workers = pool_of(storage, StagePool(service.run_stage, 1, probe=service.request), clock)
    async with asyncio.timeout(10):
        await workers.run(until_idle=True)
    assert service.requests == 3
    assert clock.now() < START + timedelta(minutes=3)


# -- Shared transcription --------------------------------------------------------------------------


class BlockedTranscripts(TranscriptTables):
    """Stored transcripts whose reads wait for the test.

    Attributes:
        reads: Number of reads that have started.
        concurrent: Number of reads in progress.
        max_concurrent: Highest number of reads that were in progress at the same time.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.may_finish = asyncio.Event()
        self.reads = self.concurrent = self.max_concurrent = 0

    async def get(self, key: TranscriptKey) -> SavedTranscript:
        self.reads += 1
        self.concurrent += 1
        self.max_concurrent = max(self.max_concurrent, self.concurrent)
        try:
            await self.may_finish.wait()
        finally:
            self.concurrent -= 1
        return SavedTranscript(1, LanguageTag("de"), is_complete=True, transcribed_until=Ms(0), windows=())


async def test_one_track_is_transcribed_by_one_job_at_a_time_despite_a_cancellation(
    storage: SqliteStorage,
) -> None:
    transcripts = BlockedTranscripts(storage.database)
    storage.transcripts = transcripts
    engines = build_engines(LocalSpeech(type="local", model="miniature"), [], threads=1, jobs=1, nice=0)
    transcriber = build_transcriber(engines, storage)

    def transcribe() -> asyncio.Task[Transcript]:
        identity = MediaIdentity(Fingerprint("f"), 1, Ms(1))
        location, track = MediaLocation("/film"), AudioTrack(0, None)
        return asyncio.create_task(transcriber.transcribe(location, track, identity, 1))

    first = transcribe()
    await wait_until(lambda: transcripts.reads == 1)
    second = transcribe()
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    third = transcribe()
    await wait_until(lambda: transcripts.reads == 2)
    # Without a lock, the third job would start within this time.
    await asyncio.sleep(0.1)
    transcripts.may_finish.set()
    await asyncio.gather(second, third)
    assert (transcripts.reads, transcripts.max_concurrent) == (3, 1)
    await engines.close()
