"""Bounded pools, one for each stage: claim, attempt, record, drain."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from fluxcaption.domain.errors import DiskLow, ItemGone, JobError, OutOfMemory, UnexpectedError
from fluxcaption.domain.jobs import Job, JobState, Outcome, Stage, Tier
from fluxcaption.domain.retry import after_failure
from fluxcaption.domain.units import JobId
from fluxcaption.logs import job_context
from fluxcaption.ports import Clock, Store

log = logging.getLogger(__name__)

StageRun = Callable[[Job], Awaitable[Outcome]]

MOST_IDLE_S = 60.0
"""The queue is looked at this often even when nothing wakes it."""

SOON = timedelta(seconds=90)
"""`--once` waits for a look at a fresh delivery that is due within this."""


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage's pool.

    Attributes:
        size: Jobs at the same time.
        gate: The last tier whose jobs may begin now; asked ones always may.
    """

    run: StageRun
    size: int
    gate: Callable[[], Tier] = lambda: Tier.BACKLOG


class Workers:
    """Works through the queue; has one reader of it, so that no wake is lost."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        stages: Mapping[Stage, StagePlan],
        *,
        has_room: Callable[[], bool] = lambda: True,
        on_change: Callable[[Job], Awaitable[None]] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._stages = stages
        self._has_room = has_room
        self._on_change = on_change
        self._wake = asyncio.Event()
        self._stopping = False
        self._running: dict[asyncio.Task[None], tuple[Stage, Job]] = {}
        self._aside: set[asyncio.Task[None]] = set()
        self._said_no_room = False

    def wake(self) -> None:
        """Look at the queue now."""
        self._wake.set()

    def stop(self) -> None:
        """Take no more work and abandon what runs; it is due again at the next start."""
        self._stopping = True
        for task in self._running:
            task.cancel()
        self._wake.set()

    def abandon(self, job_id: JobId) -> None:
        """Stop working at one job, whose state was changed by somebody."""
        for task, (_, running) in self._running.items():
            if running.id == job_id:
                task.cancel()

    def step_aside(self) -> None:
        """Stop working at what its stage's gate lets begin no more; the window in hand is heard again later."""
        for task, (stage, running) in self._running.items():
            if stage in {Stage.LISTEN, Stage.TRANSLATE} and running.tier.rank > self._stages[stage].gate().rank:
                self._aside.add(task)
                task.cancel()

    @property
    def running(self) -> int:
        """How many jobs are worked at now."""
        return len(self._running)

    async def run(self, *, until_idle: bool = False) -> None:
        """Work until `stop`; with `until_idle`, until nothing is due."""
        async with asyncio.TaskGroup() as group:
            while not self._stopping:
                self._wake.clear()
                looked_at = self._clock.now()
                claimed = await self._fill(group)
                if self._stopping:
                    break
                if until_idle and not claimed and not self._running and not await self._is_due_soon():
                    break
                await self._pause(looked_at)

    async def _fill(self, group: asyncio.TaskGroup) -> int:
        claimed = 0
        for stage, plan in self._stages.items():
            while not self._stopping and self._count(stage) < plan.size and self._may_begin(stage):
                job = await self._claim(stage, plan)
                if job is None:
                    break
                claimed += 1
                task = group.create_task(self._attempt(job, plan.run), name=f"job-{job.id}-{stage}")
                self._running[task] = (stage, job)
                task.add_done_callback(self._ended)
        return claimed

    async def _claim(self, stage: Stage, plan: StagePlan) -> Job | None:
        with suppress(DiskLow):
            return await self._store.claim(stage, self._clock.now(), plan.gate())
        return None

    def _may_begin(self, stage: Stage) -> bool:
        """Delivering frees room; making needs it."""
        if stage in {Stage.UPLOAD, Stage.CONFIRM} or self._has_room():
            if self._said_no_room and self._has_room():
                self._said_no_room = False
                log.info("there is room on the disk again: work goes on")
            return True
        if not self._said_no_room:
            self._said_no_room = True
            log.warning("too little room on the disk (limits.disk_free): no new work is begun")
        return False

    def _count(self, stage: Stage) -> int:
        return sum(1 for running, _ in self._running.values() if running is stage)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._aside.discard(task)
        self._wake.set()

    async def _is_due_soon(self) -> bool:
        due = await self._store.next_due()
        if due is None or due > self._clock.now() + SOON:
            return False
        waiting = await self._store.count_jobs()
        # Only a delivery on its way is worth waiting for; a retry is for the next run.
        return waiting.get((Stage.CONFIRM, JobState.QUEUED), 0) > 0 or (due <= self._clock.now() and self._gates_are_open())

    def _gates_are_open(self) -> bool:
        return all(plan.gate() is Tier.BACKLOG for plan in self._stages.values()) and self._has_room()

    async def _pause(self, looked_at: datetime) -> None:
        """Wait for a wake, or for what falls due; what was due at the last look waits for a place, and a job that ends wakes us."""
        due = await self._store.next_due(after=looked_at)
        seconds = MOST_IDLE_S if due is None else min(MOST_IDLE_S, (due - self._clock.now()).total_seconds())
        wake = asyncio.create_task(self._wake.wait())
        sleep = asyncio.create_task(self._clock.sleep(max(0.0, seconds)))
        try:
            await asyncio.wait({wake, sleep}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            wake.cancel()
            sleep.cancel()

    async def _attempt(self, job: Job, run: StageRun) -> None:
        with job_context(job.id):
            try:
                outcome = await run(job)
            except asyncio.CancelledError:
                if self._stopping:
                    return
                task = asyncio.current_task()
                if task in self._aside:
                    outcome = Outcome.parked(timedelta(0), "it steps aside while somebody watches, or for a quiet hour", "aside")
                else:
                    outcome = Outcome.failed("cancelled", "cancelled")
            except ItemGone as error:
                outcome = Outcome(JobState.CANCELLED, reason=str(error), reason_code=error.code)
            except JobError as error:
                outcome = after_failure(error, job.attempts)
            except MemoryError:
                outcome = after_failure(OutOfMemory("the work needed more memory than there is: choose a smaller model"), job.attempts)
            except Exception as error:
                log.exception("a stage failed unexpectedly", extra={"stage": job.stage})
                outcome = after_failure(UnexpectedError(f"unexpected {type(error).__name__}: {error}"), job.attempts)
            await self._record(job, outcome)

    async def _record(self, job: Job, outcome: Outcome) -> None:
        while True:
            try:
                after = await self._store.record(job.id, outcome, self._clock.now())
                break
            except DiskLow as error:
                log.warning("what became of a job cannot be written yet", extra={"cause": str(error)})
                await self._clock.sleep(30)
        level = logging.WARNING if after.state in {JobState.FAILED, JobState.PARKED} else logging.INFO
        log.log(level, "%s in %s: %s %s: %s", after.title, after.target, after.stage, after.state, after.reason)
        if self._on_change is not None:
            await self._on_change(after)
