"""Undo removes exactly the FluxCaption tracks, also unconfirmed and unlisted ones, and they stay removed."""

from pathlib import Path

from fluxcaption.domain.jobs import JobState, ManualRequest
from fluxcaption.domain.units import ItemId

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeJellyfin, Fault, audio, text
from tests.support.app import TEXT_FILM
from tests.support.deliveries import (
    HUMAN_SRT,
    deliver,
    queue_upload,
    run_jobs,
    run_jobs_between_library_scans,
    run_stage,
)
from tests.support.libraries import (
    SERVER,
    add_demo_film,
    add_films,
    connected_app,
    german_srt,
    own_name,
    scan_and_work,
    server_with_app,
    uploads,
)


async def test_undo_removes_only_own_tracks_and_they_are_not_made_again(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        item, item_with_edit = add_films(fake, 2, clock.now())
        await deliver(app, item)
        await deliver(app, item_with_edit)
        foreign = {f"{item.sources[0].stem}.it.srt": HUMAN_SRT}
        edited = {own_name(item_with_edit): HUMAN_SRT}
        item.sources[0].sidecars |= foreign
        item_with_edit.sources[0].sidecars |= edited
        dry_run = await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=True)
        assert any("would remove" in line for line in dry_run)
        lines = await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=False)
        assert any("was edited by a user" in line for line in lines)
        assert item.sources[0].sidecars == foreign
        assert item_with_edit.sources[0].sidecars == edited
        await app.scanner.scan(full=True)
        assert {state for _, state in await app.storage.queue.counts()} == {JobState.DONE}


async def test_undone_track_is_made_again_on_request(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = FastClock()
        item = add_demo_film(fake, tmp_path / "media", TEXT_FILM, [audio(), text()])
        source = item.sources[0]
        async with connected_app(fake, tmp_path / "state", clock, languages={"targets": ["es"]}) as app:
            await scan_and_work(app)
            assert len(source.sidecars) == 1
            await app.delivery.undo.remove_own_tracks(SERVER, ItemId(item.id), dry_run=False)
            assert source.sidecars == {}
            await scan_and_work(app)
            assert source.sidecars == {}
            await app.enqueuer.enqueue_requested(ItemId(item.id), [], ManualRequest())
            await app.workers.run(until_idle=True)
            assert len(source.sidecars) == 1


async def test_unconfirmed_track_is_not_uploaded_again_after_undo(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        fake.hides_new_tracks = True
        await queue_upload(app, item)
        await run_jobs(app, clock, hours=0.5)
        fake.hidden.clear()
        fake.hides_new_tracks = False
        await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=False)
        await run_jobs_between_library_scans(app, fake, clock, 3)
        assert item.sources[0].sidecars == {}
        assert len(uploads(fake)) == 1


async def test_undo_cancels_a_waiting_replacement(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await deliver(app, item)
        waiting = await app.storage.jobs.get(await queue_upload(app, item, german_srt("better")))
        assert waiting is not None
        await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=False)
        await app.workers.run(until_idle=True)
        assert item.sources[0].sidecars == {}
        outcome = await run_stage(app, waiting)
        assert outcome.state is JobState.CANCELLED, "also an upload that was claimed before the undo"
        assert item.sources[0].sidecars == {}


async def test_undo_removes_an_unlisted_track(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await deliver(app, item)
        item.sources[0].unlisted.update(item.sources[0].sidecars)
        (line,) = await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=False)
        assert "removed" in line
        assert item.sources[0].sidecars == {}


async def test_track_listed_after_its_undo_can_be_undone_again(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        fake.hides_new_tracks = True
        await queue_upload(app, item)
        await run_jobs(app, clock, hours=0.1)
        (line,) = await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=False)
        assert "no FluxCaption track was found" in line
        assert await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=False) == []
        fake.show_hidden()
        assert "removed" in (await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=False))[0]
        assert item.sources[0].sidecars == {}


async def test_undo_continues_after_a_failed_deletion(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        items = add_films(fake, 3, clock.now())
        for item in items:
            await deliver(app, item)
        fake.break_next("DELETE /Videos", Fault(status=500))
        lines = await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=False)
        assert [("could not delete" in line, "removed" in line) for line in lines] == [
            (True, False),
            (False, True),
            (False, True),
        ]
        assert [len(item.sources[0].sidecars) for item in items] == [1, 0, 0]
        await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=False)
        assert [len(item.sources[0].sidecars) for item in items] == [0, 0, 0]
