"""The household goes first: what nobody asked for steps aside while somebody watches, and the next episodes come forward."""

import asyncio
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from fluxcaption.domain.jobs import JobState, Priority, Stage
from fluxcaption.domain.units import ItemId

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import KEY, FakeItem, FakeJellyfin, Fault, audio, film, new_id, text
from tests.fakes.jellyfin.admin import User
from tests.support.app import HEARD, clip
from tests.support.deliveries import queue_upload
from tests.support.libraries import app_beside, beside_a_server, films


def episodes(fake: FakeJellyfin, clock: FastClock, count: int) -> list[FakeItem]:
    made = films(fake, count, clock.now(), [audio("eng")])
    for number, item in enumerate(made):
        item.kind = "Episode"
        item.extra = {
            "SeriesName": "Show",
            "SeriesId": "5" * 32,
            "ParentIndexNumber": 1,
            "IndexNumber": number + 1,
        }
    return made


async def test_the_next_two_episodes_go_before_the_new_and_the_backlog(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path, backlog={"mode": "none"}) as (fake, clock, app):
        shows = episodes(fake, clock, 6)
        await app.scanner.scan(full=True)
        assert await app.storage.queue.counts() == {}
        fake.somebody_plays(shows[1])
        await app.server_monitor.poll_playback()
        jobs = {job.item_id: job.priority for job in await app.storage.jobs.page()}
        assert jobs == {
            ItemId(shows[2].id): Priority.NEXT_EPISODE,
            ItemId(shows[3].id): Priority.LATER_EPISODE,
        }
        first = await app.storage.queue.claim(Stage.ACQUIRE, clock.now())
        assert first is not None
        assert first.item_id == shows[2].id


async def test_watching_lets_only_the_asked_and_the_very_next_begin(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        plans = app.workers._stages
        (item,) = films(fake, 1, clock.now())
        assert plans[Stage.ACQUIRE].lowest_priority() is Priority.BACKLOG
        fake.somebody_plays(item)
        assert await app.server_monitor.poll_playback()
        assert plans[Stage.ACQUIRE].lowest_priority() is Priority.NEXT_EPISODE
        assert plans[Stage.TRANSLATE].lowest_priority() is Priority.NEXT_EPISODE
        assert plans[Stage.CONFIRM].lowest_priority() is Priority.BACKLOG
        fake.stops(item)
        assert await app.server_monitor.poll_playback()
        assert plans[Stage.ACQUIRE].lowest_priority() is Priority.BACKLOG


async def test_a_session_that_went_quiet_counts_for_nothing(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        fake.playing[item.id] = clock.now() - timedelta(minutes=4)
        await app.playback.poll()
        assert not app.playback.is_anything_playing


async def test_listening_steps_aside_within_one_decode_and_goes_on_later(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = FastClock()
        async with app_beside(fake, tmp_path / "state", clock, languages={"targets": ["es"]}) as app:
            heard = film(
                HEARD,
                [audio()],
                library=fake.libraries[0].id,
                file=clip(tmp_path / "media", HEARD),
                minutes=70 / 60,
            )
            (other,) = films(fake, 1, clock.now())
            fake.items.pop(other.id)
            fake.add(heard)
            await app.scanner.scan(full=True)
            working = asyncio.create_task(app.workers.run())
            while not app.workers.running:
                await asyncio.sleep(0.01)
            fake.add(other)
            fake.somebody_plays(other)
            await app.server_monitor.poll_playback()
            app.workers.preempt()
            for _ in range(500):
                (job,) = [job for job in await app.storage.jobs.page() if job.item_id == heard.id]
                if not app.workers.running:
                    break
                await asyncio.sleep(0.01)
            assert (job.state, job.reason_code, job.attempts) == (JobState.PARKED, "preempted", 0)
            fake.stops(other)
            await app.server_monitor.poll_playback()
            app.workers.wake()
            for _ in range(3000):
                (job,) = [job for job in await app.storage.jobs.page() if job.item_id == heard.id]
                if job.state is JobState.DONE:
                    break
                await asyncio.sleep(0.01)
            assert job.state is JobState.DONE
            app.workers.stop()
            await working


@pytest.mark.parametrize("version", ["10.10.7", "10.11.11", "12.0.0"])
async def test_which_track_plays_by_itself_before_and_after_a_delivery(version: str, tmp_path: Path) -> None:
    """What notes/jellyfin-server.md J22 says of each mode: only Default, and Always on 10.10, take a file in a language the viewer did not ask for."""
    german = "ger" if version == "10.10.7" else "deu"
    async with FakeJellyfin(version) as fake:
        clock = FastClock()
        with_english, without = films(fake, 2, clock.now(), [audio("jpn"), text("eng")])
        without.sources[0].streams = [
            stream for stream in without.sources[0].streams if stream["Type"] != "Subtitle"
        ]
        for mode in ("Default", "Smart", "Always", "OnlyForced", "None"):
            fake.people[new_id(mode)] = User(mode, new_id(mode), mode=mode, languages="eng")
        async with (
            app_beside(fake, tmp_path, clock) as app,
            aiohttp.ClientSession(headers={"Authorization": f'MediaBrowser Token="{KEY}"'}) as session,
        ):

            async def plays(item: FakeItem) -> dict[str, str | None]:
                """As the server says it to each viewer."""
                told: dict[str, str | None] = {}
                for user in fake.people.values():
                    query = {"ids": item.id, "fields": "MediaSources", "userId": user.id}
                    async with session.get(f"{fake.url}/Items", params=query) as answer:
                        (source,) = (await answer.json())["Items"][0]["MediaSources"]
                    index = source.get("DefaultSubtitleStreamIndex")
                    told[user.mode] = None if index is None else source["MediaStreams"][index].get("Language")
                return told

            before = {item.id: await plays(item) for item in (with_english, without)}
            for item in (with_english, without):
                await queue_upload(app, item)
            await app.workers.run(until_idle=True)
            after = {item.id: await plays(item) for item in (with_english, without)}
            for item in (with_english, without):
                assert list(item.sources[0].sidecars) == [f"{item.sources[0].stem}.fluxcaption.de.srt"]
                print(
                    version,
                    *(
                        f"{mode}: {before[item.id][mode]} -> {after[item.id][mode]};"
                        for mode in after[item.id]
                    ),
                )
            assert before[with_english.id] == {
                "Default": None,
                "Smart": "eng",
                "Always": "eng",
                "OnlyForced": None,
                "None": None,
            }
            assert after[with_english.id] == {**before[with_english.id], "Default": german}
            assert set(before[without.id].values()) == {None}
            assert after[without.id] == {
                **before[without.id],
                "Default": german,
                "Always": german if version == "10.10.7" else None,
            }


async def test_a_server_that_cannot_say_who_watches_is_delivered_to_later(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        await queue_upload(app, item)
        fake.break_next("GET /Sessions", Fault(status=500))
        await app.workers.run(until_idle=True)
        assert item.sources[0].sidecars == {}
        (job,) = await app.storage.jobs.page()
        assert job.state is JobState.PARKED
