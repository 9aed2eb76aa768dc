"""Bounded pools, one for each stage: claim, attempt, record, drain."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from fluxcaption.domain.errors import (
    DiskLow,
    FluxCaptionError,
    JobError,
    KeyRejected,
    OutOfMemory,
    ServiceUnreachable,
    StateError,
    UnexpectedError,
)
from fluxcaption.domain.jobs import Job, JobState, Outcome, Priority, Stage
from fluxcaption.domain.reasons import ReasonCode
from fluxcaption.domain.retry import after_failure
from fluxcaption.domain.units import JobId
from fluxcaption.logs import job_context
from fluxcaption.pipeline.queue.circuit_breaker import CircuitBreaker, Probe
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.storage import Storage

log = logging.getLogger(__name__)

StageRun = Callable[[Job], Awaitable[Outcome]]

MAX_IDLE_S = 60.0
"""The queue is looked at this often even when nothing wakes it."""

LATER_EPISODE = timedelta(seconds=90)
"""`--once` waits for a look at a fresh delivery that is due within this."""

RECORD_PAUSE_S = 30.0
"""What became of a job is kept in mind this long where it cannot be written."""

AWAY_CODES = (ServiceUnreachable.code, KeyRejected.code)


@dataclass(frozen=True, slots=True)
class StagePool:
    """One stage's pool.

    Attributes:
        size: Jobs at the same time.
        gate: The last tier whose jobs may begin now; asked ones always may.
        probe: Asks the neighbour this stage needs whether it is back; None: the next job finds out.
    """

    run: StageRun
    size: int
    lowest_priority: Callable[[], Priority] = lambda: Priority.BACKLOG
    probe: Probe | None = None


@dataclass(slots=True)
class _Attempt:
    """One claimed job in hand.

    Attributes:
        is_over: The stage is through: what is left is to write that down, which nobody may interrupt.
        ended_by: What to record where somebody ended it; None: it is handed back.
    """

    stage: Stage
    job: Job
    is_over: bool = False
    ended_by: Outcome | None = None


class WorkerPool:
    """Works through the queue; has one reader of it, so that no wake is lost."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        stages: Mapping[Stage, StagePool],
        *,
        has_free_space: Callable[[], bool] = lambda: True,
        on_change: Callable[[Job], Awaitable[None]] | None = None,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._stages = stages
        self._has_room = has_free_space
        self._on_change = on_change
        self._wake = asyncio.Event()
        self._stopping = False
        self._running: dict[asyncio.Task[None], _Attempt] = {}
        self._circuits: dict[str, CircuitBreaker] = {}
        self._probing: set[asyncio.Task[None]] = set()
        self._said_no_room = False

    def wake(self) -> None:
        """Look at the queue now."""
        self._wake.set()

    def stop(self) -> None:
        """Take no more work and hand back what runs; it is due again at the next start."""
        self._stopping = True
        for task in self._running:
            task.cancel()
        self._wake.set()

    def cancel_running(self, job_id: JobId) -> None:
        """Stop working at one job, which somebody cancelled."""
        for task, attempt in self._running.items():
            if attempt.job.id == job_id:
                self._end(
                    task,
                    attempt,
                    Outcome(
                        JobState.CANCELLED, reason="cancelled by a person", reason_code=ReasonCode.CANCELLED
                    ),
                )

    def preempt(self) -> None:
        """Stop working at what its stage's gate lets begin no more; the window in hand is heard again later."""
        for task, attempt in self._running.items():
            if (
                attempt.stage in {Stage.ACQUIRE, Stage.TRANSLATE}
                and attempt.job.priority.rank > self._stages[attempt.stage].lowest_priority().rank
            ):
                self._end(
                    task,
                    attempt,
                    Outcome.parked(
                        timedelta(0),
                        "it steps aside while somebody watches, or for a quiet hour",
                        ReasonCode.PREEMPTED,
                    ),
                )

    @staticmethod
    def _end(task: asyncio.Task[None], attempt: _Attempt, outcome: Outcome) -> None:
        if not attempt.is_over:
            attempt.ended_by = outcome
            task.cancel()

    @property
    def running(self) -> int:
        """How many jobs are worked at now."""
        return len(self._running)

    async def run(self, *, until_idle: bool = False) -> None:
        """Work until `stop`; with `until_idle`, until nothing is due."""
        self._circuits.clear()
        async with asyncio.TaskGroup() as group:
            while not self._stopping:
                self._wake.clear()
                looked_at = self._clock.now()
                await self._storage.maintenance.clamp_future_times(looked_at)
                claimed = await self._fill(group)
                if self._stopping:
                    break
                if until_idle and not claimed and not self._running and not await self._is_due_soon():
                    break
                await self._pause(looked_at)
            for task in self._probing:
                task.cancel()

    async def _fill(self, group: asyncio.TaskGroup) -> int:
        claimed = 0
        for stage, plan in self._stages.items():
            while not self._stopping and self._count(stage) < plan.size and self._may_begin(stage):
                job = await self._claim(stage, plan)
                if job is None:
                    break
                claimed += 1
                attempt = _Attempt(stage, job)
                task = group.create_task(
                    self._attempt(attempt, plan.run, group), name=f"job-{job.id}-{stage}"
                )
                self._running[task] = attempt
                task.add_done_callback(self._ended)
        return claimed

    async def _claim(self, stage: Stage, plan: StagePool) -> Job | None:
        with suppress(DiskLow):
            return await self._storage.queue.claim(stage, self._clock.now(), plan.lowest_priority())
        return None

    def _may_begin(self, stage: Stage) -> bool:
        """A neighbour that is away is waited for. Delivering frees room on the disk; making needs it."""
        if any(circuit.is_open and stage in circuit.stages for circuit in self._circuits.values()):
            return False
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
        return sum(1 for attempt in self._running.values() if attempt.stage is stage)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._wake.set()

    async def _is_due_soon(self) -> bool:
        due = await self._storage.queue.next_due()
        if due is None or due > self._clock.now() + LATER_EPISODE:
            return False
        waiting = await self._storage.queue.counts()
        # Only a delivery on its way is worth waiting for; a retry is for the next run.
        return waiting.get((Stage.CONFIRM, JobState.QUEUED), 0) > 0 or (
            due <= self._clock.now() and self._accepts_every_priority()
        )

    def _accepts_every_priority(self) -> bool:
        has_given_up = any(circuit.has_given_up for circuit in self._circuits.values())
        return (
            all(plan.lowest_priority() is Priority.BACKLOG for plan in self._stages.values())
            and self._has_room()
            and not has_given_up
        )

    async def _pause(self, looked_at: datetime) -> None:
        """Wait for a wake, or for what falls due; what was due at the last look waits for a place, and a job that ends wakes us."""
        due = await self._storage.queue.next_due(after=looked_at)
        seconds = MAX_IDLE_S if due is None else min(MAX_IDLE_S, (due - self._clock.now()).total_seconds())
        wake = asyncio.create_task(self._wake.wait())
        sleep = asyncio.create_task(self._clock.sleep(max(0.0, seconds)))
        try:
            await asyncio.wait({wake, sleep}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            wake.cancel()
            sleep.cancel()

    async def _attempt(self, attempt: _Attempt, run: StageRun, group: asyncio.TaskGroup) -> None:
        job = attempt.job
        with job_context(job.id):
            try:
                outcome = await run(job)
                self._got_through(attempt.stage)
            except asyncio.CancelledError:
                if self._stopping or attempt.ended_by is None:
                    with suppress(FluxCaptionError):
                        await self._storage.queue.record(job, Outcome.handed_back(), self._clock.now())
                    raise
                outcome = attempt.ended_by
            except (ServiceUnreachable, KeyRejected) as error:
                outcome = after_failure(error, job)
                self._service_failed(attempt.stage, error, group)
            except JobError as error:
                outcome = after_failure(error, job)
            except MemoryError:
                outcome = after_failure(
                    OutOfMemory("the work needed more memory than there is: choose a smaller model"), job
                )
            except Exception as error:
                log.exception("a stage failed unexpectedly", extra={"stage": job.stage})
                outcome = after_failure(UnexpectedError(f"unexpected {type(error).__name__}: {error}"), job)
            attempt.is_over = True
            await self._record(job, outcome)

    async def _record(self, job: Job, outcome: Outcome) -> None:
        while True:
            try:
                after = await self._storage.queue.record(job, outcome, self._clock.now())
                break
            except (DiskLow, StateError) as error:
                log.warning("what became of a job cannot be written yet", extra={"cause": str(error)})
                await self._clock.sleep(RECORD_PAUSE_S)
        if after is None:
            log.info("an attempt at a job that somebody else has taken since changes nothing")
            return
        level = (
            logging.WARNING
            if after.state in {JobState.FAILED, JobState.PARKED} and after.reason_code not in AWAY_CODES
            else logging.INFO
        )
        log.log(
            level, "%s in %s: %s %s: %s", after.title, after.target, after.stage, after.state, after.reason
        )
        if self._on_change is not None:
            try:
                await self._on_change(after)
            except FluxCaptionError as error:
                log.warning("others were not told what became of a job: %s", error)

    # -- neighbours -------------------------------------------------------------------------------------------------

    def _got_through(self, stage: Stage) -> None:
        for circuit in self._circuits.values():
            if stage in circuit.stages and not circuit.is_open:
                circuit.record_success()

    def _service_failed(
        self, stage: Stage, error: ServiceUnreachable | KeyRejected, group: asyncio.TaskGroup
    ) -> None:
        """Let the stages that need it wait; what failed at the same time is no further news."""
        circuit = self._circuits.setdefault(
            error.service, CircuitBreaker(error.service, self._stages[stage].probe)
        )
        circuit.stages.add(stage)
        if circuit.is_open:
            return
        pause_s = circuit.open(error)
        if circuit.is_new:
            log.warning("work that needs it waits: %s", error)
        task = group.create_task(self._wait_for(circuit, pause_s), name=f"wait-for-{circuit.service}")
        self._probing.add(task)
        task.add_done_callback(self._probing.discard)

    async def _wait_for(self, circuit: CircuitBreaker, pause_s: float) -> None:
        while True:
            await self._clock.sleep(pause_s)
            try:
                if circuit.probe is not None:
                    await circuit.probe()
                break
            except (ServiceUnreachable, KeyRejected) as error:
                pause_s = circuit.probe_failed(error)
                self._wake.set()
            except JobError as error:
                log.warning("%s answers strangely: %s", circuit.service, error)
                break
        if circuit.close() and circuit.probe is not None:
            log.info("%s answers again", circuit.service)
            for code in AWAY_CODES:
                with suppress(DiskLow):
                    await self._storage.queue.unpark(code, self._clock.now())
        self._wake.set()
