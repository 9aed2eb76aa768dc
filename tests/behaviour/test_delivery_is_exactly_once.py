"""Every track arrives once: through lost replies, errors, lies and restarts, with viewers, on each kind of server."""

import random
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from fluxcaption.domain.gaps import DeliveryState
from fluxcaption.domain.jobs import JobState, NewJob, Outcome, Stage, Tier
from fluxcaption.domain.units import ItemId, ServerId, SourceId
from fluxcaption.storage.store import SqliteStore
from fluxcaption.wiring import House

from tests.behaviour.libraries import DE, beside_a_server, films, house_beside, states, words
from tests.behaviour.test_scans_are_the_truth import store_of
from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeItem, FakeJellyfin, Fault
from tests.fakes.jellyfin.library import SERVER_ID

VERSIONS = ["10.10.7", "10.11.11", "12.0.0"]
HUMAN = b"1\n00:00:01,000 --> 00:00:02,000\nVon Menschenhand.\n"


async def ready(store: SqliteStore, item: FakeItem, house: House, content: bytes | None = None) -> int:
    """A job whose track is finished and waits for delivery."""
    now = house.clock.now()
    await store.add_jobs([NewJob(ServerId(SERVER_ID), ItemId(item.id), SourceId(item.sources[0].id), DE, item.name, Tier.NEW, item.added, "gap")], now)
    job = await store.claim(Stage.LISTEN, now)
    assert job is not None
    await store.note(job.id, track_ref=await store.put_document(content or words(item.name)))
    await store.record(job, Outcome.next(Stage.UPLOAD, "translated by nobody"), now)
    return job.id


async def work(house: House, fake: FakeJellyfin, clock: FastClock, *, hours: float = 0.0, stops_after_claims: int | None = None) -> None:
    """Let the pools run until nothing is due, or until so much time has passed."""
    end = clock.now() + timedelta(hours=hours)
    while True:
        if not hours:
            await house.workers.run(until_idle=True)
            return
        due = await house.store.next_due()
        if due is None or due > end:
            return
        if due > clock.now():
            clock._now = due
        await house.workers.run(until_idle=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
async def test_each_of_many_tracks_arrives_once_whatever_breaks(count: int, version: str, tmp_path: Path) -> None:
    dice = random.Random(7)
    async with FakeJellyfin(version) as fake:
        clock = FastClock()
        fake.now = clock.now
        items = films(fake, count, clock.now())
        for item in items[::3]:
            item.sources[0].sidecars[f"{item.sources[0].stem}.fr.srt"] = HUMAN
        watched = items[: count // 5]
        for item in watched:
            fake.somebody_plays(item)

        def chaos(name: str) -> Fault | None:
            is_upload = name.startswith("POST /Videos")
            if dice.random() >= (0.2 if is_upload else 0.02):
                return None
            kinds = [Fault(hang_up=True), Fault(status=500), Fault(delay_s=0.01), Fault(status=503)]
            return dice.choice([*kinds, Fault(lies=True)] if is_upload else kinds)

        async with house_beside(fake, tmp_path, clock) as house:
            for item in items:
                await ready(store_of(house), item, house)
        fake.chaos = chaos
        for rounds in range(60):
            try:
                async with house_beside(fake, tmp_path, clock) as house:
                    await house.store.requeue_interrupted(clock.now())
                    await work(house, fake, clock, hours=1)
                    open_jobs = sum(n for (_, state), n in (await house.store.count_jobs()).items() if state in {JobState.QUEUED, JobState.PARKED})
            except Exception as error:
                if "gave no usable answer" not in str(error):
                    raise
                clock.pass_time(minutes=2)
                continue
            if not open_jobs:
                break
            clock.pass_time(minutes=30)
            if rounds >= 2:
                for item in [item for item in watched if item.id in fake.playing]:
                    fake.stops(item)
            fake.begin_library_scan()
            clock.pass_time(minutes=1)
            fake.end_library_scan()
        fake.chaos = None

        ours = Counter(name for item in items for name in item.sources[0].sidecars if ".fluxcaption." in name)
        lost = {item.id for item in items if not any(".fluxcaption." in name for name in item.sources[0].sidecars)}
        async with house_beside(fake, tmp_path, clock) as house:
            told = [f"{job.title}: {job.state} in {job.stage}: {job.reason}" for job in await house.store.jobs(limit=count) if job.item_id in lost]
        assert not lost, told
        assert set(ours.values()) == {1}
        assert not [name for name in ours if not name.endswith(".fluxcaption.de.srt")], "a second one beside the first"
        assert all(item.sources[0].sidecars[f"{item.sources[0].stem}.fr.srt"] == HUMAN for item in items[::3])
        assert fake.changed_while_watched == []
        async with house_beside(fake, tmp_path, clock) as house:
            assert await states(store_of(house)) == {DeliveryState.CONFIRMED: count}


async def test_tracks_of_one_film_arrive_together(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path, languages={"targets": ["de", "fr"]}) as (fake, clock, house):
        store = store_of(house)
        (item,) = films(fake, 1, clock.now())
        await ready(store, item, house)
        from fluxcaption.domain.language import LanguageTag

        await store.add_jobs(
            [NewJob(ServerId(SERVER_ID), ItemId(item.id), SourceId(item.sources[0].id), LanguageTag("fr"), item.name, Tier.NEW, item.added, "gap")],
            clock.now(),
        )
        job = await claimed(store, Stage.UPLOAD, clock)
        outcome = await house.workers._stages[Stage.UPLOAD].run(job)
        assert outcome.reason_code == "together"
        assert not [exchange for exchange in fake.received if exchange.method not in {"GET", "HEAD"}]
        await store.record(job, outcome, clock.now())
        other = await claimed(store, Stage.LISTEN, clock)
        await store.note(other.id, track_ref=await store.put_document(words("fr")))
        await store.record(other, Outcome.next(Stage.UPLOAD, "made"), clock.now())
        assert await store.hurry_uploads(ServerId(SERVER_ID), SourceId(item.sources[0].id), clock.now()) == 1
        await house.workers.run(until_idle=True)
        assert len(item.sources[0].sidecars) == 2


async def claimed(store: SqliteStore, stage: Stage, clock: FastClock):  # type: ignore[no-untyped-def]
    job = await store.claim(stage, clock.now())
    assert job is not None
    return job


async def test_a_film_being_watched_is_left_alone_until_ten_minutes_after(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, house):
        (item,) = films(fake, 1, clock.now())
        await ready(store_of(house), item, house)
        fake.somebody_plays(item)
        await work(house, fake, clock, hours=0.5)
        assert not [exchange for exchange in fake.received if exchange.method not in {"GET", "HEAD"}]
        fake.stops(item)
        stopped = clock.now()
        await work(house, fake, clock, hours=2)
        assert fake.changed_while_watched == []
        (delivery,) = await house.store.deliveries(ServerId(SERVER_ID))
        assert delivery.state is DeliveryState.CONFIRMED
        assert delivery.intended_at - stopped >= timedelta(minutes=9)


async def test_what_was_played_before_the_start_is_known_from_the_activity_log(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = FastClock()
        fake.now = clock.now
        (item,) = films(fake, 1, clock.now())
        fake.somebody_plays(item)
        clock.pass_time(minutes=3)
        fake.stops(item)
        clock.pass_time(minutes=5)
        async with house_beside(fake, tmp_path, clock) as house:
            await ready(store_of(house), item, house)
            await house.workers.run(until_idle=True)
            assert item.sources[0].sidecars == {}
            assert fake.changed_while_watched == []


async def test_nothing_is_written_where_the_media_itself_cannot_be_seen(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, house):
        (item,) = films(fake, 1, clock.now())
        await ready(store_of(house), item, house)
        fake.break_next("HEAD /Videos/{itemId}/stream", Fault(status=404))
        await house.workers.run(until_idle=True)
        (job,) = await house.store.jobs()
        assert (job.state, job.reason_code) == (JobState.PARKED, "media-away")
        assert not [exchange for exchange in fake.received if exchange.method not in {"GET", "HEAD"}]


async def test_a_replaced_track_of_ours_keeps_its_name_and_nothing_else_is_deleted(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, house):
        (item,) = films(fake, 1, clock.now())
        store = store_of(house)
        source = item.sources[0]
        source.sidecars[f"{source.stem}.cs.srt"] = HUMAN
        await ready(store, item, house)
        await house.workers.run(until_idle=True)
        await ready(store, item, house, words("better"))
        await house.workers.run(until_idle=True)
        assert source.sidecars == {f"{source.stem}.cs.srt": HUMAN, f"{source.stem}.fluxcaption.de.srt": words("better")}


async def test_the_old_track_is_put_back_where_the_new_one_is_refused(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, house):
        (item,) = films(fake, 1, clock.now())
        store = store_of(house)
        await ready(store, item, house)
        await house.workers.run(until_idle=True)
        old = dict(item.sources[0].sidecars)
        await ready(store, item, house, words("better"))
        fake.break_next("POST /Videos", Fault(status=500))
        await house.workers.run(until_idle=True)
        assert item.sources[0].sidecars == old
        clock.pass_time(hours=1)
        await house.workers.run(until_idle=True)
        assert list(item.sources[0].sidecars.values()) == [words("better")], "and the new one takes its place once the server lets it"


async def test_a_replacement_broken_off_before_the_deletion_goes_on(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, house):
        (item,) = films(fake, 1, clock.now())
        store = store_of(house)
        await ready(store, item, house)
        await house.workers.run(until_idle=True)
        await ready(store, item, house, words("better"))
        # The delete fails after the intent was written down: as kill -9 between the two.
        fake.break_next("DELETE /Videos", Fault(status=500))
        await house.workers.run(until_idle=True)
        assert list(item.sources[0].sidecars.values()) == [words(item.name)]
        clock.pass_time(hours=1)
        await house.workers.run(until_idle=True)
        assert list(item.sources[0].sidecars.values()) == [words("better")]


async def test_what_a_person_asked_for_beside_a_humans_track_stays(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, house):
        (item,) = films(fake, 1, clock.now())
        store = store_of(house)
        source = item.sources[0]
        source.sidecars[f"{source.stem}.de.srt"] = HUMAN
        number = await ready(store, item, house)
        from fluxcaption.domain.jobs import AskedFor

        await house.intake.take_asked(ItemId(item.id), [], AskedFor(redo=True))
        job = await store.claim(Stage.UPLOAD, clock.now()) or await store.claim(Stage.LISTEN, clock.now())
        assert job is not None
        assert job.id == number
        await store.note(job.id, track_ref=await store.put_document(words("asked")))
        await store.record(job, Outcome.next(Stage.UPLOAD, "made"), clock.now())
        await house.workers.run(until_idle=True)
        assert len(source.sidecars) == 2
        assert (await house.scanner.scan(full=True, lean=False)).queued == 0
        assert len(source.sidecars) == 2


async def test_a_humans_track_that_comes_later_retires_ours(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, house):
        (item,) = films(fake, 1, clock.now())
        await ready(store_of(house), item, house)
        await house.workers.run(until_idle=True)
        source = item.sources[0]
        source.sidecars[f"{source.stem}.de.srt"] = HUMAN
        item.touch(clock.now())
        await house.scanner.scan(full=True)
        await house.workers.run(until_idle=True)
        assert source.sidecars == {f"{source.stem}.de.srt": HUMAN}
        assert await states(store_of(house)) == {DeliveryState.WITHDRAWN: 1}
        assert (await house.scanner.scan(full=True, lean=False)).queued == 0


async def test_undo_removes_exactly_ours_and_remembers_the_no(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, house):
        first, second = films(fake, 2, clock.now())
        for item in (first, second):
            await ready(store_of(house), item, house)
        await house.workers.run(until_idle=True)
        edited = second.sources[0]
        edited.sidecars[f"{edited.stem}.fluxcaption.de.srt"] = HUMAN
        first.sources[0].sidecars[f"{first.sources[0].stem}.it.srt"] = HUMAN
        would = await house.deliverer.undo(ServerId(SERVER_ID), None, dry_run=True)
        assert any("would remove" in line for line in would)
        said = await house.deliverer.undo(ServerId(SERVER_ID), None, dry_run=False)
        assert any("was edited by somebody" in line for line in said)
        assert first.sources[0].sidecars == {f"{first.sources[0].stem}.it.srt": HUMAN}
        assert edited.sidecars == {f"{edited.stem}.fluxcaption.de.srt": HUMAN}
        await house.scanner.scan(full=True)
        assert {state for _, state in await house.store.count_jobs()} == {JobState.DONE}


async def test_another_programs_track_does_not_retire_ours(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, house):
        (item,) = films(fake, 1, clock.now())
        await ready(store_of(house), item, house)
        await house.workers.run(until_idle=True)
        source = item.sources[0]
        source.sidecars[f"{source.stem}.ai.de.srt"] = HUMAN
        item.touch(clock.now())
        assert (await house.scanner.scan(full=True)).queued == 0
        assert len(source.sidecars) == 2


async def test_what_was_undone_is_made_again_when_somebody_asks(tmp_path: Path) -> None:
    from tests.behaviour.household import READ, clip
    from tests.fakes.jellyfin import audio, film, text

    async with FakeJellyfin() as fake:
        clock = FastClock()
        item = film(READ, [audio(), text()], library=fake.libraries[0].id, file=clip(tmp_path / "media", READ), minutes=61 / 60)
        fake.add(item)
        async with house_beside(fake, tmp_path / "state", clock, languages={"targets": ["es"]}) as house:
            from fluxcaption.domain.jobs import AskedFor

            async def everything() -> None:
                await house.scanner.scan(full=True)
                await house.store.hold_none(clock.now())
                await house.workers.run(until_idle=True)

            await everything()
            assert len(item.sources[0].sidecars) == 1
            await house.deliverer.undo(ServerId(SERVER_ID), ItemId(item.id), dry_run=False)
            assert item.sources[0].sidecars == {}
            await everything()
            assert item.sources[0].sidecars == {}
            await house.intake.take_asked(ItemId(item.id), [], AskedFor())
            await house.workers.run(until_idle=True)
            assert len(item.sources[0].sidecars) == 1
