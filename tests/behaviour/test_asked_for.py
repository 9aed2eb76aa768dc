"""What a person asks for one item: from another track, with another model, again, in another language."""

import shutil
from pathlib import Path

from fluxcaption.domain.jobs import JobState, ManualRequest
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import ItemId
from fluxcaption.miniatures import SPEECH

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeItem, FakeJellyfin, audio, film, text
from tests.support.app import READ, clip, windows_transcribed
from tests.support.libraries import app_beside


def prepared(fake: FakeJellyfin, folder: Path) -> FakeItem:
    item = film(
        READ, [audio(), text()], library=fake.libraries[0].id, file=clip(folder, READ), minutes=61 / 60
    )
    fake.add(item)
    return item


async def test_another_track_is_used_and_ours_is_replaced_in_its_place(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = prepared(fake, tmp_path / "media")
        clock = FastClock()
        async with app_beside(fake, tmp_path / "state", clock, languages={"targets": ["es"]}) as app:
            await app.enqueuer.enqueue_requested(ItemId(item.id), [], ManualRequest())
            await app.workers.run(until_idle=True)
            assert await windows_transcribed(tmp_path / "state") == 0
            (name,) = item.sources[0].sidecars
            await app.enqueuer.enqueue_requested(
                ItemId(item.id), [], ManualRequest(source="audio 1", redo=True)
            )
            await app.workers.run(until_idle=True)
            (job,) = await app.storage.jobs.page()
            assert job.state is JobState.DONE, job.reason
            assert "transcript of audio track 1" in job.reason
            assert list(item.sources[0].sidecars) == [name]
            heard = await windows_transcribed(tmp_path / "state")
            assert heard > 0
            other = tmp_path / "model"
            shutil.copytree(SPEECH, other)
            (other / "config.json").write_text((other / "config.json").read_text() + "\n")
            await app.enqueuer.enqueue_requested(
                ItemId(item.id), [], ManualRequest(source="audio 1", model=str(other), redo=True)
            )
            await app.workers.run(until_idle=True)
            (job,) = await app.storage.jobs.page()
            assert job.state is JobState.DONE, job.reason
            assert await windows_transcribed(tmp_path / "state") > heard
            assert list(item.sources[0].sidecars) == [name]


async def test_a_language_nobody_usually_wants_is_made_when_asked(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = prepared(fake, tmp_path / "media")
        async with app_beside(fake, tmp_path / "state", FastClock(), languages={"targets": ["es"]}) as app:
            await app.enqueuer.enqueue_requested(ItemId(item.id), [LanguageTag("de")], ManualRequest())
            await app.workers.run(until_idle=True)
            assert list(item.sources[0].sidecars) == [f"{READ}.fluxcaption.de.srt"]


async def test_a_track_that_is_not_there_is_told(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = prepared(fake, tmp_path / "media")
        async with app_beside(fake, tmp_path / "state", FastClock(), languages={"targets": ["es"]}) as app:
            await app.enqueuer.enqueue_requested(ItemId(item.id), [], ManualRequest(source="audio 7"))
            await app.workers.run(until_idle=True)
            (job,) = await app.storage.jobs.page()
            assert job.state is JobState.FAILED
            assert "there is no usable track 'audio 7'" in job.reason


async def test_again_keeps_to_the_named_sources_and_takes_no_text_that_is_known_not_to_fit(
    tmp_path: Path,
) -> None:
    async with FakeJellyfin() as fake:
        item = prepared(fake, tmp_path / "media")
        item.sources[0].sidecars[f"{READ}.en.srt"] = (
            "1\n00:00:01,000 --> 00:00:59,000\nDer Mann öffnet die Tür und schaut am Morgen in den Garten hinaus.\n".encode()
        )
        rules = [{"library": "Movies", "sources": ["en"]}]
        async with app_beside(
            fake, tmp_path / "state", FastClock(), languages={"targets": ["es"]}, rules=rules
        ) as app:
            for redo in (False, True):
                await app.enqueuer.enqueue_requested(ItemId(item.id), [], ManualRequest(redo=redo))
                await app.workers.run(until_idle=True)
                (job,) = await app.storage.jobs.page()
                assert job.state is JobState.DONE, job.reason
                assert "embedded en text track 1" in job.reason
        del item.sources[0].sidecars[f"{READ}.en.srt"]
        rules = [{"library": "Movies", "sources": ["fr"]}]
        async with app_beside(
            fake, tmp_path / "state", FastClock(), languages={"targets": ["es"]}, rules=rules
        ) as app:
            await app.enqueuer.enqueue_requested(ItemId(item.id), [], ManualRequest(redo=True))
            await app.workers.run(until_idle=True)
            (job,) = await app.storage.jobs.page()
            assert (job.state, "accepted source languages (French)" in job.reason) == (
                JobState.FAILED,
                True,
            ), job.reason
