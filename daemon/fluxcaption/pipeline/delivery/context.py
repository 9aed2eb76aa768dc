"""Context of one run of a delivery stage, and the parts that all delivery classes share."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from fluxcaption.domain.confirm_policy import refusal_pause
from fluxcaption.domain.deliveries import Delivery
from fluxcaption.domain.gaps import SourceHistory, serving_tracks
from fluxcaption.domain.jobs import Job
from fluxcaption.domain.language import satisfies
from fluxcaption.domain.media import FinishedTrack, Item, MediaSource, SubtitleTrack
from fluxcaption.domain.rules import policy_for
from fluxcaption.pipeline.delivery.item_locks import ItemLocks
from fluxcaption.pipeline.delivery.own_tracks import OwnTracks
from fluxcaption.pipeline.job_source import find_source
from fluxcaption.pipeline.planner import Planner
from fluxcaption.pipeline.playback import PlaybackMonitor
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.media_server import LibraryReader, ServerInfo, TrackReader, TrackWriter
from fluxcaption.ports.storage import Deliveries, Documents, History, Jobs, MediaIdentities, Skips


class DeliveryServer(ServerInfo, LibraryReader, TrackReader, TrackWriter, Protocol):
    """Media server as the delivery uses it."""


@dataclass(frozen=True, slots=True)
class DeliveryDeps:
    """Parts that the delivery classes share.

    Attributes:
        version: Version of this program, stored with each delivery.
    """

    server: DeliveryServer
    jobs: Jobs
    deliveries: Deliveries
    documents: Documents
    identities: MediaIdentities
    skips: Skips
    history: History
    own_tracks: OwnTracks
    planner: Planner
    playback: PlaybackMonitor
    clock: Clock
    locks: ItemLocks
    version: str


@dataclass(frozen=True, slots=True)
class DeliveryContext:
    """Everything that one run knows, read from the server and the storage at its start.

    Attributes:
        item: Item as the server lists it now.
        source: Media source of the job, in that item.
        history: Stored facts about the media source.
        last_delivery: Stored delivery of the job's target; None if there never was one.
        track: Finished track of the job; without content if the job only removes a track.
        foreign_tracks: Listed tracks of others that serve the target.
        own_tracks: Listed tracks of ours that serve the target.
    """

    job: Job
    item: Item
    source: MediaSource
    history: SourceHistory
    last_delivery: Delivery | None
    track: FinishedTrack
    foreign_tracks: tuple[SubtitleTrack, ...]
    own_tracks: tuple[SubtitleTrack, ...]


async def load_context(deps: DeliveryDeps, job: Job, content: bytes) -> DeliveryContext:
    """Load the context of a job whose finished track has that content.

    Raises:
        ItemGone: The item or its media source no longer exists.
    """
    item, source = await find_source(deps.server, job)
    history = await source_history(deps, item, source)
    language_policy = deps.planner.language_policy
    policy = policy_for(item, source, language_policy.defaults, language_policy.rules)
    serving = serving_tracks(item, history.tracks.applied_to(source), job.target, policy, history.tracks)
    return DeliveryContext(
        job=job,
        item=item,
        source=source,
        history=history,
        last_delivery=await deps.deliveries.get(item.server_id, source.id, job.target),
        track=deps.own_tracks.finished_track(job.target, content),
        foreign_tracks=tuple(serving.others),
        own_tracks=tuple(serving.own),
    )


async def source_history(deps: DeliveryDeps, item: Item, source: MediaSource) -> SourceHistory:
    """Return the stored facts about one media source; empty facts if there are none."""
    histories = await deps.history.load([item], deps.planner.skip_key)
    return histories.get(source.id, SourceHistory())


async def listed_own_tracks(
    deps: DeliveryDeps, item: Item, source: MediaSource, delivery: Delivery
) -> list[SubtitleTrack]:
    """Return the listed tracks of a delivery that are in its language or have no language."""
    history = await source_history(deps, item, source)
    tracks = deps.own_tracks.find(source, delivery.target, delivery.file_name, delivery, history.tracks)
    return [track for track in tracks if satisfies(track.language or delivery.target, delivery.target)]


async def count_refusal(deps: DeliveryDeps, job: Job) -> timedelta:
    """Count a refused attempt, and return the pause before the next one."""
    upload_attempts = job.upload_attempts + 1
    await deps.jobs.update_progress(job.id, upload_attempts=upload_attempts)
    return refusal_pause(upload_attempts)
