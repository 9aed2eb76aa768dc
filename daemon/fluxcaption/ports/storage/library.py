"""Storage of the library as scans and events know it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from fluxcaption.domain.events import Event, EventKind
from fluxcaption.domain.forecast import ItemCount
from fluxcaption.domain.media import Item
from fluxcaption.domain.units import ItemId, ServerId, SourceId


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """An item as the last scan stored it.

    Attributes:
        row: Small number of the item, for compact sets.
        etag: Etag of the item when it was read.
        decision_inputs_hash: Hash of everything else that its decisions rested on.
        needs_reread: True if the item is read in full by the next scan even though it is unchanged.
        missed_since: Time of the first complete scan that missed it; None while it is listed.
        count: Share of the item in the tally of the library; None if it was stored without one.
    """

    row: int
    id: ItemId
    library: str
    etag: str
    decision_inputs_hash: str
    needs_reread: bool
    missed_since: datetime | None
    count: ItemCount | None


class ItemIndex(Protocol):
    """Items as the last scan read them."""

    async def records(self, server_id: ServerId, ids: Sequence[ItemId]) -> Mapping[ItemId, ItemRecord]:
        """Return the records of items by id; unknown ids are left out."""

    async def save(self, items: Sequence[tuple[Item, bool, ItemCount]], decision_inputs_hash: str) -> None:
        """Store items as they were read; rows without a change are not written.

        Args:
            items: Each item with True if the next scan needs to read it again, and its share in the tally.
            decision_inputs_hash: Hash of everything else that the decisions rest on.
        """

    async def recheck_failed(self, now: datetime) -> int:
        """Mark items for a full read whose job failed long enough ago. Return their number."""

    async def rows(
        self, server_id: ServerId, after_row: int, limit: int
    ) -> Sequence[tuple[int, datetime | None]]:
        """Return one page of rows, lowest first: number, and time since which scans miss the item."""

    async def mark_missed(self, rows: Sequence[int], now: datetime) -> None:
        """Store that a complete scan missed items; an earlier time stays."""

    async def mark_seen(self, rows: Sequence[int]) -> None:
        """Store that items are no longer missed."""

    async def forget(self, rows: Sequence[int]) -> None:
        """Delete the records of items; deliveries and transcripts of their media stay."""

    async def next_episodes(self, server_id: ServerId, item_id: ItemId, count: int) -> Sequence[ItemId]:
        """Return the episodes that follow an episode in its series, in order."""

    async def find(self, text: str, limit: int = 20) -> Sequence[tuple[ItemId, str]]:
        """Return id and name of items whose name contains a text, in order of their names."""


class EventInbox(Protocol):
    """Webhook events that are not processed yet."""

    async def add(self, server_id: ServerId, kind: EventKind, item_id: ItemId, now: datetime) -> int:
        """Store an event. Durable: returns after fsync.

        Returns:
            Id of the open event. A repeat of an open event, or of one handled within the last ten minutes,
            has the id of the earlier one, which is open again.
        """

    async def due(self, now: datetime, limit: int = 100) -> Sequence[Event]:
        """Return open events that are due, oldest first."""

    async def reschedule(self, event_id: int, until: datetime) -> None:
        """Make an event due again at a later moment, and count the attempt."""

    async def close(self, event_ids: Sequence[int], now: datetime) -> None:
        """Mark events as handled."""


class PlaybackLog(Protocol):
    """Latest playback time of each item."""

    async def save(self, server_id: ServerId, seen: Sequence[tuple[ItemId, SourceId, datetime]]) -> None:
        """Store playback times; an earlier time does not replace a later one."""

    async def since(
        self, server_id: ServerId, since: datetime
    ) -> Sequence[tuple[ItemId, SourceId, datetime]]:
        """Return the items played since a moment, latest first, at most 200."""
