"""The pools go on whatever becomes of a job, of the disk, of the database or of a neighbour; a stage here is a few lines of the test's own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fluxcaption.domain.cues import Transcript
from fluxcaption.domain.errors import DiskLow, ItemGone, KeyRejected, ServiceUnreachable, StateError
from fluxcaption.domain.jobs import Job, JobState, NewJob, Outcome, Priority, Stage
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import AudioTrack, MediaIdentity
from fluxcaption.domain.units import Fingerprint, ItemId, Ms, ServerId, SourceId
from fluxcaption.pipeline.captioning.transcriber import Transcriber
from fluxcaption.pipeline.queue.worker_pool import StagePool, WorkerPool
from fluxcaption.ports.media import MediaLocation
from fluxcaption.storage.database import Database
from fluxcaption.storage.job_queue import JobQueueQueries
from fluxcaption.storage.maintenance import MaintenanceQueries
from fluxcaption.storage.storage import SqliteStorage

from tests.fakes.clock import START, FastClock, SimulatedClock

AWAY = ServiceUnreachable("Jellyfin", "http://server", "the connection is refused", was_sent=False)
BROKEN = ServiceUnreachable("Jellyfin", "http://server", "status 500")


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[SqliteStorage]:
    opened = await SqliteStorage.open(tmp_path)
    yield opened
    await opened.close()


async def gaps(storage: SqliteStorage, count: int, priority: Priority = Priority.NEW) -> None:
    new = [
        NewJob(
            ServerId("v"),
            ItemId(f"i{n}"),
            SourceId(f"s{n}"),
            LanguageTag("de"),
            f"Film {n}",
            priority,
            START - timedelta(days=n),
            "gap",
        )
        for n in range(count)
    ]
    await storage.jobs.add(new, START)


@asynccontextmanager
async def working(workers: WorkerPool) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(workers.run())
    try:
        yield task
    finally:
        workers.stop()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.01)


async def states(storage: SqliteStorage) -> dict[str, JobState]:
    return {job.source_id: job.state for job in await storage.jobs.page(limit=500)}


async def all_are(storage: SqliteStorage, state: JobState) -> bool:
    return set((await states(storage)).values()) == {state}


class Held:
    """A stage that works until it is told to end, and takes its time to be cancelled."""

    def __init__(self) -> None:
        self.started: list[Job] = []
        self.go_on = asyncio.Event()
        self.let_go = asyncio.Event()

    async def run(self, job: Job) -> Outcome:
        self.started.append(job)
        try:
            await self.go_on.wait()
        finally:
            await self.let_go.wait()
        return Outcome.done("made")

    async def has_started(self, count: int) -> None:
        async def enough() -> bool:
            return len(self.started) >= count

        await until(enough)


async def test_a_job_cancelled_and_asked_for_again_before_its_attempt_ends_is_made_once_more(
    storage: SqliteStorage,
) -> None:
    stage = Held()
    await gaps(storage, 1)
    workers = WorkerPool(
        storage.queue, storage.maintenance, FastClock(), {Stage.ACQUIRE: StagePool(stage.run, 2)}
    )
    async with working(workers) as pool:
        await stage.has_started(1)
        job = stage.started[0]
        await storage.jobs.cancel(job.id, START)
        workers.cancel_running(job.id)
        await storage.jobs.retry(job.id, START)
        workers.wake()
        await stage.has_started(2)
        stage.go_on.set()
        stage.let_go.set()
        await until(lambda: all_are(storage, JobState.DONE))
        assert not pool.done()


async def test_a_job_whose_record_is_gone_ends_nothing(storage: SqliteStorage) -> None:
    stage = Held()
    stage.let_go.set()
    await gaps(storage, 2)
    async with working(
        WorkerPool(storage.queue, storage.maintenance, FastClock(), {Stage.ACQUIRE: StagePool(stage.run, 1)})
    ) as pool:
        await stage.has_started(1)
        await storage.database.write("DELETE FROM jobs WHERE id=:id", {"id": stage.started[0].id})
        stage.go_on.set()
        await until(lambda: all_are(storage, JobState.DONE))
        assert not pool.done()


async def test_news_of_a_job_that_cannot_be_passed_on_end_nothing(storage: SqliteStorage) -> None:
    async def made(job: Job) -> Outcome:
        return Outcome.done("made")

    async def refused(job: Job) -> None:
        raise DiskLow("/state")

    await gaps(storage, 3)
    async with working(
        WorkerPool(
            storage.queue,
            storage.maintenance,
            FastClock(),
            {Stage.ACQUIRE: StagePool(made, 1)},
            on_change=refused,
        )
    ) as pool:
        await until(lambda: all_are(storage, JobState.DONE))
        assert not pool.done()


class FailingQueue(JobQueueQueries):
    """A job queue whose records can be told to fail."""

    records_fail = 0

    async def record(self, job: Job, outcome: Outcome, now: datetime) -> Job | None:
        if self.records_fail:
            self.records_fail -= 1
            raise DiskLow("/state")
        return await super().record(job, outcome, now)


class FailingMaintenance(MaintenanceQueries):
    """Maintenance that can be told to fail."""

    fails = False

    async def clamp_future_times(self, now: datetime) -> None:
        if self.fails:
            raise StateError("database is locked")


class Failing(SqliteStorage):
    """Storage that can be told to fail."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.failing_queue = FailingQueue(database)
        self.queue = self.failing_queue
        self.failing_maintenance = FailingMaintenance(database)
        self.maintenance = self.failing_maintenance


async def test_a_database_that_fails_the_queue_costs_no_job_its_place(tmp_path: Path) -> None:
    storage = await Failing.open(tmp_path)
    stage = Held()
    stage.let_go.set()
    await gaps(storage, 2)
    workers = WorkerPool(
        storage.queue, storage.maintenance, FastClock(), {Stage.ACQUIRE: StagePool(stage.run, 2)}
    )
    async with working(workers) as pool:
        await stage.has_started(2)
        assert isinstance(storage, Failing)
        storage.failing_maintenance.fails = True
        workers.wake()
        await asyncio.wait({pool}, timeout=10)
        assert pool.done()
    assert await all_are(storage, JobState.QUEUED)
    assert [job.attempts for job in await storage.jobs.page()] == [0, 0]
    await storage.close()


async def test_what_became_of_a_job_is_written_once_the_disk_has_room_even_if_it_is_to_step_aside_meanwhile(
    tmp_path: Path,
) -> None:
    storage = await Failing.open(tmp_path)
    assert isinstance(storage, Failing)
    storage.failing_queue.records_fail = 1
    clock = SimulatedClock()
    priority = Priority.BACKLOG

    async def made(job: Job) -> Outcome:
        return Outcome.done("made")

    async def was_refused() -> bool:
        return storage.failing_queue.records_fail == 0

    await gaps(storage, 1)
    workers = WorkerPool(
        storage.queue, storage.maintenance, clock, {Stage.ACQUIRE: StagePool(made, 1, lambda: priority)}
    )
    async with working(workers):
        await until(was_refused)
        priority = Priority.REQUESTED
        workers.preempt()
        await clock.run_for(timedelta(seconds=31))
        await until(lambda: all_are(storage, JobState.DONE))
    await storage.close()


async def test_an_end_by_signal_counts_as_no_crash(storage: SqliteStorage) -> None:
    await gaps(storage, 1)
    for _ in range(4):
        stage = Held()
        stage.let_go.set()
        async with working(
            WorkerPool(
                storage.queue, storage.maintenance, FastClock(), {Stage.ACQUIRE: StagePool(stage.run, 1)}
            )
        ):
            await stage.has_started(1)
            assert stage.started[0].attempts == 1
        await storage.queue.requeue_interrupted(START)
    assert await all_are(storage, JobState.QUEUED)


async def test_an_item_that_is_away_for_a_moment_keeps_its_job(storage: SqliteStorage) -> None:
    confirm_attempts: list[Job] = []

    async def find(job: Job) -> Outcome:
        confirm_attempts.append(job)
        if job.source_id == "s0" and len(confirm_attempts) > 2:
            return Outcome.done("made")
        raise ItemGone(job.item_id)

    await gaps(storage, 2)
    clock = FastClock()
    async with working(
        WorkerPool(storage.queue, storage.maintenance, clock, {Stage.ACQUIRE: StagePool(find, 1)})
    ):

        async def ended() -> bool:
            return await states(storage) == {"s0": JobState.DONE, "s1": JobState.CANCELLED}

        await until(ended)
    assert len(confirm_attempts) == 4
    assert clock.now() >= START + timedelta(seconds=60)


class Neighbour:
    """Can be away; counts who asks."""

    def __init__(self, error: ServiceUnreachable | KeyRejected | None) -> None:
        self.error = error
        self.request = 0

    async def answer(self, *_: object) -> None:
        self.request += 1
        if self.error is not None:
            raise self.error

    async def stage(self, job: Job) -> Outcome:
        await self.answer()
        return Outcome.done("made")


@pytest.mark.parametrize(
    ("error", "most"),
    [
        (AWAY, 152),
        (BROKEN, 62),
        (KeyRejected("Jellyfin", "http://server"), 12),
        (ServiceUnreachable("Jellyfin", "http://server", "status 429", retry_after_s=300), 4),
    ],
)
async def test_a_neighbour_that_is_away_for_ten_minutes_is_asked_seldom_and_the_queue_drains_after_its_return(
    error: ServiceUnreachable | KeyRejected, most: int, storage: SqliteStorage
) -> None:
    neighbour = Neighbour(error)
    await gaps(storage, 50)
    clock = SimulatedClock()
    plans = {
        Stage.ACQUIRE: StagePool(neighbour.stage, 1, probe=neighbour.answer),
        Stage.UPLOAD: StagePool(neighbour.stage, 2, probe=neighbour.answer),
    }
    async with working(WorkerPool(storage.queue, storage.maintenance, clock, plans)):
        await until(lambda: _is(neighbour.request > 0))
        await clock.run_for(timedelta(minutes=10))
        assert 1 < neighbour.request <= most
        away = [job for job in await storage.jobs.page(limit=100) if job.state is JobState.PARKED]
        assert len(away) == 1, "the others never set out"
        neighbour.error = None
        await clock.run_for(timedelta(seconds=5) if error is AWAY else timedelta(minutes=6))
        await until(lambda: all_are(storage, JobState.DONE))


async def _is(value: bool) -> bool:
    return value


async def test_one_title_that_a_neighbour_cannot_serve_holds_the_others_up_for_seconds(
    storage: SqliteStorage,
) -> None:
    async def serve(job: Job) -> Outcome:
        if job.source_id == "s0":
            raise BROKEN
        return Outcome.done("made")

    async def answers() -> None:
        return

    await gaps(storage, 20)
    clock = SimulatedClock()

    async def others_are_done() -> bool:
        return sum(state is JobState.DONE for state in (await states(storage)).values()) == 19

    async with working(
        WorkerPool(
            storage.queue, storage.maintenance, clock, {Stage.ACQUIRE: StagePool(serve, 1, probe=answers)}
        )
    ):
        await until(lambda: _failed_once(storage))
        await clock.run_for(timedelta(seconds=13))
        await until(others_are_done)


async def _failed_once(storage: SqliteStorage) -> bool:
    return JobState.PARKED in (await states(storage)).values()


async def test_a_run_that_ends_by_itself_does_not_wait_long_for_a_neighbour(storage: SqliteStorage) -> None:
    neighbour = Neighbour(BROKEN)
    await gaps(storage, 20)
    clock = FastClock()
    async with asyncio.timeout(10):
        await WorkerPool(
            storage.queue,
            storage.maintenance,
            clock,
            {Stage.ACQUIRE: StagePool(neighbour.stage, 1, probe=neighbour.answer)},
        ).run(until_idle=True)
    assert neighbour.request == 3
    assert clock.now() < START + timedelta(minutes=3)


async def test_one_sound_is_heard_by_one_at_a_time_though_one_who_waited_gives_up() -> None:
    at_once: list[int] = []
    hearing = 0

    class Counting(Transcriber):
        async def _transcribe_locked(self, *_: object) -> Transcript:
            nonlocal hearing
            hearing += 1
            at_once.append(hearing)
            try:
                await go_on.wait()
            finally:
                hearing -= 1
            return Transcript(LanguageTag("de"), ())

    go_on = asyncio.Event()
    transcriber = Counting(None)  # type: ignore[arg-type]

    def transcribe() -> asyncio.Task[Transcript]:
        return asyncio.create_task(
            transcriber.transcribe(
                MediaLocation("/film"), AudioTrack(0, None), MediaIdentity(Fingerprint("f"), 1, Ms(1)), 1
            )
        )

    first, second = transcribe(), transcribe()
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    third = transcribe()
    for _ in range(5):
        await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(second, third)
    assert at_once == [1, 1, 1]
