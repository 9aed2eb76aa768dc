"""From an item to queued jobs."""

import logging
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from fluxcaption.domain.backlog import BacklogRules, belongs_to_backlog
from fluxcaption.domain.errors import DiskLow, JobError, StateError
from fluxcaption.domain.events import Event, EventKind
from fluxcaption.domain.gaps import Action, Decision
from fluxcaption.domain.jobs import ManualRequest, NewJob, Priority
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import Item
from fluxcaption.domain.units import ItemId, ServerId
from fluxcaption.pipeline.planner import Planner
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.media_server import MediaServer
from fluxcaption.ports.storage import Storage

log = logging.getLogger(__name__)

PLAINLY = ManualRequest()

NEW_FOR = timedelta(days=1)
"""An item that came after the first scan counts as new for this long; a scan that finds it later calls it backlog."""

NEW_ITEM_RETRY_DELAYS = (
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=5),
    timedelta(minutes=15),
    timedelta(hours=1),
)
"""An arrival the server has not listed or probed yet is looked at again after these (contract A4); afterwards a scan finds it."""


class Enqueuer:
    """Turns decisions into jobs; doubles fold in the database."""

    def __init__(
        self, server: MediaServer, storage: Storage, planner: Planner, backlog: BacklogRules, clock: Clock
    ) -> None:
        self._server = server
        self._storage = storage
        self._planner = planner
        self._backlog = backlog
        self._clock = clock

    async def enqueue_item(self, item_id: ItemId, priority: Priority) -> Sequence[Decision]:
        """Fetch one item and queue what it lacks.

        Raises:
            ItemGone: The library does not know it.
        """
        item = await self._server.fetch_item(item_id)
        await self._storage.history.rebind_moved_media([item])
        (decisions,) = await self._planner.plan([item])
        await self._add(decisions, priority)
        return decisions

    async def enqueue_requested(
        self, item_id: ItemId, targets: Collection[LanguageTag], request: ManualRequest
    ) -> Sequence[Decision]:
        """Queue what a person asks for: the wanted languages an item lacks, or those named, and what was settled before.

        Raises:
            ItemGone: The library does not know it.
        """
        item = await self._server.fetch_item(item_id)
        named = self._planner.naming(targets)
        (decisions,) = await named.plan([item])
        wanted = [
            decision
            for decision in decisions
            if request.redo or decision.action.is_work or decision.action in {Action.SKIPPED, Action.MISSING}
        ]
        await self._storage.jobs.add(
            [self._job(decision, Priority.REQUESTED, request) for decision in wanted], self._clock.now()
        )
        return decisions

    async def enqueue_events(self, events: Sequence[Event], server_id: ServerId) -> None:
        """Follow hints, many with few requests; one that cannot be followed is put off without the others.

        Args:
            events: At least one.
            server_id: The server in use; hints of another one are dropped.

        Raises:
            ParkedError: The server is away: what is open stays open.
        """
        own = [event for event in events if event.server_id in {"", server_id}]
        if len(own) < len(events):
            log.warning("events of another server are dropped", extra={"events": len(events) - len(own)})
            await self._storage.events.close(
                [event.id for event in events if event not in own], self._clock.now()
            )
        if own:
            await self._take_or_part(own)

    async def _take_or_part(self, events: Sequence[Event]) -> None:
        try:
            await self._take_together(events)
        except (StateError, DiskLow):
            raise
        except Exception as error:
            # Where the server answers nothing at all, it is not about these events.
            await self._server.connect()
            if len(events) == 1:
                log.warning(
                    "an event cannot be followed: %s",
                    error,
                    extra={"item": events[0].item_id},
                    exc_info=None if isinstance(error, JobError) else error,
                )
                await self._put_off(events, self._clock.now())
            else:
                middle = len(events) // 2
                for half in (events[:middle], events[middle:]):
                    await self._take_or_part(half)

    async def _take_together(self, events: Sequence[Event]) -> None:
        """What is not there or not ready yet is looked at again a few times, what is gone needs nothing."""
        now = self._clock.now()
        added = [event for event in events if event.kind is EventKind.ITEM_ADDED]
        found = {
            item.id: item
            for item in await self._server.fetch_items(list(dict.fromkeys(event.item_id for event in added)))
        }
        ready: dict[ItemId, Item] = {}
        put_off: list[Event] = []
        for event in added:
            item = found.get(event.item_id)
            inside = [item] if item is not None else []
            if item is not None and item.is_folder:
                inside = list(await self._server.fetch_items(await self._server.episodes_of(item.id)))
            ready |= {part.id: part for part in inside if not part.is_probe_pending}
            if any(part.is_probe_pending for part in inside) or not inside:
                put_off.append(event)
        if ready:
            await self._storage.history.rebind_moved_media(list(ready.values()))
            await self._add(
                [
                    decision
                    for decisions in await self._planner.plan(list(ready.values()))
                    for decision in decisions
                ],
                Priority.NEW,
            )
        await self._storage.events.close([event.id for event in events if event not in put_off], now)
        await self._put_off(put_off, now)

    async def _put_off(self, events: Sequence[Event], now: datetime) -> None:
        """Look at events again later, and after the last look no more: a pass finds what is left."""
        for event in events:
            if event.attempts < len(NEW_ITEM_RETRY_DELAYS):
                await self._storage.events.reschedule(event.id, now + NEW_ITEM_RETRY_DELAYS[event.attempts])
        await self._storage.events.close(
            [event.id for event in events if event.attempts >= len(NEW_ITEM_RETRY_DELAYS)], now
        )

    async def enqueue_scanned(
        self, item: Item, decisions: Sequence[Decision], first_scan_at: datetime
    ) -> int:
        """Queue what a scanned item lacks: at once if it is new, else as the backlog settings say; returns how many jobs are new."""
        if not any(decision.action.is_work for decision in decisions):
            return 0
        now = self._clock.now()
        if item.added_at > first_scan_at and item.added_at > now - NEW_FOR:
            return await self._add(decisions, Priority.NEW)
        if belongs_to_backlog(item.added_at, self._backlog, now):
            return await self._add(decisions, Priority.BACKLOG)
        return await self._add([decision for decision in decisions if decision.is_upkeep], Priority.NEW)

    async def enqueue_first(self, decisions: Sequence[Decision]) -> int:
        """Queue the one title a first start begins with, however old it is."""
        return await self._add(decisions, Priority.BACKLOG)

    async def _add(self, decisions: Sequence[Decision], priority: Priority) -> int:
        new = [
            self._job(
                decision, Priority.NEW if decision.is_upkeep and priority is Priority.BACKLOG else priority
            )
            for decision in decisions
            if decision.action.is_work
        ]
        return await self._storage.jobs.add(new, self._clock.now()) if new else 0

    @staticmethod
    def _job(decision: Decision, priority: Priority, request: ManualRequest = PLAINLY) -> NewJob:
        return NewJob(
            server_id=decision.item.server_id,
            item_id=decision.item.id,
            source_id=decision.source.id,
            target=decision.target,
            title=decision.item.name,
            priority=priority,
            added_at=decision.item.added_at,
            reason=decision.reason,
            is_held=priority is Priority.BACKLOG,
            request=request,
        )
