"""A first start processes one title at a time: recent ones first, and no more in a day than configured."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from fluxcaption.app import build_app
from fluxcaption.domain.jobs import Job, Outcome, Priority, Stage
from fluxcaption.pipeline.discovery.forecast_text import forecast_lines
from fluxcaption.pipeline.discovery.scan_run import ScanReport
from fluxcaption.pipeline.queue.worker_pool import StagePool, WorkerPool
from fluxcaption.storage.storage import SqliteStorage

from tests.fakes.clock import START, SimulatedClock
from tests.fakes.jellyfin import FakeJellyfin, audio, film
from tests.support.app import jellyfin, settings

ITEM_COUNT = 10_000
FILM_MINUTES = 100
RECENT_COUNT = 30 * 24
"""Films of the last 30 days."""
TRANSCRIPTION_TIME = timedelta(minutes=25)


def add_library(fake: FakeJellyfin) -> None:
    """Add films that were added one per hour."""
    fake.add(
        *(
            film(
                f"Film {number} (2020)",
                [audio()],
                library=fake.libraries[0].id,
                added=START - timedelta(hours=number + 1),
                minutes=FILM_MINUTES,
                now=START,
            )
            for number in range(ITEM_COUNT)
        )
    )


@dataclass(frozen=True)
class StartedJob:
    """One job that started during a simulation.

    Attributes:
        after: Time between the start of the simulation and the start of the job.
    """

    after: timedelta
    job: Job


async def simulate(state: Path, hours: int, **backlog: object) -> tuple[list[StartedJob], ScanReport]:
    """Scan the library, run the queue for some simulated hours and return the started jobs."""
    clock = SimulatedClock()
    started: list[StartedJob] = []

    async def transcribe(job: Job) -> Outcome:
        started.append(StartedJob(clock.now() - START, job))
        await clock.sleep(TRANSCRIPTION_TIME.total_seconds())
        return Outcome.done("transcribed")

    async with FakeJellyfin() as fake:
        add_library(fake)
        storage = await SqliteStorage.open(state)
        app = build_app(settings(state, jellyfin(fake), ["es"], backlog=backlog), storage, clock=clock)
        try:
            await app.server.connect()
            report = await app.scanner.scan(full=True)
            workers = WorkerPool(
                storage.queue, storage.maintenance, clock, {Stage.ACQUIRE: StagePool(transcribe, 1)}
            )
            task = asyncio.create_task(workers.run())
            for _ in range(hours * 12):
                await app.scanner.release_backlog()
                workers.wake()
                await clock.run_for(timedelta(minutes=5))
            workers.stop()
            await asyncio.gather(task, return_exceptions=True)
        finally:
            await app.close()
            await storage.close()
    return started, report


async def test_first_hour_of_a_large_library_starts_the_newest_titles(tmp_path: Path) -> None:
    started, report = await simulate(tmp_path, hours=1)
    assert report.items == ITEM_COUNT
    assert report.queued == RECENT_COUNT
    assert report.forecast is not None
    assert report.forecast.titles == ITEM_COUNT
    assert round(report.forecast.listening_hours) == round(ITEM_COUNT * FILM_MINUTES / 60)
    assert report.forecast.begun_titles == RECENT_COUNT
    assert report.forecast.finished_at is not None
    assert (report.forecast.finished_at - START).days == (RECENT_COUNT - 1) // 20
    print(f"jobs started in the first hour: {len(started)}; {' '.join(forecast_lines(report.forecast))}")
    assert [one.job.title for one in started] == ["Film 0 (2020)", "Film 1 (2020)", "Film 2 (2020)"]
    assert started[1].after >= TRANSCRIPTION_TIME
    assert all(one.job.priority is Priority.BACKLOG for one in started)


async def test_no_more_titles_start_in_a_day_than_configured(tmp_path: Path) -> None:
    started, _ = await simulate(tmp_path, hours=23, mode="recent", per_day=5)
    assert [one.job.title for one in started] == [f"Film {number} (2020)" for number in range(5)]


async def test_backlog_mode_none_starts_no_title(tmp_path: Path) -> None:
    started, report = await simulate(tmp_path, hours=2, mode="none")
    assert started == []
    assert report.queued == 0
    assert report.forecast is not None
    assert report.forecast.finished_at is None
    assert forecast_lines(report.forecast)[-1] == "No title starts by itself (backlog settings)."
