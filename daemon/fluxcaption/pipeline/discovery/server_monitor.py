"""Living beside the server: who watches, what is watched next, when the server has walked its folders."""

import logging
from datetime import datetime, timedelta

from fluxcaption.domain.errors import ItemGone, JobError, StateError
from fluxcaption.domain.jobs import Priority
from fluxcaption.domain.units import ItemId
from fluxcaption.pipeline.delivery.services import DeliveryServices
from fluxcaption.pipeline.discovery.enqueue import Enqueuer
from fluxcaption.pipeline.playback import PlaybackMonitor
from fluxcaption.ports.media_server import MediaServer
from fluxcaption.ports.storage import Storage

log = logging.getLogger(__name__)

SCAN_END_KEY = "library-scan-ended"
BEFORE_THE_SCAN = timedelta(minutes=1)


class ServerMonitor:
    """What the daemon does between its passes."""

    def __init__(
        self,
        server: MediaServer,
        storage: Storage,
        playback: PlaybackMonitor,
        delivery: DeliveryServices,
        enqueuer: Enqueuer,
    ) -> None:
        self._server = server
        self._storage = storage
        self._playback = playback
        self._delivery = delivery
        self._enqueuer = enqueuer
        self._preferred: dict[ItemId, Priority] = {}
        self.server_is_scanning = False
        """Whether the server walked its folders at the last look."""

    async def look_at_viewers(self) -> bool:
        """See who watches, and put the next episodes forward; returns whether watching began or ended."""
        changed = await self._playback.look()
        wanted = dict(await self._playback.next_episodes())
        self._preferred = {
            item_id: priority
            for item_id, priority in wanted.items()
            if self._preferred.get(item_id) == priority or await self._put_forward(item_id, priority)
        }
        return changed

    async def _put_forward(self, item_id: ItemId, priority: Priority) -> bool:
        """Queue one episode earlier; returns false where the next look tries again."""
        try:
            await self._enqueuer.enqueue_item(item_id, priority)
        except ItemGone:
            log.info("the next episode is gone", extra={"item": item_id})
        except JobError as error:
            log.info("the next episode is not put forward yet: %s", error, extra={"item": item_id})
            return False
        except StateError:
            raise
        except Exception:
            # Said once: whoever watches is seen all the same, and a pass finds the episode.
            log.exception("the next episode cannot be put forward", extra={"item": item_id})
        return True

    async def library_scan_has_ended(self) -> bool:
        """Whether the server has finished a pass over its folders since the last look; what we delivered during it is looked at again."""
        scan = await self._server.library_scan()
        self.server_is_scanning = scan.is_running
        if scan.ended_at is None:
            return False
        before = await self._storage.state_values.get(SCAN_END_KEY)
        ended = scan.ended_at.isoformat()
        if before == ended:
            return False
        if before is None:
            await self._storage.state_values.set(SCAN_END_KEY, ended)
            return False
        began = (scan.started_at or datetime.fromisoformat(before)) - BEFORE_THE_SCAN
        server_id = self._playback.server_id
        if refreshed := await self._delivery.removal_watch.refresh_unlisted(began, server_id):
            log.info(
                "tracks delivered during a library scan were not listed; their items were refreshed",
                extra={"tracks": refreshed},
            )
        await self._delivery.restorer.restore_abandoned(server_id)
        await self._storage.state_values.set(SCAN_END_KEY, ended)
        return True
