"""The lifecycle of the daemon: the start list, and its reverse at the end.

`Daemon.run` works until it is stopped; `run_once` scans, works until no job is due, and ends. Both open the
state and the object graph with `_open_app`.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from fluxcaption.app import App, build_app
from fluxcaption.background_tasks import BackgroundTasks
from fluxcaption.clock import SystemClock
from fluxcaption.control import DaemonControl
from fluxcaption.domain.errors import (
    DiskLow,
    KeyRejected,
    ModelMissing,
    ServerRefusesUploads,
    ServiceUnreachable,
    WriteRefused,
)
from fluxcaption.domain.jobs import Job, JobState
from fluxcaption.domain.reasons import ReasonCode
from fluxcaption.health import Health, PartState
from fluxcaption.pipeline.captioning.stages import JobProgress
from fluxcaption.pipeline.discovery.forecast_text import forecast_lines
from fluxcaption.pipeline.discovery.scan_requests import ScanRequests
from fluxcaption.pipeline.discovery.scan_run import ScanReport
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.media_server import MediaServer
from fluxcaption.schedule import Timetable
from fluxcaption.settings import Settings
from fluxcaption.storage.lock import StateLock
from fluxcaption.storage.storage import SqliteStorage
from fluxcaption.supervisor import DATABASE, Supervisor
from fluxcaption.web.api import Api
from fluxcaption.web.server import WebServer, route_table
from fluxcaption.web.webhook import Webhook

log = logging.getLogger(__name__)

OUTCOME_WORDS = {
    JobState.DONE: "done",
    JobState.SKIPPED: "skipped",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}

PARKED_CODES = (
    ServiceUnreachable.code,
    KeyRejected.code,
    ModelMissing.code,
    DiskLow.code,
    WriteRefused.code,
    ServerRefusesUploads.code,
    ReasonCode.MEDIA_AWAY,
    ReasonCode.PREEMPTED,
)
"""Reason codes of parked jobs that `--once` retries at once: the user may have fixed the cause."""


async def _open_app(
    stack: contextlib.AsyncExitStack,
    settings: Settings,
    *,
    server: MediaServer | None,
    clock: Clock | None,
    may_listen: Callable[[], bool] | None = None,
    on_progress: JobProgress | None = None,
    on_job_change: Callable[[Job], None] | None = None,
) -> App:
    """Lock and open the state, build the object graph and queue interrupted jobs again.

    The stack undoes all of it in reverse.

    Raises:
        StateError: Another process uses the state, or it cannot be opened.
    """
    lock = StateLock(settings.state)
    lock.take()
    stack.callback(lock.release)
    storage = await SqliteStorage.open(settings.state)
    stack.push_async_callback(storage.close)
    app = build_app(
        settings,
        storage,
        server=server,
        clock=clock,
        may_listen=may_listen,
        on_progress=on_progress,
        on_job_change=on_job_change,
    )
    stack.push_async_callback(app.close)
    # Engines that are destroyed at the very end of the interpreter have been seen to crash.
    stack.push_async_callback(app.engines.unload)
    await storage.queue.requeue_interrupted(app.clock.now())
    return app


@dataclass(slots=True)
class OnceReport:
    """Result of `--once`.

    Attributes:
        finished: Jobs that ended in this run, in order.
        waiting: Open jobs that are left: queued, parked or due later.
    """

    scan: ScanReport
    finished: list[Job]
    waiting: int

    @property
    def exit_code(self) -> int:
        """Return 1 if a job failed, 75 if jobs are left for a later run, else 0."""
        if any(job.state is JobState.FAILED for job in self.finished):
            return 1
        return 75 if self.waiting else 0


async def run_once(
    settings: Settings,
    print_line: Callable[[str], None],
    on_progress: JobProgress | None = None,
    *,
    server: MediaServer | None = None,
    clock: Clock | None = None,
) -> OnceReport:
    """Run one full scan and work until no job is due; no port is opened.

    Args:
        settings: The loaded configuration.
        print_line: Called with each finished job and each finding of the scan.
        on_progress: Called while a job is worked on.
        server: Replaces the library adapter that the settings name.
        clock: Replaces the system clock.
    """
    finished: list[Job] = []

    def collect_finished(job: Job) -> None:
        if job.state in OUTCOME_WORDS:
            finished.append(job)
            print_line(_job_line(job))

    async with contextlib.AsyncExitStack() as stack:
        app = await _open_app(
            stack,
            settings,
            server=server,
            clock=clock,
            on_progress=on_progress,
            on_job_change=collect_finished,
        )
        app.set_server(await app.server.connect())
        for code in PARKED_CODES:
            await app.storage.queue.unpark(code, app.clock.now())
        report = await app.scanner.scan(full=True)
        for line in _scan_lines(report):
            print_line(line)
        await app.storage.backlog.release_all(app.clock.now())
        with _stop_on_signals(app.workers.stop):
            await app.workers.run(until_idle=True)
        return OnceReport(report, finished, await _count_open_jobs(app))


def _job_line(job: Job) -> str:
    return f"{job.title} [{job.target}] {OUTCOME_WORDS[job.state]}: {job.reason}"


def _scan_lines(report: ScanReport) -> list[str]:
    """Return the unreadable files, and at the first scan the forecast."""
    lines = list(report.broken)
    if report.is_first and report.forecast:
        lines += forecast_lines(report.forecast)
    return lines


async def _count_open_jobs(app: App) -> int:
    counts = await app.storage.queue.counts()
    open_states = {JobState.QUEUED, JobState.PARKED, JobState.RUNNING}
    return sum(count for (_, state), count in counts.items() if state in open_states)


def _do_nothing() -> None:
    pass


class Daemon:
    """The long-running daemon.

    Attributes:
        app: The object graph; None before `run` opened it.
        web: The HTTP listeners; None before `run` opened them.
    """

    def __init__(
        self, settings: Settings, *, clock: Clock | None = None, server: MediaServer | None = None
    ) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._server = server
        self._stop = asyncio.Event()
        self.scan_requests = ScanRequests()
        self.health = Health(self._clock)
        self.web: WebServer | None = None
        self.app: App | None = None

    def stop(self) -> None:
        """Make `run` end; a second call changes nothing."""
        self._stop.set()

    async def run(
        self, on_ready: Callable[[], object] = _do_nothing, on_stopping: Callable[[], object] = _do_nothing
    ) -> None:
        """Start everything, work until `stop` or a signal, and stop everything in reverse.

        Args:
            on_ready: Called when every part has started.
            on_stopping: Called when the end begins.
        """
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(_stop_on_signals(self.stop))
            timetable = Timetable(self._settings.schedule)
            app = self.app = await _open_app(
                stack,
                self._settings,
                server=self._server,
                clock=self._clock,
                may_listen=timetable.may_listen,
            )
            self.health.report(DATABASE, PartState.OK)
            control = DaemonControl(app, self.health, self.scan_requests)
            await control.restore_pause()
            tasks = BackgroundTasks(app, self.health, self.scan_requests, self._stop)
            self.web = await self._open_web(stack, app, control, tasks)
            supervisor = Supervisor(self.health, self._clock, tasks.request_reconnect)
            tasks.start(await stack.enter_async_context(supervisor))
            timetable.start(
                scan=partial(self.scan_requests.request, full=False),
                full_scan=partial(self.scan_requests.request, full=True),
                every_minute=tasks.notify_minute,
            )
            stack.callback(timetable.stop)
            self.health.phase = "running"
            on_ready()
            await self._stop.wait()
            self.health.phase = "stopping"
            on_stopping()
            log.info("stopping; running jobs continue at the next start")
            app.workers.stop()

    async def _open_web(
        self, stack: contextlib.AsyncExitStack, app: App, control: DaemonControl, tasks: BackgroundTasks
    ) -> WebServer:
        secret = self._settings.web.webhook_secret
        webhook = Webhook(
            app.storage,
            self._clock,
            secret.get_secret_value() if secret else "",
            app.connected_server_id,
            tasks.notify_event,
        )
        api = Api(app.storage, self._clock, self.health, control, webhook.probes)
        web = WebServer(route_table(api, webhook))
        stack.push_async_callback(web.close)
        await web.listen(self._settings.web.listen)
        await web.listen_on_socket(self._settings.control_socket)
        return web


@contextlib.contextmanager
def _stop_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at the first SIGTERM or SIGINT; a second one kills the process."""
    loop = asyncio.get_running_loop()
    received: list[int] = []

    def handle(number: int) -> None:
        received.append(number)
        if len(received) > 1:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop()

    numbers = (signal.SIGTERM, signal.SIGINT)
    # Signal handlers exist only on the main thread of a Unix process.
    with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
        for number in numbers:
            loop.add_signal_handler(number, handle, number)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
            for number in numbers:
                loop.remove_signal_handler(number)
