"""The background loops of the running daemon; `Daemon` starts them under the supervisor.

The public coroutines of `BackgroundTasks` are the turns of the loops: each waits for its own trigger, works
once and returns.
"""

import asyncio
import logging

from fluxcaption.app import App, has_free_space
from fluxcaption.domain.errors import JobError, KeyRejected, ModelMissing, ServiceUnreachable
from fluxcaption.engines import Engines
from fluxcaption.health import Health, PartState
from fluxcaption.malloc import trim_memory
from fluxcaption.pipeline.discovery.scan_requests import ScanRequests
from fluxcaption.pipeline.discovery.scan_run import ScanReport
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.speech import Recognizer
from fluxcaption.ports.translation import Translator
from fluxcaption.supervisor import DISK, SERVER, Supervisor

log = logging.getLogger(__name__)

PATH_MAP = "path_map"
EVENT_BATCH_DELAY_S = 1.0
"""Webhook events that arrive within this time are processed together, with few requests to the server."""

PLAYBACK_INTERVAL_S, IDLE_PLAYBACK_INTERVAL_S = 20.0, 60.0
"""Seconds between polls of the playback with and without running jobs (notes/jellyfin-server.md J47)."""

LIBRARY_SCAN_INTERVAL_S = 60.0
MIN_IDLE_CHECK_INTERVAL_S, MAX_IDLE_CHECK_INTERVAL_S = 1.0, 15.0


class ServerConnection:
    """The daemon's knowledge of the media server: its identity and its path map."""

    def __init__(self, app: App, health: Health) -> None:
        self._app = app
        self._health = health
        self._is_path_map_wrong = False

    async def refresh(self) -> bool:
        """Connect and read the server's identity. Return True if the server or its version changed.

        Raises:
            ServiceUnreachable: The server gave no usable answer.
            KeyRejected: The server does not accept the API key.
        """
        identity = await self._app.server.connect()
        has_changed = identity != self._app.scanner.identity
        if has_changed:
            self._app.set_server(identity)
            log.info("connected to the server", extra={"server": identity.name, "version": identity.version})
        if has_changed or self._is_path_map_wrong:
            await self._check_path_map()
        return has_changed

    async def _check_path_map(self) -> None:
        """Report a wrong path map once; media is streamed from the server meanwhile."""
        try:
            problem = await self._app.server.check_path_map()
        except JobError as error:
            log.info("server.path_map could not be checked: %s", error)
            return
        if problem and self._health.report(PATH_MAP, PartState.DEGRADED, problem):
            log.warning("server.path_map: %s", problem)
        elif self._is_path_map_wrong and not problem:
            self._health.report(PATH_MAP, PartState.OK)
            log.info("server.path_map is correct again")
        self._is_path_map_wrong = bool(problem)


class IdleUnloader:
    """The check that unloads the models after `unload_after_s` seconds without a running job."""

    def __init__(self, engines: Engines, clock: Clock, unload_after_s: float) -> None:
        self._engines = engines
        self._clock = clock
        self._unload_after_s = unload_after_s
        self._idle_since: float | None = None

    @property
    def check_interval_s(self) -> float:
        """Return the seconds between two checks."""
        return max(MIN_IDLE_CHECK_INTERVAL_S, min(self._unload_after_s, MAX_IDLE_CHECK_INTERVAL_S))

    async def check(self, running_jobs: int) -> None:
        """Unload the models if no job ran since the configured time."""
        if running_jobs:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = self._clock.monotonic()
        elif self._clock.monotonic() - self._idle_since >= self._unload_after_s and self._engines.is_loaded:
            await self._engines.unload()
            await asyncio.to_thread(trim_memory)
            log.info("models unloaded after idle time")


class BackgroundTasks:
    """The loops of a running daemon and the events that trigger them."""

    def __init__(self, app: App, health: Health, scan_requests: ScanRequests, stop: asyncio.Event) -> None:
        self._app = app
        self._health = health
        self._scan_requests = scan_requests
        self._stop = stop
        self._connection = ServerConnection(app, health)
        self._unloader = IdleUnloader(app.engines, app.clock, app.settings.asr.unload_after.total_seconds())
        # All three are set at first: the daemon connects and processes stored events at its start.
        self._reconnect, self._minute, self._new_events = asyncio.Event(), asyncio.Event(), asyncio.Event()
        for event in (self._reconnect, self._minute, self._new_events):
            event.set()

    def start(self, supervisor: Supervisor) -> None:
        """Start all loops; the names appear in the health report when a loop fails."""
        supervisor.supervise(self.connect_server, SERVER)
        supervisor.supervise(self.run_workers, "workers")
        supervisor.supervise(self.process_events, "events")
        supervisor.supervise(self.serve_scan_requests, "scans")
        supervisor.supervise(self.poll_playback, "viewers")
        supervisor.supervise(self.poll_library_scan, "library")
        supervisor.supervise(self.run_every_minute, "minute")
        supervisor.supervise(self.unload_idle_models, "unload")
        supervisor.run_once(self.check_models(), "models")

    def request_reconnect(self) -> None:
        """Make `connect_server` run once more."""
        self._reconnect.set()

    def notify_event(self) -> None:
        """Make `process_events` run; called when a webhook event was stored."""
        self._new_events.set()

    def notify_minute(self) -> None:
        """Make `run_every_minute` run; called by the timetable."""
        self._minute.set()

    async def connect_server(self) -> None:
        """Connect on request: at the start, after an outage, and around the server's library scans."""
        await self._reconnect.wait()
        if await self._connection.refresh():
            # A full scan, because the configuration may ask for more than at the previous start.
            self._scan_requests.request(full=True)
        self._health.report(SERVER, PartState.OK)
        self._new_events.set()
        try:
            await self._app.server.trigger_webhook_tasks()
        except JobError as error:
            log.info("the server's webhook tasks could not be started: %s", error)
        self._reconnect.clear()

    async def run_workers(self) -> None:
        """Run the worker pool until the daemon stops; a failure makes the interrupted jobs due again."""
        await self._app.storage.queue.requeue_interrupted(self._app.clock.now(), by_crash=False)
        await self._app.workers.run()
        await self._stop.wait()

    async def process_events(self) -> None:
        """Process the stored webhook events that are due; a failure leaves them stored for the next turn."""
        await self._new_events.wait()
        await self._app.clock.sleep(EVENT_BATCH_DELAY_S)
        self._new_events.clear()
        try:
            await self._process_due_events()
        except Exception:
            self._new_events.set()
            raise

    async def _process_due_events(self) -> None:
        app = self._app
        while app.playback.server_id and (events := await app.storage.events.due(app.clock.now())):
            await app.enqueuer.enqueue_events(events, app.playback.server_id)
            app.workers.wake()
            if any(event.kind.is_playback for event in events):
                await self._update_playback()

    async def serve_scan_requests(self) -> None:
        """Run the next requested scan."""
        await self._scan_requests.serve(self._scan)

    async def _scan(self, full: bool) -> ScanReport:
        app = self._app
        # Refreshed before every scan: another server or version requires reading every item again.
        has_changed = await self._connection.refresh()
        if has_changed:
            self._reconnect.set()
        report = await app.scanner.scan(full=full or has_changed)
        for code in (ServiceUnreachable.code, KeyRejected.code):
            await app.storage.queue.unpark(code, app.clock.now())
        if full:
            await app.storage.maintenance.prune(app.clock.now())
        await self._release_backlog()
        return report

    async def poll_playback(self) -> None:
        """Read from the server what is being played."""
        is_working = self._app.workers.running > 0
        await self._app.clock.sleep(PLAYBACK_INTERVAL_S if is_working else IDLE_PLAYBACK_INTERVAL_S)
        if self._app.playback.server_id:
            await self._update_playback()

    async def _update_playback(self) -> None:
        """Stop the jobs that must yield if playback started, and wake the workers if it ended."""
        if await self._app.server_monitor.poll_playback():
            self._app.workers.preempt()
            self._app.workers.wake()

    async def poll_library_scan(self) -> None:
        """Follow the server's own library scans: request webhook events during them and a scan after them."""
        await self._app.clock.sleep(LIBRARY_SCAN_INTERVAL_S)
        monitor = self._app.server_monitor
        if not self._app.playback.server_id:
            return
        if await monitor.poll_library_scan():
            self._scan_requests.request(full=False)
            self._reconnect.set()
        elif monitor.is_library_scan_running:
            self._reconnect.set()

    async def run_every_minute(self) -> None:
        """Check the disk, retry due events, apply the timetable and queue the next titles of the backlog."""
        await self._minute.wait()
        self._minute.clear()
        self._check_disk()
        self._new_events.set()
        # Hours without speech recognition apply to the running job, too; its finished windows are kept.
        self._app.workers.preempt()
        await self._release_backlog()

    def _check_disk(self) -> None:
        state, min_bytes = self._app.settings.state, self._app.settings.limits.disk_free
        if has_free_space(state, min_bytes):
            self._health.report(DISK, PartState.OK)
        else:
            cause = (
                f"the disk of {state} has less free space than limits.disk_free: "
                "new jobs wait until there is more"
            )
            self._health.report(DISK, PartState.DEGRADED, cause)

    async def _release_backlog(self) -> None:
        if await self._app.scanner.release_backlog():
            log.info("titles of the backlog were queued")
        self._app.workers.wake()

    async def unload_idle_models(self) -> None:
        """Unload the models after the configured time without a running job."""
        await self._app.clock.sleep(self._unloader.check_interval_s)
        await self._unloader.check(self._app.workers.running)

    async def check_models(self) -> None:
        """Report every missing model before the first job needs it."""
        engines = self._app.engines
        models: dict[str, Recognizer | Translator] = {"speech": engines.recognizer}
        models |= {f"translation {translator.name}": translator for translator in engines.translators}
        for part, model in models.items():
            try:
                await asyncio.to_thread(_read_revision, model)
            except ModelMissing as error:
                self._health.report(part, PartState.DEGRADED, str(error))
                log.warning("%s: %s", part, error)
            else:
                self._health.report(part, PartState.OK)


def _read_revision(model: Recognizer | Translator) -> str:
    """Return the revision of the model's files; a missing model raises `ModelMissing`."""
    return model.revision
