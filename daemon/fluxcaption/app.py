"""Builds the object graph from the settings; with `engines.py` the only module that chooses adapters.

`build_app` is called by the daemon and by commands that work without one. Each subsystem has one builder
function.
"""

import importlib.metadata
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fluxcaption.clock import SystemClock
from fluxcaption.domain.backlog import BacklogMode, BacklogRules
from fluxcaption.domain.jobs import Job, JobState, Stage
from fluxcaption.domain.media import ServerIdentity
from fluxcaption.domain.units import ServerId
from fluxcaption.engines import (
    Engines,
    build_engines,
    build_transcriber,
    thread_count,
    transcriber_with_model,
)
from fluxcaption.folder.atomic_write import write_sidecar
from fluxcaption.folder.tree import FolderTree
from fluxcaption.media.files import MediaFiles
from fluxcaption.pipeline.captioning.source_reader import SourceReader
from fluxcaption.pipeline.captioning.stages import CaptioningDeps, CaptioningStages, JobProgress
from fluxcaption.pipeline.captioning.track_builder import TrackBuilder, TrackBuilderDeps
from fluxcaption.pipeline.delivery.services import DeliveryServices, build_delivery
from fluxcaption.pipeline.discovery.enqueue import Enqueuer
from fluxcaption.pipeline.discovery.scanner import Scanner
from fluxcaption.pipeline.discovery.server_monitor import ServerMonitor
from fluxcaption.pipeline.planner import Planner, language_policy_of
from fluxcaption.pipeline.playback import PlaybackMonitor
from fluxcaption.pipeline.queue.admission import AdmissionPolicy
from fluxcaption.pipeline.queue.pause import QueuePause
from fluxcaption.pipeline.queue.worker_pool import StagePool, WorkerPool
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.media_server import MediaServer
from fluxcaption.ports.speech import Recognizer
from fluxcaption.ports.storage import Storage
from fluxcaption.settings import FolderConfig, LocalTranslation, Settings, TranslationBackend

UPLOAD_CONCURRENCY = 2
CONFIRM_CONCURRENCY = 4
VERSION = importlib.metadata.version("fluxcaption")


def has_free_space(state: Path, min_bytes: int) -> bool:
    """Return True if the disk of the state directory has at least `min_bytes` free."""
    try:
        return shutil.disk_usage(state).free >= min_bytes
    except OSError:
        return False


def build_server(settings: Settings, media: MediaFiles, storage: Storage) -> MediaServer:
    """Choose the adapter of the library."""
    if isinstance(settings.server, FolderConfig):
        return FolderTree(settings.server.path, media)
    from fluxcaption.jellyfin.library_reader import RuleNeeds
    from fluxcaption.jellyfin.server import JellyfinServer

    needs = RuleNeeds(
        any(rule.tag for rule in settings.rules),
        frozenset(rule.collection for rule in settings.rules if rule.collection),
    )
    return JellyfinServer(settings.server, VERSION, write_sidecar, needs, storage.items.records)


@dataclass(frozen=True, slots=True)
class App:
    """The daemon's object graph.

    Attributes:
        storage: Borrowed; the caller of `build_app` closes it.
        server: The media server or folder library; closed by `close`.
        engines: Speech and translation; closed by `close`.
        queue_pause: Not restored from the storage; the daemon does that at its start.
    """

    settings: Settings
    storage: Storage
    server: MediaServer
    engines: Engines
    planner: Planner
    enqueuer: Enqueuer
    scanner: Scanner
    workers: WorkerPool
    delivery: DeliveryServices
    playback: PlaybackMonitor
    server_monitor: ServerMonitor
    queue_pause: QueuePause
    clock: Clock

    def set_server(self, identity: ServerIdentity) -> None:
        """Pass on the identity of the connected server to the parts that need it."""
        self.scanner.identity = identity
        self.playback.server_id = identity.id

    def connected_server_id(self) -> ServerId:
        """Return the id of the connected server; empty before the first connection."""
        return self.playback.server_id

    async def close(self) -> None:
        """Close everything but the storage, in reverse order of construction."""
        await self.engines.close()
        await self.server.close()


@dataclass(frozen=True, slots=True)
class _Core:
    """The parts that every subsystem is built on."""

    settings: Settings
    storage: Storage
    clock: Clock
    engines: Engines
    server: MediaServer
    planner: Planner
    playback: PlaybackMonitor
    source_reader: SourceReader


@dataclass(frozen=True, slots=True)
class _JobChangeHook:
    """The worker pool's hook for the recorded outcomes of jobs."""

    storage: Storage
    clock: Clock
    on_job_change: Callable[[Job], None] | None

    async def job_changed(self, job: Job) -> None:
        """Release the uploads that waited for this job, then call the caller's hook."""
        if job.stage in {Stage.UPLOAD, Stage.CONFIRM} or job.state is not JobState.QUEUED:
            await self.storage.jobs.release_waiting_uploads(job.server_id, job.source_id, self.clock.now())
        if self.on_job_change is not None:
            self.on_job_change(job)


def build_app(
    settings: Settings,
    storage: Storage,
    *,
    server: MediaServer | None = None,
    clock: Clock | None = None,
    may_listen: Callable[[], bool] | None = None,
    on_progress: JobProgress | None = None,
    on_job_change: Callable[[Job], None] | None = None,
) -> App:
    """Build the daemon's object graph.

    Args:
        settings: The loaded configuration.
        storage: The open state; the caller closes it.
        server: Replaces the library adapter that the settings name.
        clock: Replaces the system clock.
        may_listen: Returns False during the hours without speech recognition; by default there are none.
        on_progress: Called while a job is worked on.
        on_job_change: Called after every recorded outcome of a job.
    """
    core = _build_core(settings, storage, server, clock or SystemClock())
    delivery = _build_delivery(core)
    enqueuer, scanner = _build_discovery(core, delivery)
    stages = _build_captioning(core, on_progress)
    queue_pause = QueuePause(storage.state_values)
    admission = AdmissionPolicy(
        settings.schedule.while_playing, core.playback, queue_pause.allows_work, may_listen or _always
    )
    hook = _JobChangeHook(storage, core.clock, on_job_change)
    return App(
        settings=settings,
        storage=storage,
        server=core.server,
        engines=core.engines,
        planner=core.planner,
        enqueuer=enqueuer,
        scanner=scanner,
        workers=_build_workers(core, stages, delivery, admission, hook),
        delivery=delivery,
        playback=core.playback,
        server_monitor=ServerMonitor(core.server, storage.state_values, core.playback, delivery, enqueuer),
        queue_pause=queue_pause,
        clock=core.clock,
    )


def _always() -> bool:
    return True


def _build_core(settings: Settings, storage: Storage, server: MediaServer | None, clock: Clock) -> _Core:
    engines = build_engines(
        settings.asr.backends[0],
        settings.translation.backends,
        threads=thread_count(settings.limits.threads),
        jobs=settings.limits.speech_jobs,
        nice=settings.limits.nice,
    )
    server = server or build_server(settings, engines.media, storage)
    planner = Planner(
        language_policy_of(settings),
        engines.translators,
        storage.history,
        partial(_speech_settings_key, engines.recognizer, settings.asr.min_score),
    )
    source_reader = SourceReader(
        server, storage.tracks, engines.media, engines.codec, engines.text_language, engines.detector
    )
    playback = PlaybackMonitor(server, storage.playback, storage.items, clock)
    return _Core(settings, storage, clock, engines, server, planner, playback, source_reader)


def _speech_settings_key(recognizer: Recognizer, min_score: float) -> str:
    """Name every setting that changes the result of speech recognition."""
    return f"{recognizer.name}/{recognizer.asr_settings_key}/{min_score}"


def _build_discovery(core: _Core, delivery: DeliveryServices) -> tuple[Enqueuer, Scanner]:
    rules = _backlog_rules(core.settings)
    storage = core.storage
    enqueuer = Enqueuer(
        core.server, storage.jobs, storage.events, storage.history, core.planner, rules, core.clock
    )
    scanner = Scanner(
        core.server,
        core.storage,
        core.planner,
        enqueuer,
        core.source_reader,
        delivery.removal_watch,
        rules,
        core.clock,
    )
    return enqueuer, scanner


def _backlog_rules(settings: Settings) -> BacklogRules:
    backlog = settings.backlog
    return BacklogRules(BacklogMode(backlog.mode), backlog.recent, backlog.per_day, backlog.order == "newest")


def _build_captioning(core: _Core, on_progress: JobProgress | None) -> CaptioningStages:
    settings, engines, storage = core.settings, core.engines, core.storage
    transcriber = build_transcriber(
        engines,
        storage,
        partial(_is_slowed_by_playback, core.playback, settings.schedule.while_playing),
        core.clock,
    )
    track_builder = TrackBuilder(
        TrackBuilderDeps(
            translations=storage.translations,
            speeds=storage.speeds,
            state_values=storage.state_values,
            media=engines.media,
            transcriber=transcriber,
            planner=core.planner,
            clock=core.clock,
            min_score=settings.asr.min_score,
            patience=settings.translation.patience,
            max_untranslated=settings.translation.max_untranslated,
        )
    )
    return CaptioningStages(
        CaptioningDeps(
            server=core.server,
            media=engines.media,
            codec=engines.codec,
            source_reader=core.source_reader,
            track_builder=track_builder,
            transcriber=transcriber,
            transcriber_with_model=partial(transcriber_with_model, settings, engines, storage),
            planner=core.planner,
            playback=core.playback,
            clock=core.clock,
            jobs=storage.jobs,
            deliveries=storage.deliveries,
            documents=storage.documents,
            identities=storage.identities,
            skips=storage.skips,
            progress=on_progress,
        )
    )


def _is_slowed_by_playback(playback: PlaybackMonitor, while_playing: str) -> bool:
    return playback.is_anything_playing and while_playing != "ignore"


def _build_delivery(core: _Core) -> DeliveryServices:
    return build_delivery(
        core.server,
        core.storage,
        core.engines.codec,
        core.planner,
        core.playback,
        core.clock,
        VERSION,
    )


def _build_workers(
    core: _Core,
    stages: CaptioningStages,
    delivery: DeliveryServices,
    admission: AdmissionPolicy,
    hook: _JobChangeHook,
) -> WorkerPool:
    limits, backends = core.settings.limits, core.settings.translation.backends
    connect = core.server.connect
    # With one local translator the whole translate stage obeys schedule.while_playing.
    translates_locally = any(isinstance(backend, LocalTranslation) for backend in backends)
    pools = {
        Stage.CONFIRM: StagePool(
            delivery.confirmer.confirm, CONFIRM_CONCURRENCY, admission.lowest_priority_for_delivery, connect
        ),
        Stage.UPLOAD: StagePool(
            delivery.uploader.upload, UPLOAD_CONCURRENCY, admission.lowest_priority_for_delivery, connect
        ),
        Stage.TRANSLATE: StagePool(
            stages.translate,
            _translation_concurrency(backends),
            admission.lowest_priority_for_translation
            if translates_locally
            else admission.lowest_priority_for_delivery,
        ),
        Stage.ACQUIRE: StagePool(
            stages.acquire, limits.speech_jobs, admission.lowest_priority_for_acquisition, connect
        ),
    }
    return WorkerPool(
        core.storage.queue,
        core.storage.maintenance,
        core.clock,
        pools,
        has_free_space=partial(has_free_space, core.settings.state, limits.disk_free),
        on_change=hook.job_changed,
    )


def _translation_concurrency(backends: Sequence[TranslationBackend]) -> int:
    """Return how many jobs all backends together translate at the same time, at least 1."""
    return max(
        1, sum(1 if isinstance(backend, LocalTranslation) else backend.concurrency for backend in backends)
    )
