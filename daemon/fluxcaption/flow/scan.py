"""Passes over the library: the truth about what is missing, page by page, through intake."""

import asyncio
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from fluxcaption.domain.absence import Absence, AbsenceFacts, conclude
from fluxcaption.domain.backlog import BacklogMode, BacklogRules, titles_to_begin
from fluxcaption.domain.forecast import Forecast, Tally, forecast
from fluxcaption.domain.gaps import Decision, DeliveryState, Memory, Way
from fluxcaption.domain.media import Item, Library, ServerIdentity
from fluxcaption.domain.units import ItemId, ServerId, SourceId
from fluxcaption.flow.intake import Intake
from fluxcaption.flow.planning import Planner
from fluxcaption.flow.reading import DELIVERED, TrackReading
from fluxcaption.flow.watching import Watcher
from fluxcaption.ports import Clock, LibraryScan, MediaServer, Store

log = logging.getLogger(__name__)

OVERLAP = timedelta(minutes=5)
"""An incremental pass looks this far behind its cursor: servers save late."""

AT_ONCE = 25
"""Items decided before others get a turn."""

GONE_AFTER = timedelta(hours=24)
"""An item that two complete passes so far apart did not see is forgotten."""

FIRST_SCAN_FLAG = "first-scan-at"
CURSOR_FLAG = "scan-cursor"
BASIS_FLAG = "scan-basis"
BEGUN_FLAG = "scan-begun-on"


@dataclass(slots=True)
class ScanReport:
    """What a pass found.

    Attributes:
        items: Seen, read in full or passed over as unchanged.
        read: Read in full.
        queued: Jobs that are new in the queue.
    """

    items: int = 0
    read: int = 0
    queued: int = 0
    tally: Tally = field(default_factory=Tally)
    forecast: Forecast | None = None


@dataclass(slots=True)
class _Pass:
    """One pass on its way."""

    report: ScanReport
    first_scan_at: datetime
    is_complete: bool
    server_scan: LibraryScan
    basis: str
    newest: tuple[Item, Sequence[Decision]] | None = None


class _Seen:
    """Which rows a pass has seen: a bit for each."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, row: int) -> None:
        if row >> 3 >= len(self._bits):
            self._bits.extend(bytes((row >> 3) + 1024 - len(self._bits)))
        self._bits[row >> 3] |= 1 << (row & 7)

    def __contains__(self, row: int) -> bool:
        return row >> 3 < len(self._bits) and bool(self._bits[row >> 3] & 1 << (row & 7))


class Scanner:
    """Reads libraries and hands each item that changed to intake."""

    def __init__(
        self, server: MediaServer, store: Store, planner: Planner, intake: Intake, reading: TrackReading, watcher: Watcher, backlog: BacklogRules, clock: Clock
    ) -> None:
        self._server = server
        self._store = store
        self._planner = planner
        self._intake = intake
        self._reading = reading
        self._backlog = backlog
        self._watcher = watcher
        self._clock = clock
        self.identity: ServerIdentity | None = None

    async def scan(self, *, full: bool, lean: bool = True) -> ScanReport:
        """Make one pass and queue what is missing.

        Args:
            full: Look at every item, else only at what was saved since the last pass.
            lean: In a full pass, read in full only what changed by its Etag; never after the server's version or the wishes changed.
        """
        began = self._clock.now()
        server_scan = await self._server.library_scan()
        basis = self._basis()
        is_same_basis = await self._store.flag(BASIS_FLAG) == basis
        cursor = await self._store.flag(CURSOR_FLAG)
        since = None if full or cursor is None or not is_same_basis else datetime.fromisoformat(cursor) - OVERLAP
        first_scan = await self._store.flag(FIRST_SCAN_FLAG)
        if first_scan is None:
            await self._store.set_flag(FIRST_SCAN_FLAG, began.isoformat())
        # A pass that was begun on this basis and broken off goes on with what it has not read.
        is_begun = await self._store.flag(BEGUN_FLAG) == basis
        await self._store.set_flag(BEGUN_FLAG, basis)
        run = _Pass(ScanReport(), datetime.fromisoformat(first_scan) if first_scan else began, since is None, server_scan, basis)
        if run.is_complete:
            await self._store.look_again_at_failed(began)
        for library in await self._server.libraries():
            if since is not None:
                async for page in self._server.items(library, since):
                    await self._take(page, run)
            else:
                await self._scan_whole(library, run, lean=lean and (is_same_basis or is_begun))
        if first_scan is None and run.newest is not None and self._backlog.mode is BacklogMode.RECENT:
            run.report.queued += await self._intake.take_newest(run.newest[1])
        await self._store.set_flag(CURSOR_FLAG, (server_scan.now or began).isoformat())
        await self._store.set_flag(BASIS_FLAG, basis)
        run.report.forecast = await self._forecast(run.report.tally)
        log.info("library scanned", extra={"items": run.report.items, "read": run.report.read, "queued": run.report.queued, "full": since is None})
        return run.report

    async def look(self) -> ScanReport:
        """Make one full pass that changes nothing anywhere."""
        report = ScanReport()
        for library in await self._server.libraries():
            async for page in self._server.items(library):
                for decisions in await self._planner.plan(page):
                    report.items += 1
                    report.tally.add(decisions)
        report.forecast = await self._forecast(report.tally)
        return report

    # -- a whole library --------------------------------------------------------------------------------------------

    async def _scan_whole(self, library: Library, run: _Pass, *, lean: bool) -> None:
        seen = _Seen()
        server_id = self.identity.id if self.identity else ServerId("")
        if not lean:
            async for page in self._server.items(library):
                await self._take(page, run)
                await self._mark_seen(server_id, page, seen)
        else:
            back: list[int] = []
            async for glances in self._server.glances(library):
                known = await self._store.item_records(server_id, [glance.id for glance in glances])
                changed: list[ItemId] = []
                for glance in glances:
                    record = known.get(glance.id)
                    if record is None or (record.etag, record.basis) != (glance.etag, run.basis) or record.look_again:
                        changed.append(glance.id)
                    else:
                        run.report.items += 1
                        seen.add(record.row)
                        if record.missed_since is not None:
                            back.append(record.row)
                page = await self._server.fetch_items(changed) if changed else ()
                await self._take(page, run)
                if page:
                    await self._mark_seen(server_id, page, seen)
            await self._store.mark_seen(back)
        await self._forget_what_is_gone(server_id, library, seen)

    async def _mark_seen(self, server_id: ServerId, page: Sequence[Item], seen: _Seen) -> None:
        for record in (await self._store.item_records(server_id, [item.id for item in page])).values():
            seen.add(record.row)

    async def _forget_what_is_gone(self, server_id: ServerId, library: Library, seen: _Seen) -> None:
        now = self._clock.now()
        row = 0
        while records := await self._store.items_of_library(server_id, library.name, row, 1000):
            unseen = [record for record in records if record.row not in seen]
            await self._store.mark_missed([record.row for record in unseen if record.missed_since is None], now)
            await self._store.forget_items([record.row for record in unseen if record.missed_since is not None and now - record.missed_since >= GONE_AFTER])
            row = records[-1].row

    # -- items ------------------------------------------------------------------------------------------------------

    async def _take(self, page: Sequence[Item], run: _Pass) -> None:
        for first in range(0, len(page), AT_ONCE):
            await self._take_some(page[first : first + AT_ONCE], run)
            await asyncio.sleep(0)

    async def _take_some(self, items: Sequence[Item], run: _Pass) -> None:
        await self._store.follow_new_ids(items)
        memory = await self._store.recall(items, self._planner.settings_hash)
        if await self._read_what_nothing_explains(items, memory):
            memory = await self._store.recall(items, self._planner.settings_hash)
        remembered: list[tuple[Item, bool]] = []
        for item in items:
            decisions = self._planner.decide(item, memory)
            if any(decision.source.id in memory for decision in decisions) and await self._look_after_ours(item, decisions, memory, run):
                memory = {**memory, **await self._store.recall([item], self._planner.settings_hash)}
                decisions = self._planner.decide(item, memory)
            run.report.items += 1
            run.report.read += 1
            run.report.queued += await self._intake.take_scanned(item, decisions, run.first_scan_at)
            run.report.tally.add(decisions)
            if any(decision.way.is_making for decision in decisions) and (run.newest is None or item.added_at > run.newest[0].added_at):
                run.newest = (item, decisions)
            remembered.append((item, item.is_settling or any(decision.way is Way.MISSING for decision in decisions)))
        await self._store.save_items(remembered, run.basis)

    async def _read_what_nothing_explains(self, items: Sequence[Item], memory: Mapping[SourceId, Memory]) -> bool:
        was_read = False
        for item in items:
            for source in item.sources:
                if source.id in memory:
                    was_read |= await self._reading.find_ours(item, source, memory[source.id], self._planner.wishes.marker)
        return was_read

    async def _look_after_ours(self, item: Item, decisions: Sequence[Decision], memory: Mapping[SourceId, Memory], run: _Pass) -> bool:
        """Follow what became of tracks we delivered; returns whether anything about them changed."""
        changed = False
        for decision in decisions:
            standing = memory[decision.source.id].standings.get(decision.target) if decision.source.id in memory else None
            if standing is None or standing.delivery not in DELIVERED:
                continue
            if decision.way is Way.MISSING:
                changed |= await self._follow_absence(decision, run)
            elif standing.delivery is DeliveryState.MISSING and decision.way in {Way.COVERED, Way.RETIRE}:
                await self._store.mark_delivery(item.server_id, decision.source.id, decision.target, DeliveryState.CONFIRMED)
                changed = True
        return changed

    async def _follow_absence(self, decision: Decision, run: _Pass) -> bool:
        item, source, target = decision.item, decision.source, decision.target
        delivery = await self._store.delivery(item.server_id, source.id, target)
        if delivery is None or delivery.state is DeliveryState.UPLOADED:
            return False
        file = self._server.track_file(source, delivery.file_name)
        is_there = None if file is None else await asyncio.to_thread(file.is_file)
        if run.is_complete and not run.server_scan.is_running and not is_there:
            delivery = await self._store.mark_missing(item.server_id, source.id, target, self._clock.now()) or delivery
        facts = AbsenceFacts(
            missing_since=delivery.missing_since,
            passes=delivery.missing_passes,
            is_complete=run.is_complete,
            scan_is_running=run.server_scan.is_running,
            media_is_there=delivery.missing_passes < 2 or await self._server.is_there(source),
            file_is_there=is_there,
        )
        if conclude(facts, self._clock.now()) is Absence.REFUSED:
            await self._store.mark_delivery(item.server_id, source.id, target, DeliveryState.REFUSED)
            log.info("our track was removed by somebody: it is not made again unless asked for", extra={"title": item.name, "target": str(target)})
            return True
        if delivery.missing_passes <= 1:
            await self._watcher.refresh_quietly(item.id, source.id)
        return False

    # -- the rest ---------------------------------------------------------------------------------------------------

    def _basis(self) -> str:
        """Names everything but the items themselves that decisions rest on."""
        version = self.identity.version if self.identity else ""
        backends = [translator.name for translator in self._planner.translators]
        told = (version, self._planner.household, backends, self._planner.settings_hash, self._backlog)
        return hashlib.sha256(repr(told).encode()).hexdigest()

    async def _forecast(self, tally: Tally) -> Forecast:
        per_day = None if self._backlog.mode is BacklogMode.ALL and not self._backlog.per_day else self._backlog.per_day
        return forecast(tally, await self._store.speed("listen"), per_day, self._clock.now().astimezone(UTC))

    async def release_backlog(self) -> int:
        """Begin as many titles of the backlog as the day allows."""
        now = self._clock.now()
        titles = titles_to_begin(await self._store.backlog_standing(now), self._backlog)
        return await self._store.release_backlog(titles, self._backlog.newest_first, now) if titles else 0
