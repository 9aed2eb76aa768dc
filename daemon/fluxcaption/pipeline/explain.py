"""Why something is or is not made: the decisions themselves, with all they rest on."""

from datetime import datetime

from pydantic import BaseModel

from fluxcaption.domain.deliveries import Delivery
from fluxcaption.domain.gaps import Decision, SourceHistory
from fluxcaption.domain.jobs import OPEN_STATES, Job
from fluxcaption.domain.media import MediaSource
from fluxcaption.domain.sources import FromSound, FromText, KnownTracks, is_machine_made, is_ours
from fluxcaption.domain.units import ItemId
from fluxcaption.logs import one_line
from fluxcaption.pipeline.planner import Planner
from fluxcaption.ports.media_server import MediaServer
from fluxcaption.ports.storage import Storage


class TrackView(BaseModel):
    """One track as it was seen."""

    kind: str
    number: int | None
    language: str
    codec: str
    title: str
    file: str
    notes: list[str]


class JobStatus(BaseModel):
    """Where the job of a language stands."""

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
    """What we put there."""

    state: str
    file: str
    how: str
    confirmed_at: datetime | None
    missing_since: datetime | None


class DecisionView(BaseModel):
    """One wanted language: what is done about it, and why."""

    target: str
    action: str
    reason: str
    rule: str
    source: str
    job: JobStatus | None
    delivery: DeliveryView | None


class SourceView(BaseModel):
    """One version of an item."""

    id: str
    path: str
    tracks: list[TrackView]
    decisions: list[DecisionView]


class Explanation(BaseModel):
    """The whole chain for one item."""

    id: str
    name: str
    library: str
    versions: list[SourceView]


async def explain(server: MediaServer, storage: Storage, planner: Planner, item_id: ItemId) -> Explanation:
    """Read an item afresh and tell every decision about it; changes nothing.

    Raises:
        ItemGone: The library does not know it.
    """
    item = await server.fetch_item(item_id)
    memory = await storage.history.load([item], planner.skip_key)
    decisions = planner.decide(item, memory)
    versions = []
    for source in item.sources:
        jobs = {job.target: job for job in await storage.jobs.of_source(item.server_id, source.id)}
        views = []
        for decision in decisions:
            if decision.source.id == source.id:
                job = jobs.get(decision.target)
                delivery = await storage.deliveries.get(item.server_id, source.id, decision.target)
                views.append(_decision(decision, await _standing(storage, job) if job else None, delivery))
        known = memory.get(source.id, SourceHistory()).tracks
        versions.append(
            SourceView(
                id=source.id,
                path=source.path,
                tracks=_tracks(source, known, planner.policy.marker),
                decisions=views,
            )
        )
    return Explanation(id=item.id, name=item.name, library=item.library, versions=versions)


async def _standing(storage: Storage, job: Job) -> JobStatus:
    return JobStatus(
        id=job.id,
        state=job.state.value,
        stage=job.stage.value,
        priority=job.priority.value,
        place=await storage.jobs.position(job) + 1 if job.state in OPEN_STATES and not job.is_held else None,
        next_try_at=job.next_try_at,
        attempts=job.attempts,
        reason="it waits for its turn in the backlog" if job.is_held else job.reason,
        code=job.reason_code,
    )


def _decision(decision: Decision, job: JobStatus | None, delivery: Delivery | None) -> DecisionView:
    source = ""
    if isinstance(decision.choice, FromText):
        track = decision.choice.track
        source = track.file_name if track.is_external else f"text {(track.ordinal or 0) + 1}"
    elif isinstance(decision.choice, FromSound):
        source = f"audio {decision.choice.track.ordinal + 1}"
    return DecisionView(
        target=str(decision.target),
        action=decision.action.value,
        reason=decision.reason,
        rule=decision.rule,
        source=source,
        job=job,
        delivery=None
        if delivery is None
        else DeliveryView(
            state=delivery.state.value,
            file=delivery.file_name,
            how=str(delivery.provenance),
            confirmed_at=delivery.confirmed_at,
            missing_since=delivery.missing_since,
        ),
    )


def _tracks(source: MediaSource, known: KnownTracks, marker: str) -> list[TrackView]:
    views = []
    for sound in source.audio:
        notes = [
            note
            for note, holds in (
                ("default", sound.is_default),
                ("original", sound.is_original),
                ("commentary", sound.is_commentary),
            )
            if holds
        ]
        views.append(
            TrackView(
                kind="audio",
                number=sound.ordinal + 1,
                language=str(sound.language or ""),
                codec=sound.codec,
                title=sound.title,
                file="",
                notes=notes,
            )
        )
    for track in known.applied_to(source).subtitles:
        facts = (
            ("picture", not track.is_text),
            ("forced", track.is_forced),
            ("hearing impaired", track.is_hearing_impaired),
            ("commentary", track.is_commentary),
            ("signs only", track.is_signs),
            ("ours", is_ours(track, marker, known)),
            ("machine-made", is_machine_made(track, marker, known)),
            (f"no source: {known.unusable.get(track.key)}", track.key in known.unusable),
            (
                "language read from its text",
                track.key in known.languages and known.languages[track.key] is not None,
            ),
        )
        number = None if track.ordinal is None else track.ordinal + 1
        notes = [note for note, holds in facts if holds]
        views.append(
            TrackView(
                kind="subtitle",
                number=number,
                language=str(track.language or ""),
                codec=track.codec,
                title=track.title,
                file=track.file_name,
                notes=notes,
            )
        )
    return views


def as_text(told: Explanation) -> str:
    """The explanation for people."""
    lines = [f"{told.name} ({told.id})" + (f", library {told.library}" if told.library else "")]
    for version in told.versions:
        lines.append(f"  {version.path}")
        for track in version.tracks:
            what = track.file or f"{track.kind} {track.number}"
            notes = f" ({', '.join(track.notes)})" if track.notes else ""
            lines.append(
                f"    sees {what}: {track.language or 'no language'} {track.codec}{f' {track.title!r}' if track.title else ''}{notes}"
            )
        for decision in version.decisions:
            rule = f" [rule for {decision.rule}]" if decision.rule else ""
            lines.append(f"    {decision.target}: {decision.action}: {decision.reason}{rule}")
            if decision.job is not None:
                job = decision.job
                place = f", place {job.place} in the queue" if job.place else ""
                lines.append(
                    f"      job {job.id}: {job.state} in {job.stage} ({job.priority}){place}, next try {job.next_try_at:%Y-%m-%d %H:%M}: {job.reason}"
                )
            if decision.delivery is not None:
                lines.append(
                    f"      delivered: {decision.delivery.state} {decision.delivery.file}: {decision.delivery.how}"
                )
    return "\n".join(map(one_line, lines))
