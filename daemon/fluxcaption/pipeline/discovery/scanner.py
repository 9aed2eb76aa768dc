"""Passes over the library: the truth about what is missing, page by page, through intake."""

import asyncio
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from fluxcaption.domain.backlog import BacklogMode, BacklogRules, belongs_to_backlog, titles_to_start
from fluxcaption.domain.deliveries import Delivery, DeliveryState
from fluxcaption.domain.errors import ServiceUnreachable
from fluxcaption.domain.forecast import Forecast, ItemCount, Tally, forecast
from fluxcaption.domain.gaps import REMOVED, Action, Decision, SourceHistory
from fluxcaption.domain.jobs import ANY_SKIP_KEY
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import Item, Library, MediaSource, ServerIdentity
from fluxcaption.domain.removal_policy import (
    MissingTrackFacts,
    MissingTrackVerdict,
    classify_missing_track,
    is_missing_long_enough,
)
from fluxcaption.domain.units import ItemId, ServerId, SourceId
from fluxcaption.pipeline.captioning.source_reader import DELIVERED, SourceReader
from fluxcaption.pipeline.discovery.enqueue import Enqueuer
from fluxcaption.pipeline.discovery.forecast_text import forecast_lines
from fluxcaption.pipeline.planner import Planner
from fluxcaption.pipeline.playback import PlaybackMonitor
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.media_server import LibraryScan, MediaServer
from fluxcaption.ports.storage import Storage

log = logging.getLogger(__name__)

OVERLAP = timedelta(minutes=5)
"""An incremental pass looks this far behind its cursor: servers save late."""

SCAN_CONCURRENCY = 25
"""Items decided before others get a turn."""

MAX_TOLD = 20

GONE_AFTER = timedelta(hours=24)
"""An item that two complete passes so far apart did not see is forgotten."""

REFRESH_TAKES_S = 10.0
"""Until the server has looked at some items' files again (0.3 s for one, contract 7.8)."""

FIRST_SCAN_KEY = "first-scan-at"
CURSOR_KEY = "scan-cursor"
DECISION_INPUTS_KEY = "scan-basis"
BEGUN_KEY = "scan-begun-on"


@dataclass(slots=True)
class ScanReport:
    """What a pass found.

    Attributes:
        items: Seen, read in full or passed over as unchanged.
        read: Read in full.
        queued: Jobs that are new in the queue.
        broken: Media that cannot be read, the first few, each with its reason.
        is_first: Nothing was ever scanned before.
    """

    tally: Tally
    items: int = 0
    read: int = 0
    queued: int = 0
    forecast: Forecast | None = None
    broken: list[str] = field(default_factory=list)
    is_first: bool = False

    def note_broken(self, item: Item) -> None:
        """Keep what a person should know of an item whose media cannot be read."""
        if item.broken and len(self.broken) < MAX_TOLD:
            self.broken.append(item.broken)


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


@dataclass(slots=True)
class _Pass:
    """One pass on its way."""

    report: ScanReport
    first_scan_at: datetime
    is_complete: bool
    server_scan: LibraryScan
    decision_inputs_hash: str
    seen: _Seen = field(default_factory=_Seen)
    """Rows that any library has shown."""
    unlisted: list[tuple[ItemId, SourceId, LanguageTag]] = field(default_factory=list)
    """Tracks of ours that were not listed: counted only when the pass has ended whole."""
    newest: tuple[Item, Sequence[Decision]] | None = None


class Scanner:
    """Reads libraries and hands each item that changed to intake."""

    def __init__(
        self,
        server: MediaServer,
        storage: Storage,
        planner: Planner,
        enqueuer: Enqueuer,
        reading: SourceReader,
        playback: PlaybackMonitor,
        backlog: BacklogRules,
        clock: Clock,
    ) -> None:
        self._server = server
        self._storage = storage
        self._planner = planner
        self._enqueuer = enqueuer
        self._reading = reading
        self._backlog = backlog
        self._playback = playback
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
        decision_inputs_hash = self._decision_inputs_hash()
        is_same_basis = await self._storage.state_values.get(DECISION_INPUTS_KEY) == decision_inputs_hash
        cursor = await self._storage.state_values.get(CURSOR_KEY)
        since = (
            None if full or cursor is None or not is_same_basis else datetime.fromisoformat(cursor) - OVERLAP
        )
        first_scan = await self._storage.state_values.get(FIRST_SCAN_KEY)
        if first_scan is None:
            await self._storage.state_values.set(FIRST_SCAN_KEY, began.isoformat())
        # A pass that was begun on this basis and broken off goes on with what it has not read.
        is_begun = await self._storage.state_values.get(BEGUN_KEY) == decision_inputs_hash
        await self._storage.state_values.set(BEGUN_KEY, decision_inputs_hash)
        report = ScanReport(self._tally(), is_first=first_scan is None)
        run = _Pass(
            report,
            datetime.fromisoformat(first_scan) if first_scan else began,
            since is None,
            server_scan,
            decision_inputs_hash,
        )
        if run.is_complete:
            await self._storage.items.recheck_failed(began)
        for library in await self._server.libraries():
            if since is not None:
                async for page in self._server.items(library, since):
                    await self._take(page, run)
            else:
                await self._scan_whole(library, run, lean=lean and (is_same_basis or is_begun))
        if run.is_complete:
            await self._forget_what_is_gone(run)
        if first_scan is None and run.newest is not None and self._backlog.mode is BacklogMode.RECENT:
            run.report.queued += await self._enqueuer.enqueue_first(run.newest[1])
        await self._storage.state_values.set(CURSOR_KEY, (server_scan.now or began).isoformat())
        await self._storage.state_values.set(DECISION_INPUTS_KEY, decision_inputs_hash)
        if run.is_complete and run.unlisted:
            await self._check_missing_tracks(run)
        run.report.forecast = await self._forecast(run.report.tally)
        if run.report.is_first:
            for line in forecast_lines(run.report.forecast):
                log.info("%s", line)
        log.info(
            "library scanned",
            extra={
                "items": run.report.items,
                "read": run.report.read,
                "queued": run.report.queued,
                "full": since is None,
            },
        )
        return run.report

    async def look(self) -> ScanReport:
        """Make one full pass that changes nothing anywhere."""
        report = ScanReport(self._tally())
        for library in await self._server.libraries():
            async for page in self._server.items(library):
                for item, decisions in zip(page, await self._planner.plan(page), strict=True):
                    report.items += 1
                    report.tally.add(item, decisions)
                    report.note_broken(item)
        report.forecast = await self._forecast(report.tally)
        return report

    # -- a whole library --------------------------------------------------------------------------------------------

    @property
    def _server_id(self) -> ServerId:
        return self.identity.id if self.identity else ServerId("")

    async def _scan_whole(self, library: Library, run: _Pass, *, lean: bool) -> None:
        """Read a library to its end; what an earlier library of this pass has shown belongs there."""
        is_first = run.report.items == 0
        left_out = 0
        if lean:
            left_out = await self._scan_lean(library, run)
        else:
            async for page in self._server.items(library):
                known = (
                    {}
                    if is_first
                    else await self._storage.items.records(self._server_id, [item.id for item in page])
                )
                own = [item for item in page if item.id not in known or known[item.id].row not in run.seen]
                left_out += len(page) - len(own)
                await self._take(own, run)
                await self._mark_seen(own, run)
        if left_out:
            log.warning(
                "%d items of library %s came under another library before: they are left there",
                left_out,
                library.name,
            )

    async def _scan_lean(self, library: Library, run: _Pass) -> int:
        back: list[int] = []
        left_out = 0
        async for item_revisions in self._server.item_revisions(library):
            known = await self._storage.items.records(
                self._server_id, [glance.id for glance in item_revisions]
            )
            changed: list[ItemId] = []
            for glance in item_revisions:
                record = known.get(glance.id)
                if record is None:
                    changed.append(glance.id)
                elif record.row in run.seen:
                    left_out += 1
                elif (
                    (record.etag, record.decision_inputs_hash, record.library)
                    != (glance.etag, run.decision_inputs_hash, library.name)
                    or record.needs_reread
                    or record.count is None
                ):
                    changed.append(glance.id)
                else:
                    run.report.items += 1
                    run.report.tally.add_count(record.count)
                    run.seen.add(record.row)
                    if record.missed_since is not None:
                        back.append(record.row)
            if changed:
                page = await self._server.fetch_items(changed, library)
                await self._take(page, run)
                await self._mark_seen(page, run)
        await self._storage.items.mark_seen(back)
        return left_out

    async def _mark_seen(self, page: Sequence[Item], run: _Pass) -> None:
        for record in (
            await self._storage.items.records(self._server_id, [item.id for item in page])
        ).values():
            run.seen.add(record.row)

    async def _forget_what_is_gone(self, run: _Pass) -> None:
        """Items that no library has shown, those of a library that is gone among them."""
        now = self._clock.now()
        row = 0
        while rows := await self._storage.items.rows(self._server_id, row, 1000):
            unseen = [(row, missed_since) for row, missed_since in rows if row not in run.seen]
            await self._storage.items.mark_missed(
                [row for row, missed_since in unseen if missed_since is None], now
            )
            await self._storage.items.forget(
                [
                    row
                    for row, missed_since in unseen
                    if missed_since is not None and now - missed_since >= GONE_AFTER
                ]
            )
            row = rows[-1][0]

    # -- items ------------------------------------------------------------------------------------------------------

    async def _take(self, page: Sequence[Item], run: _Pass) -> None:
        for first in range(0, len(page), SCAN_CONCURRENCY):
            await self._take_some(page[first : first + SCAN_CONCURRENCY], run)
            await asyncio.sleep(0)

    async def _take_some(self, items: Sequence[Item], run: _Pass) -> None:
        await self._storage.history.rebind_moved_media(items)
        memory = await self._storage.history.load(items, self._planner.skip_key)
        if await self._read_what_nothing_explains(items, memory):
            memory = await self._storage.history.load(items, self._planner.skip_key)
        remembered: list[tuple[Item, bool, ItemCount]] = []
        for item in items:
            decisions = self._planner.decide(item, memory)
            if any(decision.source.id in memory for decision in decisions) and await self._look_after_ours(
                item, decisions, memory, run
            ):
                memory = {**memory, **await self._storage.history.load([item], self._planner.skip_key)}
                decisions = self._planner.decide(item, memory)
            run.report.items += 1
            run.report.read += 1
            run.report.queued += await self._enqueuer.enqueue_scanned(item, decisions, run.first_scan_at)
            run.report.note_broken(item)
            count = run.report.tally.add(item, decisions)
            if any(decision.action.makes_track for decision in decisions) and (
                run.newest is None or item.added_at > run.newest[0].added_at
            ):
                run.newest = (item, decisions)
            remembered.append(
                (
                    item,
                    item.is_probe_pending
                    or item.broken != ""
                    or any(decision.action is Action.MISSING for decision in decisions),
                    count,
                )
            )
        await self._storage.items.save(remembered, run.decision_inputs_hash)

    async def _read_what_nothing_explains(
        self, items: Sequence[Item], memory: Mapping[SourceId, SourceHistory]
    ) -> bool:
        was_read = False
        for item in items:
            for source in item.sources:
                if source.id in memory:
                    was_read |= await self._reading.find_own_tracks(
                        item, source, memory[source.id], self._planner.policy.marker
                    )
        return was_read

    async def _look_after_ours(
        self, item: Item, decisions: Sequence[Decision], memory: Mapping[SourceId, SourceHistory], run: _Pass
    ) -> bool:
        """Follow what became of tracks we delivered; returns whether anything about them changed."""
        changed = False
        for decision in decisions:
            target_history = (
                memory[decision.source.id].targets.get(decision.target)
                if decision.source.id in memory
                else None
            )
            if target_history is None or target_history.delivery not in DELIVERED:
                continue
            if decision.action is Action.MISSING:
                await self._look_for(decision, run)
            elif target_history.delivery is DeliveryState.MISSING and decision.action in {
                Action.COVERED,
                Action.YIELD_TO_HUMAN,
            }:
                await self._storage.deliveries.set_state(
                    item.server_id, decision.source.id, decision.target, DeliveryState.CONFIRMED
                )
                changed = True
        return changed

    async def _look_for(self, decision: Decision, run: _Pass) -> None:
        """Note a track of ours that is not listed, and have the server look at the files again: it drops good ones by itself."""
        item, source, target = decision.item, decision.source, decision.target
        delivery = await self._storage.deliveries.get(item.server_id, source.id, target)
        if delivery is None:
            return
        is_there = await self._file_is_there(source, delivery)
        if not is_there:
            run.unlisted.append((item.id, source.id, target))
        if is_there or delivery.missing_passes <= 1:
            await self._refresh(item.id, source.id)

    async def _file_is_there(self, source: MediaSource, delivery: Delivery) -> bool | None:
        file = await self._server.sidecar_path(source, delivery.file_name)
        return None if file is None else await asyncio.to_thread(file.is_file)

    async def _refresh(self, item_id: ItemId, source_id: SourceId) -> bool:
        """Have the server look at one item's files; a server that stumbles over it does not end the pass."""
        try:
            return await self._playback.refresh_unless_playing(item_id, source_id)
        except ServiceUnreachable as error:
            log.info(
                "the server does not look at the files of an item again: %s", error, extra={"item": item_id}
            )
            return False

    async def _check_missing_tracks(self, run: _Pass) -> None:
        """After a whole pass: count what it did not list, and look a last time for what was missed long enough."""
        if await self._has_walked_since(run.server_scan):
            return
        await self._storage.deliveries.mark_missing(
            self._server_id, [(source_id, target) for _, source_id, target in run.unlisted], self._clock.now()
        )
        for first in range(0, len(run.unlisted), SCAN_CONCURRENCY):
            sought: dict[tuple[SourceId, LanguageTag], Delivery] = {}
            wanted: set[ItemId] = set()
            for item_id, source_id, target in run.unlisted[first : first + SCAN_CONCURRENCY]:
                delivery = await self._storage.deliveries.get(self._server_id, source_id, target)
                if delivery is None or not is_missing_long_enough(
                    delivery.missing_since, delivery.missing_passes, self._clock.now()
                ):
                    continue
                if await self._refresh(item_id, source_id):
                    sought[(source_id, target)] = delivery
                    wanted.add(item_id)
            if sought:
                await self._clock.sleep(REFRESH_TAKES_S)
                await self._classify_missing(await self._server.fetch_items(sorted(wanted)), sought, run)

    async def _has_walked_since(self, before: LibraryScan) -> bool:
        """Whether the server walks its folders, or did since then: what it lists meanwhile says nothing."""
        scan = await self._server.library_scan()
        return before.is_running or scan.is_running or scan.ended_at != before.ended_at

    async def _classify_missing(
        self, items: Sequence[Item], sought: Mapping[tuple[SourceId, LanguageTag], Delivery], run: _Pass
    ) -> None:
        memory = await self._storage.history.load(items, self._planner.skip_key)
        has_walked = await self._has_walked_since(run.server_scan)
        for decision in [decision for item in items for decision in self._planner.decide(item, memory)]:
            delivery = sought.get((decision.source.id, decision.target))
            if delivery is None or decision.action is not Action.MISSING:
                continue
            try:
                media_is_there = await self._server.media_exists(decision.source)
            except ServiceUnreachable:
                media_is_there = False
            facts = MissingTrackFacts(
                missing_since=delivery.missing_since,
                passes=delivery.missing_passes,
                scan_is_running=has_walked,
                media_is_there=media_is_there,
                file_is_there=await self._file_is_there(decision.source, delivery),
            )
            if classify_missing_track(facts, self._clock.now()) is MissingTrackVerdict.REFUSED:
                await self._take_for_a_no(decision, delivery)

    async def _take_for_a_no(self, decision: Decision, delivery: Delivery) -> None:
        """Somebody removed our track; that is remembered by the media first, so that it holds under whatever name the film goes."""
        if delivery.fingerprint:
            await self._storage.skips.remember(
                delivery.fingerprint, decision.target, ANY_SKIP_KEY, "removed", REMOVED, self._clock.now()
            )
        await self._storage.deliveries.set_state(
            delivery.server_id, delivery.source_id, decision.target, DeliveryState.REFUSED
        )
        log.info(
            "our track was removed by somebody: it is not made again unless asked for",
            extra={"title": decision.item.name, "target": str(decision.target)},
        )

    # -- the rest ---------------------------------------------------------------------------------------------------

    def _decision_inputs_hash(self) -> str:
        """Names everything but the items themselves that decisions rest on."""
        version = self.identity.version if self.identity else ""
        backends = [translator.name for translator in self._planner.translators]
        told = (version, self._planner.language_policy, backends, self._planner.skip_key, self._backlog)
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def _tally(self) -> Tally:
        now = self._clock.now()
        return Tally(lambda added_at: belongs_to_backlog(added_at, self._backlog, now))

    async def _forecast(self, tally: Tally) -> Forecast:
        per_day = (
            None
            if self._backlog.mode is BacklogMode.ALL and not self._backlog.per_day
            else self._backlog.per_day
        )
        return forecast(
            tally, await self._storage.speeds.get("listen"), per_day, self._clock.now().astimezone(UTC)
        )

    async def release_backlog(self) -> int:
        """Begin as many titles of the backlog as the day allows."""
        now = self._clock.now()
        titles = titles_to_start(await self._storage.backlog.progress(now), self._backlog)
        return await self._storage.backlog.release(titles, self._backlog.newest_first, now) if titles else 0
