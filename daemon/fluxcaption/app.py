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
from fluxcaption.domain.gaps import Household
from fluxcaption.domain.jobs import Job, JobState, Stage
from fluxcaption.domain.language import Strictness
from fluxcaption.domain.media import ServerIdentity
from fluxcaption.domain.rules import Wishes
from fluxcaption.domain.units import Ms
from fluxcaption.executor.threads import MemoryBlocks, ThreadExecutor, lower_priority
from fluxcaption.folder.tree import FolderTree, write_file, write_sidecar
from fluxcaption.media.files import MediaFiles
from fluxcaption.media.sketch import EnergySketcher
from fluxcaption.miniatures import SPEECH, TRANSLATION
from fluxcaption.pipeline.captioning.batches import translation_handler
from fluxcaption.pipeline.captioning.single_file import OneShot
from fluxcaption.pipeline.captioning.source_reader import TrackReading
from fluxcaption.pipeline.captioning.track_builder import MakingParts, MakingStages
from fluxcaption.pipeline.captioning.transcriber import Listener, ListeningParts
from fluxcaption.pipeline.delivery.upload import Deliverer
from fluxcaption.pipeline.discovery.enqueue import Intake
from fluxcaption.pipeline.discovery.scanner import Scanner
from fluxcaption.pipeline.discovery.server_monitor import Companion
from fluxcaption.pipeline.planner import Planner, household_of
from fluxcaption.pipeline.playback import Watcher
from fluxcaption.pipeline.queue.admission import Manners
from fluxcaption.pipeline.queue.worker_pool import StagePlan, Workers
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.executor import WorkKind
from fluxcaption.ports.media_server import MediaServer
from fluxcaption.ports.speech import Recognizer
from fluxcaption.ports.storage import Store
from fluxcaption.ports.subtitles import SubtitleCodec
from fluxcaption.ports.translation import Translator
from fluxcaption.settings import FolderServer, LocalSpeech, LocalTranslation, Settings, TranslationBackend
from fluxcaption.speech.whisper import SileroDetector, WhisperRecognizer
from fluxcaption.speech.windows import SilenceCutter
from fluxcaption.subtitles.codec import Pysubs2Codec
from fluxcaption.subtitles.text_language import TextLanguageDetector
from fluxcaption.translation.local import LocalTranslator
from fluxcaption.translation.ollama import OllamaTranslator

UPLOADS_AT_ONCE = 2
CONFIRMS_AT_ONCE = 4
UNLOAD_S = 2.0

VERSION = importlib.metadata.version("fluxcaption")

Progress = Callable[[Job, Ms, Ms], None]


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
        {WorkKind.HEAR: recognizer.hear, WorkKind.TELL_LANGUAGE: recognizer.tell_language},
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


def build_server(settings: Settings, media: MediaFiles, store: Store) -> MediaServer:
    """Pick the adapter of the library."""
    if isinstance(settings.server, FolderServer):
        return FolderTree(settings.server.path, media)
    from fluxcaption.jellyfin.server import JellyfinServer, RuleNeeds

    needs = RuleNeeds(
        any(rule.tag for rule in settings.rules),
        frozenset(rule.collection for rule in settings.rules if rule.collection),
    )
    return JellyfinServer(settings.server, VERSION, write_sidecar, needs, store.item_records)


def build_listener(
    engines: Engines, store: Store, is_slow: Callable[[], bool] = lambda: False, clock: Clock | None = None
) -> Listener:
    """What hears sounds, with its memory."""
    return Listener(
        ListeningParts(
            store=store,
            media=engines.media,
            sketcher=EnergySketcher(engines.media),
            cutter=lambda: SilenceCutter(engines.detector.speech),
            executor=engines.executor,
            blocks=engines.blocks,
            recognizer=engines.recognizer,
            be_gentle=lambda: lower_priority(engines.nice),
            is_slow=is_slow,
            clock=clock or SystemClock(),
        )
    )


@asynccontextmanager
async def other_listener(
    settings: Settings, engines: Engines, store: Store, model: str
) -> AsyncIterator[Listener]:
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
        {WorkKind.HEAR: recognizer.hear, WorkKind.TELL_LANGUAGE: recognizer.tell_language},
        {},
    )
    try:
        yield build_listener(replace(engines, recognizer=recognizer, executor=executor), store)
    finally:
        await executor.close()
        # Not waited for: a window that is still heard would hold up whoever cancelled this.
        asyncio.get_running_loop().run_in_executor(None, recognizer.unload)


@dataclass(frozen=True, slots=True)
class House:
    """Everything the daemon is made of."""

    settings: Settings
    store: Store
    server: MediaServer
    engines: Engines
    planner: Planner
    intake: Intake
    scanner: Scanner
    workers: Workers
    deliverer: Deliverer
    watcher: Watcher
    companion: Companion
    clock: Clock

    def introduce(self, identity: ServerIdentity) -> None:
        """Tell everybody who the server is, once it has answered."""
        self.scanner.identity = identity
        self.watcher.server_id = identity.id

    async def close(self) -> None:
        """Let go of all but the store, in the reverse order."""
        await self.engines.close()
        await self.server.close()


def build_one_shot(
    engines: Engines, store: Store, strictness: Strictness, marker: str, max_untranslated: float
) -> OneShot:
    """What single files on the command line are made with: whoever asks wants it, whatever is spoken and however unsure."""
    planner = Planner(
        Household(Wishes((), (), makes_spoken=True, strictness=strictness, marker=marker)),
        engines.translators,
        store,
    )
    clock = SystemClock()
    parts = MakingParts(
        store=store,
        media=engines.media,
        codec=engines.codec,
        listener=build_listener(engines, store),
        planner=planner,
        executor=engines.executor,
        clock=clock,
        min_score=0.0,
        patience=timedelta(0),
        max_untranslated=max_untranslated,
    )
    return OneShot(parts, write_file, clock)


def backlog_rules(settings: Settings) -> BacklogRules:
    """The owner's wish about the backlog."""
    wish = settings.backlog
    return BacklogRules(BacklogMode(wish.mode), wish.recent, wish.per_day, wish.order == "newest")


def build_house(
    settings: Settings,
    store: Store,
    *,
    server: MediaServer | None = None,
    clock: Clock | None = None,
    may_listen: Callable[[], bool] = lambda: True,
    may_work: Callable[[], bool] = lambda: True,
    progress: Progress | None = None,
    finished: Callable[[Job], None] | None = None,
) -> House:
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
    server = server or build_server(settings, engines.media, store)
    recognizer = engines.recognizer
    planner = Planner(
        household_of(settings),
        engines.translators,
        store,
        lambda: f"{recognizer.name}/{recognizer.settings_hash}/{settings.asr.min_score}",
    )
    watcher = Watcher(server, store, clock)
    reading = TrackReading(
        server, store, engines.media, engines.codec, engines.text_language, engines.detector
    )
    rules = backlog_rules(settings)
    intake = Intake(server, store, planner, rules, clock)
    scanner = Scanner(server, store, planner, intake, reading, watcher, rules, clock)
    stages = MakingStages(
        MakingParts(
            store=store,
            media=engines.media,
            codec=engines.codec,
            listener=build_listener(
                engines,
                store,
                lambda: watcher.somebody_watches and settings.schedule.while_playing != "ignore",
                clock,
            ),
            planner=planner,
            executor=engines.executor,
            clock=clock,
            min_score=settings.asr.min_score,
            patience=settings.translation.patience,
            max_untranslated=settings.translation.max_untranslated,
            other_listener=lambda model: other_listener(settings, engines, store, model),
        ),
        server,
        reading,
        watcher.refresh_quietly,
        progress,
    )
    deliverer = Deliverer(server, store, engines.codec, planner, watcher, clock, VERSION)

    async def changed(job: Job) -> None:
        if job.stage in {Stage.UPLOAD, Stage.CONFIRM} or job.state is not JobState.QUEUED:
            await store.hurry_uploads(job.server_id, job.source_id, clock.now())
        if finished is not None:
            finished(job)

    manners = Manners(settings.schedule.while_playing, watcher, may_work, may_listen)
    is_local = any(isinstance(backend, LocalTranslation) for backend in settings.translation.backends)
    at_once = sum(
        1 if isinstance(backend, LocalTranslation) else backend.concurrency
        for backend in settings.translation.backends
    )
    workers = Workers(
        store,
        clock,
        {
            Stage.CONFIRM: StagePlan(
                deliverer.confirm, CONFIRMS_AT_ONCE, manners.for_delivery, server.connect
            ),
            Stage.UPLOAD: StagePlan(deliverer.upload, UPLOADS_AT_ONCE, manners.for_delivery, server.connect),
            Stage.TRANSLATE: StagePlan(
                stages.translate,
                max(1, at_once),
                manners.for_translation if is_local else manners.for_delivery,
            ),
            Stage.LISTEN: StagePlan(
                stages.listen, settings.limits.speech_jobs, manners.for_listening, server.connect
            ),
        },
        has_room=lambda: has_room(settings.state, settings.limits.disk_free),
        on_change=changed,
    )
    companion = Companion(server, store, watcher, deliverer, intake)
    return House(
        settings,
        store,
        server,
        engines,
        planner,
        intake,
        scanner,
        workers,
        deliverer,
        watcher,
        companion,
        clock,
    )


def has_room(state: Path, least_bytes: int) -> bool:
    """Whether the state's disk has the room that new work may need."""
    try:
        return shutil.disk_usage(state).free >= least_bytes
    except OSError:
        return False
