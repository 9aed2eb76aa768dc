"""Manual requests for one item: another track or model, again, or another language."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fluxcaption.app import App
from fluxcaption.domain.jobs import Job, JobState, ManualRequest
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import ItemId
from fluxcaption.miniatures import SPEECH

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeItem, FakeJellyfin, audio, text
from tests.support.app import TEXT_FILM, windows_transcribed
from tests.support.libraries import add_demo_film, connected_app

GERMAN_SRT = """1
00:00:01,000 --> 00:00:59,000
Der Mann öffnet die Tür und schaut am Morgen in den Garten hinaus.
"""


@asynccontextmanager
async def spanish_app(fake: FakeJellyfin, state: Path, **overrides: Any) -> AsyncIterator[App]:
    """Build an app whose only target language is Spanish, connected to a fake server."""
    async with connected_app(fake, state, FastClock(), languages={"targets": ["es"]}, **overrides) as app:
        yield app


async def run_request(app: App, item: FakeItem, request: ManualRequest) -> Job:
    """Request the tracks of an item, run all jobs, and return the only job."""
    await app.enqueuer.enqueue_requested(ItemId(item.id), [], request)
    await app.workers.run(until_idle=True)
    (job,) = await app.storage.jobs.page()
    return job


async def test_request_for_another_track_or_model_replaces_the_own_track(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with FakeJellyfin() as fake:
        item = add_demo_film(fake, tmp_path / "media", TEXT_FILM, [audio(), text()])
        async with spanish_app(fake, state) as app:
            await run_request(app, item, ManualRequest())
            assert await windows_transcribed(state) == 0
            (name,) = item.sources[0].sidecars

            job = await run_request(app, item, ManualRequest(source="audio 1", redo=True))
            assert job.state is JobState.DONE, job.reason
            assert "transcript of audio track 1" in job.reason
            assert list(item.sources[0].sidecars) == [name]
            windows = await windows_transcribed(state)
            assert windows > 0

            other_model = tmp_path / "model"
            shutil.copytree(SPEECH, other_model)
            config = other_model / "config.json"
            config.write_text(config.read_text() + "\n")
            request = ManualRequest(source="audio 1", model=str(other_model), redo=True)
            job = await run_request(app, item, request)
            assert job.state is JobState.DONE, job.reason
            assert await windows_transcribed(state) > windows
            assert list(item.sources[0].sidecars) == [name]


async def test_requested_language_outside_the_targets_is_made(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = add_demo_film(fake, tmp_path / "media", TEXT_FILM, [audio(), text()])
        async with spanish_app(fake, tmp_path / "state") as app:
            await app.enqueuer.enqueue_requested(ItemId(item.id), [LanguageTag("de")], ManualRequest())
            await app.workers.run(until_idle=True)
            assert list(item.sources[0].sidecars) == [f"{TEXT_FILM}.fluxcaption.de.srt"]


async def test_request_for_a_missing_track_fails_with_its_reason(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = add_demo_film(fake, tmp_path / "media", TEXT_FILM, [audio(), text()])
        async with spanish_app(fake, tmp_path / "state") as app:
            job = await run_request(app, item, ManualRequest(source="audio 7"))
            assert job.state is JobState.FAILED
            assert "there is no usable track 'audio 7'" in job.reason


async def test_repeated_request_keeps_to_accepted_sources_and_fitting_text(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = add_demo_film(fake, tmp_path / "media", TEXT_FILM, [audio(), text()])
        mislabeled = f"{TEXT_FILM}.en.srt"
        item.sources[0].sidecars[mislabeled] = GERMAN_SRT.encode()
        rules = [{"library": "Movies", "sources": ["en"]}]
        async with spanish_app(fake, tmp_path / "state", rules=rules) as app:
            for redo in (False, True):
                job = await run_request(app, item, ManualRequest(redo=redo))
                assert job.state is JobState.DONE, job.reason
                assert "embedded en text track 1" in job.reason
        del item.sources[0].sidecars[mislabeled]
        rules = [{"library": "Movies", "sources": ["fr"]}]
        async with spanish_app(fake, tmp_path / "state", rules=rules) as app:
            job = await run_request(app, item, ManualRequest(redo=True))
            assert job.state is JobState.FAILED, job.reason
            assert "accepted source languages (French)" in job.reason
