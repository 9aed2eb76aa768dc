"""The stages that make a track: the words of the source, then the words of the target."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from fluxcaption.domain.asr_filter import mean_confidence
from fluxcaption.domain.cues import Cue, Transcript
from fluxcaption.domain.deliveries import DeliveryState
from fluxcaption.domain.errors import (
    MediaStillGrowing,
    ModelMissing,
    NothingToMake,
    NoUsableSource,
    ParkedError,
    ReplyUnusable,
    ServiceUnreachable,
    SubtitleUnreadable,
    UnsupportedLanguagePair,
)
from fluxcaption.domain.gaps import Action, Decision, SourceHistory
from fluxcaption.domain.jobs import Job, Outcome, Priority, Provenance, Stage
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import AudioTrack, Item, MediaIdentity, MediaSource, SubtitleTrack
from fluxcaption.domain.rules import policy_for
from fluxcaption.domain.sentences import Sentence, group_into_sentences
from fluxcaption.domain.shaping import build_cues, fit_translation
from fluxcaption.domain.sources import FromSound, FromText, KnownTracks, SourceChoice, choose_source
from fluxcaption.domain.transcripts import TranslationKey
from fluxcaption.domain.units import ItemId, Ms, SourceId
from fluxcaption.pipeline.captioning.batches import BatchTranslator, translate_in_batches
from fluxcaption.pipeline.captioning.source_reader import SourceReader
from fluxcaption.pipeline.captioning.source_text import SourceText
from fluxcaption.pipeline.captioning.transcriber import UNKNOWN_LANGUAGE, Progress, Transcriber
from fluxcaption.pipeline.job_source import find_source
from fluxcaption.pipeline.planner import Planner
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.executor import Executor
from fluxcaption.ports.media import MediaLocation, MediaReader
from fluxcaption.ports.media_server import MediaServer
from fluxcaption.ports.storage import Storage
from fluxcaption.ports.subtitles import SubtitleCodec
from fluxcaption.ports.translation import Translator

log = logging.getLogger(__name__)

PATIENT_TRIES = 3
"""So often a source that the server stumbles over is tried before another is taken."""


@dataclass(frozen=True, slots=True)
class TrackBuilderDeps:
    """What tracks are made with.

    Attributes:
        min_score: Below this mean confidence a transcript is not published.
        patience: How long a preferred translator may be away before the next is used.
        max_untranslated: Share of sentences that may keep their source text.
    """

    storage: Storage
    media: MediaReader
    codec: SubtitleCodec
    transcriber: Transcriber
    planner: Planner
    executor: Executor
    clock: Clock
    min_score: float
    patience: timedelta
    max_untranslated: float
    transcriber_with_model: Callable[[str], AbstractAsyncContextManager[Transcriber]] | None = None
    """A listener with another speech model, for as long as somebody's request needs it."""


class TrackBuilder:
    """Makes the words of a target from a source; knows no queue and no library."""

    def __init__(self, parts: TrackBuilderDeps) -> None:
        self._parts = parts

    async def read_embedded(
        self, location: MediaLocation, track: SubtitleTrack, language: LanguageTag
    ) -> SourceText:
        """Cut an embedded text track out of the media."""
        ordinal = track.ordinal or 0
        read = await asyncio.to_thread(self._parts.media.text_track, location, ordinal)
        return SourceText(language, f"embedded {language} text track {ordinal + 1}", read.cues)

    async def transcribe(
        self,
        location: MediaLocation,
        track: AudioTrack,
        identity: MediaIdentity,
        attempt: int,
        target: LanguageTag,
        progress: Progress | None,
        transcriber: Transcriber | None = None,
    ) -> SourceText:
        """Listen to a sound track and make readable cues of what was heard.

        Raises:
            NothingToMake: Nobody speaks, the recogniser was too unsure, or the target is spoken and not wanted then.
        """
        transcriber = transcriber or self._parts.transcriber
        transcript = await transcriber.transcribe(location, track, identity, attempt, progress)
        self._refuse(transcript, target)
        sureness = mean_confidence(transcript.segments)
        origin = f"heard in sound track {track.ordinal + 1} by {transcriber.recognizer.name} (score {sureness:.2f})"
        return SourceText(
            transcript.language,
            origin,
            build_cues(transcript.segments, transcript.language),
            transcriber.recognizer.name,
            round(sureness, 4),
        )

    async def render(
        self, text: SourceText, target: LanguageTag, attempt: int
    ) -> tuple[Sequence[Cue], Provenance]:
        """The cues in the target language, and how they came about.

        Raises:
            UnsupportedLanguagePair: No backend knows the pair.
            ServiceUnreachable: Every backend that knows it is away.
            ModelMissing: The last of them has no model.
            ReplyUnusable: Too many sentences could not be translated.
        """
        if self._parts.planner.serves(text.language, target):
            return text.cues, Provenance(f"written as {text.origin}", text.recognizer, text.score)
        translated, how = await self.translated(text, target, attempt)
        # A long film's cues take a moment, in which the loop must not stand still.
        return await asyncio.to_thread(
            lambda: [
                cue for sentence, words in translated for cue in fit_translation(words, sentence.cues, target)
            ]
        ), how

    async def translated(
        self, text: SourceText, target: LanguageTag, attempt: int, progress: Progress | None = None
    ) -> tuple[Sequence[tuple[Sentence, str]], Provenance]:
        """Each sentence of a text with its translation, and who made them; raises as `render` does."""
        willing = [
            translator
            for translator in self._parts.planner.translators
            if translator.knows(text.language, target)
        ]
        if not willing:
            names = " and ".join(translator.name for translator in self._parts.planner.translators)
            raise UnsupportedLanguagePair(str(text.language), str(target), names or "what is configured")
        for number, translator in enumerate(willing):
            try:
                return await self._translated_by(translator, text, target, attempt, progress)
            except (ServiceUnreachable, ModelMissing) as error:
                if number + 1 == len(willing) or not await self._patience_is_over(translator, error):
                    raise
        raise AssertionError("the loop returns or raises")

    async def _translated_by(
        self,
        translator: Translator,
        text: SourceText,
        target: LanguageTag,
        attempt: int,
        progress: Progress | None,
    ) -> tuple[Sequence[tuple[Sentence, str]], Provenance]:
        parts = self._parts
        spoken = await asyncio.to_thread(group_into_sentences, text.cues)
        units = [unit for sentence in spoken for unit in sentence.units]
        # What the backend says of itself may need a file's hash; the loop must not wait for the disk.
        revision = await asyncio.to_thread(lambda: translator.revision)
        key = TranslationKey(text.language, target, translator.name, revision)
        known = dict(await parts.storage.translations.find(key, {unit.text for unit in units}))

        async def save(texts: dict[str, str]) -> None:
            await parts.storage.translations.save(key, texts)

        began = parts.clock.monotonic()
        missing = [unit for unit in units if unit.text not in known]
        shown_ms = sum(cue.end - cue.start for sentence in spoken for cue in sentence.cues)
        new_ms = Ms(shown_ms * len(missing) // max(1, len(units)))
        through = BatchTranslator(translator, parts.executor, key, attempt)
        detect = (lambda done: progress(Ms(new_ms * done // len(missing)), new_ms)) if progress else None
        report = await translate_in_batches(missing, through, save, detect)
        if missing:
            await parts.storage.speeds.record(
                "translate", new_ms, Ms(int((parts.clock.monotonic() - began) * 1000))
            )
        await parts.storage.state_values.set(_unavailable_since_key(translator), "")
        left = len(report.untranslated)
        if units and left / len(units) > parts.max_untranslated:
            first = next(iter(report.untranslated.values()))
            raise ReplyUnusable(
                f"{translator.name} left {left} of {len(units)} sentences untranslated ({first}): try another model"
            )
        texts = {unit.id: report.texts.get(unit.id) or known.get(unit.text) or unit.text for unit in units}
        note = f"; {left} sentences kept their source text" if left else ""
        provenance = Provenance(
            f"translated by {translator.name} from {text.origin}{note}",
            text.recognizer,
            text.score,
            translator.name,
        )
        return [(sentence, sentence.rendered(texts)) for sentence in spoken], provenance

    async def _patience_is_over(self, translator: Translator, error: ParkedError) -> bool:
        now = self._parts.clock.now()
        since = await self._parts.storage.state_values.get(_unavailable_since_key(translator))
        if not since:
            await self._parts.storage.state_values.set(_unavailable_since_key(translator), now.isoformat())
            log.warning("translator is away", extra={"translator": translator.name, "cause": str(error)})
            return self._parts.patience == timedelta(0)
        return now - datetime.fromisoformat(since).astimezone(UTC) >= self._parts.patience

    def _refuse(self, transcript: Transcript, target: LanguageTag) -> None:
        policy = self._parts.planner.policy
        if not transcript.segments:
            raise NothingToMake("no-speech", "nobody speaks in it")
        if transcript.language == UNKNOWN_LANGUAGE:
            raise NothingToMake(
                "language-unknown", "which language is spoken could not be told: tag the sound track"
            )
        if not policy.makes_spoken_language and self._parts.planner.serves(transcript.language, target):
            raise NothingToMake("spoken", f"{transcript.language} is spoken in it, and when_spoken is skip")
        sureness = mean_confidence(transcript.segments)
        if sureness < self._parts.min_score:
            raise NothingToMake(
                "not-good-enough",
                f"the recogniser was too unsure: score {sureness:.2f}, asr.min_score is {self._parts.min_score:.2f}",
            )


class CaptioningStages:
    """Runs the stages `listen` and `translate` of jobs."""

    def __init__(
        self,
        parts: TrackBuilderDeps,
        server: MediaServer,
        reading: SourceReader,
        refresh: Callable[[ItemId, SourceId], Awaitable[bool]],
        progress: Callable[[Job, Ms, Ms], None] | None = None,
    ) -> None:
        self._parts = parts
        self._maker = TrackBuilder(parts)
        self._server = server
        self._reading = reading
        self._refresh = refresh
        self._progress = progress

    async def listen(self, job: Job) -> Outcome:
        """Get the words of the source: read the text track, or hear the sound."""
        parts = self._parts
        item, source = await find_source(self._server, job)
        location = await self._server.locate(source)
        decision = await self._decision(item, source, job)
        is_last_try = job.attempts >= PATIENT_TRIES
        if decision.action is Action.INSPECT:
            await self._reading.detect_languages(item, source, location, is_last_try=is_last_try)
            decision = await self._decision(item, source, job)
        text: SourceText | None = None
        while text is None and isinstance(decision.choice, FromText):
            track, is_requested = decision.choice.track, bool(job.request.source)
            try:
                read = await self._reading.source_text(
                    item, source, track, location, is_requested=is_requested, is_last_try=is_last_try
                )
                text = SourceText(decision.choice.language, _origin(decision.choice), read.cues)
            except SubtitleUnreadable:
                if is_requested:
                    raise
                decision = await self._decision(item, source, job)
        if (ended := self._without_making(decision)) is not None:
            return ended
        identity = await self._identify(source, location, item)
        await parts.storage.jobs.update_progress(job.id, fingerprint=identity.fingerprint)
        if await self._is_the_same_file(item, source, job, identity):
            return Outcome.done("our track was made for this very file, which only seems changed")
        if decision.action is Action.REMOVE_STALE:
            return Outcome.next(Stage.UPLOAD, decision.reason)
        skip_key = parts.planner.skip_key
        if job.priority is Priority.REQUESTED:
            await parts.storage.skips.forget(identity.fingerprint, job.target)
        elif (
            skip := await parts.storage.skips.reason(identity.fingerprint, job.target, skip_key)
        ) is not None:
            return Outcome.skipped(skip[1], skip[0])
        if text is None and isinstance(decision.choice, FromSound):
            detect = self._progress
            progress: Progress | None = (lambda done, whole: detect(job, done, whole)) if detect else None
            try:
                async with self._transcriber_for(job) as transcriber:
                    text = await self._maker.transcribe(
                        location,
                        decision.choice.track,
                        identity,
                        job.claim,
                        job.target,
                        progress,
                        transcriber,
                    )
            except NothingToMake as error:
                await parts.storage.skips.remember(
                    identity.fingerprint, job.target, skip_key, error.code, str(error), parts.clock.now()
                )
                return Outcome.skipped(str(error), error.code)
        if text is None:
            raise NoUsableSource(decision.reason)
        await parts.storage.jobs.update_progress(
            job.id, source_ref=await parts.storage.documents.put(text.to_bytes())
        )
        return Outcome.next(Stage.TRANSLATE, f"the words are known: {len(text.cues)} cues, {text.origin}")

    def _transcriber_for(self, job: Job) -> AbstractAsyncContextManager[Transcriber]:
        other = self._parts.transcriber_with_model
        return (
            other(job.request.model)
            if job.request.model and other is not None
            else nullcontext(self._parts.transcriber)
        )

    @staticmethod
    def _without_making(decision: Decision) -> Outcome | None:
        match decision.action:
            case Action.COVERED:
                return Outcome.done(decision.reason)
            case Action.NOT_WANTED | Action.SKIPPED | Action.MISSING:
                return Outcome.skipped(decision.reason, decision.action.value)
            case Action.YIELD_TO_HUMAN:
                return Outcome.next(Stage.UPLOAD, decision.reason)
            case _:
                return None

    async def _is_the_same_file(
        self, item: Item, source: MediaSource, job: Job, identity: MediaIdentity
    ) -> bool:
        """Whether our track lies there and was made for these very bytes, though the library says they changed."""
        delivery = await self._parts.storage.deliveries.get(item.server_id, source.id, job.target)
        if (
            job.request.redo
            or delivery is None
            or delivery.state not in {DeliveryState.CONFIRMED, DeliveryState.MISSING}
            or delivery.fingerprint != identity.fingerprint
        ):
            return False
        await self._parts.storage.deliveries.mark_confirmed(
            item.server_id,
            source.id,
            job.target,
            delivery.track_path,
            source.revision,
            self._parts.clock.now(),
        )
        return True

    async def translate(self, job: Job) -> Outcome:
        """Put the source cues into the target language and keep the finished track."""
        parts = self._parts
        content = await parts.storage.documents.get(job.source_ref) if job.source_ref else None
        if content is None:
            return Outcome.next(Stage.ACQUIRE, "the source words are not kept any more")
        cues, how = await self._maker.render(SourceText.from_bytes(content), job.target, job.claim)
        track_ref = await parts.storage.documents.put(parts.codec.write_srt(cues))
        await parts.storage.jobs.update_progress(job.id, track_ref=track_ref, provenance=how)
        return Outcome.next(Stage.UPLOAD, str(how))

    async def _decision(self, item: Item, source: MediaSource, job: Job) -> Decision:
        """What is to be done about this job's language now; one that was asked for is made whatever the household usually wants."""
        planner = (
            self._parts.planner.naming([job.target])
            if job.priority is Priority.REQUESTED
            else self._parts.planner
        )
        memory = await self._parts.storage.history.load([item], planner.skip_key)
        decisions = planner.decide(item, memory)
        found = next(
            (
                decision
                for decision in decisions
                if (decision.source.id, decision.target) == (source.id, job.target)
            ),
            None,
        )
        if found is None:
            return Decision(
                item, source, job.target, Action.NOT_WANTED, f"{job.target} is no longer among the targets"
            )
        if job.priority is Priority.REQUESTED and (
            job.request.redo
            or job.request.source
            or job.request.model
            or found.action in {Action.SKIPPED, Action.MISSING, Action.REMOVE_STALE}
        ):
            return self._as_asked(found, job, planner, memory.get(source.id, SourceHistory()).tracks)
        return found

    @staticmethod
    def _as_asked(decision: Decision, job: Job, planner: Planner, known: KnownTracks) -> Decision:
        item, source = decision.item, decision.source
        choice: SourceChoice
        if job.request.source:
            choice = source_named(source, job.request.source)
        else:
            policy = policy_for(item, source, planner.language_policy.defaults, planner.language_policy.rules)
            choice = choose_source(
                item,
                known.applied_to(source),
                decision.target,
                planner.reads,
                policy.marker,
                policy.sources,
                known,
            )
        action = (
            Action.TRANSLATE
            if isinstance(choice, FromText)
            else Action.LISTEN
            if isinstance(choice, FromSound)
            else Action.CANNOT
        )
        return replace(decision, action=action, reason=f"asked for; {choice.reason}", choice=choice)

    async def _identify(self, source: MediaSource, location: MediaLocation, item: Item) -> MediaIdentity:
        parts = self._parts
        identity = await parts.storage.identities.get(item.server_id, source.id, source.revision)
        if identity is None:
            duration_ms = source.duration_ms or (await asyncio.to_thread(parts.media.probe, location))[0]
            identity = await asyncio.to_thread(parts.media.identify, location, duration_ms)
            if source.size_bytes and identity.size_bytes != source.size_bytes:
                await self._refresh(item.id, source.id)
                raise MediaStillGrowing(source.stem)
            await parts.storage.identities.save(item.server_id, source, identity)
        return identity


def source_named(source: MediaSource, name: str) -> FromText | FromSound:
    """The track a person means by `audio N`, `text N` (counted from 1) or the name of a file.

    Raises:
        NoUsableSource: It names no track of this media source.
    """
    kind, _, number = name.lower().partition(" ")
    place = int(number) - 1 if number.isdecimal() else -1
    if kind == "audio" and (sound := next((track for track in source.audio if track.ordinal == place), None)):
        return FromSound(sound, f"sound track {place + 1} is listened to, as asked")
    for track in source.subtitles:
        is_meant = track.file_name == name if track.is_external else kind == "text" and track.ordinal == place
        if is_meant and track.language is not None and track.is_text:
            return FromText(track, track.language, f"the {track.language} text track is translated, as asked")
    raise NoUsableSource(f"there is no usable track {name!r} in {source.stem}: `fluxcaption why` shows them")


def _origin(choice: FromText) -> str:
    track = choice.track
    return (
        f"{choice.language} text file {track.file_name}"
        if track.is_external
        else f"embedded {choice.language} text track {(track.ordinal or 0) + 1}"
    )


def _unavailable_since_key(translator: Translator) -> str:
    return f"away:{translator.backend_id}"
