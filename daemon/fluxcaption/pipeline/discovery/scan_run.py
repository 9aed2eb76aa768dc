"""State and result of one scan."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from fluxcaption.domain.forecast import Forecast, ItemCount, Tally
from fluxcaption.domain.gaps import Decision
from fluxcaption.domain.media import Item
from fluxcaption.pipeline.delivery.removal_watch import MissingTrack
from fluxcaption.ports.media_server import LibraryScan
from fluxcaption.ports.storage import ItemRecord

MAX_BROKEN_REPORTED = 20
"""Unreadable media files in a report."""


@dataclass(slots=True)
class ScanReport:
    """Result of a scan.

    Attributes:
        items: Number of items seen, read in full or skipped as unchanged.
        read: Number of items read in full.
        queued: Number of new jobs.
        forecast: Forecast of the work; None until the scan has ended.
        broken: Sentences about unreadable media files, at most `MAX_BROKEN_REPORTED`.
        is_first: True if no scan was ever made before.
    """

    tally: Tally
    items: int = 0
    read: int = 0
    queued: int = 0
    forecast: Forecast | None = None
    broken: list[str] = field(default_factory=list)
    is_first: bool = False

    def add_broken(self, item: Item) -> None:
        """Add the sentence about an item whose media is not readable; ignore any other item."""
        if item.broken and len(self.broken) < MAX_BROKEN_REPORTED:
            self.broken.append(item.broken)


class RowSet:
    """Set of row numbers with one bit for each row; libraries can have hundreds of thousands of items."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, row: int) -> None:
        """Add a row."""
        if row >> 3 >= len(self._bits):
            self._bits.extend(bytes((row >> 3) + 1024 - len(self._bits)))
        self._bits[row >> 3] |= 1 << (row & 7)

    def __contains__(self, row: int) -> bool:
        return row >> 3 < len(self._bits) and bool(self._bits[row >> 3] & 1 << (row & 7))


@dataclass(slots=True)
class ScanRun:
    """State of one running scan.

    Attributes:
        started_at: Start of this scan.
        first_scan_at: Start of the first scan ever; older items belong to the backlog.
        since: Time from which an incremental scan reads; None for a full scan.
        has_stored_decisions: True if stored decisions of unchanged items are valid, as a lean scan needs.
        server_scan: State of the server's own scan when this scan started.
        decision_inputs_hash: Hash of everything but the items that decisions depend on.
        seen: Rows of the items that a library of this scan contained.
        missing: Delivered tracks that were not listed, counted only after the whole scan.
        newest: Newest item with a gap, and its decisions; None if there is no gap.
    """

    report: ScanReport
    started_at: datetime
    first_scan_at: datetime
    since: datetime | None
    has_stored_decisions: bool
    server_scan: LibraryScan
    decision_inputs_hash: str
    seen: RowSet = field(default_factory=RowSet)
    missing: list[MissingTrack] = field(default_factory=list)
    newest: tuple[Item, Sequence[Decision]] | None = None

    @property
    def is_full(self) -> bool:
        """Return True if the scan sees every item."""
        return self.since is None

    def add(self, item: Item, decisions: Sequence[Decision]) -> ItemCount:
        """Count an item that was read in full."""
        self.report.items += 1
        self.report.read += 1
        self.report.add_broken(item)
        has_gap = any(decision.action.makes_track for decision in decisions)
        if has_gap and (self.newest is None or item.added_at > self.newest[0].added_at):
            self.newest = (item, decisions)
        return self.report.tally.add(item, decisions)

    def add_unchanged(self, record: ItemRecord, count: ItemCount) -> None:
        """Count an item that did not change since it was read in full."""
        self.report.items += 1
        self.report.tally.add_count(count)
        self.seen.add(record.row)
