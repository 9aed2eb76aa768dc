"""Who watches what: asked of the server, remembered, and what follows from it."""

import logging
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from fluxcaption.domain.jobs import Priority
from fluxcaption.domain.playback import (
    FOLLOWED_FOR,
    NEXT_EPISODES,
    QUIET_PERIOD_AFTER_PLAYBACK,
    Playing,
    do_not_disturb_until,
)
from fluxcaption.domain.units import ItemId, ServerId, SourceId
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.media_server import MediaServer
from fluxcaption.ports.storage import Storage

log = logging.getLogger(__name__)

GAP = timedelta(seconds=90)
"""After a longer time without a look the activity log is asked, too."""

NEXT_TIERS = (Priority.NEXT_EPISODE, Priority.LATER_EPISODE)


class PlaybackMonitor:
    """Knows who watches; every answer for a delivery is fresh from the server."""

    def __init__(self, server: MediaServer, storage: Storage, clock: Clock) -> None:
        self._server = server
        self._storage = storage
        self._clock = clock
        self._looked_at: datetime | None = None
        self.server_id = ServerId("")
        self.now_playing: tuple[Playing, ...] = ()

    @property
    def is_anyone_watching(self) -> bool:
        """Whether something was on at the last look."""
        return bool(self.now_playing)

    async def look(self) -> bool:
        """Ask the server what is on; returns whether that began or ended."""
        before = self.is_anyone_watching
        now = self._clock.now()
        if self._looked_at is None or now - self._looked_at > GAP:
            await self._catch_up(now - FOLLOWED_FOR if self._looked_at is None else self._looked_at)
        self._looked_at = now
        self.now_playing = tuple(
            Playing(playing.item_id, playing.source_id, now) for playing in await self._server.playing()
        )
        await self._storage.playback.save(
            self.server_id, [(playing.item_id, playing.source_id, now) for playing in self.now_playing]
        )
        return before != self.is_anyone_watching

    async def do_not_disturb_until(
        self, item_id: ItemId, source_ids: Collection[SourceId]
    ) -> datetime | None:
        """Until when an item is left alone; asked of the server at this moment."""
        await self.look()
        now = self._clock.now()
        seen = [
            Playing(*watched)
            for watched in await self._storage.playback.since(
                self.server_id, now - QUIET_PERIOD_AFTER_PLAYBACK
            )
        ]
        until = do_not_disturb_until(item_id, source_ids, [*seen, *self.now_playing])
        return until if until is not None and until > now else None

    async def refresh_unless_playing(self, item_id: ItemId, source_id: SourceId) -> bool:
        """Have the server look at an item's files again, unless somebody watches it; returns whether it was asked."""
        if await self.do_not_disturb_until(item_id, [source_id]) is not None:
            return False
        await self._server.refresh(ItemId(source_id))
        return True

    async def next_episodes(self) -> Mapping[ItemId, Priority]:
        """The two episodes after each that was watched in the last 48 hours, with how far forward they go."""
        wanted: dict[ItemId, Priority] = {}
        watched = await self._storage.playback.since(self.server_id, self._clock.now() - FOLLOWED_FOR)
        for item_id, _, _ in watched:
            for priority, following in zip(
                NEXT_TIERS,
                await self._storage.items.next_episodes(self.server_id, item_id, NEXT_EPISODES),
                strict=False,
            ):
                if following not in wanted or priority.rank < wanted[following].rank:
                    wanted[following] = priority
        for item_id, _, _ in watched:
            wanted.pop(item_id, None)
        return wanted

    async def _catch_up(self, since: datetime) -> None:
        """After a start or a gap: what was played while nobody asked, as the server has written down."""
        played = await self._server.played_since(since - GAP)
        await self._storage.playback.save(
            self.server_id, [(playing.item_id, playing.source_id, playing.seen_at) for playing in played]
        )
