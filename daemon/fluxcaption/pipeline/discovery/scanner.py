"""Scans of the libraries: find what is missing, and queue it.

An incremental scan reads the items that were saved since the last scan. A full scan sees every item, so only
a full scan can conclude that an item or a delivered track no longer exists. A lean full scan reads the ids
and revisions of all items, and in full only the items that changed; the counts of the others are stored from
the scan that read them.
"""

import asyncio
import hashlib
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from fluxcaption.domain.backlog import BacklogMode, BacklogRules, belongs_to_backlog, titles_to_start
from fluxcaption.domain.forecast import Forecast, ItemCount, Tally, forecast
from fluxcaption.domain.gaps import Action, Decision, SourceHistory
from fluxcaption.domain.media import Item, Library, ServerIdentity
from fluxcaption.domain.units import ItemId, ServerId, SourceId
from fluxcaption.pipeline.captioning.source_reader import SourceReader
from fluxcaption.pipeline.delivery.removal_watch import RemovalWatch
from fluxcaption.pipeline.discovery.enqueue import Enqueuer
from fluxcaption.pipeline.discovery.forecast_text import forecast_lines
from fluxcaption.pipeline.discovery.scan_run import ScanReport, ScanRun
from fluxcaption.pipeline.planner import Planner
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.media_server import ItemRevision, LibraryReader, ServerInfo
from fluxcaption.ports.storage import ItemRecord, Storage

log = logging.getLogger(__name__)

OVERLAP = timedelta(minutes=5)
"""Time before its cursor from which an incremental scan reads; servers store the time of a save late."""

ITEMS_PER_STEP = 25
"""Items that are decided before other tasks of the event loop run."""

ROWS_PER_PAGE = 1000
"""Rows of remembered items that are compared at a time after a full scan."""

FORGET_ITEM_AFTER = timedelta(hours=24)
"""Minimum time between two full scans without an item before the item is forgotten."""

FIRST_SCAN_KEY = "first-scan-at"
CURSOR_KEY = "scan-cursor"
DECISION_INPUTS_KEY = "scan-basis"
BEGUN_KEY = "scan-begun-on"


class ScanServer(ServerInfo, LibraryReader, Protocol):
    """Media server as a scan uses it."""


class Scanner:
    """Reads libraries, decides about items, and queues jobs."""

    def __init__(
        self,
        server: ScanServer,
        storage: Storage,
        planner: Planner,
        enqueuer: Enqueuer,
        source_reader: SourceReader,
        removal_watch: RemovalWatch,
        backlog: BacklogRules,
        clock: Clock,
    ) -> None:
        self._server = server
        self._storage = storage
        self._planner = planner
        self._enqueuer = enqueuer
        self._source_reader = source_reader
        self._removal_watch = removal_watch
        self._backlog = backlog
        self._clock = clock
        self.identity: ServerIdentity | None = None

    async def scan(self, *, full: bool, lean: bool = True) -> ScanReport:
        """Make one scan and queue what is missing.

        The scan is full in any case if there was none before, or if decision inputs such as settings changed.

        Args:
            full: True for a full scan, False for an incremental one.
            lean: True if a full scan may skip items that did not change since their decisions were stored.
        """
        run = await self._begin(full=full)
        if run.is_full:
            await self._storage.items.recheck_failed(run.started_at)
        for library in await self._server.libraries():
            if run.since is not None:
                async for page in self._server.items(library, run.since):
                    await self._process(page, run)
            elif lean and run.has_stored_decisions:
                await self._scan_lean(library, run)
            else:
                await self._scan_in_full(library, run)
        if run.is_full:
            await self._forget_removed_items(run)
        await self._end(run)
        return run.report

    async def look(self) -> ScanReport:
        """Return the report of a full scan that changes nothing anywhere."""
        report = ScanReport(self._new_tally())
        for library in await self._server.libraries():
            async for page in self._server.items(library):
                for item, decisions in zip(page, await self._planner.plan(page), strict=True):
                    report.items += 1
                    report.tally.add(item, decisions)
                    report.add_broken(item)
        report.forecast = await self._forecast(report.tally)
        return report

    async def release_backlog(self) -> int:
        """Start as many titles of the backlog as its rules allow now, and return their number."""
        now = self._clock.now()
        titles = titles_to_start(await self._storage.backlog.progress(now), self._backlog)
        return await self._storage.backlog.release(titles, self._backlog.newest_first, now) if titles else 0

    # -- begin and end of a scan ------------------------------------------------------------------

    async def _begin(self, *, full: bool) -> ScanRun:
        values = self._storage.state_values
        started_at = self._clock.now()
        server_scan = await self._server.library_scan()
        inputs_hash = self._decision_inputs_hash()
        has_same_inputs = await values.get(DECISION_INPUTS_KEY) == inputs_hash
        cursor = await values.get(CURSOR_KEY)
        is_incremental = not full and cursor is not None and has_same_inputs
        first_scan = await values.get(FIRST_SCAN_KEY)
        if first_scan is None:
            await values.set(FIRST_SCAN_KEY, started_at.isoformat())
        # An interrupted scan with the same inputs has stored decisions, too: only its other items are read.
        was_begun = await values.get(BEGUN_KEY) == inputs_hash
        await values.set(BEGUN_KEY, inputs_hash)
        return ScanRun(
            report=ScanReport(self._new_tally(), is_first=first_scan is None),
            started_at=started_at,
            first_scan_at=datetime.fromisoformat(first_scan) if first_scan else started_at,
            since=datetime.fromisoformat(cursor) - OVERLAP if is_incremental and cursor else None,
            has_stored_decisions=has_same_inputs or was_begun,
            server_scan=server_scan,
            decision_inputs_hash=inputs_hash,
        )

    async def _end(self, run: ScanRun) -> None:
        """Queue the first title, store the cursor, decide about missing tracks, and complete the report."""
        report, values = run.report, self._storage.state_values
        if report.is_first and run.newest is not None and self._backlog.mode is BacklogMode.RECENT:
            _, decisions = run.newest
            report.queued += await self._enqueuer.enqueue_first(decisions)
        await values.set(CURSOR_KEY, (run.server_scan.now or run.started_at).isoformat())
        await values.set(DECISION_INPUTS_KEY, run.decision_inputs_hash)
        if run.is_full and run.missing:
            await self._removal_watch.conclude(self._server_id, run.missing, run.server_scan)
        report.forecast = await self._forecast(report.tally)
        if report.is_first:
            for line in forecast_lines(report.forecast):
                log.info("%s", line)
        log.info(
            "library scanned",
            extra={
                "items": report.items,
                "read": report.read,
                "queued": report.queued,
                "full": run.is_full,
            },
        )

    @property
    def _server_id(self) -> ServerId:
        return self.identity.id if self.identity else ServerId("")

    def _decision_inputs_hash(self) -> str:
        """Return the hash of everything but the items that decisions depend on."""
        version = self.identity.version if self.identity else ""
        backends = [translator.name for translator in self._planner.translators]
        inputs = (version, self._planner.language_policy, backends, self._planner.skip_key, self._backlog)
        return hashlib.sha256(repr(inputs).encode()).hexdigest()

    def _new_tally(self) -> Tally:
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

    # -- a library in a full scan -----------------------------------------------------------------

    async def _scan_in_full(self, library: Library, run: ScanRun) -> None:
        """Read all items of a library, without those that an earlier library of this scan contained."""
        is_first_library = run.report.items == 0
        duplicates = 0
        async for page in self._server.items(library):
            records = {} if is_first_library else await self._records([item.id for item in page])
            new = [item for item in page if item.id not in records or records[item.id].row not in run.seen]
            duplicates += len(page) - len(new)
            await self._process(new, run)
            await self._mark_seen(new, run)
        _warn_of_duplicates(library, duplicates)

    async def _scan_lean(self, library: Library, run: ScanRun) -> None:
        """Read the revisions of all items of a library, and in full only the items that changed."""
        found_again: list[int] = []
        duplicates = 0
        async for revisions in self._server.item_revisions(library):
            records = await self._records([revision.id for revision in revisions])
            changed: list[ItemId] = []
            for revision in revisions:
                record = records.get(revision.id)
                if record is not None and record.row in run.seen:
                    duplicates += 1
                elif record is None or record.count is None or _must_be_read(record, revision, library, run):
                    changed.append(revision.id)
                else:
                    run.add_unchanged(record, record.count)
                    if record.missed_since is not None:
                        found_again.append(record.row)
            if changed:
                page = await self._server.fetch_items(changed, library)
                await self._process(page, run)
                await self._mark_seen(page, run)
        await self._storage.items.mark_seen(found_again)
        _warn_of_duplicates(library, duplicates)

    async def _records(self, ids: Sequence[ItemId]) -> Mapping[ItemId, ItemRecord]:
        return await self._storage.items.records(self._server_id, ids)

    async def _mark_seen(self, page: Sequence[Item], run: ScanRun) -> None:
        for record in (await self._records([item.id for item in page])).values():
            run.seen.add(record.row)

    async def _forget_removed_items(self, run: ScanRun) -> None:
        """Forget items that no library has contained for long enough, with those of removed libraries."""
        now = self._clock.now()
        last_row = 0
        while rows := await self._storage.items.rows(self._server_id, last_row, ROWS_PER_PAGE):
            missed = [(row, missed_since) for row, missed_since in rows if row not in run.seen]
            await self._storage.items.mark_missed(
                [row for row, missed_since in missed if missed_since is None], now
            )
            await self._storage.items.forget(
                [
                    row
                    for row, missed_since in missed
                    if missed_since is not None and now - missed_since >= FORGET_ITEM_AFTER
                ]
            )
            last_row = rows[-1][0]

    # -- items ------------------------------------------------------------------------------------

    async def _process(self, page: Sequence[Item], run: ScanRun) -> None:
        """Decide about items, queue jobs for their gaps, and store their decisions."""
        for first in range(0, len(page), ITEMS_PER_STEP):
            await self._process_step(page[first : first + ITEMS_PER_STEP], run)
            await asyncio.sleep(0)

    async def _process_step(self, items: Sequence[Item], run: ScanRun) -> None:
        await self._storage.history.rebind_moved_media(items)
        histories = await self._load_histories(items)
        if await self._read_unexplained_tracks(items, histories):
            histories = await self._load_histories(items)
        stored: list[tuple[Item, bool, ItemCount]] = []
        for item in items:
            decisions = self._planner.decide(item, histories)
            if await self._follow_deliveries(decisions, histories, run):
                decisions = self._planner.decide(item, {**histories, **await self._load_histories([item])})
            run.report.queued += await self._enqueuer.enqueue_scanned(item, decisions, run.first_scan_at)
            stored.append((item, _must_be_rechecked(item, decisions), run.add(item, decisions)))
        await self._storage.items.save(stored, run.decision_inputs_hash)

    async def _load_histories(self, items: Sequence[Item]) -> Mapping[SourceId, SourceHistory]:
        return await self._storage.history.load(items, self._planner.skip_key)

    async def _read_unexplained_tracks(
        self, items: Sequence[Item], histories: Mapping[SourceId, SourceHistory]
    ) -> bool:
        """Read tracks that may be ours under another name. Return True if any was read."""
        was_read = False
        for item in items:
            for source in item.sources:
                if source.id in histories:
                    was_read |= await self._source_reader.find_own_tracks(
                        item, source, histories[source.id], self._planner.policy.marker
                    )
        return was_read

    async def _follow_deliveries(
        self, decisions: Sequence[Decision], histories: Mapping[SourceId, SourceHistory], run: ScanRun
    ) -> bool:
        """Note delivered tracks that are not listed. Return True if a missing track was found again."""
        was_found = False
        for decision in decisions:
            history = histories.get(decision.source.id)
            if history is None:
                continue
            missing = await self._removal_watch.find_missing(decision, history)
            if missing is not None:
                run.missing.append(missing)
            was_found |= await self._removal_watch.confirm_found(decision, history)
        return was_found


def _must_be_read(record: ItemRecord, revision: ItemRevision, library: Library, run: ScanRun) -> bool:
    """Return True if the stored decisions of an item are not valid any more."""
    return (
        record.needs_reread
        or record.etag != revision.etag
        or record.library != library.name
        or record.decision_inputs_hash != run.decision_inputs_hash
    )


def _must_be_rechecked(item: Item, decisions: Sequence[Decision]) -> bool:
    """Return True if the next full scan has to read the item even if it did not change."""
    return (
        item.is_probe_pending
        or item.broken != ""
        or any(decision.action is Action.MISSING for decision in decisions)
    )


def _warn_of_duplicates(library: Library, count: int) -> None:
    if count:
        log.warning(
            "%d items of library %s also belong to another library, where they were scanned already",
            count,
            library.name,
        )
