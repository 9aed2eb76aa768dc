"""When scans happen and when nothing is listened to; the door of APScheduler.

Scheduled functions only leave a word: the scheduler's executor cannot wait for a coroutine at shutdown.
"""

from collections.abc import Callable
from datetime import datetime, time, tzinfo
from zoneinfo import ZoneInfo

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

from fluxcaption.settings import Schedule


def is_quiet(pauses: tuple[str, ...], local: datetime) -> bool:
    """Whether a moment, in the owner's time zone, lies in one of the pauses; a pause may cross midnight."""
    now = local.time()
    for pause in pauses:
        start, end = (time.fromisoformat(part) for part in pause.split("-"))
        if start <= now < end if start <= end else now >= start or now < end:
            return True
    return False


class Timetable:
    """Starts incremental scans at their interval and a full one at its hour."""

    def __init__(self, settings: Schedule) -> None:
        self._settings = settings
        self._zone: tzinfo | None = None if settings.timezone == "auto" else ZoneInfo(settings.timezone)
        self._scheduler = AsyncIOScheduler(timezone=self._zone) if self._zone else AsyncIOScheduler()

    def start(
        self, scan: Callable[[], None], full_scan: Callable[[], None], every_minute: Callable[[], None]
    ) -> None:
        """Begin; the functions must return at once."""
        # The library's own default skips a run that is one second late, without a word.
        options = {"coalesce": True, "misfire_grace_time": None}
        self._scheduler.add_job(
            _called(scan), "interval", seconds=self._settings.scan.total_seconds(), **options
        )
        self._scheduler.add_job(
            _called(full_scan),
            CronTrigger.from_crontab(self._settings.full_scan, timezone=self._zone),
            **options,
        )
        self._scheduler.add_job(_called(every_minute), "interval", seconds=60, **options)
        self._scheduler.start()

    def may_listen(self) -> bool:
        """Whether this is no quiet hour."""
        return not is_quiet(self._settings.pause, datetime.now(self._zone).astimezone(self._zone))

    def stop(self) -> None:
        """Start nothing more."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)


def _called(function: Callable[[], None]) -> Callable[[], object]:
    async def call() -> None:
        function()

    return call
