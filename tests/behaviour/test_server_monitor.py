"""The running daemon notices viewers and library scans of the server without events."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from fluxcaption.daemon import Daemon
from fluxcaption.domain.jobs import Priority

from tests.fakes.clock import SimulatedClock
from tests.fakes.jellyfin import FakeJellyfin, Fault, audio, film
from tests.support.app import jellyfin, settings
from tests.support.daemon import NO_TRANSCRIPTION, app_of, jobs_of, running_daemon, wait_for_first_scan
from tests.support.libraries import add_films
from tests.support.waiting import wait_until


@asynccontextmanager
async def scanned_daemon(
    fake: FakeJellyfin, clock: SimulatedClock, state: Path, **overrides: Any
) -> AsyncIterator[Daemon]:
    """Run a daemon without a backlog, after its first scan."""
    fake.now = clock.now
    config = settings(state, jellyfin(fake), ["de"], backlog={"mode": "none"}, **overrides)
    async with running_daemon(config, clock) as daemon:
        await wait_for_first_scan(daemon)
        yield daemon


async def test_playback_and_the_end_of_a_library_scan_are_noticed(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = SimulatedClock()
        fake.install_webhook()
        watched, _ = add_films(fake, 2, clock.now())
        async with scanned_daemon(fake, clock, tmp_path / "state", schedule=NO_TRANSCRIPTION) as daemon:
            playback = app_of(daemon).playback
            await wait_until(lambda: fake.tasks["WebhookItemAdded"].is_armed)
            assert await jobs_of(daemon) == []

            fake.start_playback(watched)
            await clock.run_for(timedelta(minutes=2))
            assert playback.is_anything_playing

            fake.stop_playback(watched)
            fake.begin_library_scan()
            await clock.run_for(timedelta(minutes=2))
            assert not playback.is_anything_playing

            new = film(
                "Just Arrived (2026)",
                [audio()],
                library=fake.libraries[0].id,
                added=clock.now(),
                now=clock.now(),
            )
            fake.add(new)
            fake.end_library_scan()
            await clock.run_for(timedelta(minutes=3))
            await wait_until(lambda: jobs_of(daemon))
            assert [(job.item_id, job.priority) for job in await jobs_of(daemon)] == [(new.id, Priority.NEW)]


async def test_webhook_task_is_triggered_during_library_scans_and_after_outages(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = SimulatedClock()
        fake.install_webhook()
        async with scanned_daemon(fake, clock, tmp_path / "state"):
            task = fake.tasks["WebhookItemAdded"]
            await clock.run_for(timedelta(minutes=10))
            before_scan = task.start_count
            fake.begin_library_scan()
            await clock.run_for(timedelta(minutes=5))
            assert task.start_count - before_scan >= 4
            fake.end_library_scan()
            await clock.run_for(timedelta(minutes=5))
            after_scan = task.start_count
            await clock.run_for(timedelta(minutes=5))
            assert task.start_count == after_scan
            fake.is_starting = True
            await clock.run_for(timedelta(minutes=3))
            fake.is_starting = False
            await clock.run_for(timedelta(minutes=3))
            assert task.start_count == after_scan + 1


async def test_viewers_are_noticed_during_a_slow_scan_and_scan_requests_merge(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = SimulatedClock()
        (item,) = add_films(fake, 1, clock.now())

        def scans_started() -> int:
            return sum(exchange.route == "/Library/VirtualFolders" for exchange in fake.received)

        async with scanned_daemon(fake, clock, tmp_path / "state") as daemon:
            slow = Fault(delay_s=1.0)
            fake.break_next("GET /Library/VirtualFolders", slow)
            daemon.scan_requests.request(full=True)
            await wait_until(lambda: not slow.times)
            before = scans_started()
            for _ in range(5):
                daemon.scan_requests.request(full=False)
            fake.start_playback(item)
            await clock.run_for(timedelta(minutes=2))
            assert app_of(daemon).playback.is_anything_playing
            assert scans_started() == before, "the slow scan still runs"
            report = await daemon.scan_requests.request_and_wait(full=True)
            assert report.items == 1
            assert scans_started() == before + 2
