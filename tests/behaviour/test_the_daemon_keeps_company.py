"""The running daemon beside a server: it sees viewers and library scans without being told, and a dry run changes nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from fluxcaption.cli.scan import scan_without_daemon
from fluxcaption.daemon import Daemon
from fluxcaption.domain.jobs import Priority

from tests.fakes.clock import SimulatedClock
from tests.fakes.jellyfin import FakeJellyfin, Fault, audio, film
from tests.support.app import jellyfin, settings
from tests.support.libraries import beside_a_server, films


async def test_it_sees_viewers_and_the_end_of_a_library_scan_by_itself(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = SimulatedClock()
        fake.now = clock.now
        fake.install_webhook()
        old = films(fake, 2, clock.now())
        daemon = Daemon(
            settings(
                tmp_path / "state",
                jellyfin(fake),
                ["de"],
                backlog={"mode": "none"},
                schedule={"pause": ["00:00-12:00", "12:00-23:59"]},
            ),
            clock=clock,
        )
        ready = asyncio.Event()
        running = asyncio.create_task(daemon.run(on_ready=ready.set))
        await ready.wait()
        app = daemon.app
        assert app is not None
        while not await app.storage.state_values.get("scan-basis"):
            await asyncio.sleep(0.01)
        while not fake.tasks["WebhookItemAdded"].is_armed:
            await asyncio.sleep(0.01)
        assert await app.storage.jobs.page() == []

        fake.somebody_plays(old[0])
        await clock.run_for(timedelta(minutes=2))
        assert app.playback.is_anything_playing
        fake.stops(old[0])
        fake.begin_library_scan()
        await clock.run_for(timedelta(minutes=2))
        assert not app.playback.is_anything_playing
        new = film(
            "Just Arrived (2026)", [audio()], library=fake.libraries[0].id, added=clock.now(), now=clock.now()
        )
        fake.add(new)
        fake.end_library_scan()
        await clock.run_for(timedelta(minutes=3))
        for _ in range(200):
            jobs = await app.storage.jobs.page()
            if jobs:
                break
            await asyncio.sleep(0.02)
        assert [(job.item_id, job.priority) for job in jobs] == [(new.id, Priority.NEW)]
        daemon.stop()
        await running


@asynccontextmanager
async def beside(fake: FakeJellyfin, clock: SimulatedClock, tmp_path: Path) -> AsyncIterator[Daemon]:
    """A daemon after its first pass."""
    fake.now = clock.now
    daemon = Daemon(
        settings(tmp_path / "state", jellyfin(fake), ["de"], backlog={"mode": "none"}), clock=clock
    )
    ready = asyncio.Event()
    running = asyncio.create_task(daemon.run(on_ready=ready.set))
    await ready.wait()
    assert daemon.app is not None
    while not await daemon.app.storage.state_values.get("scan-basis"):
        await asyncio.sleep(0.01)
    yield daemon
    daemon.stop()
    await running


async def test_news_are_hurried_while_the_server_scans_and_after_it_was_away(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = SimulatedClock()
        fake.install_webhook()
        async with beside(fake, clock, tmp_path):
            task = fake.tasks["WebhookItemAdded"]
            await clock.run_for(timedelta(minutes=10))
            idle = task.kicks
            fake.begin_library_scan()
            await clock.run_for(timedelta(minutes=5))
            assert task.kicks - idle >= 4
            fake.end_library_scan()
            await clock.run_for(timedelta(minutes=5))
            scanned = task.kicks
            await clock.run_for(timedelta(minutes=5))
            assert task.kicks == scanned
            fake.is_starting = True
            await clock.run_for(timedelta(minutes=3))
            fake.is_starting = False
            await clock.run_for(timedelta(minutes=3))
            assert task.kicks == scanned + 1


async def test_viewers_are_seen_during_a_slow_pass_and_wishes_meanwhile_become_one_pass(
    tmp_path: Path,
) -> None:
    async with FakeJellyfin() as fake:
        clock = SimulatedClock()
        (item,) = films(fake, 1, clock.now())
        async with beside(fake, clock, tmp_path) as daemon:
            assert daemon.app is not None
            slow = Fault(delay_s=1.0)
            fake.break_next("GET /Library/VirtualFolders", slow)
            daemon.scan_requests.request(full=True)
            while slow.times:
                await asyncio.sleep(0.01)
            before = sum(exchange.route == "/Library/VirtualFolders" for exchange in fake.received)
            for _ in range(5):
                daemon.scan_requests.request(full=False)
            fake.somebody_plays(item)
            await clock.run_for(timedelta(minutes=2))
            assert daemon.app.playback.is_anything_playing
            assert sum(exchange.route == "/Library/VirtualFolders" for exchange in fake.received) == before, (
                "the pass is still on its way"
            )
            report = await daemon.scan_requests.request_and_wait(full=True)
            assert report.items == 1
            assert (
                sum(exchange.route == "/Library/VirtualFolders" for exchange in fake.received) == before + 2
            )


@pytest.mark.parametrize(
    "fault", [Fault(status=500, times=1000), Fault(nonsense={"Items": [{"Id": "1" * 32}]}, times=1000)]
)
async def test_a_next_episode_that_cannot_be_read_hides_no_viewer(fault: Fault, tmp_path: Path) -> None:
    async with beside_a_server(tmp_path, backlog={"mode": "none"}) as (fake, clock, app):
        shows = films(fake, 3, clock.now(), [audio("eng")])
        for number, show in enumerate(shows):
            show.kind = "Episode"
            show.extra = {
                "SeriesName": "Show",
                "SeriesId": "5" * 32,
                "ParentIndexNumber": 1,
                "IndexNumber": number + 1,
            }
        await app.scanner.scan(full=True)
        fake.break_next("GET /Items", fault)
        fake.somebody_plays(shows[0])
        assert await app.server_monitor.poll_playback()
        fake.faults.clear()
        await app.server_monitor.poll_playback()
        assert {job.item_id for job in await app.storage.jobs.page()} == {show.id for show in shows[1:]}


@pytest.mark.parametrize("version", ["10.10.7", "12.0.0"])
async def test_a_dry_run_sends_nothing_that_changes_anything(version: str, tmp_path: Path) -> None:
    async with FakeJellyfin(version) as fake:
        films(fake, 250, fake.now())
        report = await scan_without_daemon(
            settings(tmp_path / "state", jellyfin(fake), ["de", "fr"]), dry_run=True
        )
        assert report.items == 250
        assert json.loads(json.dumps(report.tally.table()))["de"] == {"translate": 250}
        assert {exchange.method for exchange in fake.received} == {"GET"}
        assert not (tmp_path / "state").exists()
