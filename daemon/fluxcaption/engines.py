"""Speech recognition, translation and media access: chooses and builds their adapters.

Shared by the daemon's object graph and the commands on single files. Models load at their first use.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import assert_never

from fluxcaption.clock import SystemClock
from fluxcaption.domain.gaps import LanguagePolicy
from fluxcaption.domain.language import Strictness
from fluxcaption.domain.rules import EffectivePolicy
from fluxcaption.executor.threads import MemoryBlocks, ThreadExecutor, lower_priority
from fluxcaption.folder.atomic_write import write_file
from fluxcaption.media.files import MediaFiles
from fluxcaption.media.sketch import EnergySketcher
from fluxcaption.miniatures import SPEECH, TRANSLATION
from fluxcaption.pipeline.captioning.single_file import SingleFileCaptioner, SingleFileDeps
from fluxcaption.pipeline.captioning.track_builder import TrackBuilder, TrackBuilderDeps
from fluxcaption.pipeline.captioning.transcriber import Transcriber, TranscriberDeps
from fluxcaption.pipeline.planner import Planner
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.executor import WorkKind
from fluxcaption.ports.speech import Recognizer
from fluxcaption.ports.storage import Storage
from fluxcaption.ports.subtitles import SubtitleCodec
from fluxcaption.ports.translation import Translator
from fluxcaption.settings import (
    LocalSpeech,
    LocalTranslation,
    OllamaTranslation,
    Settings,
    TranslationBackend,
)
from fluxcaption.speech.whisper import SileroDetector, WhisperRecognizer
from fluxcaption.speech.windows import SilenceSegmenter
from fluxcaption.subtitles.codec import Pysubs2Codec
from fluxcaption.subtitles.text_language import TextLanguageDetector
from fluxcaption.translation.local import LocalTranslator
from fluxcaption.translation.ollama import OllamaTranslator

UNLOAD_TIMEOUT_S = 2.0
"""An engine that is in the middle of a long call keeps its memory after this time."""


def thread_count(setting: str | int) -> int:
    """Return the number of threads for an engine, from `limits.threads`: half, all or a number."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if setting == "all":
        return cores
    return max(1, cores // 2) if setting == "half" else int(setting)


@dataclass(frozen=True, slots=True)
class Engines:
    """Speech recognition, translation and media access; models load at their first use."""

    media: MediaFiles
    codec: SubtitleCodec
    blocks: MemoryBlocks
    recognizer: Recognizer
    translators: Sequence[Translator]
    executor: ThreadExecutor
    nice: int
    text_language: TextLanguageDetector
    detector: SileroDetector

    @property
    def is_loaded(self) -> bool:
        """Return True if any model is in memory."""
        return (
            self.recognizer.is_loaded
            or self.text_language.is_loaded
            or self.detector.is_loaded
            or any(translator.is_loaded for translator in self.translators)
        )

    async def unload(self) -> None:
        """Free the memory of all models; a model in the middle of a long call keeps it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(UNLOAD_TIMEOUT_S):
                await asyncio.to_thread(self.recognizer.unload)
                await asyncio.to_thread(self.text_language.unload)
                await asyncio.to_thread(self.detector.unload)
                for translator in self.translators:
                    await translator.unload()

    async def close(self) -> None:
        """Stop the threads and close the connections."""
        await self.executor.close()
        for translator in self.translators:
            await translator.close()


def build_engines(
    speech: LocalSpeech, translation: Sequence[TranslationBackend], *, threads: int, jobs: int, nice: int
) -> Engines:
    """Choose the adapters for speech and translation.

    Args:
        speech: The recognizer's settings.
        translation: Translation backends, best first.
        threads: Threads that one engine may use.
        jobs: Windows transcribed at the same time.
        nice: Nice value of the engine threads.
    """
    # Read by the engines' own libraries when they load, which is with the first job.
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    blocks = MemoryBlocks()
    recognizer = WhisperRecognizer(speech, blocks, threads, SPEECH)
    translators = [build_translator(backend, threads, nice) for backend in translation]
    executor = ThreadExecutor(
        jobs,
        nice,
        {WorkKind.TRANSCRIBE: recognizer.transcribe, WorkKind.DETECT_LANGUAGE: recognizer.detect_language},
    )
    return Engines(
        MediaFiles(),
        Pysubs2Codec(),
        blocks,
        recognizer,
        translators,
        executor,
        nice,
        TextLanguageDetector(),
        SileroDetector(),
    )


def build_translator(backend: TranslationBackend, threads: int, nice: int) -> Translator:
    """Choose the adapter of one translation backend."""
    match backend:
        case LocalTranslation():
            return LocalTranslator(backend, threads, TRANSLATION, partial(lower_priority, nice))
        case OllamaTranslation():
            return OllamaTranslator(backend)
        case _:
            assert_never(backend)


def _never() -> bool:
    return False


def build_transcriber(
    engines: Engines,
    storage: Storage,
    is_slow: Callable[[], bool] = _never,
    clock: Clock | None = None,
) -> Transcriber:
    """Build the transcriber; `is_slow` makes it pause between windows."""
    return Transcriber(
        TranscriberDeps(
            transcripts=storage.transcripts,
            speeds=storage.speeds,
            media=engines.media,
            sketcher=EnergySketcher(engines.media),
            cutter=partial(SilenceSegmenter, engines.detector.speech),
            executor=engines.executor,
            blocks=engines.blocks,
            recognizer=engines.recognizer,
            lower_thread_priority=partial(lower_priority, engines.nice),
            is_slow=is_slow,
            clock=clock or SystemClock(),
        )
    )


@asynccontextmanager
async def transcriber_with_model(
    settings: Settings, engines: Engines, storage: Storage, model: str
) -> AsyncIterator[Transcriber]:
    """Unload the usual speech model and yield a transcriber with another, which is unloaded at the end."""
    await asyncio.to_thread(engines.recognizer.unload)
    recognizer = WhisperRecognizer(
        settings.asr.backends[0].model_copy(update={"model": model}),
        engines.blocks,
        thread_count(settings.limits.threads),
        SPEECH,
    )
    executor = ThreadExecutor(
        1,
        engines.nice,
        {WorkKind.TRANSCRIBE: recognizer.transcribe, WorkKind.DETECT_LANGUAGE: recognizer.detect_language},
    )
    try:
        yield build_transcriber(replace(engines, recognizer=recognizer, executor=executor), storage)
    finally:
        await executor.close()
        # Not awaited: a window that is still transcribed would delay the cancellation of this job.
        asyncio.get_running_loop().run_in_executor(None, recognizer.unload)


def build_single_file_captioner(
    engines: Engines, storage: Storage, strictness: Strictness, marker: str, max_untranslated: float
) -> SingleFileCaptioner:
    """Build the captioner of single files; no confidence limit and no language rule applies to them."""
    planner = Planner(
        LanguagePolicy(
            EffectivePolicy((), (), makes_spoken_language=True, strictness=strictness, marker=marker)
        ),
        engines.translators,
        storage.history,
    )
    clock = SystemClock()
    track_builder = TrackBuilder(
        TrackBuilderDeps(
            translations=storage.translations,
            speeds=storage.speeds,
            state_values=storage.state_values,
            media=engines.media,
            transcriber=build_transcriber(engines, storage),
            planner=planner,
            clock=clock,
            min_score=0.0,
            patience=timedelta(0),
            max_untranslated=max_untranslated,
        )
    )
    return SingleFileCaptioner(
        SingleFileDeps(track_builder, planner, engines.media, engines.codec, write_file, clock)
    )
