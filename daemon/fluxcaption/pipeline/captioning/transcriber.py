"""Transcriber: turns one audio track into a transcript, window by window.

Each window is stored before the next one starts, and stored windows are reused: after a restart, after the
file was moved or remuxed, and for every other target language.
"""

import asyncio
import logging
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from weakref import WeakValueDictionary

from fluxcaption.domain.asr_filter import drop_repetitions, snap_to_speech
from fluxcaption.domain.cues import Segment, Transcript
from fluxcaption.domain.errors import ReplyUnusable
from fluxcaption.domain.language import LanguageTag, normalize
from fluxcaption.domain.media import AudioTrack, MediaIdentity
from fluxcaption.domain.transcripts import SavedTranscript, TranscribedWindow, TranscriptKey
from fluxcaption.domain.units import Fingerprint, Ms, UnitId
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.executor import BlockStore, Executor, Sound, UnitResult, WorkKind, WorkUnit
from fluxcaption.ports.media import MediaLocation, MediaReader, SoundSketcher
from fluxcaption.ports.speech import Recognizer, Window, WindowCutter
from fluxcaption.ports.storage import Speeds, Transcripts

log = logging.getLogger(__name__)

MAX_SLOW_PAUSE_S = 120.0
"""Longest pause after a window during playback."""

MAX_LENGTH_DIFFERENCE_MS = 500
"""A remuxed file may differ this much in length from the original."""

MIN_LANGUAGE_CONFIDENCE = 0.8
"""From this confidence on, the detected language overrides the language tag of the track."""

UNKNOWN_LANGUAGE = LanguageTag("und")

SPEED_NAME = "listen"
"""Name under which the transcription speed is stored."""

Progress = Callable[[Ms, Ms], None]
"""Called with the position that was reached and the total, in ms of media time."""


@dataclass(frozen=True, slots=True)
class TranscriberDeps:
    """Everything the transcriber uses.

    Attributes:
        cutter: Returns a new window cutter for one audio track.
        blocks: Hands the audio of a window to the executor.
        lower_thread_priority: Lowers the priority of the calling thread.
        is_slow: True during playback: a pause as long as the window took follows each window.
    """

    transcripts: Transcripts
    speeds: Speeds
    media: MediaReader
    sketcher: SoundSketcher
    cutter: Callable[[], WindowCutter]
    executor: Executor
    blocks: BlockStore
    recognizer: Recognizer
    lower_thread_priority: Callable[[], None]
    clock: Clock
    is_slow: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class _Audio:
    """One audio track of one media file.

    Attributes:
        attempt: Number of the job's claim, by which late results of an earlier attempt are recognized.
    """

    location: MediaLocation
    track: AudioTrack
    key: TranscriptKey
    duration_ms: Ms
    attempt: int


class Transcriber:
    """Transcribes audio tracks, each one once: jobs that need the same track wait for each other."""

    def __init__(self, deps: TranscriberDeps) -> None:
        self._deps = deps
        self._locks: WeakValueDictionary[tuple[Fingerprint, int], asyncio.Lock] = WeakValueDictionary()

    @property
    def recognizer(self) -> Recognizer:
        """Return the recognizer in use."""
        return self._deps.recognizer

    async def transcribe(
        self,
        location: MediaLocation,
        track: AudioTrack,
        identity: MediaIdentity,
        attempt: int,
        progress: Progress | None = None,
    ) -> Transcript:
        """Transcribe the rest of an audio track and return the whole transcript.

        Raises:
            MediaUnreadable: The media cannot be decoded.
            ModelMissing: The recognizer has no model.
            OutOfMemory: A window did not fit into memory.
            ReplyUnusable: The executor returned the result of another attempt.
        """
        lock = self._locks.setdefault((identity.fingerprint, track.ordinal), asyncio.Lock())
        async with lock:
            return await self._transcribe_locked(location, track, identity, attempt, progress)

    async def _transcribe_locked(
        self,
        location: MediaLocation,
        track: AudioTrack,
        identity: MediaIdentity,
        attempt: int,
        progress: Progress | None,
    ) -> Transcript:
        recognizer = self._deps.recognizer
        # The revision may be a hash of the model file, so it is computed off the event loop.
        revision = await asyncio.to_thread(lambda: recognizer.revision)
        key = TranscriptKey(
            identity.fingerprint, track.ordinal, recognizer.name, revision, recognizer.asr_settings_key
        )
        audio = _Audio(location, track, key, identity.duration_ms, attempt)
        saved = await self._open_transcript(audio)
        if saved.is_complete:
            return _merged(saved.windows, saved.language)
        return await self._continue_transcript(audio, saved, progress)

    async def _open_transcript(self, audio: _Audio) -> SavedTranscript:
        """Return the stored transcript of a track, or of the same sound in another file, or an empty one."""
        transcripts = self._deps.transcripts
        return (
            await transcripts.get(audio.key)
            or await self._find_same_sound(audio)
            or await transcripts.open(audio.key, audio.duration_ms)
        )

    async def _find_same_sound(self, audio: _Audio) -> SavedTranscript | None:
        """Find the transcript of a file that this one was remuxed from, by a sketch of the sound."""
        key, transcripts, sketcher = audio.key, self._deps.transcripts, self._deps.sketcher
        sketch = await asyncio.to_thread(sketcher.sketch, audio.location, key.ordinal, audio.duration_ms)
        candidates = await transcripts.sketches(audio.duration_ms, MAX_LENGTH_DIFFERENCE_MS)
        for fingerprint, ordinal, candidate in candidates:
            is_other = (fingerprint, ordinal) != (key.fingerprint, key.ordinal)
            if is_other and sketcher.is_same(sketch, candidate):
                await transcripts.alias_sound(key.fingerprint, key.ordinal, fingerprint, ordinal)
                log.info("the sound was recognized from another file", extra={"fingerprint": fingerprint})
                return await transcripts.get(key)
        await transcripts.save_sketch(key.fingerprint, key.ordinal, audio.duration_ms, sketch)
        return None

    async def _continue_transcript(
        self, audio: _Audio, saved: SavedTranscript, progress: Progress | None
    ) -> Transcript:
        """Transcribe and store the windows that are missing."""
        deps = self._deps
        windows = list(saved.windows)
        language = saved.language
        async with _WindowStream(
            deps, audio.location, audio.track.ordinal, saved.transcribed_until
        ) as stream:
            while (window := await stream.next()) is not None:
                if language is None:
                    language = await self._detect_language(window, saved.id, audio)
                started = deps.clock.monotonic()
                segments = await self._transcribe_window(window, saved.id, audio, language)
                transcribed = TranscribedWindow(window.start, window.end, segments)
                await deps.transcripts.save_window(saved.id, transcribed, language)
                windows.append(transcribed)
                if progress:
                    progress(window.end, audio.duration_ms)
                if deps.is_slow():
                    await deps.clock.sleep(min(deps.clock.monotonic() - started, MAX_SLOW_PAUSE_S))
        language = language or audio.track.language or UNKNOWN_LANGUAGE
        await deps.transcripts.finish(saved.id, language)
        return _merged(windows, language, len(windows) - len(saved.windows))

    async def _detect_language(self, window: Window, transcript_id: int, audio: _Audio) -> LanguageTag | None:
        """Return the language of the track's tag, unless a confident detection contradicts it."""
        tagged = audio.track.language
        result = await self._run(WorkKind.DETECT_LANGUAGE, window, transcript_id, audio, None)
        detected = normalize(result.language)
        if detected is None:
            return tagged
        if tagged is None:
            return detected
        if result.language_probability >= MIN_LANGUAGE_CONFIDENCE and detected.language != tagged.language:
            log.warning(
                "the language tag of an audio track is wrong, the detected language is used",
                extra={"tag": str(tagged), "detected": str(detected)},
            )
            return detected
        return tagged

    async def _transcribe_window(
        self, window: Window, transcript_id: int, audio: _Audio, language: LanguageTag | None
    ) -> tuple[Segment, ...]:
        result = await self._run(WorkKind.TRANSCRIBE, window, transcript_id, audio, language)
        await self._deps.speeds.record(SPEED_NAME, Ms(window.end - window.start), result.took_ms)
        return snap_to_speech(result.segments, window.speech)

    async def _run(
        self,
        kind: WorkKind,
        window: Window,
        transcript_id: int,
        audio: _Audio,
        language: LanguageTag | None,
    ) -> UnitResult:
        """Run one unit of work on a window.

        Raises:
            ReplyUnusable: The result belongs to another attempt, so the window counts as not transcribed.
        """
        block = self._deps.blocks.put(window.samples)
        try:
            unit = WorkUnit(
                id=UnitId(f"{kind}-{transcript_id}-{window.start}"),
                kind=kind,
                attempt=audio.attempt,
                language=language.language if language else "",
                model_revision=audio.key.model_revision,
                asr_settings_key=audio.key.asr_settings_key,
                sound=Sound(block, 0, len(window.samples), window.start),
            )
            result = await self._deps.executor.run(unit)
        finally:
            self._deps.blocks.drop(block)
        if not result.answers(unit):
            raise ReplyUnusable(
                f"the recognizer returned the result of another attempt for {unit.id}. The window is retried"
            )
        return result


def _merged(
    windows: Sequence[TranscribedWindow], language: LanguageTag | None, new_windows: int = 0
) -> Transcript:
    segments = tuple(
        segment for window in sorted(windows, key=lambda window: window.start) for segment in window.segments
    )
    return Transcript(language or UNKNOWN_LANGUAGE, drop_repetitions(segments), new_windows)


class _WindowStream:
    """Decodes an audio track and cuts it into windows, one at a time, in its own thread.

    Leaving the context closes the file.
    """

    def __init__(self, deps: TranscriberDeps, location: MediaLocation, ordinal: int, start: Ms) -> None:
        self._windows = self._cut(deps, location, ordinal, start)
        self._thread = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix="decode", initializer=deps.lower_thread_priority
        )

    @staticmethod
    def _cut(deps: TranscriberDeps, location: MediaLocation, ordinal: int, start: Ms) -> Generator[Window]:
        cutter = deps.cutter()
        for block_start, samples in deps.media.blocks(location, ordinal, start):
            yield from cutter.feed(block_start, samples)
        yield from cutter.finish()

    async def next(self) -> Window | None:
        """Return the next window, or None after the last."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, next, self._windows, None)

    async def __aenter__(self) -> "_WindowStream":
        return self

    async def __aexit__(self, *_: object) -> None:
        # A running generator cannot be closed, so the close is queued behind the thread's current call.
        with suppress(RuntimeError):
            self._thread.submit(self._windows.close)
        self._thread.shutdown(wait=False)
