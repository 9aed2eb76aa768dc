"""What somebody else made, or edited, stays as it is."""

from pathlib import Path

from fluxcaption.app import build_app
from fluxcaption.daemon import run_once
from fluxcaption.domain.jobs import JobState, Priority, Stage
from fluxcaption.storage.storage import SqliteStorage

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeJellyfin, audio, film, text
from tests.support.app import READ, clip, jellyfin, settings

HUMAN = b"1\n00:00:01,000 --> 00:00:02,000\nVon Menschenhand.\n"


async def test_a_track_of_ours_that_somebody_edited_is_left(tmp_path: Path) -> None:
    media = clip(tmp_path / "media", READ)
    wanted = settings(tmp_path / "state", {"type": "folder", "path": str(tmp_path / "media")}, ["es"])
    await run_once(wanted, print)
    ours = media.parent / f"{READ}.fluxcaption.es.srt"
    ours.write_bytes(HUMAN)
    storage = await SqliteStorage.open(tmp_path / "state")
    await storage.jobs.retry((await storage.jobs.page())[0].id, FastClock().now())
    await storage.close()
    report = await run_once(wanted, print)
    assert [job.state for job in report.finished] == [JobState.DONE]
    assert ours.read_bytes() == HUMAN


async def test_a_track_that_came_while_ours_was_made_supersedes_it(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = film(
            READ, [audio(), text()], library=fake.libraries[0].id, file=clip(tmp_path, READ), minutes=61 / 60
        )
        fake.add(item)
        clock = FastClock()
        storage = await SqliteStorage.open(tmp_path / "state")
        app = build_app(settings(tmp_path / "state", jellyfin(fake), ["es"]), storage, clock=clock)
        try:
            await app.server.connect()
            await app.enqueuer.enqueue_item((await app.server.fetch_item(item.id)).id, Priority.REQUESTED)  # type: ignore[arg-type]
            plans = app.workers._stages
            for stage in (Stage.ACQUIRE, Stage.TRANSLATE):
                job = await storage.queue.claim(stage, clock.now())
                assert job is not None
                await storage.queue.record(job, await plans[stage].run(job), clock.now())
            item.sources[0].sidecars[f"{READ}.es.srt"] = HUMAN
            job = await storage.queue.claim(Stage.UPLOAD, clock.now())
            assert job is not None
            outcome = await plans[Stage.UPLOAD].run(job)
            assert outcome.state is JobState.DONE
            assert "superseded" in outcome.reason
            assert list(item.sources[0].sidecars) == [f"{READ}.es.srt"]
        finally:
            await app.close()
            await storage.close()


async def test_a_film_in_which_nobody_speaks_is_settled_once_for_all(tmp_path: Path) -> None:
    import numpy as np

    from tests.fakes.media import sound_clip

    time = np.arange(16_000 * 20) / 16_000
    sound_clip(
        tmp_path / "media" / "Tone (2020)" / "Tone (2020).mkv",
        [("eng", (0.1 * np.sin(2 * np.pi * 440 * time)).astype(np.float32))],
    )
    wanted = settings(tmp_path / "state", {"type": "folder", "path": str(tmp_path / "media")}, ["es", "en"])
    report = await run_once(wanted, print)
    assert [job.state for job in report.finished] == [JobState.SKIPPED, JobState.SKIPPED]
    assert "contains no speech" in report.finished[0].reason
    assert report.exit_code == 0
    again = await run_once(wanted, print)
    assert again.finished == []
    (tmp_path / "media" / "Tone (2020)").rename(tmp_path / "media" / "Moved (2020)")
    moved = await run_once(wanted, print)
    assert {job.reason_code for job in moved.finished} <= {"no-speech", "skipped"}
    assert not list((tmp_path / "media").rglob("*.srt"))
