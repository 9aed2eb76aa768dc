"""Explanation of an item: its tracks as the planner sees them, and the decision about each target.

The daemon's API and `fluxcaption why --json` return these models; `cli/why_text.py` renders them as text.
"""

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel

from fluxcaption.domain.deliveries import Delivery
from fluxcaption.domain.gaps import Decision, SourceHistory
from fluxcaption.domain.jobs import OPEN_STATES, Job
from fluxcaption.domain.media import AudioTrack, Item, MediaSource, SubtitleTrack
from fluxcaption.domain.sources import (
    FromAudio,
    FromText,
    KnownTracks,
    SourceChoice,
    is_machine_made,
    is_ours,
)
from fluxcaption.domain.units import ItemId
from fluxcaption.pipeline.planner import Planner
from fluxcaption.ports.media_server import MediaServer
from fluxcaption.ports.storage import Storage


class TrackView(BaseModel):
    """One audio or subtitle track.

    Attributes:
        kind: `audio` or `subtitle`.
        number: Position among the embedded tracks of its kind, from 1; None for an external file.
        notes: Properties that influence the decision.
    """

    kind: str
    number: int | None
    language: str
    codec: str
    title: str
    file: str
    notes: list[str]


class JobStatus(BaseModel):
    """The job of a target.

    Attributes:
        place: Position among the jobs of its stage, from 1; None if the job is not waiting there.
    """

    id: int
    state: str
    stage: str
    priority: str
    place: int | None
    next_try_at: datetime
    attempts: int
    reason: str
    code: str


class DeliveryView(BaseModel):
    """The delivered track of a target."""

    state: str
    file: str
    how: str
    confirmed_at: datetime | None
    missing_since: datetime | None


class DecisionView(BaseModel):
    """The decision about one target, with its job and its delivery.

    Attributes:
        rule: The rule of the settings that applied; empty for the defaults.
        source: The chosen source: `audio N`, `text N` or a file name; empty if no track is made.
    """

    target: str
    action: str
    reason: str
    rule: str
    source: str
    job: JobStatus | None
    delivery: DeliveryView | None


class SourceView(BaseModel):
    """One media source (version) of an item."""

    id: str
    path: str
    tracks: list[TrackView]
    decisions: list[DecisionView]


class Explanation(BaseModel):
    """One item with all its media sources."""

    id: str
    name: str
    library: str
    versions: list[SourceView]


async def explain(server: MediaServer, storage: Storage, planner: Planner, item_id: ItemId) -> Explanation:
    """Fetch an item and explain every decision about it. Changes nothing.

    Raises:
        ItemGone: The server does not list the item.
    """
    item = await server.fetch_item(item_id)
    history = await storage.history.load([item], planner.skip_key)
    decisions = planner.decide(item, history)
    versions = []
    for source in item.sources:
        known_tracks = history.get(source.id, SourceHistory()).tracks
        versions.append(
            SourceView(
                id=source.id,
                path=source.path,
                tracks=_track_views(source, known_tracks, planner.policy.marker),
                decisions=await _decision_views(storage, item, source, decisions),
            )
        )
    return Explanation(id=item.id, name=item.name, library=item.library, versions=versions)


async def _decision_views(
    storage: Storage, item: Item, source: MediaSource, decisions: Sequence[Decision]
) -> list[DecisionView]:
    jobs = {job.target: job for job in await storage.jobs.of_source(item.server_id, source.id)}
    views = []
    for decision in decisions:
        if decision.source.id != source.id:
            continue
        job = jobs.get(decision.target)
        delivery = await storage.deliveries.get(item.server_id, source.id, decision.target)
        views.append(
            DecisionView(
                target=str(decision.target),
                action=decision.action.value,
                reason=decision.reason,
                rule=decision.rule,
                source=_source_name(decision.choice),
                job=None if job is None else await _job_status(storage, job),
                delivery=None if delivery is None else _delivery_view(delivery),
            )
        )
    return views


def _source_name(choice: SourceChoice | None) -> str:
    if isinstance(choice, FromText):
        track = choice.track
        return track.file_name if track.is_external else f"text {(track.ordinal or 0) + 1}"
    if isinstance(choice, FromAudio):
        return f"audio {choice.track.ordinal + 1}"
    return ""


async def _job_status(storage: Storage, job: Job) -> JobStatus:
    is_waiting = job.state in OPEN_STATES and not job.is_held
    return JobStatus(
        id=job.id,
        state=job.state.value,
        stage=job.stage.value,
        priority=job.priority.value,
        place=await storage.jobs.position(job) + 1 if is_waiting else None,
        next_try_at=job.next_try_at,
        attempts=job.attempts,
        reason="in the backlog; it starts when backlog.per_day allows" if job.is_held else job.reason,
        code=job.reason_code,
    )


def _delivery_view(delivery: Delivery) -> DeliveryView:
    return DeliveryView(
        state=delivery.state.value,
        file=delivery.file_name,
        how=str(delivery.provenance),
        confirmed_at=delivery.confirmed_at,
        missing_since=delivery.missing_since,
    )


def _track_views(source: MediaSource, known_tracks: KnownTracks, marker: str) -> list[TrackView]:
    return [
        *(_audio_view(track) for track in source.audio),
        *(_subtitle_view(track, known_tracks, marker) for track in known_tracks.applied_to(source).subtitles),
    ]


def _audio_view(track: AudioTrack) -> TrackView:
    notes = {
        "default": track.is_default,
        "original": track.is_original,
        "commentary": track.is_commentary,
    }
    return TrackView(
        kind="audio",
        number=track.ordinal + 1,
        language=str(track.language or ""),
        codec=track.codec,
        title=track.title,
        file="",
        notes=[note for note, applies in notes.items() if applies],
    )


def _subtitle_view(track: SubtitleTrack, known_tracks: KnownTracks, marker: str) -> TrackView:
    notes = {
        "image": not track.is_text,
        "forced": track.is_forced,
        "hearing impaired": track.is_hearing_impaired,
        "commentary": track.is_commentary,
        "signs only": track.is_signs,
        "made by FluxCaption": is_ours(track, marker, known_tracks),
        "machine-made": is_machine_made(track, marker, known_tracks),
        f"unusable as source: {known_tracks.unusable.get(track.key)}": track.key in known_tracks.unusable,
        "language detected from its text": known_tracks.languages.get(track.key) is not None,
    }
    return TrackView(
        kind="subtitle",
        number=None if track.ordinal is None else track.ordinal + 1,
        language=str(track.language or ""),
        codec=track.codec,
        title=track.title,
        file=track.file_name,
        notes=[note for note, applies in notes.items() if applies],
    )
