"""Settings to objects; the only module that picks adapters."""

import asyncio
import importlib.metadata
import os
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from fluxcaption.clock import SystemClock
from fluxcaption.domain.backlog import BacklogMode, BacklogRules
from fluxcaption.domain.gaps import LanguagePolicy
from fluxcaption.domain.jobs import Job, JobState, Stage
from fluxcaption.domain.language import Strictness
from fluxcaption.domain.media import ServerIdentity
from fluxcaption.domain.rules import EffectivePolicy
from fluxcaption.domain.units import Ms
from fluxcaption.executor.threads import MemoryBlocks, ThreadExecutor, lower_priority
from fluxcaption.folder.atomic_write import write_file, write_sidecar
from fluxcaption.folder.tree import FolderTree
from fluxcaption.media.files import MediaFiles
from fluxcaption.media.sketch import EnergySketcher
from fluxcaption.miniatures import SPEECH, TRANSLATION
from fluxcaption.pipeline.captioning.batches import translation_handler
from fluxcaption.pipeline.captioning.single_file import SingleFileCaptioner
from fluxcaption.pipeline.captioning.source_reader import SourceReader
from fluxcaption.pipeline.captioning.track_builder import CaptioningStages, TrackBuilderDeps
from fluxcaption.pipeline.captioning.transcriber import Transcriber, TranscriberDeps
from fluxcaption.pipeline.delivery.upload import Deliverer
from fluxcaption.pipeline.discovery.enqueue import Enqueuer
from fluxcaption.pipeline.discovery.scanner import Scanner
from fluxcaption.pipeline.discovery.server_monitor import ServerMonitor
from fluxcaption.pipeline.planner import Planner, language_policy_of
from fluxcaption.pipeline.playback import PlaybackMonitor
from fluxcaption.pipeline.queue.admission import AdmissionPolicy
from fluxcaption.pipeline.queue.worker_pool import StagePool, WorkerPool
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.executor import WorkKind
from fluxcaption.ports.media_server import MediaServer
from fluxcaption.ports.speech import Recognizer
from fluxcaption.ports.storage import Storage
from fluxcaption.ports.subtitles import SubtitleCodec
from fluxcaption.ports.translation import Translator
from fluxcaption.settings import FolderConfig, LocalSpeech, LocalTranslation, Settings, TranslationBackend
from fluxcaption.speech.whisper import SileroDetector, WhisperRecognizer
from fluxcaption.speech.windows import SilenceCutter
from fluxcaption.subtitles.codec import Pysubs2Codec
from fluxcaption.subtitles.text_language import TextLanguageDetector
from fluxcaption.translation.local import LocalTranslator
from fluxcaption.translation.ollama import OllamaTranslator

UPLOAD_CONCURRENCY = 2
CONFIRM_CONCURRENCY = 4
UNLOAD_S = 2.0

VERSION = importlib.metadata.version("fluxcaption")

JobProgress = Callable[[Job, Ms, Ms], None]


def thread_count(wish: str | int) -> int:
    """How many threads an engine gets: of the cores this process may use, half unless said otherwise."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if wish == "all":
        return cores
    return max(1, cores // 2) if wish == "half" else int(wish)


@dataclass(frozen=True, slots=True)
class Engines:
    """What hears and translates; models load with the first use."""

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
        """Whether any model is in memory."""
        alone = self.recognizer.is_loaded or self.text_language.is_loaded or self.detector.is_loaded
        return alone or any(translator.is_loaded for translator in self.translators)

    async def unload(self) -> None:
        """Give the memory of all models back; one that is in the middle of something long keeps it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(UNLOAD_S):
                await asyncio.to_thread(self.recognizer.unload)
                await asyncio.to_thread(self.text_language.unload)
                await asyncio.to_thread(self.detector.unload)
                for translator in self.translators:
                    await translator.unload()

    async def close(self) -> None:
        """Let go of threads and connections."""
        await self.executor.close()
        for translator in self.translators:
            await translator.close()


def build_engines(
    speech: LocalSpeech, translation: Sequence[TranslationBackend], *, threads: int, jobs: int, nice: int
) -> Engines:
    """Pick the adapters that hear and translate."""
    # The engine's own libraries read it when they load, which is with the first job.
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    blocks = MemoryBlocks()
    recognizer = WhisperRecognizer(speech, blocks, threads, SPEECH)
    translators = [build_translator(backend, threads, nice) for backend in translation]
    executor = ThreadExecutor(
        jobs,
        nice,
        {WorkKind.TRANSCRIBE: recognizer.transcribe, WorkKind.DETECT_LANGUAGE: recognizer.detect_language},
        {WorkKind.TRANSLATE: translation_handler(translators)},
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
    """Pick the adapter of one translation backend."""
    return (
        LocalTranslator(backend, threads, TRANSLATION, lambda: lower_priority(nice))
        if isinstance(backend, LocalTranslation)
        else OllamaTranslator(backend)
    )


def build_server(settings: Settings, media: MediaFiles, storage: Storage) -> MediaServer:
    """Pick the adapter of the library."""
    if isinstance(settings.server, FolderConfig):
        return FolderTree(settings.server.path, media)
    from fluxcaption.jellyfin.library_reader import RuleNeeds
    from fluxcaption.jellyfin.server import JellyfinServer

    needs = RuleNeeds(
        any(rule.tag for rule in settings.rules),
        frozenset(rule.collection for rule in settings.rules if rule.collection),
    )
    return JellyfinServer(settings.server, VERSION, write_sidecar, needs, storage.items.records)


def build_transcriber(
    engines: Engines,
    storage: Storage,
    is_slow: Callable[[], bool] = lambda: False,
    clock: Clock | None = None,
) -> Transcriber:
    """What hears sounds, with its memory."""
    return Transcriber(
        TranscriberDeps(
            storage=storage,
            media=engines.media,
            sketcher=EnergySketcher(engines.media),
            cutter=lambda: SilenceCutter(engines.detector.speech),
            executor=engines.executor,
            blocks=engines.blocks,
            recognizer=engines.recognizer,
            lower_thread_priority=lambda: lower_priority(engines.nice),
            is_slow=is_slow,
            clock=clock or SystemClock(),
        )
    )


@asynccontextmanager
async def transcriber_with_model(
    settings: Settings, engines: Engines, storage: Storage, model: str
) -> AsyncIterator[Transcriber]:
    """A listener with another speech model, which is unloaded at the end; the usual one makes room for it."""
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
        {},
    )
    try:
        yield build_transcriber(replace(engines, recognizer=recognizer, executor=executor), storage)
    finally:
        await executor.close()
        # Not waited for: a window that is still heard would hold up whoever cancelled this.
        asyncio.get_running_loop().run_in_executor(None, recognizer.unload)


@dataclass(frozen=True, slots=True)
class App:
    """Everything the daemon is made of."""

    settings: Settings
    storage: Storage
    server: MediaServer
    engines: Engines
    planner: Planner
    enqueuer: Enqueuer
    scanner: Scanner
    workers: WorkerPool
    deliverer: Deliverer
    playback: PlaybackMonitor
    server_monitor: ServerMonitor
    clock: Clock

    def set_server(self, identity: ServerIdentity) -> None:
        """Tell everybody who the server is, once it has answered."""
        self.scanner.identity = identity
        self.playback.server_id = identity.id

    async def close(self) -> None:
        """Let go of all but the store, in the reverse order."""
        await self.engines.close()
        await self.server.close()


def build_single_file_captioner(
    engines: Engines, storage: Storage, strictness: Strictness, marker: str, max_untranslated: float
) -> SingleFileCaptioner:
    """What single files on the command line are made with: whoever asks wants it, whatever is spoken and however unsure."""
    planner = Planner(
        LanguagePolicy(
            EffectivePolicy((), (), makes_spoken_language=True, strictness=strictness, marker=marker)
        ),
        engines.translators,
        storage,
    )
    clock = SystemClock()
    parts = TrackBuilderDeps(
        storage=storage,
        media=engines.media,
        codec=engines.codec,
        transcriber=build_transcriber(engines, storage),
        planner=planner,
        executor=engines.executor,
        clock=clock,
        min_score=0.0,
        patience=timedelta(0),
        max_untranslated=max_untranslated,
    )
    return SingleFileCaptioner(parts, write_file, clock)


def backlog_rules(settings: Settings) -> BacklogRules:
    """The owner's wish about the backlog."""
    wish = settings.backlog
    return BacklogRules(BacklogMode(wish.mode), wish.recent, wish.per_day, wish.order == "newest")


def build_app(
    settings: Settings,
    storage: Storage,
    *,
    server: MediaServer | None = None,
    clock: Clock | None = None,
    may_listen: Callable[[], bool] = lambda: True,
    may_work: Callable[[], bool] = lambda: True,
    progress: JobProgress | None = None,
    finished: Callable[[Job], None] | None = None,
) -> App:
    """Put the daemon together; adapters handed in replace the chosen ones."""
    clock = clock or SystemClock()
    threads = thread_count(settings.limits.threads)
    engines = build_engines(
        settings.asr.backends[0],
        settings.translation.backends,
        threads=threads,
        jobs=settings.limits.speech_jobs,
        nice=settings.limits.nice,
    )
    server = server or build_server(settings, engines.media, storage)
    recognizer = engines.recognizer
    planner = Planner(
        language_policy_of(settings),
        engines.translators,
        storage,
        lambda: f"{recognizer.name}/{recognizer.asr_settings_key}/{settings.asr.min_score}",
    )
    playback = PlaybackMonitor(server, storage, clock)
    reading = SourceReader(
        server, storage, engines.media, engines.codec, engines.text_language, engines.detector
    )
    rules = backlog_rules(settings)
    enqueuer = Enqueuer(server, storage, planner, rules, clock)
    scanner = Scanner(server, storage, planner, enqueuer, reading, playback, rules, clock)
    stages = CaptioningStages(
        TrackBuilderDeps(
            storage=storage,
            media=engines.media,
            codec=engines.codec,
            transcriber=build_transcriber(
                engines,
                storage,
                lambda: playback.is_anyone_watching and settings.schedule.while_playing != "ignore",
                clock,
            ),
            planner=planner,
            executor=engines.executor,
            clock=clock,
            min_score=settings.asr.min_score,
            patience=settings.translation.patience,
            max_untranslated=settings.translation.max_untranslated,
            transcriber_with_model=lambda model: transcriber_with_model(settings, engines, storage, model),
        ),
        server,
        reading,
        playback.refresh_unless_playing,
        progress,
    )
    deliverer = Deliverer(server, storage, engines.codec, planner, playback, clock, VERSION)

    async def changed(job: Job) -> None:
        if job.stage in {Stage.UPLOAD, Stage.CONFIRM} or job.state is not JobState.QUEUED:
            await storage.jobs.release_waiting_uploads(job.server_id, job.source_id, clock.now())
        if finished is not None:
            finished(job)

    admission = AdmissionPolicy(settings.schedule.while_playing, playback, may_work, may_listen)
    is_local = any(isinstance(backend, LocalTranslation) for backend in settings.translation.backends)
    at_once = sum(
        1 if isinstance(backend, LocalTranslation) else backend.concurrency
        for backend in settings.translation.backends
    )
    workers = WorkerPool(
        storage,
        clock,
        {
            Stage.CONFIRM: StagePool(
                deliverer.confirm, CONFIRM_CONCURRENCY, admission.lowest_priority_for_delivery, server.connect
            ),
            Stage.UPLOAD: StagePool(
                deliverer.upload, UPLOAD_CONCURRENCY, admission.lowest_priority_for_delivery, server.connect
            ),
            Stage.TRANSLATE: StagePool(
                stages.translate,
                max(1, at_once),
                admission.lowest_priority_for_translation
                if is_local
                else admission.lowest_priority_for_delivery,
            ),
            Stage.ACQUIRE: StagePool(
                stages.listen,
                settings.limits.speech_jobs,
                admission.lowest_priority_for_acquisition,
                server.connect,
            ),
        },
        has_free_space=lambda: has_free_space(settings.state, settings.limits.disk_free),
        on_change=changed,
    )
    server_monitor = ServerMonitor(server, storage, playback, deliverer, enqueuer)
    return App(
        settings,
        storage,
        server,
        engines,
        planner,
        enqueuer,
        scanner,
        workers,
        deliverer,
        playback,
        server_monitor,
        clock,
    )


def has_free_space(state: Path, min_bytes: int) -> bool:
    """Whether the state's disk has the room that new work may need."""
    try:
        return shutil.disk_usage(state).free >= min_bytes
    except OSError:
        return False
