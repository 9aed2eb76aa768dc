"""The stages that make a track: the words of the source, then the words of the target."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fluxcaption.domain.cues import Cue, Transcript
from fluxcaption.domain.errors import NoUsableSource, ReplyUnusable, ServiceUnreachable, UnsupportedLanguagePair
from fluxcaption.domain.gaps import Decision, Way
from fluxcaption.domain.hearing import score
from fluxcaption.domain.jobs import Job, Outcome, Stage, TranslationKey
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import AudioTrack, Item, MediaIdentity, MediaLocation, MediaSource, SubtitleTrack
from fluxcaption.domain.shaping import fit, sentences, shape
from fluxcaption.domain.sources import FromSound, FromText
from fluxcaption.domain.units import Ms
from fluxcaption.flow.documents import SourceText
from fluxcaption.flow.finding import find_source
from fluxcaption.flow.listening import Listener
from fluxcaption.flow.planning import Planner
from fluxcaption.flow.translating import ThroughExecutor, translate_all
from fluxcaption.ports import Clock, Executor, MediaReader, MediaServer, Store, SubtitleCodec, Translator

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MakingParts:
    """What tracks are made with.

    Attributes:
        min_score: Below this mean confidence a transcript is not published.
        patience: How long a preferred translator may be away before the next is used.
        max_untranslated: Share of sentences that may keep their source text.
    """

    server: MediaServer
    store: Store
    media: MediaReader
    codec: SubtitleCodec
    listener: Listener
    planner: Planner
    executor: Executor
    clock: Clock
    min_score: float
    patience: timedelta
    max_untranslated: float


class Maker:
    """Runs the stages `listen` and `translate`."""

    def __init__(self, parts: MakingParts, progress: Callable[[Job, Ms, Ms], None] | None = None) -> None:
        self._parts = parts
        self._progress = progress

    async def listen(self, job: Job) -> Outcome:
        """Get the words of the source: read the text track, or hear the sound."""
        parts = self._parts
        item, source = await find_source(parts.server, job)
        decision = self._decision(item, source, job)
        if decision.way is Way.COVERED:
            return Outcome.done(decision.reason)
        if decision.way is Way.NOT_WANTED:
            return Outcome.settled(decision.reason, "not-wanted")
        location = parts.server.locate(source)
        identity = await self._identify(source, location, item)
        await parts.store.note(job.id, fingerprint=identity.fingerprint)
        settings_hash = self._settings_hash
        if (settled := await parts.store.settled(identity.fingerprint, job.target, settings_hash)) is not None:
            return Outcome.settled(settled[1], settled[0])
        if isinstance(decision.choice, FromText):
            text = await self.read_text(source, decision.choice.track, decision.choice.language, location)
        elif isinstance(decision.choice, FromSound):
            progress = self._progress
            transcript = await parts.listener.hear(
                location, decision.choice.track, identity, job.attempts, (lambda done, whole: progress(job, done, whole)) if progress else None
            )
            refusal = self._refusal(transcript, job.target)
            if refusal is not None:
                code, reason = refusal
                await parts.store.settle(identity.fingerprint, job.target, settings_hash, code, reason, parts.clock.now())
                return Outcome.settled(reason, code)
            text = self.shape_heard(transcript, decision.choice.track)
        else:
            raise NoUsableSource(decision.reason)
        await parts.store.note(job.id, source_ref=await parts.store.put_document(text.to_bytes()))
        return Outcome.next(Stage.TRANSLATE, f"the words are known: {len(text.cues)} cues, {text.origin}")

    async def translate(self, job: Job) -> Outcome:
        """Put the source cues into the target language and keep the finished track."""
        parts = self._parts
        content = await parts.store.document(job.source_ref) if job.source_ref else None
        if content is None:
            return Outcome.next(Stage.LISTEN, "the source words are not kept any more")
        cues, how = await self.render(SourceText.from_bytes(content), job.target, job.attempts)
        track_ref = await parts.store.put_document(parts.codec.write_srt(cues))
        await parts.store.note(job.id, track_ref=track_ref)
        return Outcome.next(Stage.UPLOAD, how)

    async def read_text(self, source: MediaSource, track: SubtitleTrack, language: LanguageTag, location: MediaLocation) -> SourceText:
        """Read an existing text track, embedded or beside the file."""
        parts = self._parts
        if track.ordinal is not None:
            read = await asyncio.to_thread(parts.media.text_track, location, track.ordinal)
            origin = f"embedded {language} text track {track.ordinal + 1}"
        else:
            content = await parts.server.read_text_track(source, track)
            read = await asyncio.to_thread(parts.codec.read, track.file_name, content)
            origin = f"{language} text file {track.file_name}"
        return SourceText(language, origin, _numbered(read.cues))

    def shape_heard(self, transcript: Transcript, track: AudioTrack) -> SourceText:
        """Make readable cues of what was heard."""
        origin = f"heard in sound track {track.ordinal + 1} by {self._parts.listener.recognizer.name}"
        return SourceText(transcript.language, origin, shape(transcript.segments, transcript.language))

    async def render(self, text: SourceText, target: LanguageTag, attempt: int) -> tuple[Sequence[Cue], str]:
        """The cues in the target language, and how they came about.

        Raises:
            UnsupportedLanguagePair: No backend knows the pair.
            ServiceUnreachable: Every backend that knows it is away.
            ReplyUnusable: Too many sentences could not be translated.
        """
        if self._parts.planner.serves(text.language, target):
            return text.cues, f"written as {text.origin}"
        willing = [translator for translator in self._parts.planner.translators if translator.knows(text.language, target)]
        if not willing:
            raise UnsupportedLanguagePair(str(text.language), str(target), "no configured backend")
        for number, translator in enumerate(willing):
            try:
                return await self._render_by(translator, text, target, attempt)
            except ServiceUnreachable as error:
                if number + 1 == len(willing) or not await self._patience_is_over(translator, error):
                    raise
        raise AssertionError("the loop returns or raises")

    async def _render_by(self, translator: Translator, text: SourceText, target: LanguageTag, attempt: int) -> tuple[Sequence[Cue], str]:
        parts = self._parts
        units = sentences(text.cues)
        # What the backend says of itself may need a file's hash; the loop must not wait for the disk.
        revision = await asyncio.to_thread(lambda: translator.revision)
        key = TranslationKey(text.language, target, translator.name, revision)
        wanted = {unit.text for unit in units}
        known = dict(await parts.store.translations(key, wanted))

        async def save(texts: dict[str, str]) -> None:
            await parts.store.save_translations(key, texts)

        began = parts.clock.monotonic()
        missing = [unit for unit in units if unit.text not in known]
        through = ThroughExecutor(translator, parts.executor, key, attempt)
        report = await translate_all(missing, through, save)
        if missing:
            took = Ms(int((parts.clock.monotonic() - began) * 1000))
            await parts.store.record_speed("translate", Ms(sum(cue.end - cue.start for unit in missing for cue in unit.cues)), took)
        await parts.store.set_flag(_away_flag(translator), "")
        left = len(report.untranslated)
        if units and left / len(units) > parts.max_untranslated:
            first = next(iter(report.untranslated.values()))
            raise ReplyUnusable(f"{translator.name} left {left} of {len(units)} sentences untranslated ({first}): try another model")
        cues: list[Cue] = []
        for unit in units:
            translated = report.texts.get(unit.id) or known.get(unit.text) or unit.text
            cues += fit(translated, unit.cues, target)
        note = f"; {left} sentences kept their source text" if left else ""
        return cues, f"translated by {translator.name} from {text.origin}{note}"

    async def _patience_is_over(self, translator: Translator, error: ServiceUnreachable) -> bool:
        now = self._parts.clock.now()
        since = await self._parts.store.flag(_away_flag(translator))
        if not since:
            await self._parts.store.set_flag(_away_flag(translator), now.isoformat())
            log.warning("translator is away", extra={"translator": translator.name, "cause": str(error)})
            return self._parts.patience == timedelta(0)
        return now - datetime.fromisoformat(since).astimezone(UTC) >= self._parts.patience

    def _decision(self, item: Item, source: MediaSource, job: Job) -> Decision:
        decisions = self._parts.planner.plan(item.only(source))
        found = next((decision for decision in decisions if decision.target == job.target), None)
        return found or Decision(item, source, job.target, Way.NOT_WANTED, f"{job.target} is no longer among the targets")

    async def _identify(self, source: MediaSource, location: MediaLocation, item: Item) -> MediaIdentity:
        parts = self._parts
        identity = await parts.store.identity(item.server_id, source.id, source.revision)
        if identity is None:
            duration_ms = source.duration_ms or (await asyncio.to_thread(parts.media.probe, location))[0]
            identity = await asyncio.to_thread(parts.media.identify, location, duration_ms)
            await parts.store.save_identity(item.server_id, source.id, source.revision, identity)
        return identity

    def _refusal(self, transcript: Transcript, target: LanguageTag) -> tuple[str, str] | None:
        wishes = self._parts.planner.wishes
        if not transcript.segments:
            return "no-speech", "nobody speaks in it"
        if not wishes.makes_spoken and self._parts.planner.serves(transcript.language, target):
            return "spoken", f"{transcript.language} is spoken in it, and when_spoken is skip"
        sureness = score(transcript.segments)
        if sureness < self._parts.min_score:
            return "not-good-enough", f"the recogniser was too unsure: score {sureness:.2f}, asr.min_score is {self._parts.min_score:.2f}"
        return None

    @property
    def _settings_hash(self) -> str:
        recognizer = self._parts.listener.recognizer
        return f"{recognizer.name}/{recognizer.settings_hash}/{self._parts.min_score}/{self._parts.planner.wishes.makes_spoken}"


def _away_flag(translator: Translator) -> str:
    return f"away:{translator.name}"


def _numbered(cues: Sequence[Cue]) -> tuple[Cue, ...]:
    """A text track's cues, each a sentence of its own until they are grouped for translation."""
    return tuple(Cue(cue.start, cue.end, cue.lines, number) for number, cue in enumerate(cues))
