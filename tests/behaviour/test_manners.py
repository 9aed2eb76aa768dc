"""The household goes first: what nobody asked for steps aside while somebody watches, and the next episodes come forward."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from fluxcaption.domain.jobs import JobState, Stage, Tier
from fluxcaption.domain.units import ItemId

from tests.behaviour.household import HEARD, clip
from tests.behaviour.libraries import beside_a_server, films, house_beside
from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeItem, FakeJellyfin, Fault, audio, film
from tests.fakes.jellyfin.admin import User, select_subtitle


def episodes(fake: FakeJellyfin, clock: FastClock, count: int) -> list[FakeItem]:
    made = films(fake, count, clock.now(), [audio("eng")])
    for number, item in enumerate(made):
        item.kind = "Episode"
        item.extra = {"SeriesName": "Show", "SeriesId": "5" * 32, "ParentIndexNumber": 1, "IndexNumber": number + 1}
    return made


async def test_the_next_two_episodes_go_before_the_new_and_the_backlog(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path, backlog={"mode": "none"}) as (fake, clock, house):
        shows = episodes(fake, clock, 6)
        await house.scanner.scan(full=True)
        assert await house.store.count_jobs() == {}
        fake.somebody_plays(shows[1])
        await house.companion.look_at_viewers()
        jobs = {job.item_id: job.tier for job in await house.store.jobs()}
        assert jobs == {ItemId(shows[2].id): Tier.NEXT, ItemId(shows[3].id): Tier.SOON}
        first = await house.store.claim(Stage.LISTEN, clock.now())
        assert first is not None
        assert first.item_id == shows[2].id


async def test_watching_lets_only_the_asked_and_the_very_next_begin(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, house):
        plans = house.workers._stages
        (item,) = films(fake, 1, clock.now())
        assert plans[Stage.LISTEN].gate() is Tier.BACKLOG
        fake.somebody_plays(item)
        assert await house.companion.look_at_viewers()
        assert plans[Stage.LISTEN].gate() is Tier.NEXT
        assert plans[Stage.TRANSLATE].gate() is Tier.NEXT
        assert plans[Stage.CONFIRM].gate() is Tier.BACKLOG
        fake.stops(item)
        assert await house.companion.look_at_viewers()
        assert plans[Stage.LISTEN].gate() is Tier.BACKLOG


async def test_a_session_that_went_quiet_counts_for_nothing(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, house):
        (item,) = films(fake, 1, clock.now())
        fake.playing[item.id] = clock.now() - timedelta(minutes=4)
        await house.watcher.look()
        assert not house.watcher.somebody_watches


async def test_listening_steps_aside_within_one_decode_and_goes_on_later(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = FastClock()
        async with house_beside(fake, tmp_path / "state", clock, languages={"targets": ["es"]}) as house:
            heard = film(HEARD, [audio()], library=fake.libraries[0].id, file=clip(tmp_path / "media", HEARD), minutes=70 / 60)
            (other,) = films(fake, 1, clock.now())
            fake.items.pop(other.id)
            fake.add(heard)
            await house.scanner.scan(full=True)
            working = asyncio.create_task(house.workers.run())
            while not house.workers.running:
                await asyncio.sleep(0.01)
            fake.add(other)
            fake.somebody_plays(other)
            await house.companion.look_at_viewers()
            house.workers.step_aside()
            for _ in range(500):
                (job,) = [job for job in await house.store.jobs() if job.item_id == heard.id]
                if not house.workers.running:
                    break
                await asyncio.sleep(0.01)
            assert (job.state, job.reason_code, job.attempts) == (JobState.PARKED, "aside", 0)
            fake.stops(other)
            await house.companion.look_at_viewers()
            house.workers.wake()
            for _ in range(3000):
                (job,) = [job for job in await house.store.jobs() if job.item_id == heard.id]
                if job.state is JobState.DONE:
                    break
                await asyncio.sleep(0.01)
            assert job.state is JobState.DONE
            house.workers.stop()
            await working


@pytest.mark.parametrize("version", ["10.10.7", "10.11.11", "12.0.0"])
@pytest.mark.parametrize("mode", ["Default", "Smart", "Always", "OnlyForced", "None"])
async def test_which_track_plays_by_itself_before_and_after_a_delivery(mode: str, version: str) -> None:
    """What the contract says of each mode: only Default, and Always on 10.10, take a file in a language the viewer did not ask for."""
    fake = FakeJellyfin(version)
    (item,) = films(fake, 1, fake.now(), [audio("jpn"), {**audio("jpn"), "Type": "Subtitle", "Codec": "subrip", "Language": "eng", "IsDefault": False}])
    viewer = User("viewer", "v", mode=mode, languages="eng")
    source = item.sources[0]

    def language() -> str | None:
        streams = source.all_streams(fake.version)
        index = select_subtitle(viewer, streams, fake.version)
        return None if index is None else streams[index].get("Language")

    before = language()
    source.sidecars[f"{source.stem}.fluxcaption.es.srt"] = b"1\n00:00:01,000 --> 00:00:02,000\nHola.\n"
    after = language()
    expected = {"Default": (None, "spa"), "Smart": ("eng", "eng"), "Always": ("eng", "eng"), "OnlyForced": (None, None), "None": (None, None)}
    assert (before, after) == expected[mode]


async def test_a_server_that_cannot_say_who_watches_is_delivered_to_later(tmp_path: Path) -> None:
    from tests.behaviour.test_delivery_is_exactly_once import ready
    from tests.behaviour.test_scans_are_the_truth import store_of

    async with beside_a_server(tmp_path) as (fake, clock, house):
        (item,) = films(fake, 1, clock.now())
        await ready(store_of(house), item, house)
        fake.break_next("GET /Sessions", Fault(status=500))
        await house.workers.run(until_idle=True)
        assert item.sources[0].sidecars == {}
        (job,) = await house.store.jobs()
        assert job.state is JobState.PARKED
