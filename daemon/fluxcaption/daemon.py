"""The daemon's life: what starts, in order, and the same list backwards at the end."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fluxcaption.app import App, build_app, has_free_space
from fluxcaption.clock import SystemClock
from fluxcaption.domain.errors import JobError, ModelMissing, UsageError
from fluxcaption.domain.gaps import Decision
from fluxcaption.domain.jobs import Job, JobState, ManualRequest
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import ItemId, Ms
from fluxcaption.health import Health, PartState
from fluxcaption.malloc import trim_memory
from fluxcaption.pipeline.discovery.forecast_text import forecast_lines
from fluxcaption.pipeline.discovery.scan_requests import ScanRequests
from fluxcaption.pipeline.discovery.scanner import ScanReport
from fluxcaption.pipeline.explain import explain
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.media_server import MediaServer
from fluxcaption.ports.speech import Recognizer
from fluxcaption.ports.storage import Storage
from fluxcaption.ports.translation import Translator
from fluxcaption.schedule import Timetable
from fluxcaption.settings import Settings
from fluxcaption.storage.lock import StateLock
from fluxcaption.storage.storage import SqliteStorage
from fluxcaption.supervisor import SERVER, Supervisor
from fluxcaption.web.api import Api, AskBody
from fluxcaption.web.server import WebServer, route_table
from fluxcaption.web.webhook import Webhook

log = logging.getLogger(__name__)

PAUSED_KEY = "paused"
GATHER_S = 1.0
PATH_MAP = "path_map"
WATCH_S, IDLE_WATCH_S, LIBRARY_LOOK_S = 20.0, 60.0, 60.0
"""How often the server is asked who watches (contract 11: every 15 to 30 s while there is work) and whether its library scan has ended."""


@dataclass(slots=True)
class OnceReport:
    """What `--once` did.

    Attributes:
        finished: Jobs that ended in this run, in order.
        waiting: Open jobs that are left, parked or to be tried later.
    """

    scan: ScanReport
    finished: list[Job]
    waiting: int

    @property
    def exit_code(self) -> int:
        """0 done, 1 something failed, 75 something waits for a neighbour."""
        if any(job.state is JobState.FAILED for job in self.finished):
            return 1
        return 75 if self.waiting else 0


async def run_once(
    settings: Settings,
    say: Callable[[str], None],
    progress: Callable[[Job, Ms, Ms], None] | None = None,
    *,
    server: MediaServer | None = None,
    clock: Clock | None = None,
) -> OnceReport:
    """Make one full scan, work until nothing is due, open no port."""
    async with contextlib.AsyncExitStack() as stack:
        storage = await _open_state(stack, settings)
        finished: list[Job] = []

        def note(job: Job) -> None:
            if job.state in {JobState.DONE, JobState.SKIPPED, JobState.FAILED, JobState.CANCELLED}:
                finished.append(job)
                say(describe(job))

        app = build_app(settings, storage, server=server, clock=clock, progress=progress, finished=note)
        stack.push_async_callback(app.close)
        _give_back_memory_at_end(stack, app)
        app.set_server(await app.server.connect())
        await storage.queue.requeue_interrupted(app.clock.now())
        # A person who says `--once` stands beside it: whatever waited for a neighbour is tried now.
        for code in (
            "service-unreachable",
            "key-rejected",
            "model-missing",
            "disk-low",
            "write-refused",
            "server-refuses-uploads",
            "media-away",
            "aside",
        ):
            await storage.queue.unpark(code, app.clock.now())
        report = await app.scanner.scan(full=True)
        for line in [
            *report.broken,
            *(forecast_lines(report.forecast) if report.is_first and report.forecast else ()),
        ]:
            say(line)
        await storage.backlog.release_all(app.clock.now())
        with _signals(app.workers.stop):
            await app.workers.run(until_idle=True)
        counts = await storage.queue.counts()
        waiting = sum(
            count
            for (_, state), count in counts.items()
            if state in {JobState.QUEUED, JobState.PARKED, JobState.RUNNING}
        )
        return OnceReport(report, finished, waiting)


def describe(job: Job) -> str:
    """One finished job as a line for people."""
    word = {
        JobState.DONE: "done",
        JobState.SKIPPED: "nothing to make",
        JobState.FAILED: "failed",
        JobState.CANCELLED: "dropped",
    }[job.state]
    return f"{job.title} [{job.target}] {word}: {job.reason}"


class Daemon:
    """Runs until it is told to stop."""

    def __init__(
        self, settings: Settings, *, clock: Clock | None = None, server: MediaServer | None = None
    ) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._given_server = server
        self._stop = asyncio.Event()
        self._new_event = asyncio.Event()
        self._minute = asyncio.Event()
        self._greet = asyncio.Event()
        self._scan_requests = ScanRequests()
        self._idle_since: float | None = None
        self._is_paused = False
        self._is_path_map_wrong = False
        self.health = Health(self._clock)
        self.web: WebServer | None = None
        self.app: App | None = None

    def stop(self) -> None:
        """Begin the end; a second call changes nothing."""
        self._stop.set()

    async def run(
        self, on_ready: Callable[[], object] = lambda: None, on_stopping: Callable[[], object] = lambda: None
    ) -> None:
        """Start everything, work, and stop everything in reverse."""
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(_signals(self.stop))
            storage = await _open_state(stack, self._settings)
            self.health.report("database", PartState.OK)
            if await storage.state_values.get(PAUSED_KEY) == "yes":
                self._note_paused(True)
            timetable = Timetable(self._settings.schedule)
            app = build_app(
                self._settings,
                storage,
                server=self._given_server,
                clock=self._clock,
                may_listen=timetable.may_listen,
                may_work=lambda: not self._is_paused,
            )
            self.app = app
            stack.push_async_callback(app.close)
            _give_back_memory_at_end(stack, app)
            await storage.queue.requeue_interrupted(self._clock.now())
            self.web = await self._open_web(stack, app)
            supervisor = await stack.enter_async_context(
                Supervisor(self.health, self._clock, self._greet.set)
            )
            for wake in (self._greet, self._minute, self._new_event):
                wake.set()
            supervisor.supervise(lambda: self._meet_server(app), SERVER)
            supervisor.supervise(lambda: self._work(app), "workers")
            supervisor.supervise(lambda: self._follow_events(app), "events")
            supervisor.supervise(
                lambda: self._scan_requests.serve(lambda full: self._scan(app, full=full)), "scans"
            )
            supervisor.supervise(lambda: self._watch_viewers(app), "viewers")
            supervisor.supervise(lambda: self._watch_library(app), "library")
            supervisor.supervise(lambda: self._every_minute(app), "minute")
            supervisor.supervise(lambda: self._unload_when_idle(app), "unload")
            supervisor.run_once(self._look_at_models(app), "models")
            timetable.start(
                scan=lambda: self._scan_requests.request(full=False),
                full_scan=lambda: self._scan_requests.request(full=True),
                every_minute=self._minute.set,
            )
            stack.callback(timetable.stop)
            self.health.phase = "running"
            on_ready()
            await self._stop.wait()
            self.health.phase = "stopping"
            on_stopping()
            log.info("stopping: work in hand goes on at the next start")
            app.workers.stop()

    async def _open_web(self, stack: contextlib.AsyncExitStack, app: App) -> WebServer:
        secret = self._settings.web.webhook_secret
        webhook = Webhook(
            app.storage,
            self._clock,
            secret.get_secret_value() if secret else "",
            lambda: app.playback.server_id,
            self._new_event.set,
        )
        api = Api(
            app.storage,
            self._clock,
            self.health,
            scan=lambda: self._scan_requests.request_and_wait(full=True),
            wake=app.workers.wake,
            cancel_running=app.workers.cancel_running,
            set_paused=lambda paused: self._set_paused(app, paused),
            why=lambda item_id: explain(app.server, app.storage, app.planner, item_id),
            undo=lambda item_id, dry_run: app.deliverer.undo(
                app.playback.server_id, item_id, dry_run=dry_run
            ),
            ask=lambda body: self._ask(app, body),
        )
        web = WebServer(route_table(api, webhook))
        stack.push_async_callback(web.close)
        await web.listen(self._settings.web.listen)
        await web.listen_on_socket(self._settings.state / "control.sock")
        return web

    async def _ask(self, app: App, body: AskBody) -> Sequence[Decision]:
        try:
            targets = [LanguageTag.parse(text) for text in body.targets]
        except ValueError as error:
            raise UsageError(str(error)) from error
        return await app.enqueuer.enqueue_requested(
            ItemId(body.item_id), targets, ManualRequest(source=body.source, model=body.model, redo=body.redo)
        )

    async def _meet_server(self, app: App) -> None:
        """Find the server, however long that takes, and have its news come at once; again whenever it may have started anew."""
        await self._greet.wait()
        if await self._introduce(app):
            # Full, since the configuration may ask for more than it did before.
            self._scan_requests.request(full=True)
        self.health.report(SERVER, PartState.OK)
        self._new_event.set()
        try:
            await app.server.trigger_webhook_tasks()
        except JobError as error:
            log.info("the server's webhook tasks cannot be kicked: %s", error)
        self._greet.clear()

    async def _introduce(self, app: App) -> bool:
        """Ask the server who it is; returns whether it is another one, or another version, than before."""
        identity = await app.server.connect()
        is_news = identity != app.scanner.identity
        if is_news:
            app.set_server(identity)
            log.info("connected", extra={"server": identity.name, "version": identity.version})
        if is_news or self._is_path_map_wrong:
            await self._look_at_paths(app)
        return is_news

    async def _look_at_paths(self, app: App) -> None:
        """Say once that a path map leads nowhere, and again look at it until it does not: the work itself goes on over HTTP."""
        try:
            problem = await app.server.check_path_map()
        except JobError as error:
            log.info("the path map cannot be looked at: %s", error)
            return
        if problem and self.health.report(PATH_MAP, PartState.DEGRADED, problem):
            log.warning("server.path_map: %s", problem)
        elif self._is_path_map_wrong and not problem:
            self.health.report(PATH_MAP, PartState.OK)
            log.info("server.path_map: all is well again")
        self._is_path_map_wrong = bool(problem)

    async def _work(self, app: App) -> None:
        """Run the pools, beginning with what a fault left in hand."""
        await app.storage.queue.requeue_interrupted(self._clock.now(), by_crash=False)
        await app.workers.run()
        await self._stop.wait()

    async def _scan(self, app: App, *, full: bool) -> ScanReport:
        # Asked each time: another server or version reads everything by new rules.
        is_news = await self._introduce(app)
        if is_news:
            self._greet.set()
        report = await app.scanner.scan(full=full or is_news)
        for code in ("service-unreachable", "key-rejected"):
            await app.storage.queue.unpark(code, self._clock.now())
        if full:
            await app.storage.maintenance.prune(self._clock.now())
        await self._release(app)
        return report

    async def _every_minute(self, app: App) -> None:
        await self._minute.wait()
        self._minute.clear()
        room = has_free_space(self._settings.state, self._settings.limits.disk_free)
        self.health.report(
            "disk",
            PartState.OK if room else PartState.DEGRADED,
            "" if room else f"less than limits.disk_free is left at {self._settings.state}",
        )
        self._new_event.set()
        # A quiet hour that begins holds for what is being heard, too; what was heard so far is kept.
        app.workers.preempt()
        await self._release(app)

    async def _watch_viewers(self, app: App) -> None:
        await self._clock.sleep(WATCH_S if app.workers.running else IDLE_WATCH_S)
        if app.playback.server_id:
            await self._look_at_viewers(app)

    async def _look_at_viewers(self, app: App) -> None:
        """See who watches, and step aside for them."""
        if await app.server_monitor.look_at_viewers():
            app.workers.preempt()
            app.workers.wake()

    async def _watch_library(self, app: App) -> None:
        """Follow the server's own passes over its folders: while one runs, and after it, its news are wanted."""
        await self._clock.sleep(LIBRARY_LOOK_S)
        if not app.playback.server_id:
            return
        if await app.server_monitor.library_scan_has_ended():
            self._scan_requests.request(full=False)
            self._greet.set()
        elif app.server_monitor.server_is_scanning:
            self._greet.set()

    async def _release(self, app: App) -> None:
        if await app.scanner.release_backlog():
            log.info("titles of the backlog begun")
        app.workers.wake()

    async def _follow_events(self, app: App) -> None:
        await self._new_event.wait()
        # Events come in bursts: those that come together are followed with few requests, and the server that sends them is answered first.
        await self._clock.sleep(GATHER_S)
        self._new_event.clear()
        try:
            while app.playback.server_id and (events := await app.storage.events.due(self._clock.now())):
                await app.enqueuer.enqueue_events(events, app.playback.server_id)
                app.workers.wake()
                if any(event.kind.is_playback for event in events):
                    await self._look_at_viewers(app)
        except Exception:
            # They stay open, and are looked at again after the pause.
            self._new_event.set()
            raise

    async def _unload_when_idle(self, app: App) -> None:
        """Give the models' memory back when nothing was worked at for a while."""
        after = self._settings.asr.unload_after.total_seconds()
        await self._clock.sleep(max(1.0, min(after, 15.0)))
        if app.workers.running:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = self._clock.monotonic()
        elif self._clock.monotonic() - self._idle_since >= after and app.engines.is_loaded:
            await app.engines.unload()
            await asyncio.to_thread(trim_memory)
            log.info("models unloaded after idle time")

    async def _look_at_models(self, app: App) -> None:
        """Say before the first job whether the models it needs are there."""
        parts: dict[str, Recognizer | Translator] = {"speech": app.engines.recognizer}
        parts |= {f"translation {translator.name}": translator for translator in app.engines.translators}
        for name, part in parts.items():
            try:
                await asyncio.to_thread(lambda part=part: part.revision)  # type: ignore[misc]
            except ModelMissing as error:
                self.health.report(name, PartState.DEGRADED, str(error))
                log.warning("%s: %s", name, error)
            else:
                self.health.report(name, PartState.OK)

    async def _set_paused(self, app: App, paused: bool) -> None:
        await app.storage.state_values.set(PAUSED_KEY, "yes" if paused else "no")
        self._note_paused(paused)
        app.workers.wake()

    def _note_paused(self, paused: bool) -> None:
        self._is_paused = paused
        self.health.report("queue", PartState.OK, "paused by a person" if paused else "")


async def _open_state(stack: contextlib.AsyncExitStack, settings: Settings) -> Storage:
    lock = StateLock(settings.state)
    lock.take()
    stack.callback(lock.release)
    storage = await SqliteStorage.open(settings.state)
    stack.push_async_callback(storage.close)
    return storage


def _give_back_memory_at_end(stack: contextlib.AsyncExitStack, app: App) -> None:
    """Unload before the interpreter ends: engines destroyed at its very end have been seen to crash."""
    stack.push_async_callback(app.engines.unload)


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Stop gently on the first SIGTERM or SIGINT; the second ends the process."""
    loop = asyncio.get_running_loop()
    caught: list[int] = []

    def handle(number: int) -> None:
        caught.append(number)
        if len(caught) > 1:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop()

    numbers = (signal.SIGTERM, signal.SIGINT)
    with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
        for number in numbers:
            loop.add_signal_handler(number, handle, number)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
            for number in numbers:
                loop.remove_signal_handler(number)
