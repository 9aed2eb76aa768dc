"""Server monitor: polls the media server for playback and for the end of its own library scans."""

import logging
from datetime import datetime, timedelta

from fluxcaption.domain.errors import ItemGone, JobError, StateError
from fluxcaption.domain.jobs import Priority
from fluxcaption.domain.units import ItemId
from fluxcaption.pipeline.delivery.upload import Deliverer
from fluxcaption.pipeline.discovery.enqueue import Enqueuer
from fluxcaption.pipeline.playback import PlaybackMonitor
from fluxcaption.ports.media_server import MediaServer
from fluxcaption.ports.storage import StateValues

log = logging.getLogger(__name__)

SCAN_END_KEY = "library-scan-ended"

SCAN_START_MARGIN = timedelta(minutes=1)
"""Deliveries from this long before a library scan are checked as well."""


class ServerMonitor:
    """Follows what happens on the media server between scans.

    Attributes:
        is_library_scan_running: True if the server was scanning its folders at the last poll.
    """

    def __init__(
        self,
        server: MediaServer,
        state_values: StateValues,
        playback: PlaybackMonitor,
        deliverer: Deliverer,
        enqueuer: Enqueuer,
    ) -> None:
        self._server = server
        self._state_values = state_values
        self._playback = playback
        self._deliverer = deliverer
        self._enqueuer = enqueuer
        self._promoted: dict[ItemId, Priority] = {}
        self.is_library_scan_running = False

    async def poll_playback(self) -> bool:
        """Read what is playing and promote the next episodes. Return True if playback started or ended."""
        has_changed = await self._playback.poll()
        await self._promote_next_episodes()
        return has_changed

    async def _promote_next_episodes(self) -> None:
        """Raise the priority of episodes that follow a watched one; each is promoted once."""
        promoted = {}
        for item_id, priority in (await self._playback.next_episodes()).items():
            if self._promoted.get(item_id) == priority or await self._promote(item_id, priority):
                promoted[item_id] = priority
        self._promoted = promoted

    async def _promote(self, item_id: ItemId, priority: Priority) -> bool:
        """Enqueue one episode with a higher priority. Return False if the next poll must try again."""
        try:
            await self._enqueuer.enqueue_item(item_id, priority)
        except ItemGone:
            log.info("the next episode is not in the library any more", extra={"item": item_id})
        except JobError as error:
            log.info("the next episode was not promoted yet: %s", error, extra={"item": item_id})
            return False
        except StateError:
            raise
        except Exception:
            # Logged once: playback must be polled all the same, and a scan finds the episode.
            log.exception("the next episode could not be promoted", extra={"item": item_id})
        return True

    async def poll_library_scan(self) -> bool:
        """Return True if a library scan of the server has ended since the last poll.

        Tracks that were delivered during that scan are checked again.
        """
        scan = await self._server.library_scan()
        self.is_library_scan_running = scan.is_running
        if scan.ended_at is None:
            return False
        ended_at = scan.ended_at.isoformat()
        last_ended_at = await self._state_values.get(SCAN_END_KEY)
        if last_ended_at == ended_at:
            return False
        if last_ended_at is not None:
            started_at = scan.started_at or datetime.fromisoformat(last_ended_at)
            await self._check_deliveries_since(started_at - SCAN_START_MARGIN)
        await self._state_values.set(SCAN_END_KEY, ended_at)
        return last_ended_at is not None

    async def _check_deliveries_since(self, since: datetime) -> None:
        if count := await self._deliverer.look_again(since, self._playback.server_id):
            log.info(
                "tracks delivered during a library scan are not listed, the server was asked for a refresh",
                extra={"tracks": count},
            )
