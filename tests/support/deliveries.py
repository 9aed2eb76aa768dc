"""Finished tracks on their way to a fake server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from fluxcaption.app import App
from fluxcaption.domain.jobs import Job, NewJob, Outcome, Priority, Provenance, Stage
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import ItemId, JobId, SourceId

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeItem, FakeJellyfin, audio, text
from tests.support.app import TEXT_FILM, jellyfin
from tests.support.libraries import DE, SERVER, add_demo_film, app_with_settings, german_srt
from tests.support.stages import pool_of

FR = LanguageTag("fr")
HUMAN_SRT = b"1\n00:00:01,000 --> 00:00:02,000\nVon Menschenhand.\n"
"""A track that a human made."""

PROVENANCE = Provenance("translated by a test", "a recognizer", 0.8, "a translator")


def gap_of(item: FakeItem, target: LanguageTag = DE) -> NewJob:
    """Return a new job for the first media source of an item."""
    source_id = SourceId(item.sources[0].id)
    return NewJob(SERVER, ItemId(item.id), source_id, target, item.name, Priority.NEW, item.added, "gap")


async def claim(app: App, stage: Stage) -> Job:
    """Claim the first due job of a stage; it must exist."""
    job = await app.storage.queue.claim(stage, app.clock.now())
    assert job is not None
    return job


async def run_stage(app: App, job: Job) -> Outcome:
    """Run one attempt of the stage of a claimed job without recording the outcome."""
    return await pool_of(app, job.stage).run(job)


async def run_and_record_stage(app: App, stage: Stage) -> Outcome:
    """Claim the first due job of a stage, run one attempt and record the outcome."""
    job = await claim(app, stage)
    outcome = await run_stage(app, job)
    await app.storage.queue.record(job, outcome, app.clock.now())
    return outcome


async def finish_track(app: App, job: Job, content: bytes) -> None:
    """Give a claimed job its finished track and queue the upload."""
    await app.storage.jobs.update_progress(
        job.id, track_ref=await app.storage.documents.put(content), provenance=PROVENANCE
    )
    outcome = Outcome.next(Stage.UPLOAD, PROVENANCE.description)
    await app.storage.queue.record(job, outcome, app.clock.now())


async def queue_upload(
    app: App, item: FakeItem, content: bytes | None = None, target: LanguageTag = DE
) -> JobId:
    """Add a job whose track is finished and due for upload. Return the number of the job."""
    await app.storage.jobs.add([gap_of(item, target)], app.clock.now())
    job = await claim(app, Stage.ACQUIRE)
    await finish_track(app, job, content or german_srt(item.name))
    return job.id


async def deliver(app: App, item: FakeItem, *targets: LanguageTag) -> None:
    """Upload and confirm a track of each target language, by default German."""
    for target in targets or (DE,):
        await queue_upload(app, item, target=target)
    await app.workers.run(until_idle=True)


async def run_jobs(app: App, clock: FastClock, *, hours: float) -> None:
    """Run all jobs that become due within some hours; the clock jumps from one to the next."""
    end = clock.now() + timedelta(hours=hours)
    while (due := await app.storage.queue.next_due()) is not None and due <= end:
        clock.pass_time(seconds=max(0.0, (due - clock.now()).total_seconds()))
        await app.workers.run(until_idle=True)


def run_library_scan(fake: FakeJellyfin, clock: FastClock) -> None:
    """Let the server scan its own folders for one minute."""
    fake.begin_library_scan()
    clock.pass_time(minutes=1)
    fake.end_library_scan()


async def run_jobs_between_library_scans(app: App, fake: FakeJellyfin, clock: FastClock, scans: int) -> None:
    """Run due jobs for one hour before and after each library scan of the server."""
    for _ in range(scans):
        await run_jobs(app, clock, hours=1)
        clock.pass_time(minutes=30)
        run_library_scan(fake, clock)
    await run_jobs(app, clock, hours=1)


class MappedFolder(NamedTuple):
    """An app that reaches the media folder of its server, with one film.

    Attributes:
        own_track: Path at which the German FluxCaption track is expected.
    """

    fake: FakeJellyfin
    clock: FastClock
    app: App
    item: FakeItem
    own_track: Path


@asynccontextmanager
async def app_with_mapped_folder(
    tmp_path: Path, version: str = "10.11.11", **server: Any
) -> AsyncIterator[MappedFolder]:
    """Start a fake server and an app whose `server.path_map` leads to the media files."""
    async with FakeJellyfin(version) as fake:
        clock = FastClock()
        media = tmp_path / "media"
        item = add_demo_film(fake, media, TEXT_FILM, [audio(), text()])
        path_map = [{"server": "/media/movies", "local": str(media)}]
        config = {**jellyfin(fake), "path_map": path_map, **server}
        async with app_with_settings(fake, tmp_path / "state", clock, config) as app:
            yield MappedFolder(fake, clock, app, item, media / TEXT_FILM / f"{TEXT_FILM}.fluxcaption.de.srt")
