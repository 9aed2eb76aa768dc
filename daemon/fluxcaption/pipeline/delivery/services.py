"""Wiring of the delivery classes; `app.py` calls it."""

from dataclasses import dataclass

from fluxcaption.pipeline.delivery.confirm import Confirmer
from fluxcaption.pipeline.delivery.context import DeliveryDeps, DeliveryServer
from fluxcaption.pipeline.delivery.item_locks import ItemLocks
from fluxcaption.pipeline.delivery.own_tracks import OwnTracks
from fluxcaption.pipeline.delivery.preconditions import Preconditions
from fluxcaption.pipeline.delivery.removal_watch import RemovalWatch
from fluxcaption.pipeline.delivery.restore import Restorer
from fluxcaption.pipeline.delivery.undo import Undo
from fluxcaption.pipeline.delivery.upload import Uploader
from fluxcaption.pipeline.delivery.withdraw import Withdrawer
from fluxcaption.pipeline.planner import Planner
from fluxcaption.pipeline.playback import PlaybackMonitor
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.storage import Storage
from fluxcaption.ports.subtitles import SubtitleCodec


@dataclass(frozen=True, slots=True)
class DeliveryServices:
    """Entry points of the delivery. All of them share the locks of the items."""

    uploader: Uploader
    confirmer: Confirmer
    restorer: Restorer
    undo: Undo
    removal_watch: RemovalWatch


def build_delivery(
    server: DeliveryServer,
    storage: Storage,
    codec: SubtitleCodec,
    planner: Planner,
    playback: PlaybackMonitor,
    clock: Clock,
    version: str,
) -> DeliveryServices:
    """Build the delivery classes over one server and one storage."""
    deps = DeliveryDeps(
        server=server,
        jobs=storage.jobs,
        deliveries=storage.deliveries,
        documents=storage.documents,
        identities=storage.identities,
        skips=storage.skips,
        history=storage.history,
        own_tracks=OwnTracks(server, codec, planner.policy.marker),
        planner=planner,
        playback=playback,
        clock=clock,
        locks=ItemLocks(),
        version=version,
    )
    preconditions = Preconditions(deps)
    restorer = Restorer(deps, preconditions)
    return DeliveryServices(
        uploader=Uploader(deps, preconditions, restorer, Withdrawer(deps, preconditions)),
        confirmer=Confirmer(deps, preconditions, restorer),
        restorer=restorer,
        undo=Undo(deps),
        removal_watch=RemovalWatch(deps),
    )
