"""The captioning stages of a job: `acquire` obtains the source text, `translate` makes the track from it."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

from fluxcaption.domain.deliveries import DeliveryState
from fluxcaption.domain.errors import MediaStillGrowing, NothingToMake, NoUsableSource, SubtitleUnreadable
from fluxcaption.domain.gaps import Action, Decision
from fluxcaption.domain.jobs import Job, Outcome, Priority, Stage
from fluxcaption.domain.media import Item, MediaIdentity, MediaSource
from fluxcaption.domain.sources import FromAudio, FromText
from fluxcaption.domain.units import Ms
from fluxcaption.pipeline.captioning.source_reader import SourceReader
from fluxcaption.pipeline.captioning.source_text import SourceText
from fluxcaption.pipeline.captioning.track_builder import TrackBuilder
from fluxcaption.pipeline.captioning.transcriber import Transcriber
from fluxcaption.pipeline.job_source import find_source
from fluxcaption.pipeline.planner import Planner
from fluxcaption.pipeline.playback import PlaybackMonitor
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.media import MediaLocation, MediaReader
from fluxcaption.ports.media_server import MediaServer
from fluxcaption.ports.storage import Deliveries, Documents, Jobs, MediaIdentities, Skips
from fluxcaption.ports.subtitles import SubtitleCodec

MAX_READ_ATTEMPTS = 3
"""A source track that the server fails to return is given up after this many attempts at the job."""

JobProgress = Callable[[Job, Ms, Ms], None]
"""Called with the job, the position that was reached and the total, in ms of media time."""


@dataclass(frozen=True, slots=True)
class CaptioningDeps:
    """Everything the captioning stages use.

    Attributes:
        transcriber: Transcribes with the speech model of the settings.
        transcriber_with_model: Opens a transcriber with the speech model that a request names.
        progress: Called while a job is transcribed.
    """

    server: MediaServer
    media: MediaReader
    codec: SubtitleCodec
    source_reader: SourceReader
    track_builder: TrackBuilder
    transcriber: Transcriber
    transcriber_with_model: Callable[[str], AbstractAsyncContextManager[Transcriber]]
    planner: Planner
    playback: PlaybackMonitor
    clock: Clock
    jobs: Jobs
    deliveries: Deliveries
    documents: Documents
    identities: MediaIdentities
    skips: Skips
    progress: JobProgress | None = None


@dataclass(slots=True)
class _Acquisition:
    """One attempt at the stage `acquire`.

    Attributes:
        decision: Current decision about the job; made again whenever reading a track has stored new facts.
        text: The source text; None until it is acquired.
    """

    job: Job
    item: Item
    source: MediaSource
    location: MediaLocation
    decision: Decision
    text: SourceText | None = None

    @property
    def is_last_try(self) -> bool:
        """Return True if an error of the server must not delay the job any longer."""
        return self.job.attempts >= MAX_READ_ATTEMPTS


class CaptioningStages:
    """Runs the stages `acquire` and `translate` of jobs."""

    def __init__(self, deps: CaptioningDeps) -> None:
        self._deps = deps

    # -- Stage acquire -----------------------------------------------------------------------------

    async def acquire(self, job: Job) -> Outcome:
        """Obtain and store the source text of a job: read a text track or transcribe an audio track."""
        acquisition = await self._load(job)
        await self._detect_languages(acquisition)
        await self._read_text_track(acquisition)
        if (outcome := _outcome_without_track(acquisition.decision)) is not None:
            return outcome
        identity = await self._identify(acquisition)
        await self._deps.jobs.update_progress(job.id, fingerprint=identity.fingerprint)
        if await self._is_made_for(acquisition, identity):
            return Outcome.done("the media file is unchanged, the existing FluxCaption track was made for it")
        if acquisition.decision.action is Action.REMOVE_STALE:
            return Outcome.next(Stage.UPLOAD, acquisition.decision.reason)
        if (outcome := await self._remembered_skip(job, identity)) is not None:
            return outcome
        try:
            text = acquisition.text or await self._transcribe(acquisition, identity)
        except NothingToMake as error:
            return await self._remember_skip(job, identity, error)
        return await self._store_source_text(job, text)

    async def _load(self, job: Job) -> _Acquisition:
        item, source = await find_source(self._deps.server, job)
        location = await self._deps.server.locate(source)
        decision = await self._deps.planner.decide_job(item, source, job)
        return _Acquisition(job, item, source, location, decision)

    async def _detect_languages(self, acquisition: _Acquisition) -> None:
        """Detect the language of untagged text tracks, if the decision depends on it."""
        if acquisition.decision.action is not Action.INSPECT:
            return
        await self._deps.source_reader.detect_languages(
            acquisition.item,
            acquisition.source,
            acquisition.location,
            is_last_try=acquisition.is_last_try,
        )
        await self._decide_again(acquisition)

    async def _read_text_track(self, acquisition: _Acquisition) -> None:
        """Read the chosen text track. After an unusable track, decide again until none is chosen."""
        is_requested = bool(acquisition.job.request.source)
        while acquisition.text is None and isinstance(choice := acquisition.decision.choice, FromText):
            try:
                text = await self._deps.source_reader.source_text(
                    acquisition.item,
                    acquisition.source,
                    choice.track,
                    acquisition.location,
                    is_requested=is_requested,
                    is_last_try=acquisition.is_last_try,
                )
            except SubtitleUnreadable:
                if is_requested:
                    raise
                await self._decide_again(acquisition)
            else:
                acquisition.text = SourceText.from_track(choice.track, choice.language, text.cues)

    async def _decide_again(self, acquisition: _Acquisition) -> None:
        acquisition.decision = await self._deps.planner.decide_job(
            acquisition.item, acquisition.source, acquisition.job
        )

    async def _identify(self, acquisition: _Acquisition) -> MediaIdentity:
        """Return the stored identity of the media, or compute and store it.

        Raises:
            MediaStillGrowing: The file size is not the one that the server lists.
        """
        deps, item, source = self._deps, acquisition.item, acquisition.source
        stored = await deps.identities.get(item.server_id, source.id, source.revision)
        if stored is not None:
            return stored
        location = acquisition.location
        duration_ms = source.duration_ms or (await asyncio.to_thread(deps.media.probe, location))[0]
        identity = await asyncio.to_thread(deps.media.identify, location, duration_ms)
        if source.size_bytes and identity.size_bytes != source.size_bytes:
            await deps.playback.refresh_unless_playing(item.id, source.id)
            raise MediaStillGrowing(source.stem)
        await deps.identities.save(item.server_id, source, identity)
        return identity

    async def _is_made_for(self, acquisition: _Acquisition, identity: MediaIdentity) -> bool:
        """Return True if the delivered track was made for exactly this file.

        Only the revision on the server has changed. The delivery is confirmed for the new revision.
        """
        deps, job = self._deps, acquisition.job
        item, source = acquisition.item, acquisition.source
        delivery = await deps.deliveries.get(item.server_id, source.id, job.target)
        if (
            job.request.redo
            or delivery is None
            or delivery.state not in {DeliveryState.CONFIRMED, DeliveryState.MISSING}
            or delivery.fingerprint != identity.fingerprint
        ):
            return False
        await deps.deliveries.mark_confirmed(
            item.server_id, source.id, job.target, delivery.track_path, source.revision, deps.clock.now()
        )
        return True

    async def _remembered_skip(self, job: Job, identity: MediaIdentity) -> Outcome | None:
        """Return the outcome of an earlier skip of this media, which a request by a user deletes."""
        deps = self._deps
        if job.priority is Priority.REQUESTED:
            await deps.skips.forget(identity.fingerprint, job.target)
            return None
        skip = await deps.skips.reason(identity.fingerprint, job.target, deps.planner.skip_key)
        if skip is None:
            return None
        code, reason = skip
        return Outcome.skipped(reason, code)

    async def _remember_skip(self, job: Job, identity: MediaIdentity, error: NothingToMake) -> Outcome:
        deps = self._deps
        await deps.skips.remember(
            identity.fingerprint,
            job.target,
            deps.planner.skip_key,
            error.code,
            str(error),
            deps.clock.now(),
        )
        return Outcome.skipped(str(error), error.code)

    async def _transcribe(self, acquisition: _Acquisition, identity: MediaIdentity) -> SourceText:
        """Transcribe the chosen audio track.

        Raises:
            NothingToMake: The transcript shows that no track is needed or possible.
            NoUsableSource: No audio track was chosen.
        """
        job, choice = acquisition.job, acquisition.decision.choice
        if not isinstance(choice, FromAudio):
            raise NoUsableSource(acquisition.decision.reason)

        def report_progress(done_ms: Ms, total_ms: Ms) -> None:
            if self._deps.progress is not None:
                self._deps.progress(job, done_ms, total_ms)

        async with self._transcriber_for(job) as transcriber:
            return await self._deps.track_builder.transcribe(
                acquisition.location,
                choice.track,
                identity,
                job.target,
                attempt=job.claim,
                progress=report_progress,
                transcriber=transcriber,
            )

    def _transcriber_for(self, job: Job) -> AbstractAsyncContextManager[Transcriber]:
        if job.request.model:
            return self._deps.transcriber_with_model(job.request.model)
        return nullcontext(self._deps.transcriber)

    async def _store_source_text(self, job: Job, text: SourceText) -> Outcome:
        source_ref = await self._deps.documents.put(text.to_bytes())
        await self._deps.jobs.update_progress(job.id, source_ref=source_ref)
        return Outcome.next(Stage.TRANSLATE, f"source text acquired: {len(text.cues)} cues, {text.origin}")

    # -- Stage translate ---------------------------------------------------------------------------

    async def translate(self, job: Job) -> Outcome:
        """Translate the source text of a job and store the finished track."""
        deps = self._deps
        content = await deps.documents.get(job.source_ref) if job.source_ref else None
        if content is None:
            return Outcome.next(Stage.ACQUIRE, "the source text is not stored any more and is acquired again")
        cues, provenance = await deps.track_builder.build_cues(SourceText.from_bytes(content), job.target)
        track_ref = await deps.documents.put(deps.codec.write_srt(cues))
        await deps.jobs.update_progress(job.id, track_ref=track_ref, provenance=provenance)
        return Outcome.next(Stage.UPLOAD, str(provenance))


def _outcome_without_track(decision: Decision) -> Outcome | None:
    """Return the outcome of a decision to make no track; None if a source text is needed."""
    match decision.action:
        case Action.COVERED:
            return Outcome.done(decision.reason)
        case Action.NOT_WANTED | Action.SKIPPED | Action.MISSING:
            return Outcome.skipped(decision.reason, decision.action.value)
        case Action.YIELD_TO_HUMAN:
            return Outcome.next(Stage.UPLOAD, decision.reason)
        case _:
            return None
