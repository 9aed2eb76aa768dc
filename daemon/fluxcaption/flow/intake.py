"""From an item to queued jobs."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from fluxcaption.domain.backlog import BacklogRules, belongs_to_backlog
from fluxcaption.domain.errors import ItemGone
from fluxcaption.domain.gaps import Decision
from fluxcaption.domain.jobs import Event, NewJob, Tier
from fluxcaption.domain.media import Item
from fluxcaption.domain.units import ItemId
from fluxcaption.flow.planning import Planner
from fluxcaption.ports import Clock, MediaServer, Store

log = logging.getLogger(__name__)

NEW_FOR = timedelta(days=1)
"""An item that came after the first scan counts as new for this long; a scan that finds it later calls it backlog."""


class Intake:
    """Turns decisions into jobs; doubles fold in the database."""

    def __init__(self, server: MediaServer, store: Store, planner: Planner, backlog: BacklogRules, clock: Clock) -> None:
        self._server = server
        self._store = store
        self._planner = planner
        self._backlog = backlog
        self._clock = clock

    async def take(self, item_id: ItemId, tier: Tier) -> Sequence[Decision]:
        """Fetch one item and queue what it lacks.

        Raises:
            ItemGone: The library does not know it.
        """
        item = await self._server.fetch_item(item_id)
        decisions = self._planner.plan(item)
        await self._add(decisions, tier)
        return decisions

    async def take_event(self, event: Event) -> None:
        """Follow a hint; an item that is gone needs nothing."""
        try:
            await self.take(event.item_id, Tier.NEW)
        except ItemGone:
            log.info("event named an item that is gone", extra={"item": event.item_id})
        await self._store.close_event(event.id, self._clock.now())

    async def take_scanned(self, item: Item, first_scan_at: datetime) -> tuple[Sequence[Decision], int]:
        """Queue what a scanned item lacks: at once if it is new, else as the backlog settings say; returns how many jobs are new."""
        decisions = self._planner.plan(item)
        now = self._clock.now()
        if item.added_at > first_scan_at and item.added_at > now - NEW_FOR:
            return decisions, await self._add(decisions, Tier.NEW)
        if belongs_to_backlog(item.added_at, self._backlog, now):
            return decisions, await self._add(decisions, Tier.BACKLOG)
        return decisions, 0

    async def take_newest(self, item: Item) -> int:
        """Queue the one title a first start begins with, however old it is."""
        return await self._add(self._planner.plan(item), Tier.BACKLOG)

    async def _add(self, decisions: Sequence[Decision], tier: Tier) -> int:
        new = [
            NewJob(
                server_id=decision.item.server_id,
                item_id=decision.item.id,
                source_id=decision.source.id,
                target=decision.target,
                title=decision.item.name,
                tier=tier,
                added_at=decision.item.added_at,
                reason=decision.reason,
                is_held=tier is Tier.BACKLOG,
            )
            for decision in decisions
            if decision.way.is_work
        ]
        return await self._store.add_jobs(new, self._clock.now()) if new else 0
