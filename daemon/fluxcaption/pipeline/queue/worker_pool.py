"""Worker pool: claims due jobs, runs one attempt of their stage, records the outcome, and drains at the end.

Each stage has its own number of workers. One reader claims for all stages, so that no wake-up is lost.
"""

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
from fluxcaption.domain.retry import retry_or_fail
from fluxcaption.domain.units import JobId
from fluxcaption.logs import job_context
from fluxcaption.pipeline.queue.circuit_breaker import CircuitBreaker, Probe
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.storage import JobQueue, Maintenance

log = logging.getLogger(__name__)

StageRun = Callable[[Job], Awaitable[Outcome]]

MAX_POLL_INTERVAL_S = 60.0
"""The queue is read at least this often, even without a wake-up."""

MAX_DELIVERY_WAIT = timedelta(seconds=90)
"""A run that ends by itself (`--once`) waits for a confirmation that is due within this time."""

RECORD_RETRY_DELAY_S = 30.0
"""Pause before an outcome that could not be written is written again."""

UNAVAILABLE_CODES = (ServiceUnreachable.code, KeyRejected.code)


@dataclass(frozen=True, slots=True)
class StagePool:
    """The workers of one stage.

    Attributes:
        run: Runs one attempt of the stage.
        size: Number of jobs that run at the same time.
        lowest_priority: The lowest priority that may start now.
        probe: Checks the service that the stage needs; None: the next job checks it.
    """

    run: StageRun
    size: int
    lowest_priority: Callable[[], Priority] = lambda: Priority.BACKLOG
    probe: Probe | None = None


@dataclass(slots=True)
class _Attempt:
    """One claimed job that is running.

    Attributes:
        is_finished: The stage has ended; its outcome is being recorded, which must not be interrupted.
        cancel_outcome: Outcome to record after a cancellation; None: the job is handed back.
    """

    stage: Stage
    job: Job
    is_finished: bool = False
    cancel_outcome: Outcome | None = None


class WorkerPool:
    """Runs the jobs of the queue.

    Args:
        queue: The queue of jobs.
        maintenance: Corrects times that a fast clock has written.
        clock: Source of the time.
        stages: Workers by stage; stages are served in this order.
        has_free_space: False while the disk is too full for new work.
        on_change: Called with each job after its outcome was recorded.
    """

    def __init__(
        self,
        queue: JobQueue,
        maintenance: Maintenance,
        clock: Clock,
        stages: Mapping[Stage, StagePool],
        *,
        has_free_space: Callable[[], bool] = lambda: True,
        on_change: Callable[[Job], Awaitable[None]] | None = None,
    ) -> None:
        self._queue = queue
        self._maintenance = maintenance
        self._clock = clock
        self._stages = stages
        self._has_free_space = has_free_space
        self._on_change = on_change
        self._wake = asyncio.Event()
        self._stopping = False
        self._running: dict[asyncio.Task[None], _Attempt] = {}
        self._circuits: dict[str, CircuitBreaker] = {}
        self._probing: set[asyncio.Task[None]] = set()
        self._is_disk_low = False

    # -- Control -----------------------------------------------------------------------------------

    @property
    def running(self) -> int:
        """Return the number of running jobs."""
        return len(self._running)

    def wake(self) -> None:
        """Read the queue now."""
        self._wake.set()

    def stop(self) -> None:
        """Claim no more jobs and hand the running ones back; they are due again at the next start."""
        self._stopping = True
        for task in self._running:
            task.cancel()
        self._wake.set()

    def cancel_running(self, job_id: JobId) -> None:
        """End the attempt at a job that a user has cancelled."""
        outcome = Outcome(JobState.CANCELLED, reason="cancelled by a user", reason_code=ReasonCode.CANCELLED)
        for task, attempt in self._running.items():
            if attempt.job.id == job_id:
                self._end(task, attempt, outcome)

    def preempt(self) -> None:
        """Park running jobs whose priority is not admitted any more. They repeat their current window."""
        outcome = Outcome.parked(
            timedelta(0), "paused during playback or quiet hours; resumes by itself", ReasonCode.PREEMPTED
        )
        for task, attempt in self._running.items():
            if attempt.stage in {Stage.ACQUIRE, Stage.TRANSLATE} and not self._admits(attempt):
                self._end(task, attempt, outcome)

    def _admits(self, attempt: _Attempt) -> bool:
        return attempt.job.priority.rank <= self._stages[attempt.stage].lowest_priority().rank

    @staticmethod
    def _end(task: asyncio.Task[None], attempt: _Attempt, outcome: Outcome) -> None:
        if not attempt.is_finished:
            attempt.cancel_outcome = outcome
            task.cancel()

    async def run(self, *, until_idle: bool = False) -> None:
        """Run jobs until `stop` is called.

        Args:
            until_idle: Return as soon as no job is running or due.
        """
        self._circuits.clear()
        async with asyncio.TaskGroup() as group:
            while not self._stopping:
                self._wake.clear()
                read_at = self._clock.now()
                await self._maintenance.clamp_future_times(read_at)
                claimed = await self._fill(group)
                if self._stopping:
                    break
                if until_idle and not claimed and not self._running and not await self._is_due_soon():
                    break
                await self._wait_for_work(read_at)
            for task in self._probing:
                task.cancel()

    # -- Claim -------------------------------------------------------------------------------------

    async def _fill(self, group: asyncio.TaskGroup) -> int:
        """Claim jobs until all workers are busy or nothing is due. Return the number of claimed jobs."""
        claimed = 0
        for stage, pool in self._stages.items():
            while not self._stopping and self._count(stage) < pool.size and self._may_start(stage):
                job = await self._claim(stage, pool)
                if job is None:
                    break
                claimed += 1
                attempt = _Attempt(stage, job)
                task = group.create_task(self._attempt(attempt, group), name=f"job-{job.id}-{stage}")
                self._running[task] = attempt
                task.add_done_callback(self._on_task_done)
        return claimed

    async def _claim(self, stage: Stage, pool: StagePool) -> Job | None:
        with suppress(DiskLow):
            return await self._queue.claim(stage, self._clock.now(), pool.lowest_priority())
        return None

    def _may_start(self, stage: Stage) -> bool:
        """Return False while a service that the stage needs is unavailable, or while the disk is too full."""
        if any(circuit.is_open and stage in circuit.stages for circuit in self._circuits.values()):
            return False
        # Delivery frees disk space, so a full disk must not stop it.
        return stage in {Stage.UPLOAD, Stage.CONFIRM} or self._check_free_space()

    def _check_free_space(self) -> bool:
        """Return True if the disk has room for new work. Log each change once."""
        is_low = not self._has_free_space()
        if is_low != self._is_disk_low:
            self._is_disk_low = is_low
            if is_low:
                log.warning(
                    "free disk space fell below limits.disk_free. New work is paused. Free some space"
                )
            else:
                log.info("free disk space is sufficient again, new work resumed")
        return not is_low

    def _count(self, stage: Stage) -> int:
        return sum(1 for attempt in self._running.values() if attempt.stage is stage)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._wake.set()

    async def _is_due_soon(self) -> bool:
        """Return True if a run that ends by itself must wait for another job."""
        now = self._clock.now()
        due = await self._queue.next_due()
        if due is None or due > now + MAX_DELIVERY_WAIT:
            return False
        counts = await self._queue.counts()
        # Only a confirmation is worth the wait; a retry is left to the next run.
        has_confirmation = counts.get((Stage.CONFIRM, JobState.QUEUED), 0) > 0
        return has_confirmation or (due <= now and self._may_start_any())

    def _may_start_any(self) -> bool:
        return (
            all(pool.lowest_priority() is Priority.BACKLOG for pool in self._stages.values())
            and self._has_free_space()
            and not any(circuit.has_given_up for circuit in self._circuits.values())
        )

    async def _wait_for_work(self, read_at: datetime) -> None:
        """Wait for a wake-up or the next due job.

        Jobs that were due at `read_at` wait for a free worker, and a job that ends wakes the pool.
        """
        due = await self._queue.next_due(after=read_at)
        seconds = MAX_POLL_INTERVAL_S
        if due is not None:
            seconds = min(seconds, (due - self._clock.now()).total_seconds())
        wake = asyncio.create_task(self._wake.wait())
        sleep = asyncio.create_task(self._clock.sleep(max(0.0, seconds)))
        try:
            await asyncio.wait({wake, sleep}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            wake.cancel()
            sleep.cancel()

    # -- Attempt -----------------------------------------------------------------------------------

    async def _attempt(self, attempt: _Attempt, group: asyncio.TaskGroup) -> None:
        job = attempt.job
        with job_context(job.id):
            try:
                outcome = await self._run_stage(attempt, group)
            except asyncio.CancelledError:
                if self._stopping or attempt.cancel_outcome is None:
                    with suppress(FluxCaptionError):
                        await self._queue.record(job, Outcome.handed_back(), self._clock.now())
                    raise
                outcome = attempt.cancel_outcome
            attempt.is_finished = True
            await self._record(job, outcome)

    async def _run_stage(self, attempt: _Attempt, group: asyncio.TaskGroup) -> Outcome:
        """Run the stage once and return its outcome. Every error becomes an outcome, too."""
        job = attempt.job
        try:
            outcome = await self._stages[attempt.stage].run(job)
        except (ServiceUnreachable, KeyRejected) as error:
            self._open_circuit(attempt.stage, error, group)
            return retry_or_fail(error, job)
        except JobError as error:
            return retry_or_fail(error, job)
        except MemoryError:
            return retry_or_fail(OutOfMemory("the job ran out of memory: choose a smaller model"), job)
        except Exception as error:
            log.exception("a stage failed unexpectedly", extra={"stage": job.stage})
            return retry_or_fail(UnexpectedError(f"unexpected {type(error).__name__}: {error}"), job)
        self._record_success(attempt.stage)
        return outcome

    # -- Record ------------------------------------------------------------------------------------

    async def _record(self, job: Job, outcome: Outcome) -> None:
        recorded = await self._write_outcome(job, outcome)
        if recorded is None:
            log.info("the outcome was dropped, because the job has been claimed again since")
            return
        _log_outcome(recorded)
        if self._on_change is not None:
            try:
                await self._on_change(recorded)
            except FluxCaptionError as error:
                log.warning("the listeners for job changes failed: %s", error)

    async def _write_outcome(self, job: Job, outcome: Outcome) -> Job | None:
        while True:
            try:
                return await self._queue.record(job, outcome, self._clock.now())
            except (DiskLow, StateError) as error:
                log.warning(
                    "the outcome of a job could not be written, it is written again later",
                    extra={"cause": str(error), "delay_s": RECORD_RETRY_DELAY_S},
                )
                await self._clock.sleep(RECORD_RETRY_DELAY_S)

    # -- Unavailable services ----------------------------------------------------------------------

    def _record_success(self, stage: Stage) -> None:
        for circuit in self._circuits.values():
            if stage in circuit.stages and not circuit.is_open:
                circuit.record_success()

    def _open_circuit(
        self, stage: Stage, error: ServiceUnreachable | KeyRejected, group: asyncio.TaskGroup
    ) -> None:
        """Hold back the stages that need the service; failures while the circuit is open are not counted."""
        circuit = self._circuits.setdefault(
            error.service, CircuitBreaker(error.service, self._stages[stage].probe)
        )
        circuit.stages.add(stage)
        if circuit.is_open:
            return
        delay_s = circuit.open(error)
        if circuit.is_first_failure:
            log.warning("%s. Jobs that need this service are paused and resume by themselves", error)
        task = group.create_task(self._probe(circuit, delay_s), name=f"probe-{circuit.service}")
        self._probing.add(task)
        task.add_done_callback(self._probing.discard)

    async def _probe(self, circuit: CircuitBreaker, delay_s: float) -> None:
        """Probe a service until it answers, then close its circuit and release the parked jobs."""
        while True:
            await self._clock.sleep(delay_s)
            try:
                if circuit.probe is not None:
                    await circuit.probe()
                break
            except (ServiceUnreachable, KeyRejected) as error:
                delay_s = circuit.probe_failed(error)
                self._wake.set()
            except JobError as error:
                log.warning("%s answered its probe with an error: %s", circuit.service, error)
                break
        if circuit.close() and circuit.probe is not None:
            log.info("%s is available again", circuit.service)
            for code in UNAVAILABLE_CODES:
                with suppress(DiskLow):
                    await self._queue.unpark(code, self._clock.now())
        self._wake.set()


def _log_outcome(job: Job) -> None:
    # An unavailable service is logged once, when its circuit opens.
    is_problem = job.state in {JobState.FAILED, JobState.PARKED} and job.reason_code not in UNAVAILABLE_CODES
    log.log(
        logging.WARNING if is_problem else logging.INFO,
        "%s in %s: %s %s: %s",
        job.title,
        job.target,
        job.stage,
        job.state,
        job.reason,
    )
