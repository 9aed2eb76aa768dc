"""A missing own track counts as removed by a user only after two complete scans a day apart."""

from pathlib import Path

import pytest
from fluxcaption.domain.deliveries import DeliveryState
from fluxcaption.domain.errors import ServiceUnreachable
from fluxcaption.domain.jobs import JobState
from fluxcaption.domain.units import Fingerprint

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeJellyfin, audio, film, text
from tests.support.app import TEXT_FILM
from tests.support.deliveries import run_library_scan
from tests.support.libraries import (
    DE,
    DEMO_LENGTHS_S,
    add_delivered_tracks,
    add_demo_film,
    add_films,
    change_before_page,
    connected_app,
    delivery_states,
    fail_item_lists,
    fetch_item,
    non_get_requests,
    own_name,
    replace_media,
    save_identity,
    scan_and_work,
    server_with_app,
    storage_of,
)


async def test_removed_track_is_refused_after_two_complete_scans_a_day_apart(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        items = add_films(fake, 5, clock.now())
        await add_delivered_tracks(fake, storage_of(app), items, clock.now())
        await app.scanner.scan(full=True)
        items[2].sources[0].sidecars.clear()
        items[2].touch(clock.now())
        for _ in range(5):
            clock.pass_time(hours=2)
            await app.scanner.scan(full=True)
        assert await delivery_states(app) == {DeliveryState.CONFIRMED: 4, DeliveryState.MISSING: 1}
        clock.pass_time(hours=24)
        await app.scanner.scan(full=True)
        assert await delivery_states(app) == {DeliveryState.CONFIRMED: 4, DeliveryState.REFUSED: 1}
        for _ in range(2):
            clock.pass_time(hours=30)
            assert (await app.scanner.scan(full=True, lean=False)).queued == 0
        assert {state for _, state in await app.storage.queue.counts()} == {JobState.DONE}


async def test_renamed_own_track_is_recognized_by_its_cues(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await add_delivered_tracks(fake, storage_of(app), [item], clock.now())
        source = item.sources[0]
        source.sidecars = {f"{source.stem}.german.srt": source.sidecars[own_name(item)]}
        item.touch(clock.now())
        report = await app.scanner.scan(full=True)
        assert report.queued == 0
        assert len([exchange for exchange in fake.received if "Subtitles" in exchange.route]) == 1
        item.touch(clock.now())
        ((decision,),) = await app.planner.plan([await fetch_item(app, item)])
        assert "FluxCaption German text track exists" in decision.reason


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
async def test_tracks_dropped_by_a_library_scan_are_not_taken_for_removals(
    count: int, tmp_path: Path
) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        items = add_films(fake, count, clock.now())
        await add_delivered_tracks(fake, storage_of(app), items, clock.now())
        await app.scanner.scan(full=True)
        dropped = 0
        for _ in range(3):
            fake.begin_library_scan()
            clock.pass_time(minutes=5)
            await app.scanner.scan(full=True)
            dropped += fake.end_library_scan(dropped_share=0.3)
            for _ in range(3):
                clock.pass_time(hours=30)
                await app.scanner.scan(full=True)
        states = await delivery_states(app)
        print(
            f"{count} delivered items, {dropped} times a track dropped by three library scans:"
            f" {states.get(DeliveryState.REFUSED, 0)} taken for a removal"
        )
        assert dropped >= count
        assert states == {DeliveryState.CONFIRMED: count}
        assert {state for _, state in await app.storage.queue.counts()} == {JobState.DONE}
        assert set(non_get_requests(fake)) == {"POST /Items/{itemId}/Refresh"}


async def test_dropped_track_of_a_played_film_is_not_taken_for_a_removal(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await add_delivered_tracks(fake, storage_of(app), [item], clock.now())
        await app.scanner.scan(full=True)
        source = item.sources[0]
        source.unlisted.add(own_name(item))
        item.touch(clock.now())
        fake.start_playback(item)
        await app.scanner.scan(full=True)
        fake.stop_playback(item)
        clock.pass_time(hours=25)
        await app.scanner.scan(full=True)
        assert source.unlisted == set()
        clock.pass_time(hours=25)
        await app.scanner.scan(full=True)
        assert await delivery_states(app) == {DeliveryState.CONFIRMED: 1}


async def test_track_dropped_again_before_each_scan_is_not_taken_for_a_removal(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await add_delivered_tracks(fake, storage_of(app), [item], clock.now())
        for _ in range(4):
            item.sources[0].unlisted.add(own_name(item))
            item.touch(clock.now())
            await app.scanner.scan(full=True)
            clock.pass_time(hours=25)
        assert DeliveryState.REFUSED not in await delivery_states(app)


async def test_interrupted_scans_do_not_count_towards_a_removal(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        items = add_films(fake, 900, clock.now())
        await add_delivered_tracks(fake, storage_of(app), items[:1], clock.now())
        await app.scanner.scan(full=True)
        items[0].sources[0].sidecars.clear()
        items[0].touch(clock.now())
        for _ in range(3):
            fail_item_lists(fake, after=2)
            with pytest.raises(ServiceUnreachable):
                await app.scanner.scan(full=True)
            clock.pass_time(hours=25)
        assert await delivery_states(app) == {DeliveryState.CONFIRMED: 1}


async def test_scans_during_a_library_scan_do_not_count_towards_a_removal(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await add_delivered_tracks(fake, storage_of(app), [item], clock.now())
        await app.scanner.scan(full=True)
        item.sources[0].sidecars.clear()
        item.touch(clock.now())
        for _ in range(3):
            change_before_page(fake, 1, lambda: run_library_scan(fake, clock))
            await app.scanner.scan(full=True)
            clock.pass_time(hours=25)
        assert await delivery_states(app) == {DeliveryState.CONFIRMED: 1}


async def test_removal_is_remembered_when_the_film_is_renamed(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = FastClock()
        item = add_demo_film(fake, tmp_path / "media", TEXT_FILM, [audio(), text()])
        async with connected_app(fake, tmp_path / "state", clock, languages={"targets": ["es"]}) as app:
            await scan_and_work(app)
            folder = tmp_path / "media" / TEXT_FILM
            (folder / own_name(item, "es")).unlink()
            item.sources[0].sidecars.clear()
            item.touch(clock.now())
            await scan_and_work(app)
            clock.pass_time(hours=25)
            await scan_and_work(app)
            assert await delivery_states(app) == {DeliveryState.REFUSED: 1}

            new_folder = folder.rename(folder.with_name("New"))
            file = (new_folder / f"{TEXT_FILM}.mkv").rename(new_folder / "New.mkv")
            fake.items.clear()
            renamed = film(
                "New",
                [audio(), text()],
                library=fake.libraries[0].id,
                file=file,
                minutes=DEMO_LENGTHS_S[TEXT_FILM] / 60,
            )
            fake.add(renamed)
            await scan_and_work(app)
            assert renamed.sources[0].sidecars == {}
            assert "removed by a user" in (await app.storage.jobs.page())[0].reason


@pytest.mark.parametrize("decision", ["no-speech", "removed"])
async def test_replaced_media_file_is_planned_again(decision: str, tmp_path: Path) -> None:
    """A skip or a removal holds only for the media file that it was decided for."""
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        if decision == "removed":
            await add_delivered_tracks(fake, storage_of(app), [item], clock.now())
            item.sources[0].sidecars.clear()
            for _ in range(2):
                await app.scanner.scan(full=True)
                clock.pass_time(hours=25)
            assert await delivery_states(app) == {DeliveryState.REFUSED: 1}
        else:
            await save_identity(app, item, "f")
            await app.storage.skips.remember(
                Fingerprint("f"), DE, app.planner.skip_key, decision, "contains no speech", clock.now()
            )
        assert (await app.scanner.scan(full=True)).queued == 0
        replace_media(item, clock.now())
        assert (await app.scanner.scan(full=True)).queued == 1
