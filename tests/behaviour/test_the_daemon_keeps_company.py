"""The running daemon beside a server: it sees viewers and library scans without being told, and a dry run changes nothing."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
from fluxcaption.cli.running import scan_alone
from fluxcaption.daemon import Daemon
from fluxcaption.domain.jobs import Tier

from tests.behaviour.household import jellyfin, settings
from tests.behaviour.libraries import films
from tests.fakes.clock import SimulatedClock
from tests.fakes.jellyfin import FakeJellyfin, audio, film


async def test_it_sees_viewers_and_the_end_of_a_library_scan_by_itself(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = SimulatedClock()
        fake.now = clock.now
        fake.install_webhook()
        old = films(fake, 2, clock.now())
        daemon = Daemon(
            settings(tmp_path / "state", jellyfin(fake), ["de"], backlog={"mode": "none"}, schedule={"pause": ["00:00-12:00", "12:00-23:59"]}), clock=clock
        )
        ready = asyncio.Event()
        running = asyncio.create_task(daemon.run(on_ready=ready.set))
        await ready.wait()
        house = daemon.house
        assert house is not None
        while not await house.store.flag("scan-basis"):
            await asyncio.sleep(0.01)
        assert fake.tasks["WebhookItemAdded"].is_armed
        assert await house.store.jobs() == []

        fake.somebody_plays(old[0])
        await clock.run_for(timedelta(minutes=2))
        assert house.watcher.somebody_watches
        fake.stops(old[0])
        fake.begin_library_scan()
        await clock.run_for(timedelta(minutes=2))
        assert not house.watcher.somebody_watches
        new = film("Just Arrived (2026)", [audio()], library=fake.libraries[0].id, added=clock.now(), now=clock.now())
        fake.add(new)
        fake.end_library_scan()
        await clock.run_for(timedelta(minutes=3))
        for _ in range(200):
            jobs = await house.store.jobs()
            if jobs:
                break
            await asyncio.sleep(0.02)
        assert [(job.item_id, job.tier) for job in jobs] == [(new.id, Tier.NEW)]
        daemon.stop()
        await running


@pytest.mark.parametrize("version", ["10.10.7", "12.0.0"])
async def test_a_dry_run_sends_nothing_that_changes_anything(version: str, tmp_path: Path) -> None:
    async with FakeJellyfin(version) as fake:
        films(fake, 250, fake.now())
        report = await scan_alone(settings(tmp_path / "state", jellyfin(fake), ["de", "fr"]), dry_run=True)
        assert report.items == 250
        assert json.loads(json.dumps(report.tally.table()))["de"] == {"translate": 250}
        assert {exchange.method for exchange in fake.received} == {"GET"}
        assert not (tmp_path / "state").exists()
