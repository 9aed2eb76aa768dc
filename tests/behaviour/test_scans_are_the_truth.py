"""Passes over the library: cheap where nothing changed, complete before anything is concluded, and never fooled by the server's own changes."""

import asyncio
from pathlib import Path

import pytest
from fluxcaption.domain.errors import ServiceUnreachable
from fluxcaption.domain.gaps import DeliveryState
from fluxcaption.domain.jobs import JobState, Outcome, Stage
from fluxcaption.domain.units import Fingerprint
from fluxcaption.storage.store import SqliteStore
from fluxcaption.wiring import House

from tests.behaviour.libraries import DE, beside_a_server, films, finish, house_beside, states
from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeJellyfin, Fault, audio, film, text


def changes(fake: FakeJellyfin, since: int = 0) -> list[str]:
    return [f"{exchange.method} {exchange.route}" for exchange in fake.received[since:] if exchange.method != "GET"]


def store_of(house: House) -> SqliteStore:
    assert isinstance(house.store, SqliteStore)
    return house.store


async def writes(store: SqliteStore) -> int:
    """Rows ever changed on the writing connection."""
    writer = store._db._writer
    assert writer is not None
    return writer.total_changes


async def test_an_unchanged_library_is_passed_over_without_a_full_read_or_a_write(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake, house_beside(fake, tmp_path, FastClock()) as house:
        films(fake, 1200, house.clock.now())
        first = await house.scanner.scan(full=True)
        assert (first.items, first.read, first.queued) == (1200, 1200, 1200)
        assert isinstance(house.clock, FastClock)
        house.clock.pass_time(hours=24)
        before, written = len(fake.received), await writes(store_of(house))
        second = await house.scanner.scan(full=True)
        asked = [exchange.query.get("fields") for exchange in fake.received[before:] if exchange.route == "/Items"]
        assert (second.items, second.read, second.queued) == (1200, 0, 0)
        assert asked == ["Etag"] * 3
        assert await writes(store_of(house)) - written <= 2, "the cursor alone is written"


async def test_only_what_changed_is_read_in_full(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake, house_beside(fake, tmp_path, FastClock()) as house:
        items = films(fake, 300, house.clock.now())
        await house.scanner.scan(full=True)
        items[7].sources[0].sidecars["Film 000007.de.srt"] = b"1\n00:00:01,000 --> 00:00:02,000\nJa.\n"
        items[7].touch(house.clock.now())
        fake.add(film("Another", [audio()], library=fake.libraries[0].id))
        report = await house.scanner.scan(full=True)
        assert report.items == 301
        assert report.read == 2
        assert report.tally.table()["de"].get("covered") == 1


async def test_other_wishes_or_another_server_version_make_every_item_be_read_once(tmp_path: Path) -> None:
    async with FakeJellyfin("10.10.7") as fake:
        clock = FastClock()
        async with house_beside(fake, tmp_path, clock) as house:
            films(fake, 50, clock.now())
            assert (await house.scanner.scan(full=True)).read == 50
            assert (await house.scanner.scan(full=True)).read == 0
            fake.version_text = "10.11.11"
            house.introduce(await house.server.connect())
            assert (await house.scanner.scan(full=True)).read == 50
            assert (await house.scanner.scan(full=True)).read == 0
        async with house_beside(fake, tmp_path, clock, languages={"targets": ["de", "fr"]}) as house:
            assert (await house.scanner.scan(full=True)).read == 50


async def test_an_answer_with_items_nobody_asked_for_is_refused(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake, house_beside(fake, tmp_path, FastClock()) as house:
        items = films(fake, 3, house.clock.now())
        real = fake._rows
        fake._rows = lambda query: list(fake.items.values()) if "ids" in query else real(query)  # type: ignore[method-assign]
        with pytest.raises(Exception, match="nobody asked for"):
            await house.server.fetch_item(items[0].id)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
async def test_a_finished_library_stays_finished_through_upgrades_and_new_ids(count: int, tmp_path: Path) -> None:
    async with FakeJellyfin("10.10.7") as fake, house_beside(fake, tmp_path, FastClock()) as house:
        items = films(fake, count, house.clock.now(), [audio("eng"), text("ger", "PGSSUB"), text("eng")])
        await finish(fake, store_of(house), items, house.clock.now())
        assert isinstance(house.clock, FastClock)
        before = len(fake.received)
        await house.scanner.scan(full=True)
        for version in ("10.11.11", "12.0.0"):
            fake.version_text = version
            house.introduce(await house.server.connect())
            house.clock.pass_time(hours=30)
            await house.scanner.scan(full=True)
        fake.change_all_ids()
        for _ in range(3):
            house.clock.pass_time(hours=30)
            await house.scanner.scan(full=True)
        jobs = await house.store.count_jobs()
        assert {state for _, state in jobs} == {JobState.DONE}
        assert changes(fake, before) == []
        assert await states(store_of(house)) == {DeliveryState.CONFIRMED: count}


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
async def test_tracks_that_a_library_scan_drops_are_never_taken_for_a_no(count: int, tmp_path: Path) -> None:
    async with FakeJellyfin() as fake, house_beside(fake, tmp_path, FastClock()) as house:
        items = films(fake, count, house.clock.now())
        await finish(fake, store_of(house), items, house.clock.now())
        assert isinstance(house.clock, FastClock)
        await house.scanner.scan(full=True)
        for _ in range(3):
            fake.begin_library_scan()
            house.clock.pass_time(minutes=5)
            await house.scanner.scan(full=True)
            assert fake.end_library_scan(drops=0.3) > 0
            for _ in range(3):
                house.clock.pass_time(hours=30)
                await house.scanner.scan(full=True)
        found = await states(store_of(house))
        assert found.get(DeliveryState.REFUSED, 0) == 0
        assert found == {DeliveryState.CONFIRMED: count}
        assert {state for _, state in await house.store.count_jobs()} == {JobState.DONE}
        assert set(changes(fake)) == {"POST /Items/{itemId}/Refresh"}


async def test_a_track_that_somebody_removed_is_a_no_after_two_complete_passes_a_day_apart(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake, house_beside(fake, tmp_path, FastClock()) as house:
        items = films(fake, 5, house.clock.now())
        await finish(fake, store_of(house), items, house.clock.now())
        await house.scanner.scan(full=True)
        items[2].sources[0].sidecars.clear()
        items[2].touch(house.clock.now())
        assert isinstance(house.clock, FastClock)
        for _ in range(5):
            house.clock.pass_time(hours=2)
            await house.scanner.scan(full=True)
        assert await states(store_of(house)) == {DeliveryState.CONFIRMED: 4, DeliveryState.MISSING: 1}
        house.clock.pass_time(hours=24)
        await house.scanner.scan(full=True)
        assert await states(store_of(house)) == {DeliveryState.CONFIRMED: 4, DeliveryState.REFUSED: 1}
        for _ in range(2):
            house.clock.pass_time(hours=30)
            assert (await house.scanner.scan(full=True, lean=False)).queued == 0
        assert {state for _, state in await house.store.count_jobs()} == {JobState.DONE}


async def test_a_renamed_track_of_ours_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake, house_beside(fake, tmp_path, FastClock()) as house:
        (item,) = films(fake, 1, house.clock.now())
        await finish(fake, store_of(house), [item], house.clock.now())
        source = item.sources[0]
        source.sidecars = {f"{source.stem}.german.srt": next(iter(source.sidecars.values()))}
        item.touch(house.clock.now())
        report = await house.scanner.scan(full=True)
        assert report.queued == 0
        reads = [exchange for exchange in fake.received if "Subtitles" in exchange.route]
        assert len(reads) == 1
        item.touch(house.clock.now())
        (decision,) = (await house.planner.plan([await house.server.fetch_item(item.id)]))[0]  # type: ignore[arg-type]
        assert "our own de text track" in decision.reason


SETTLED = ["no-speech", "not-good-enough", "undone", "language-unknown", "spoken"]


@pytest.mark.parametrize("code", SETTLED)
async def test_two_full_scans_after_each_settled_reason_make_no_job(code: str, tmp_path: Path) -> None:
    async with FakeJellyfin() as fake, house_beside(fake, tmp_path, FastClock()) as house:
        (made,) = films(fake, 1, house.clock.now())
        item = await house.server.fetch_item(made.id)  # type: ignore[arg-type]
        source = item.sources[0]
        from fluxcaption.domain.media import MediaIdentity

        await house.store.save_identity(item.server_id, source, MediaIdentity(Fingerprint("f"), source.size_bytes, source.duration_ms))
        await house.store.settle(Fingerprint("f"), DE, "*" if code == "undone" else house.planner.settings_hash, code, f"because {code}", house.clock.now())
        for lean in (False, False):
            assert (await house.scanner.scan(full=True, lean=lean)).queued == 0
        fake.change_all_ids()
        assert (await house.scanner.scan(full=True, lean=False)).queued == 0
        assert await house.store.count_jobs() == {}
        assert changes(fake) == []


async def test_the_loop_answers_while_a_library_is_read(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake, house_beside(fake, tmp_path, FastClock()) as house:
        films(fake, 2000, house.clock.now())
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        ticking = asyncio.create_task(turn())
        await house.scanner.scan(full=True)
        ticking.cancel()
        assert turns > 1000


async def test_a_pass_that_was_broken_off_goes_on_with_what_it_has_not_read(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, house):
        films(fake, 900, clock.now())
        fake.chaos = lambda name: Fault(status=500) if name == "GET /Items" and len([e for e in fake.received if e.route == "/Items"]) >= 3 else None
        with pytest.raises(ServiceUnreachable):
            await house.scanner.scan(full=True)
        fake.chaos = None
        async with house_beside(fake, tmp_path, clock) as house:
            report = await house.scanner.scan(full=True)
            assert report.items == 900
            assert 300 < report.read <= 400
            assert len(await house.store.jobs(limit=2000)) == 900


async def test_an_unchanged_item_whose_job_failed_comes_back_after_a_day(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, house):
        films(fake, 3, clock.now())
        await house.scanner.scan(full=True)
        await house.store.hold_none(clock.now())
        job = await house.store.claim(Stage.LISTEN, clock.now())
        assert job is not None
        await house.store.record(job, Outcome.failed("no", "transient"), clock.now())
        clock.pass_time(hours=12)
        assert (await house.scanner.scan(full=True)).read == 0
        clock.pass_time(hours=13)
        report = await house.scanner.scan(full=True)
        assert (report.read, report.queued) == (1, 1)
        clock.pass_time(hours=13)
        assert (await house.scanner.scan(full=True)).read == 0
