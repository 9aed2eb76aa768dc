"""Living beside the server: who watches, what is watched next, when the server has walked its folders."""

import logging
from datetime import datetime, timedelta

from fluxcaption.domain.errors import ItemGone, JobError, StateError
from fluxcaption.domain.jobs import Tier
from fluxcaption.domain.units import ItemId
from fluxcaption.pipeline.delivery.upload import Deliverer
from fluxcaption.pipeline.discovery.enqueue import Intake
from fluxcaption.pipeline.playback import Watcher
from fluxcaption.ports.media_server import MediaServer
from fluxcaption.ports.storage import Store

log = logging.getLogger(__name__)

SCAN_END_FLAG = "library-scan-ended"
BEFORE_THE_SCAN = timedelta(minutes=1)


class Companion:
    """What the daemon does between its passes."""

    def __init__(
        self, server: MediaServer, store: Store, watcher: Watcher, deliverer: Deliverer, intake: Intake
    ) -> None:
        self._server = server
        self._store = store
        self._watcher = watcher
        self._deliverer = deliverer
        self._intake = intake
        self._preferred: dict[ItemId, Tier] = {}
        self.server_is_scanning = False
        """Whether the server walked its folders at the last look."""

    async def look_at_viewers(self) -> bool:
        """See who watches, and put the next episodes forward; returns whether watching began or ended."""
        changed = await self._watcher.look()
        wanted = dict(await self._watcher.next_episodes())
        self._preferred = {
            item_id: tier
            for item_id, tier in wanted.items()
            if self._preferred.get(item_id) == tier or await self._put_forward(item_id, tier)
        }
        return changed

    async def _put_forward(self, item_id: ItemId, tier: Tier) -> bool:
        """Queue one episode earlier; returns false where the next look tries again."""
        try:
            await self._intake.take(item_id, tier)
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
        before = await self._store.flag(SCAN_END_FLAG)
        ended = scan.ended_at.isoformat()
        if before == ended:
            return False
        if before is None:
            await self._store.set_flag(SCAN_END_FLAG, ended)
            return False
        began = (scan.started_at or datetime.fromisoformat(before)) - BEFORE_THE_SCAN
        if again := await self._deliverer.look_again(began, self._watcher.server_id):
            log.info(
                "tracks delivered during a library scan are not listed: the server is asked to look",
                extra={"tracks": again},
            )
        await self._store.set_flag(SCAN_END_FLAG, ended)
        return True
