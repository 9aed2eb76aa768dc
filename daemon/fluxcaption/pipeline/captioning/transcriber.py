"""One sound track to a transcript: window by window, each saved before the next, nothing heard twice."""

import asyncio
import logging
from collections.abc import Callable, Generator
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
from fluxcaption.ports.storage import Storage

log = logging.getLogger(__name__)

MAX_REST_S = 120.0

SAME_LENGTH_MS = 500
"""A remuxed file may differ this much in length."""

SURE_OF_LANGUAGE = 0.8
"""Above this, what is heard beats what the file's tag says."""

UNKNOWN_LANGUAGE = LanguageTag("und")

Progress = Callable[[Ms, Ms], None]
"""Told how far a sound is heard: done, all."""


@dataclass(frozen=True, slots=True)
class TranscriberDeps:
    """What listening is done with.

    Attributes:
        be_gentle: Makes the calling thread step back behind the household's work.
        is_slow: Whether to rest after each window as long as it took, since somebody watches.
    """

    storage: Storage
    media: MediaReader
    sketcher: SoundSketcher
    cutter: Callable[[], WindowCutter]
    executor: Executor
    blocks: BlockStore
    recognizer: Recognizer
    lower_thread_priority: Callable[[], None]
    clock: Clock
    is_slow: Callable[[], bool] = lambda: False


class Transcriber:
    """Hears sounds; two jobs that need one sound wait for each other and hear it once."""

    def __init__(self, parts: TranscriberDeps) -> None:
        self._parts = parts
        self._busy: WeakValueDictionary[tuple[Fingerprint, int], asyncio.Lock] = WeakValueDictionary()
        """One lock for each sound, for as long as anybody hears it or waits for it."""

    @property
    def recognizer(self) -> Recognizer:
        """Who listens."""
        return self._parts.recognizer

    async def transcribe(
        self,
        location: MediaLocation,
        track: AudioTrack,
        identity: MediaIdentity,
        attempt: int,
        progress: Progress | None = None,
    ) -> Transcript:
        """Hear what is not heard yet of one sound track and return all of it.

        Raises:
            MediaUnreadable: Nothing can be decoded.
            ModelMissing: There is no recogniser model.
            OutOfMemory: A window did not fit.
        """
        lock = self._busy.setdefault((identity.fingerprint, track.ordinal), asyncio.Lock())
        async with lock:
            return await self._hear(location, track, identity, attempt, progress)

    async def _hear(
        self,
        location: MediaLocation,
        track: AudioTrack,
        identity: MediaIdentity,
        attempt: int,
        progress: Progress | None,
    ) -> Transcript:
        parts, recognizer = self._parts, self._parts.recognizer
        revision = await asyncio.to_thread(lambda: recognizer.revision)
        key = TranscriptKey(
            identity.fingerprint, track.ordinal, recognizer.name, revision, recognizer.asr_settings_key
        )
        saved = await parts.storage.transcripts.get(key) or await self._heard_in_another_file(
            location, key, identity.duration_ms
        )
        if saved is None:
            saved = await parts.storage.transcripts.open(key, identity.duration_ms)
        windows = list(saved.windows)
        language = saved.language
        heard = 0
        if not saved.is_complete:
            async with _WindowStream(parts, location, track.ordinal, saved.transcribed_until) as stream:
                while (window := await stream.next()) is not None:
                    if language is None:
                        language = await self._language_of(window, saved.id, attempt, key, track)
                    began = parts.clock.monotonic()
                    segments = await self._hear_window(window, saved.id, attempt, key, language)
                    done = TranscribedWindow(window.start, window.end, segments)
                    await parts.storage.transcripts.save_window(saved.id, done, language)
                    windows.append(done)
                    heard += 1
                    if progress:
                        progress(window.end, identity.duration_ms)
                    if parts.is_slow():
                        await parts.clock.sleep(min(parts.clock.monotonic() - began, MAX_REST_S))
            language = language or track.language or UNKNOWN_LANGUAGE
            await parts.storage.transcripts.finish(saved.id, language)
        segments = tuple(
            segment
            for window in sorted(windows, key=lambda window: window.start)
            for segment in window.segments
        )
        return Transcript(language or UNKNOWN_LANGUAGE, drop_repetitions(segments), heard)

    async def _heard_in_another_file(
        self, location: MediaLocation, key: TranscriptKey, duration_ms: Ms
    ) -> SavedTranscript | None:
        """Find the transcript of the same sound in a file that was remuxed, by how six stretches of it sound."""
        sketch = await asyncio.to_thread(self._parts.sketcher.sketch, location, key.ordinal, duration_ms)
        storage = self._parts.storage
        for fingerprint, ordinal, known in await storage.transcripts.sketches(duration_ms, SAME_LENGTH_MS):
            if (fingerprint, ordinal) != (key.fingerprint, key.ordinal) and self._parts.sketcher.is_same(
                sketch, known
            ):
                await storage.transcripts.alias_sound(key.fingerprint, key.ordinal, fingerprint, ordinal)
                log.info("sound is known from another file", extra={"known": fingerprint})
                return await storage.transcripts.get(key)
        await storage.transcripts.save_sketch(key.fingerprint, key.ordinal, duration_ms, sketch)
        return None

    async def _language_of(
        self, window: Window, transcript_id: int, attempt: int, key: TranscriptKey, track: AudioTrack
    ) -> LanguageTag | None:
        result = await self._run(WorkKind.DETECT_LANGUAGE, window, transcript_id, attempt, key, None)
        heard = normalize(result.language)
        if heard is None:
            return track.language
        if track.language is None or (
            result.sureness >= SURE_OF_LANGUAGE and heard.language != track.language.language
        ):
            if track.language is not None:
                log.warning(
                    "the sound track's language tag is wrong",
                    extra={"tag": str(track.language), "heard": str(heard)},
                )
            return heard
        return track.language

    async def _hear_window(
        self,
        window: Window,
        transcript_id: int,
        attempt: int,
        key: TranscriptKey,
        language: LanguageTag | None,
    ) -> tuple[Segment, ...]:
        result = await self._run(WorkKind.TRANSCRIBE, window, transcript_id, attempt, key, language)
        await self._parts.storage.speeds.record("listen", Ms(window.end - window.start), result.took_ms)
        return snap_to_speech(result.segments, window.speech)

    async def _run(
        self,
        kind: WorkKind,
        window: Window,
        transcript_id: int,
        attempt: int,
        key: TranscriptKey,
        language: LanguageTag | None,
    ) -> UnitResult:
        """Have one unit of work done on a window.

        Raises:
            ReplyUnusable: What came back answers another attempt: the window is not heard.
        """
        block = self._parts.blocks.put(window.samples)
        try:
            unit = WorkUnit(
                id=UnitId(f"{kind}-{transcript_id}-{window.start}"),
                kind=kind,
                attempt=attempt,
                language=language.language if language else "",
                model_revision=key.model_revision,
                asr_settings_key=key.asr_settings_key,
                sound=Sound(block, 0, len(window.samples), window.start),
            )
            result = await self._parts.executor.run(unit)
        finally:
            self._parts.blocks.drop(block)
        if not result.answers(unit):
            raise ReplyUnusable(
                f"the recogniser answered another attempt at {unit.id}: the window is heard again"
            )
        return result


class _WindowStream:
    """Decodes and cuts in one thread of its own, a window at a time; leaving closes the file."""

    def __init__(self, parts: TranscriberDeps, location: MediaLocation, ordinal: int, start: Ms) -> None:
        self._windows = self._cut(parts, location, ordinal, start)
        self._thread = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix="decode", initializer=parts.lower_thread_priority
        )

    @staticmethod
    def _cut(parts: TranscriberDeps, location: MediaLocation, ordinal: int, start: Ms) -> Generator[Window]:
        cutter = parts.cutter()
        for block_start, samples in parts.media.blocks(location, ordinal, start):
            yield from cutter.feed(block_start, samples)
        yield from cutter.finish()

    async def next(self) -> Window | None:
        """The next window, or None after the last."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, next, self._windows, None)

    async def __aenter__(self) -> "_WindowStream":
        return self

    async def __aexit__(self, *_: object) -> None:
        # Behind whatever the thread still does: a generator cannot be closed while it runs.
        with suppress(RuntimeError):
            self._thread.submit(self._windows.close)
        self._thread.shutdown(wait=False)
