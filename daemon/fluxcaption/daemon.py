"""The daemon's life: what starts, in order, and the same list backwards at the end."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fluxcaption.clock import SystemClock
from fluxcaption.domain.errors import FluxCaptionError, JobError, KeyRejected, ModelMissing, ServiceUnreachable, StateError
from fluxcaption.domain.gaps import Decision
from fluxcaption.domain.jobs import AskedFor, Event, Job, JobState
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import ServerIdentity
from fluxcaption.domain.units import ItemId, Ms
from fluxcaption.flow.explaining import explain
from fluxcaption.flow.scan import ScanReport
from fluxcaption.memory import trim_memory
from fluxcaption.ports import Clock, MediaServer, Recognizer, Store, Translator
from fluxcaption.schedule import Timetable
from fluxcaption.settings import Settings
from fluxcaption.storage.lock import StateLock
from fluxcaption.storage.store import SqliteStore
from fluxcaption.web.api import Api, AskBody
from fluxcaption.web.health import Health, PartState
from fluxcaption.web.server import WebServer, route_table
from fluxcaption.web.webhook import Webhook
from fluxcaption.wiring import House, build_house, has_room

log = logging.getLogger(__name__)

PAUSED_FLAG = "paused"
WATCH_S, IDLE_WATCH_S, LIBRARY_LOOK_S = 20.0, 60.0, 60.0
"""How often the server is asked who watches (contract 11: every 15 to 30 s while there is work) and whether its library scan has ended."""

FIRST_PAUSE_S, MOST_PAUSE_S = 5.0, 60.0
"""While the server is away it is asked again at doubling pauses between these."""


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
        store = await _open_state(stack, settings)
        finished: list[Job] = []

        def note(job: Job) -> None:
            if job.state in {JobState.DONE, JobState.SETTLED, JobState.FAILED, JobState.CANCELLED}:
                finished.append(job)
                say(describe(job))

        house = build_house(settings, store, server=server, clock=clock, progress=progress, finished=note)
        stack.push_async_callback(house.close)
        _give_back_memory_at_end(stack, house)
        house.introduce(await house.server.connect())
        await store.requeue_interrupted(house.clock.now())
        # A person who says `--once` stands beside it: whatever waited for a neighbour is tried now.
        for code in ("service-unreachable", "key-rejected", "model-missing", "disk-low", "write-refused", "server-refuses-uploads", "media-away", "aside"):
            await store.unpark(code, house.clock.now())
        report = await house.scanner.scan(full=True)
        await store.hold_none(house.clock.now())
        with _signals(house.workers.stop):
            await house.workers.run(until_idle=True)
        counts = await store.count_jobs()
        waiting = sum(count for (_, state), count in counts.items() if state in {JobState.QUEUED, JobState.PARKED, JobState.RUNNING})
        return OnceReport(report, finished, waiting)


def describe(job: Job) -> str:
    """One finished job as a line for people."""
    word = {JobState.DONE: "done", JobState.SETTLED: "nothing to make", JobState.FAILED: "failed", JobState.CANCELLED: "dropped"}[job.state]
    return f"{job.title} [{job.target}] {word}: {job.reason}"


class Daemon:
    """Runs until it is told to stop."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None, server: MediaServer | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._given_server = server
        self._stop = asyncio.Event()
        self._new_event = asyncio.Event()
        self._scan_lock = asyncio.Lock()
        self._is_paused = False
        self.health = Health(self._clock)
        self.web: WebServer | None = None
        self.house: House | None = None

    def stop(self) -> None:
        """Begin the end; a second call changes nothing."""
        self._stop.set()

    async def run(self, on_ready: Callable[[], object] | None = None) -> None:
        """Start everything, work, and stop everything in reverse."""
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(_signals(self.stop))
            store = await _open_state(stack, self._settings)
            self.health.say("database", PartState.OK)
            self._is_paused = await store.flag(PAUSED_FLAG) == "yes"
            timetable = Timetable(self._settings.schedule)
            house = build_house(
                self._settings, store, server=self._given_server, clock=self._clock, may_listen=timetable.may_listen, may_work=lambda: not self._is_paused
            )
            self.house = house
            stack.push_async_callback(house.close)
            _give_back_memory_at_end(stack, house)
            await store.requeue_interrupted(self._clock.now())
            webhook, self.web = await self._open_web(stack, house)
            group = await stack.enter_async_context(_Tasks())
            group.start(self._connect(house, webhook), "connect")
            group.start(self._work(house), "workers")
            group.start(self._follow_events(house), "events")
            group.start(self._unload_when_idle(house), "unload")
            group.start(self._look_at_models(house), "models")
            group.start(self._keep_company(house), "company")
            timetable.start(
                scan=lambda: group.start(self._scan(house, full=False), "scan"),
                full_scan=lambda: group.start(self._scan(house, full=True), "full-scan"),
                every_minute=lambda: group.start(self._every_minute(house), "minute"),
            )
            stack.callback(timetable.stop)
            self.health.phase = "running"
            if on_ready:
                on_ready()
            await self._stop.wait()
            self.health.phase = "stopping"
            log.info("stopping: work in hand goes on at the next start")
            house.workers.stop()

    async def _open_web(self, stack: contextlib.AsyncExitStack, house: House) -> tuple[Webhook, WebServer]:
        secret = self._settings.web.webhook_secret
        webhook = Webhook(house.store, self._clock, secret.get_secret_value() if secret else "", None, self._new_event.set)
        api = Api(
            house.store,
            self._clock,
            self.health,
            scan=lambda: self._scan(house, full=True),
            wake=house.workers.wake,
            abandon=house.workers.abandon,
            set_paused=lambda paused: self._set_paused(house, paused),
            why=lambda item_id: explain(house.server, house.store, house.planner, item_id),
            undo=lambda item_id, dry_run: house.deliverer.undo(house.watcher.server_id, item_id, dry_run=dry_run),
            ask=lambda body: self._ask(house, body),
        )
        web = WebServer(route_table(api, webhook))
        stack.push_async_callback(web.close)
        await web.listen(self._settings.web.listen)
        await web.listen_on_socket(self._settings.state / "control.sock")
        return webhook, web

    async def _ask(self, house: House, body: AskBody) -> Sequence[Decision]:
        try:
            targets = [LanguageTag.parse(text) for text in body.targets]
        except ValueError as error:
            raise JobError(str(error)) from error
        return await house.intake.take_asked(ItemId(body.item_id), targets, AskedFor(source=body.source, model=body.model, redo=body.redo))

    async def _connect(self, house: House, webhook: Webhook) -> None:
        """Find the server, however long that takes, then make the first scan."""
        identity = await self._patiently(house.server.connect)
        webhook.server_id = identity.id
        house.introduce(identity)
        log.info("connected", extra={"server": identity.name, "version": identity.version})
        self._new_event.set()
        await self._hurry_news(house)
        # Full, since the configuration may ask for more than it did before.
        await self._scan(house, full=True)

    async def _hurry_news(self, house: House) -> None:
        """While work is expected, news come at once instead of with the plugin's own timer."""
        try:
            await house.server.hurry_news()
        except JobError as error:
            log.info("the server's webhook tasks cannot be kicked: %s", error)

    async def _work(self, house: House) -> None:
        """Run the pools; where the database fails them, say so and try again."""
        while True:
            cause: Exception | None = None
            try:
                await house.store.requeue_interrupted(self._clock.now(), by_crash=False)
                self.health.say("database", PartState.OK)
                await house.workers.run()
            except* StateError as group:
                cause = group.exceptions[0]
            if cause is None:
                return
            self.health.say("database", PartState.DOWN, str(cause))
            log.error("the queue cannot be worked at: %s", cause)
            await self._clock.sleep(MOST_PAUSE_S)

    async def _patiently(self, call: Callable[[], Awaitable[ServerIdentity]]) -> ServerIdentity:
        pause = FIRST_PAUSE_S
        while True:
            try:
                identity = await call()
            except (ServiceUnreachable, KeyRejected) as error:
                if self.health.say("server", PartState.DOWN, str(error)):
                    log.warning("the server cannot be used yet: %s", error)
                await self._clock.sleep(pause)
                pause = min(MOST_PAUSE_S, pause * 2)
            else:
                if self.health.say("server", PartState.OK):
                    log.info("the server answers")
                return identity

    async def _scan(self, house: House, *, full: bool) -> ScanReport:
        async with self._scan_lock:
            try:
                # Asked each time: an upgraded server reads everything by new rules.
                house.introduce(await house.server.connect())
                report = await house.scanner.scan(full=full)
            except JobError as error:
                if self.health.say("server", PartState.DOWN, str(error)):
                    log.warning("scan given up: %s", error)
                return ScanReport()
            if self.health.say("server", PartState.OK):
                log.info("the server answers again")
            for code in ("service-unreachable", "key-rejected"):
                await house.store.unpark(code, self._clock.now())
            if full:
                await house.store.prune(self._clock.now())
        await self._release(house)
        return report

    async def _every_minute(self, house: House) -> None:
        room = has_room(self._settings.state, self._settings.limits.disk_free)
        self.health.say("disk", PartState.OK if room else PartState.DEGRADED, "" if room else f"less than limits.disk_free is left at {self._settings.state}")
        self._new_event.set()
        # A quiet hour that begins holds for what is being heard, too; what was heard so far is kept.
        house.workers.step_aside()
        await self._release(house)

    async def _keep_company(self, house: House) -> None:
        """See who watches, and follow the server's own passes over its folders."""
        looked_at_library: float | None = None
        while True:
            await self._clock.sleep(WATCH_S if house.workers.running else IDLE_WATCH_S)
            if not house.watcher.server_id:
                continue
            try:
                if await house.companion.look_at_viewers():
                    house.workers.step_aside()
                    house.workers.wake()
                now = self._clock.monotonic()
                if looked_at_library is None or now - looked_at_library >= LIBRARY_LOOK_S:
                    looked_at_library = now
                    if await house.companion.library_scan_has_ended():
                        await self._hurry_news(house)
                        await self._scan(house, full=False)
            except JobError as error:
                if self.health.say("server", PartState.DOWN, str(error)):
                    log.warning("the server cannot be asked who watches: %s", error)
            else:
                if self.health.say("server", PartState.OK):
                    log.info("the server answers again")

    async def _release(self, house: House) -> None:
        if await house.scanner.release_backlog():
            log.info("titles of the backlog begun")
        house.workers.wake()

    async def _follow_events(self, house: House) -> None:
        while True:
            await self._new_event.wait()
            self._new_event.clear()
            while events := await house.store.open_events(self._clock.now()):
                if not await self._take_events(house, events):
                    break
                house.workers.wake()

    async def _take_events(self, house: House, events: Sequence[Event]) -> bool:
        try:
            await house.intake.take_events(events)
        except JobError as error:
            # The events stay open: they are looked at again with the next minute.
            log.warning("events wait: %s", error)
            return False
        return True

    async def _unload_when_idle(self, house: House) -> None:
        """Give the models' memory back when nothing was worked at for a while."""
        after = self._settings.asr.unload_after.total_seconds()
        idle_since: float | None = None
        while True:
            await self._clock.sleep(max(1.0, min(after, 15.0)))
            if house.workers.running:
                idle_since = None
            elif idle_since is None:
                idle_since = self._clock.monotonic()
            elif self._clock.monotonic() - idle_since >= after and house.engines.recognizer.is_loaded:
                await house.engines.unload()
                await asyncio.to_thread(trim_memory)
                log.info("models unloaded after idle time")

    async def _look_at_models(self, house: House) -> None:
        """Say before the first job whether the models it needs are there."""
        parts: dict[str, Recognizer | Translator] = {"speech": house.engines.recognizer}
        parts |= {f"translation {translator.name}": translator for translator in house.engines.translators}
        for name, part in parts.items():
            try:
                await asyncio.to_thread(lambda part=part: part.revision)  # type: ignore[misc]
            except ModelMissing as error:
                self.health.say(name, PartState.DEGRADED, str(error))
                log.warning("%s: %s", name, error)
            else:
                self.health.say(name, PartState.OK)

    async def _set_paused(self, house: House, paused: bool) -> None:
        self._is_paused = paused
        await house.store.set_flag(PAUSED_FLAG, "yes" if paused else "no")
        self.health.say("queue", PartState.OK, "paused by a person" if paused else "")
        house.workers.wake()


class _Tasks:
    """Named tasks that end together; a fault in one is logged, not spread."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        task = asyncio.create_task(self._guarded(coroutine, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        try:
            await coroutine
        except asyncio.CancelledError:
            raise
        except FluxCaptionError as error:
            log.error("%s stopped: %s", name, error)
        except Exception:
            log.exception("%s stopped unexpectedly", name)

    async def __aenter__(self) -> "_Tasks":
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _open_state(stack: contextlib.AsyncExitStack, settings: Settings) -> Store:
    lock = StateLock(settings.state)
    lock.take()
    stack.callback(lock.release)
    store = await SqliteStore.open(settings.state)
    stack.push_async_callback(store.close)
    return store


def _give_back_memory_at_end(stack: contextlib.AsyncExitStack, house: House) -> None:
    """Unload before the interpreter ends: engines destroyed at its very end have been seen to crash."""
    stack.push_async_callback(house.engines.unload)


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
