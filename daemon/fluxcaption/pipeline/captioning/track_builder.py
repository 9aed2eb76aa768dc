"""Track builder: turns media into the cues of a target language, without the queue and the media server."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fluxcaption.domain.asr_filter import mean_confidence
from fluxcaption.domain.cues import Cue, TextUnit, Transcript
from fluxcaption.domain.errors import (
    ModelMissing,
    NothingToMake,
    ParkedError,
    ReplyUnusable,
    ServiceUnreachable,
    UnsupportedLanguagePair,
)
from fluxcaption.domain.jobs import Provenance
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import AudioTrack, MediaIdentity, SubtitleTrack
from fluxcaption.domain.sentences import Sentence, group_into_sentences
from fluxcaption.domain.shaping import build_cues, fit_translation
from fluxcaption.domain.transcripts import TranslationKey
from fluxcaption.domain.units import Ms
from fluxcaption.pipeline.captioning.batches import TranslationReport, translate_in_batches
from fluxcaption.pipeline.captioning.source_text import SourceText
from fluxcaption.pipeline.captioning.transcriber import UNKNOWN_LANGUAGE, Progress, Transcriber
from fluxcaption.pipeline.planner import Planner
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.media import MediaLocation, MediaReader
from fluxcaption.ports.storage import Speeds, StateValues, Translations
from fluxcaption.ports.translation import Translator

log = logging.getLogger(__name__)

SPEED_NAME = "translate"
"""Name under which the translation speed is stored."""


@dataclass(frozen=True, slots=True)
class TrackBuilderDeps:
    """Everything the track builder uses.

    Attributes:
        transcriber: Transcribes with the speech model of the settings.
        min_score: Lowest mean confidence of a transcript that is used, 0 to 1.
        patience: How long a preferred translator may be unavailable before the next one is used.
        max_untranslated: Largest share of sentences that may keep their source text, 0 to 1.
    """

    translations: Translations
    speeds: Speeds
    state_values: StateValues
    media: MediaReader
    transcriber: Transcriber
    planner: Planner
    clock: Clock
    min_score: float
    patience: timedelta
    max_untranslated: float


@dataclass(frozen=True, slots=True)
class TranslatedText:
    """A source text in the target language.

    Attributes:
        sentences: Each sentence of the source with its translation, in order. A sentence that could not be
            translated keeps its source text.
    """

    sentences: Sequence[tuple[Sentence, str]]
    provenance: Provenance


class TrackBuilder:
    """Acquires source texts and translates them."""

    def __init__(self, deps: TrackBuilderDeps) -> None:
        self._deps = deps

    # -- Source text -------------------------------------------------------------------------------

    async def read_embedded(
        self, location: MediaLocation, track: SubtitleTrack, language: LanguageTag
    ) -> SourceText:
        """Extract an embedded text track from the media.

        Raises:
            SubtitleUnreadable: The track has no usable text.
        """
        text = await asyncio.to_thread(self._deps.media.text_track, location, track.ordinal or 0)
        return SourceText.from_track(track, language, text.cues)

    async def transcribe(
        self,
        location: MediaLocation,
        track: AudioTrack,
        identity: MediaIdentity,
        target: LanguageTag,
        *,
        attempt: int = 1,
        progress: Progress | None = None,
        transcriber: Transcriber | None = None,
    ) -> SourceText:
        """Transcribe an audio track and build cues from the transcript.

        Args:
            location: Location of the media.
            track: The audio track.
            identity: Identity of the media, by which an earlier transcript is found.
            target: Target language; the transcript may show that no track is needed in it.
            attempt: Number of the job's claim.
            progress: Called after each window.
            transcriber: Replaces the transcriber of the settings.

        Raises:
            NothingToMake: There is no speech, its language is unknown, it needs no subtitles, or the
                confidence is too low.
        """
        transcriber = transcriber or self._deps.transcriber
        transcript = await transcriber.transcribe(location, track, identity, attempt, progress)
        self._check_transcript(transcript, target)
        score = mean_confidence(transcript.segments)
        recognizer = transcriber.recognizer.name
        return SourceText(
            transcript.language,
            f"transcript of audio track {track.ordinal + 1} by {recognizer} (score {score:.2f})",
            build_cues(transcript.segments, transcript.language),
            recognizer,
            round(score, 4),
        )

    def _check_transcript(self, transcript: Transcript, target: LanguageTag) -> None:
        planner, min_score = self._deps.planner, self._deps.min_score
        if not transcript.segments:
            raise NothingToMake("no-speech", "the audio track contains no speech")
        if transcript.language == UNKNOWN_LANGUAGE:
            raise NothingToMake(
                "language-unknown",
                "the spoken language could not be detected. Set the language of the audio track",
            )
        if not planner.policy.makes_spoken_language and planner.satisfies_target(transcript.language, target):
            raise NothingToMake(
                "spoken", f"the spoken language is {transcript.language}, and languages.when_spoken is skip"
            )
        score = mean_confidence(transcript.segments)
        if score < min_score:
            raise NothingToMake(
                "not-good-enough",
                f"the transcript is too uncertain: score {score:.2f}, asr.min_score is {min_score:.2f}",
            )

    # -- Target text -------------------------------------------------------------------------------

    async def build_cues(self, text: SourceText, target: LanguageTag) -> tuple[Sequence[Cue], Provenance]:
        """Return the cues of a text in the target language, and their provenance.

        Raises:
            UnsupportedLanguagePair: No translator knows the pair.
            ServiceUnreachable: Every translator that knows the pair is unavailable.
            ModelMissing: The last translator that knows the pair has no model.
            ReplyUnusable: Too many sentences could not be translated.
        """
        if self._deps.planner.satisfies_target(text.language, target):
            origin = text.origin if text.recognizer else f"copied from {text.origin}"
            return text.cues, Provenance(origin, text.recognizer, text.score)
        translated = await self.translate(text, target)

        def fit() -> list[Cue]:
            return [
                cue
                for sentence, translation in translated.sentences
                for cue in fit_translation(translation, sentence.cues, target)
            ]

        # A long film takes long enough to block the event loop.
        return await asyncio.to_thread(fit), translated.provenance

    async def translate(
        self, text: SourceText, target: LanguageTag, progress: Progress | None = None
    ) -> TranslatedText:
        """Translate a text with the first translator that knows the pair and is available.

        Raises:
            UnsupportedLanguagePair: No translator knows the pair.
            ServiceUnreachable: Every translator that knows the pair is unavailable.
            ModelMissing: The last translator that knows the pair has no model.
            ReplyUnusable: Too many sentences could not be translated.
        """
        translators = self._deps.planner.translators
        candidates = [translator for translator in translators if translator.knows(text.language, target)]
        if not candidates:
            names = " and ".join(translator.name for translator in translators)
            raise UnsupportedLanguagePair(str(text.language), str(target), names or "what is configured")
        for translator in candidates[:-1]:
            try:
                return await self._translate_with(translator, text, target, progress)
            except (ServiceUnreachable, ModelMissing) as error:
                if not await self._is_patience_over(translator, error):
                    raise
        last = candidates[-1]
        return await self._translate_with(last, text, target, progress)

    async def _translate_with(
        self, translator: Translator, text: SourceText, target: LanguageTag, progress: Progress | None
    ) -> TranslatedText:
        sentences = await asyncio.to_thread(group_into_sentences, text.cues)
        units = [unit for sentence in sentences for unit in sentence.units]
        # The revision may be a hash of the model file, so it is computed off the event loop.
        revision = await asyncio.to_thread(lambda: translator.revision)
        key = TranslationKey(text.language, target, translator.name, revision)
        stored = dict(await self._deps.translations.find(key, {unit.text for unit in units}))
        missing = [unit for unit in units if unit.text not in stored]
        media_ms = sum(cue.end - cue.start for sentence in sentences for cue in sentence.cues)
        missing_ms = Ms(media_ms * len(missing) // max(1, len(units)))
        report = await self._translate_missing(translator, key, missing, missing_ms, progress)
        await self._deps.state_values.set(_unavailable_since_key(translator), "")
        self._check_share(translator, report, units)
        texts = {unit.id: report.texts.get(unit.id) or stored.get(unit.text) or unit.text for unit in units}
        return TranslatedText(
            [(sentence, sentence.rendered(texts)) for sentence in sentences],
            _provenance(text, translator, len(report.untranslated)),
        )

    async def _translate_missing(
        self,
        translator: Translator,
        key: TranslationKey,
        units: Sequence[TextUnit],
        media_ms: Ms,
        progress: Progress | None,
    ) -> TranslationReport:
        """Translate and store the units that have no stored translation, and record the speed."""
        deps = self._deps

        async def save(texts: dict[str, str]) -> None:
            await deps.translations.save(key, texts)

        def report_progress(count: int) -> None:
            if progress is not None:
                progress(Ms(media_ms * count // len(units)), media_ms)

        started = deps.clock.monotonic()
        report = await translate_in_batches(units, translator, key.source, key.target, save, report_progress)
        if units:
            took_ms = Ms(int((deps.clock.monotonic() - started) * 1000))
            await deps.speeds.record(SPEED_NAME, media_ms, took_ms)
        return report

    def _check_share(
        self, translator: Translator, report: TranslationReport, units: Collection[TextUnit]
    ) -> None:
        count = len(report.untranslated)
        if units and count / len(units) > self._deps.max_untranslated:
            first_reason = next(iter(report.untranslated.values()))
            raise ReplyUnusable(
                f"{translator.name} left {count} of {len(units)} sentences untranslated ({first_reason}). "
                "Try another model"
            )

    async def _is_patience_over(self, translator: Translator, error: ParkedError) -> bool:
        """Return True if a translator has been unavailable for so long that the next one is used."""
        deps, key = self._deps, _unavailable_since_key(translator)
        now = deps.clock.now()
        since = await deps.state_values.get(key)
        if not since:
            await deps.state_values.set(key, now.isoformat())
            log.warning(
                "a translator became unavailable",
                extra={"translator": translator.name, "cause": str(error)},
            )
            return deps.patience == timedelta(0)
        return now - datetime.fromisoformat(since).astimezone(UTC) >= deps.patience


def _provenance(text: SourceText, translator: Translator, untranslated: int) -> Provenance:
    note = f"; {untranslated} sentences kept their source text" if untranslated else ""
    return Provenance(
        f"translated by {translator.name} from {text.origin}{note}",
        text.recognizer,
        text.score,
        translator.name,
    )


def _unavailable_since_key(translator: Translator) -> str:
    # The prefix is stored, so it is fixed.
    return f"away:{translator.backend_id}"
