"""Tracks that a human or another program made, or that a user edited, stay as they are."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fluxcaption.daemon import run_once
from fluxcaption.domain.deliveries import DeliveryState
from fluxcaption.domain.jobs import JobState, ManualRequest, Priority, Stage
from fluxcaption.domain.units import ItemId
from fluxcaption.storage.storage import SqliteStorage

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeJellyfin, audio, text
from tests.support.app import TEXT_FILM, clip, settings
from tests.support.deliveries import (
    HUMAN_SRT,
    claim,
    deliver,
    finish_track,
    queue_upload,
    run_and_record_stage,
    run_stage,
)
from tests.support.libraries import (
    SERVER,
    add_demo_film,
    add_films,
    connected_app,
    delivery_states,
    german_srt,
    own_name,
    replace_media,
    server_with_app,
)


async def test_edited_own_track_in_a_folder_is_not_overwritten(tmp_path: Path) -> None:
    media = clip(tmp_path / "media", TEXT_FILM)
    config = settings(tmp_path / "state", {"type": "folder", "path": str(tmp_path / "media")}, ["es"])
    await run_once(config, print)
    own_track = media.parent / f"{TEXT_FILM}.fluxcaption.es.srt"
    own_track.write_bytes(HUMAN_SRT)
    storage = await SqliteStorage.open(tmp_path / "state")
    await storage.jobs.retry((await storage.jobs.page())[0].id, FastClock().now())
    await storage.close()
    report = await run_once(config, print)
    assert [job.state for job in report.finished] == [JobState.DONE]
    assert own_track.read_bytes() == HUMAN_SRT


@pytest.mark.parametrize(
    "edit",
    [lambda own: HUMAN_SRT, lambda own: own.replace(b"Guten Abend.", b"<i>Guten Abend.</i>")],
    ids=["words", "italics"],
)
async def test_edited_own_track_is_kept_and_never_becomes_stale(
    edit: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await deliver(app, item)
        source, name = item.sources[0], own_name(item)
        edited = edit(source.sidecars[name])
        assert edited != source.sidecars[name]
        source.sidecars[name] = edited
        source.sidecars[f"{source.stem}.de.srt"] = HUMAN_SRT
        queued = []
        for _ in range(3):
            item.touch(clock.now())
            queued.append((await app.scanner.scan(full=True, lean=False)).queued)
            await app.workers.run(until_idle=True)
        assert queued == [1, 0, 0]
        assert await delivery_states(app) == {DeliveryState.EDITED: 1}
        source.sidecars.pop(f"{source.stem}.de.srt")
        replace_media(item, clock.now())
        assert (await app.scanner.scan(full=True, lean=False)).queued == 0


async def test_human_track_that_arrives_during_the_work_supersedes_the_job(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = add_demo_film(fake, tmp_path / "media", TEXT_FILM, [audio(), text()])
        languages = {"targets": ["es"]}
        async with connected_app(fake, tmp_path / "state", FastClock(), languages=languages) as app:
            await app.enqueuer.enqueue_item(ItemId(item.id), Priority.REQUESTED)
            for stage in (Stage.ACQUIRE, Stage.TRANSLATE):
                await run_and_record_stage(app, stage)
            item.sources[0].sidecars[f"{TEXT_FILM}.es.srt"] = HUMAN_SRT
            outcome = await run_stage(app, await claim(app, Stage.UPLOAD))
            assert outcome.state is JobState.DONE
            assert "superseded" in outcome.reason
            assert list(item.sources[0].sidecars) == [f"{TEXT_FILM}.es.srt"]


async def test_own_track_yields_to_a_later_human_track(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await deliver(app, item)
        source = item.sources[0]
        source.sidecars[f"{source.stem}.de.srt"] = HUMAN_SRT
        item.touch(clock.now())
        await app.scanner.scan(full=True)
        await app.workers.run(until_idle=True)
        assert source.sidecars == {f"{source.stem}.de.srt": HUMAN_SRT}
        assert await delivery_states(app) == {DeliveryState.WITHDRAWN: 1}
        assert (await app.scanner.scan(full=True, lean=False)).queued == 0


async def test_requested_track_stays_beside_a_human_track(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        source = item.sources[0]
        source.sidecars[f"{source.stem}.de.srt"] = HUMAN_SRT
        job_id = await queue_upload(app, item)
        await app.enqueuer.enqueue_requested(ItemId(item.id), [], ManualRequest(redo=True))
        job = await claim(app, Stage.ACQUIRE)
        assert job.id == job_id
        await finish_track(app, job, german_srt("requested"))
        await app.workers.run(until_idle=True)
        assert len(source.sidecars) == 2
        assert (await app.scanner.scan(full=True, lean=False)).queued == 0
        assert len(source.sidecars) == 2


async def test_retried_gap_is_not_stored_as_a_requested_track(tmp_path: Path) -> None:
    """Only a requested track stays beside a later human track."""
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await app.storage.jobs.retry(await queue_upload(app, item), clock.now())
        await app.workers.run(until_idle=True)
        (delivery,) = await app.storage.deliveries.find(SERVER)
        assert not delivery.is_requested


async def test_own_track_stays_beside_the_track_of_another_program(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await deliver(app, item)
        source = item.sources[0]
        source.sidecars[f"{source.stem}.ai.de.srt"] = HUMAN_SRT
        item.touch(clock.now())
        assert (await app.scanner.scan(full=True)).queued == 0
        assert len(source.sidecars) == 2


async def test_own_track_stays_if_the_human_track_is_deleted_before_the_removal(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await deliver(app, item)
        source = item.sources[0]
        source.sidecars[f"{source.stem}.de.srt"] = HUMAN_SRT
        source.sidecars[f"{source.stem}.whisper.de.srt"] = HUMAN_SRT
        item.touch(clock.now())
        await app.scanner.scan(full=True)
        await run_and_record_stage(app, Stage.ACQUIRE)
        source.sidecars.pop(f"{source.stem}.de.srt")
        item.touch(clock.now())
        await app.workers.run(until_idle=True)
        assert own_name(item) in source.sidecars
