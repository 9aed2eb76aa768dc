"""Enqueuing: turns the gaps of an item into jobs, for scans, webhook events, playback and manual requests."""

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
from fluxcaption.ports.storage import EventInbox, History, Jobs

log = logging.getLogger(__name__)

DEFAULT_REQUEST = ManualRequest()

NEW_ITEM_PERIOD = timedelta(days=1)
"""An item added after the first scan counts as new for this long; afterwards it belongs to the backlog."""

NEW_ITEM_RETRY_DELAYS = (
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=5),
    timedelta(minutes=15),
    timedelta(hours=1),
)
"""Pauses before the retries for a new item that the server has not listed or probed yet
(notes/jellyfin-server.md J46). After the last retry the item is left to the next scan."""


class Enqueuer:
    """Adds jobs to the queue. A job that exists already is merged with the new one by the storage."""

    def __init__(
        self,
        server: MediaServer,
        jobs: Jobs,
        events: EventInbox,
        history: History,
        planner: Planner,
        backlog: BacklogRules,
        clock: Clock,
    ) -> None:
        self._server = server
        self._jobs = jobs
        self._events = events
        self._history = history
        self._planner = planner
        self._backlog = backlog
        self._clock = clock

    async def enqueue_item(self, item_id: ItemId, priority: Priority) -> Sequence[Decision]:
        """Fetch one item and enqueue its gaps. Return all decisions about the item.

        Raises:
            ItemGone: The server does not list the item.
        """
        item = await self._server.fetch_item(item_id)
        await self._history.rebind_moved_media([item])
        (decisions,) = await self._planner.plan([item])
        await self._add(decisions, priority)
        return decisions

    async def enqueue_requested(
        self, item_id: ItemId, targets: Collection[LanguageTag], request: ManualRequest
    ) -> Sequence[Decision]:
        """Enqueue what a user requests for one item. Return all decisions about the item.

        A request overrides earlier skips and missing tracks.

        Args:
            item_id: The item.
            targets: Target languages; empty: the targets of the settings.
            request: The source, model and replacement that the user wants.

        Raises:
            ItemGone: The server does not list the item.
        """
        item = await self._server.fetch_item(item_id)
        (decisions,) = await self._planner.with_targets(targets).plan([item])
        requested = [
            decision
            for decision in decisions
            if request.redo or decision.action.is_work or decision.action in {Action.SKIPPED, Action.MISSING}
        ]
        await self._jobs.add(
            [_new_job(decision, Priority.REQUESTED, request) for decision in requested], self._clock.now()
        )
        return decisions

    async def enqueue_events(self, events: Sequence[Event], server_id: ServerId) -> None:
        """Enqueue the items of webhook events, with few requests for many events.

        An event that fails is rescheduled; it does not affect the others.

        Args:
            events: At least one event.
            server_id: The connected server; events of another server are dropped.

        Raises:
            ParkedError: The server is unavailable; the events stay open.
        """
        accepted = [event for event in events if event.server_id in {"", server_id}]
        dropped = [event for event in events if event not in accepted]
        if dropped:
            log.warning("events of another server were dropped", extra={"events": len(dropped)})
            await self._close(dropped, self._clock.now())
        if accepted:
            await self._process_or_split(accepted)

    async def _process_or_split(self, events: Sequence[Event]) -> None:
        """Process events together; after an error, process each half, down to the event that fails."""
        try:
            await self._process(events)
        except (StateError, DiskLow):
            raise
        except Exception as error:
            # If the server answers no request at all, the error is not caused by these events.
            await self._server.connect()
            if len(events) == 1:
                log.warning(
                    "an event could not be processed: %s",
                    error,
                    extra={"item": events[0].item_id},
                    exc_info=None if isinstance(error, JobError) else error,
                )
                await self._reschedule(events, self._clock.now())
                return
            middle = len(events) // 2
            await self._process_or_split(events[:middle])
            await self._process_or_split(events[middle:])

    async def _process(self, events: Sequence[Event]) -> None:
        """Enqueue the new items and close the events. Reschedule the events of items that are not ready."""
        now = self._clock.now()
        added = [event for event in events if event.kind is EventKind.ITEM_ADDED]
        items_by_event = await self._items_of(added)
        pending = [
            event
            for event in added
            if not items_by_event[event.id] or any(item.is_probe_pending for item in items_by_event[event.id])
        ]
        ready = {
            item.id: item for items in items_by_event.values() for item in items if not item.is_probe_pending
        }
        if ready:
            items = list(ready.values())
            await self._history.rebind_moved_media(items)
            plans = await self._planner.plan(items)
            await self._add([decision for decisions in plans for decision in decisions], Priority.NEW)
        await self._close([event for event in events if event not in pending], now)
        await self._reschedule(pending, now)

    async def _items_of(self, events: Sequence[Event]) -> dict[int, Sequence[Item]]:
        """Return the items of events by event id: the episodes of a folder, none if it is not listed."""
        item_ids = list(dict.fromkeys(event.item_id for event in events))
        found = {item.id: item for item in await self._server.fetch_items(item_ids)}
        items_by_event: dict[int, Sequence[Item]] = {}
        for event in events:
            item = found.get(event.item_id)
            if item is None:
                items_by_event[event.id] = []
            elif item.is_folder:
                episode_ids = await self._server.episodes_of(item.id)
                items_by_event[event.id] = await self._server.fetch_items(episode_ids)
            else:
                items_by_event[event.id] = [item]
        return items_by_event

    async def _reschedule(self, events: Sequence[Event], now: datetime) -> None:
        """Schedule the next retry of events. After the last one, leave the items to a scan."""
        exhausted = [event for event in events if event.attempts >= len(NEW_ITEM_RETRY_DELAYS)]
        for event in events:
            if event not in exhausted:
                await self._events.reschedule(event.id, now + NEW_ITEM_RETRY_DELAYS[event.attempts])
        await self._close(exhausted, now)

    async def _close(self, events: Sequence[Event], now: datetime) -> None:
        await self._events.close([event.id for event in events], now)

    async def enqueue_scanned(
        self, item: Item, decisions: Sequence[Decision], first_scan_at: datetime
    ) -> int:
        """Enqueue the gaps of a scanned item. Return the number of new jobs.

        A new item is enqueued at once, an older one as the backlog settings say. Existing FluxCaption tracks
        of items outside the backlog are replaced or removed all the same.
        """
        if not any(decision.action.is_work for decision in decisions):
            return 0
        now = self._clock.now()
        if item.added_at > first_scan_at and item.added_at > now - NEW_ITEM_PERIOD:
            return await self._add(decisions, Priority.NEW)
        if belongs_to_backlog(item.added_at, self._backlog, now):
            return await self._add(decisions, Priority.BACKLOG)
        return await self._add([decision for decision in decisions if decision.is_upkeep], Priority.NEW)

    async def enqueue_first(self, decisions: Sequence[Decision]) -> int:
        """Enqueue the one item that a first start begins with, whatever its age.

        Returns:
            The number of new jobs.
        """
        return await self._add(decisions, Priority.BACKLOG)

    async def _add(self, decisions: Sequence[Decision], priority: Priority) -> int:
        jobs = [
            _new_job(decision, _priority_of(decision, priority))
            for decision in decisions
            if decision.action.is_work
        ]
        return await self._jobs.add(jobs, self._clock.now()) if jobs else 0


def _priority_of(decision: Decision, priority: Priority) -> Priority:
    """Return the priority of a job; replacing or removing an existing track is never backlog."""
    return Priority.NEW if decision.is_upkeep and priority is Priority.BACKLOG else priority


def _new_job(decision: Decision, priority: Priority, request: ManualRequest = DEFAULT_REQUEST) -> NewJob:
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
