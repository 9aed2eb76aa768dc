"""The timetable of scans and of the hours without speech recognition.

Only this module imports APScheduler. Scheduled functions only set an event: the scheduler's executor cannot
await a coroutine at shutdown.
"""

from collections.abc import Callable
from datetime import datetime, time, tzinfo
from zoneinfo import ZoneInfo

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

from fluxcaption.settings import Schedule


def is_paused(pauses: tuple[str, ...], local: datetime) -> bool:
    """Return True if a local time is within a pause, written `HH:MM-HH:MM`; it may cross midnight."""
    now = local.time()
    for pause in pauses:
        start, end = (time.fromisoformat(part) for part in pause.split("-"))
        if start <= now < end if start <= end else now >= start or now < end:
            return True
    return False


class Timetable:
    """Triggers for incremental scans (interval), full scans (cron expression) and a tick every minute."""

    def __init__(self, settings: Schedule) -> None:
        self._settings = settings
        self._zone: tzinfo | None = None if settings.timezone == "auto" else ZoneInfo(settings.timezone)
        self._scheduler = AsyncIOScheduler(timezone=self._zone) if self._zone else AsyncIOScheduler()

    def start(
        self, scan: Callable[[], None], full_scan: Callable[[], None], every_minute: Callable[[], None]
    ) -> None:
        """Start the triggers; the functions run on the event loop and must return at once."""
        # APScheduler's default skips a run that is one second late without logging it.
        options = {"coalesce": True, "misfire_grace_time": None}
        self._scheduler.add_job(
            _as_coroutine_function(scan), "interval", seconds=self._settings.scan.total_seconds(), **options
        )
        self._scheduler.add_job(
            _as_coroutine_function(full_scan),
            CronTrigger.from_crontab(self._settings.full_scan, timezone=self._zone),
            **options,
        )
        self._scheduler.add_job(_as_coroutine_function(every_minute), "interval", seconds=60, **options)
        self._scheduler.start()

    def may_listen(self) -> bool:
        """Return True outside of the hours without speech recognition (`schedule.pause`)."""
        return not is_paused(self._settings.pause, datetime.now(self._zone).astimezone(self._zone))

    def stop(self) -> None:
        """Stop all triggers."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)


def _as_coroutine_function(function: Callable[[], None]) -> Callable[[], object]:
    # The scheduler runs coroutine functions on the event loop and all others in a thread.
    async def call() -> None:
        function()

    return call
