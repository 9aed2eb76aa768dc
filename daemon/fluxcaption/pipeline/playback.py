"""Playback: what is playing on the media server, and until when an item must not be changed for it."""

import logging
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from fluxcaption.domain.jobs import Priority
from fluxcaption.domain.playback import (
    NEXT_EPISODE_PERIOD,
    NEXT_EPISODES,
    QUIET_PERIOD_AFTER_PLAYBACK,
    Playing,
    do_not_disturb_until,
)
from fluxcaption.domain.units import ItemId, ServerId, SourceId
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.media_server import MediaServer
from fluxcaption.ports.storage import ItemIndex, PlaybackLog

log = logging.getLogger(__name__)

MAX_POLL_GAP = timedelta(seconds=90)
"""After a longer time without a poll, the server's activity log is read as well."""

NEXT_EPISODE_PRIORITIES = (Priority.NEXT_EPISODE, Priority.LATER_EPISODE)


class PlaybackMonitor:
    """Polls the media server for playback and records it.

    Attributes:
        server_id: Id of the connected server; empty before the first connection.
        now_playing: Playback at the last poll.
    """

    def __init__(
        self, server: MediaServer, playback_log: PlaybackLog, items: ItemIndex, clock: Clock
    ) -> None:
        self._server = server
        self._playback_log = playback_log
        self._items = items
        self._clock = clock
        self._polled_at: datetime | None = None
        self.server_id = ServerId("")
        self.now_playing: tuple[Playing, ...] = ()

    @property
    def is_anything_playing(self) -> bool:
        """Return True if something was playing at the last poll."""
        return bool(self.now_playing)

    async def poll(self) -> bool:
        """Read what is playing. Return True if playback started or ended since the last poll."""
        was_playing = self.is_anything_playing
        now = self._clock.now()
        if self._polled_at is None:
            await self._record_missed_playback(now - NEXT_EPISODE_PERIOD)
        elif now - self._polled_at > MAX_POLL_GAP:
            await self._record_missed_playback(self._polled_at)
        self._polled_at = now
        self.now_playing = tuple(
            Playing(playing.item_id, playing.source_id, now) for playing in await self._server.playing()
        )
        await self._record(self.now_playing)
        return was_playing != self.is_anything_playing

    async def do_not_disturb_until(
        self, item_id: ItemId, source_ids: Collection[SourceId]
    ) -> datetime | None:
        """Return the time until which an item must not be changed; None if it may be changed now.

        Polls the server, so that the answer is current.
        """
        await self.poll()
        now = self._clock.now()
        recent = await self._playback_log.since(self.server_id, now - QUIET_PERIOD_AFTER_PLAYBACK)
        until = do_not_disturb_until(
            item_id, source_ids, [*(Playing(*entry) for entry in recent), *self.now_playing]
        )
        return until if until is not None and until > now else None

    async def refresh_unless_playing(self, item_id: ItemId, source_id: SourceId) -> bool:
        """Request a refresh of an item from the server. Return False, without a request, during playback."""
        if await self.do_not_disturb_until(item_id, [source_id]) is not None:
            return False
        await self._server.refresh(ItemId(source_id))
        return True

    async def next_episodes(self) -> Mapping[ItemId, Priority]:
        """Return the two episodes after each one played in the last 48 hours, with the priority they get."""
        priorities: dict[ItemId, Priority] = {}
        played_ids = [
            item_id
            for item_id, _, _ in await self._playback_log.since(
                self.server_id, self._clock.now() - NEXT_EPISODE_PERIOD
            )
        ]
        for played_id in played_ids:
            episodes = await self._items.next_episodes(self.server_id, played_id, NEXT_EPISODES)
            for priority, episode_id in zip(NEXT_EPISODE_PRIORITIES, episodes, strict=False):
                if episode_id not in priorities or priority.rank < priorities[episode_id].rank:
                    priorities[episode_id] = priority
        for played_id in played_ids:
            priorities.pop(played_id, None)
        return priorities

    async def _record_missed_playback(self, since: datetime) -> None:
        """Record what was played while the server was not polled, as its activity log lists it."""
        await self._record(await self._server.played_since(since - MAX_POLL_GAP))

    async def _record(self, played: Collection[Playing]) -> None:
        await self._playback_log.save(
            self.server_id, [(playing.item_id, playing.source_id, playing.seen_at) for playing in played]
        )
