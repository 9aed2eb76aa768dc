"""Passes over the library: the truth about what is missing, page by page, through intake."""

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from fluxcaption.domain.backlog import BacklogMode, BacklogRules, titles_to_begin
from fluxcaption.domain.forecast import Forecast, Tally, forecast
from fluxcaption.domain.media import Item
from fluxcaption.flow.intake import Intake
from fluxcaption.flow.planning import Planner
from fluxcaption.ports import Clock, MediaServer, Store

log = logging.getLogger(__name__)

OVERLAP = timedelta(minutes=5)
"""An incremental pass looks this far behind its cursor: servers save late."""

FIRST_SCAN_FLAG = "first-scan-at"
CURSOR_FLAG = "scan-cursor"


@dataclass(slots=True)
class ScanReport:
    """What a pass found.

    Attributes:
        queued: Jobs that are new in the queue.
    """

    items: int = 0
    queued: int = 0
    tally: Tally = field(default_factory=Tally)
    forecast: Forecast | None = None


class Scanner:
    """Reads libraries and hands each item to intake."""

    def __init__(self, server: MediaServer, store: Store, planner: Planner, intake: Intake, backlog: BacklogRules, clock: Clock) -> None:
        self._server = server
        self._store = store
        self._planner = planner
        self._intake = intake
        self._backlog = backlog
        self._clock = clock

    async def scan(self, *, full: bool) -> ScanReport:
        """Make one pass and queue what is missing; an incremental pass reads only what was saved since the last."""
        began = self._clock.now()
        cursor = await self._store.flag(CURSOR_FLAG)
        since = None if full or cursor is None else datetime.fromisoformat(cursor) - OVERLAP
        first_scan = await self._store.flag(FIRST_SCAN_FLAG)
        if first_scan is None:
            await self._store.set_flag(FIRST_SCAN_FLAG, began.isoformat())
        first_scan_at = datetime.fromisoformat(first_scan) if first_scan else began
        report = ScanReport()
        newest: Item | None = None
        for library in await self._server.libraries():
            async for page in self._server.items(library, since):
                for item in page:
                    decisions, queued = await self._intake.take_scanned(item, first_scan_at)
                    report.items += 1
                    report.queued += queued
                    report.tally.add(decisions)
                    if any(decision.way.is_work for decision in decisions) and (newest is None or item.added_at > newest.added_at):
                        newest = item
        if first_scan is None and newest is not None and self._backlog.mode is BacklogMode.RECENT:
            report.queued += await self._intake.take_newest(newest)
        await self._store.set_flag(CURSOR_FLAG, began.isoformat())
        report.forecast = await self._forecast(report.tally)
        log.info("library scanned", extra={"items": report.items, "queued": report.queued, "full": since is None})
        return report

    async def look(self) -> ScanReport:
        """Make one full pass that changes nothing anywhere."""
        report = ScanReport()
        for library in await self._server.libraries():
            async for page in self._server.items(library):
                for item in page:
                    report.items += 1
                    report.tally.add(self._planner.plan(item))
        report.forecast = await self._forecast(report.tally)
        return report

    async def _forecast(self, tally: Tally) -> Forecast:
        per_day = None if self._backlog.mode is BacklogMode.ALL and not self._backlog.per_day else self._backlog.per_day
        return forecast(tally, await self._store.speed("listen"), per_day, self._clock.now().astimezone(UTC))

    async def release_backlog(self) -> int:
        """Begin as many titles of the backlog as the day allows."""
        now = self._clock.now()
        titles = titles_to_begin(await self._store.backlog_standing(now), self._backlog)
        return await self._store.release_backlog(titles, self._backlog.newest_first, now) if titles else 0
