"""A daemon upgraded from schema 7 continues where the earlier version was killed."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest
from fluxcaption.app import App
from fluxcaption.domain.deliveries import DeliveryState
from fluxcaption.domain.gaps import Action
from fluxcaption.domain.jobs import Job, JobState
from fluxcaption.domain.units import ItemId, SourceId

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeItem, FakeJellyfin
from tests.support.app import total_transcribed_ms, windows_transcribed
from tests.support.deliveries import run_jobs
from tests.support.libraries import connected_app, uploads
from tests.support.upgrade import SERVER, add_films_7, server_7, write_state_7


class Upgraded:
    """The app on an upgraded state, connected to the server that the earlier version worked with."""

    def __init__(self, fake: FakeJellyfin, clock: FastClock, app: App, films: dict[str, FakeItem]) -> None:
        self.fake, self.clock, self.app, self.films = fake, clock, app, films

    async def continue_work(self) -> None:
        """Queue the interrupted jobs and run everything that is due within half an hour."""
        await self.app.storage.queue.requeue_interrupted(self.clock.now())
        await run_jobs(self.app, self.clock, hours=0.5)

    async def job(self, title: str) -> Job:
        """Return the job of a film that waits for no release from the backlog."""
        source_id = SourceId(self.films[title].sources[0].id)
        jobs = await self.app.storage.jobs.of_source(SERVER, source_id)
        return next(job for job in jobs if not job.is_held)

    async def delivery_states(self) -> dict[str, DeliveryState]:
        """Return the state of each delivery by the title of its film."""
        return {delivery.title: delivery.state for delivery in await self.app.storage.deliveries.find(SERVER)}

    def uploads(self) -> Counter[str]:
        """Return the number of uploads since the upgrade by the title of the film."""
        titles = {item.id: title for title, item in self.films.items()}
        return Counter(titles[path.split("/")[2]] for path in uploads(self.fake))


@pytest.fixture
async def upgraded(tmp_path: Path) -> AsyncIterator[Upgraded]:
    write_state_7(tmp_path / "state")
    clock = FastClock(datetime.fromisoformat(server_7()["now"]))
    async with FakeJellyfin("10.11.11") as fake:
        films = add_films_7(fake, tmp_path / "media")
        languages = {"targets": ["de", "es"], "when_spoken": "make"}
        async with connected_app(fake, tmp_path / "state", clock, languages=languages) as app:
            yield Upgraded(fake, clock, app, films)


async def test_running_jobs_are_due_again_after_an_upgrade(upgraded: Upgraded) -> None:
    assert await upgraded.app.storage.queue.requeue_interrupted(upgraded.clock.now()) == 2
    assert (await upgraded.job("Half Heard (2021)")).state is JobState.QUEUED
    assert (await upgraded.job("Broken Off (2022)")).state is JobState.QUEUED


async def test_partly_transcribed_film_continues_after_an_upgrade(upgraded: Upgraded, tmp_path: Path) -> None:
    state = tmp_path / "state"
    transcribed_before_ms, stored_before_ms = total_transcribed_ms(state)
    windows_before = await windows_transcribed(state)
    await upgraded.continue_work()
    job = await upgraded.job("Half Heard (2021)")
    assert (job.state, str(job.target)) == (JobState.DONE, "es"), job.reason
    assert await windows_transcribed(state) > windows_before
    transcribed_ms, stored_ms = total_transcribed_ms(state)
    assert transcribed_ms - transcribed_before_ms == stored_ms - stored_before_ms, "no window was repeated"
    assert upgraded.uploads()["Half Heard (2021)"] == 1


async def test_uploaded_tracks_are_confirmed_and_not_uploaded_again(upgraded: Upgraded) -> None:
    await upgraded.continue_work()
    states = await upgraded.delivery_states()
    for title in ("Better On Its Way (2022)", "Uploaded (2022)", "Lost Answer (2022)", "Put Back (2022)"):
        assert states[title] is DeliveryState.CONFIRMED, title
    assert states["Not Visible (2022)"] is DeliveryState.UPLOADED
    counts = upgraded.uploads()
    assert {title for title in counts if title.endswith("(2022)")} == {"Broken Off (2022)", "Unlisted (2022)"}
    assert set(counts.values()) == {1}


async def test_each_step_of_a_delivery_ends_as_before_the_upgrade(upgraded: Upgraded) -> None:
    await upgraded.continue_work()
    restored = await upgraded.job("Put Back (2022)")
    assert (restored.state, restored.reason_code) == (JobState.FAILED, "not-visible")
    assert "the previous track is listed again" in restored.reason
    for title in ("Broken Off (2022)", "Unlisted (2022)"):
        assert (await upgraded.job(title)).state is JobState.DONE
        (content,) = upgraded.films[title].sources[0].sidecars.values()
        assert b"better" in content
    not_visible = await upgraded.job("Not Visible (2022)")
    assert (not_visible.state, not_visible.reason_code) == (JobState.PARKED, "not-visible")


async def test_skips_and_removed_tracks_stay_decided_after_an_upgrade(upgraded: Upgraded) -> None:
    app = upgraded.app
    assert app.planner.skip_key == server_7()["skip_key"]
    await app.scanner.scan(full=True)
    open_jobs = {
        (job.title, str(job.target))
        for job in await app.storage.jobs.page(states=[JobState.QUEUED], limit=1000)
    }
    assert not open_jobs & {("Silent (2022)", "de"), ("Silent (2022)", "es"), ("Undone (2022)", "de")}
    item = await app.server.fetch_item(ItemId(upgraded.films["Silent (2022)"].id))
    decisions = {str(decision.target): decision.action for decision in (await app.planner.plan([item]))[0]}
    assert decisions == {"de": Action.SKIPPED, "es": Action.SKIPPED}
