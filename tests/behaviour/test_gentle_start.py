"""A first start never begins a whole library: one title, then what comes, then the day's share of the recent ones."""

import asyncio
from datetime import timedelta
from pathlib import Path

from fluxcaption.app import build_app
from fluxcaption.domain.jobs import Job, Outcome, Priority, Stage
from fluxcaption.pipeline.discovery.forecast_text import forecast_lines
from fluxcaption.pipeline.discovery.scanner import ScanReport
from fluxcaption.pipeline.queue.worker_pool import StagePool, WorkerPool
from fluxcaption.storage.storage import SqliteStorage

from tests.fakes.clock import START, SimulatedClock
from tests.fakes.jellyfin import FakeItem, FakeJellyfin, audio, film
from tests.support.app import jellyfin, settings

ITEMS = 10_000
RECENT_DAYS = 30


def library(fake: FakeJellyfin) -> list[FakeItem]:
    """Films that came one every hour; 720 of them in the last 30 days."""
    items = [
        film(
            f"Film {number} (2020)",
            [audio()],
            library=fake.libraries[0].id,
            added=START - timedelta(hours=number + 1),
            minutes=100,
            now=START,
        )
        for number in range(ITEMS)
    ]
    fake.add(*items)
    return items


async def simulate(
    folder: Path, hours: float, **backlog: object
) -> tuple[list[tuple[timedelta, Job]], ScanReport]:
    """Run the queue on a clock of its own for some hours; a listening takes 25 minutes. Returns what was begun, and when."""
    clock = SimulatedClock()
    begun: list[tuple[timedelta, Job]] = []
    async with FakeJellyfin() as fake:
        library(fake)
        storage = await SqliteStorage.open(folder)
        app = build_app(settings(folder, jellyfin(fake), ["es"], backlog=backlog), storage, clock=clock)
        try:
            await app.server.connect()
            report = await app.scanner.scan(full=True)

            async def listen(job: Job) -> Outcome:
                begun.append((clock.now() - START, job))
                await clock.sleep(25 * 60)
                return Outcome.done("heard")

            workers = WorkerPool(
                storage.queue, storage.maintenance, clock, {Stage.ACQUIRE: StagePool(listen, 1)}
            )
            task = asyncio.create_task(workers.run())
            for _ in range(int(hours * 12)):
                await app.scanner.release_backlog()
                workers.wake()
                await clock.run_for(timedelta(minutes=5))
            workers.stop()
            await asyncio.gather(task, return_exceptions=True)
        finally:
            await app.close()
            await storage.close()
    return begun, report


async def test_the_first_hour_of_a_library_of_ten_thousand(tmp_path: Path) -> None:
    begun, report = await simulate(tmp_path, 1)
    assert report.items == ITEMS
    assert report.queued == RECENT_DAYS * 24
    assert report.forecast is not None
    assert report.forecast.titles == ITEMS
    assert round(report.forecast.listening_hours) == round(ITEMS * 100 / 60)
    assert report.forecast.begun_titles == RECENT_DAYS * 24
    assert report.forecast.finished_at is not None
    assert (report.forecast.finished_at - START).days == (RECENT_DAYS * 24 - 1) // 20
    print(f"jobs begun in the first hour: {len(begun)}; {' '.join(forecast_lines(report.forecast))}")
    titles = [job.title for _, job in begun]
    assert titles[0] == "Film 0 (2020)"
    assert titles == ["Film 0 (2020)", "Film 1 (2020)", "Film 2 (2020)"]
    assert [began for began, _ in begun][1] >= timedelta(minutes=25)
    assert all(job.priority is Priority.BACKLOG for _, job in begun)


async def test_no_more_titles_in_a_day_than_the_settings_say(tmp_path: Path) -> None:
    begun, _ = await simulate(tmp_path, 23, mode="recent", per_day=5)
    assert len(begun) == 5
    assert [job.title for _, job in begun] == [f"Film {number} (2020)" for number in range(5)]


async def test_mode_none_begins_nothing_by_itself(tmp_path: Path) -> None:
    begun, report = await simulate(tmp_path, 2, mode="none")
    assert begun == []
    assert report.queued == 0
    assert report.forecast is not None
    assert report.forecast.finished_at is None
    assert forecast_lines(report.forecast)[-1] == "No title starts by itself (backlog settings)."
