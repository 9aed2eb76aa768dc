"""During playback, work that no user requested pauses, and the next episodes are processed first."""

import asyncio
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from fluxcaption.app import App
from fluxcaption.domain.jobs import Job, JobState, Priority, Stage
from fluxcaption.domain.units import ItemId

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import KEY, FakeItem, FakeJellyfin, Fault, audio, new_id, text
from tests.fakes.jellyfin.accounts import User
from tests.support.app import SPEECH_FILM
from tests.support.deliveries import queue_upload
from tests.support.libraries import add_demo_film, add_films, connected_app, own_name, server_with_app
from tests.support.stages import pool_of
from tests.support.waiting import wait_until

MODES = ("Default", "Smart", "Always", "OnlyForced", "None")
"""Subtitle modes of a Jellyfin user."""

Defaults = dict[str, str | None]
"""Languages of the subtitle tracks that the server selects, by subtitle mode; None: it selects none."""


def add_episodes(fake: FakeJellyfin, clock: FastClock, count: int) -> list[FakeItem]:
    """Add the first episodes of a show, with English audio and no text track."""
    episodes = add_films(fake, count, clock.now(), [audio("eng")])
    for number, episode in enumerate(episodes, 1):
        episode.kind = "Episode"
        episode.extra = {
            "SeriesName": "Show",
            "SeriesId": "5" * 32,
            "ParentIndexNumber": 1,
            "IndexNumber": number,
        }
    return episodes


# -- Priorities ------------------------------------------------------------------------------------


async def test_next_two_episodes_are_queued_before_other_work(tmp_path: Path) -> None:
    async with server_with_app(tmp_path, backlog={"mode": "none"}) as (fake, clock, app):
        episodes = add_episodes(fake, clock, 6)
        await app.scanner.scan(full=True)
        assert await app.storage.queue.counts() == {}
        fake.start_playback(episodes[1])
        await app.server_monitor.poll_playback()
        jobs = {job.item_id: job.priority for job in await app.storage.jobs.page()}
        assert jobs == {
            ItemId(episodes[2].id): Priority.NEXT_EPISODE,
            ItemId(episodes[3].id): Priority.LATER_EPISODE,
        }
        first = await app.storage.queue.claim(Stage.ACQUIRE, clock.now())
        assert first is not None
        assert first.item_id == episodes[2].id


@pytest.mark.parametrize(
    "fault",
    [Fault(status=500, times=1000), Fault(nonsense={"Items": [{"Id": "1" * 32}]}, times=1000)],
    ids=["an error", "an incomplete item"],
)
async def test_playback_is_noticed_although_the_next_episodes_cannot_be_read(
    fault: Fault, tmp_path: Path
) -> None:
    async with server_with_app(tmp_path, backlog={"mode": "none"}) as (fake, clock, app):
        episodes = add_episodes(fake, clock, 3)
        await app.scanner.scan(full=True)
        fake.break_next("GET /Items", fault)
        fake.start_playback(episodes[0])
        assert await app.server_monitor.poll_playback()
        fake.faults.clear()
        await app.server_monitor.poll_playback()
        queued = {job.item_id for job in await app.storage.jobs.page()}
        assert queued == {episode.id for episode in episodes[1:]}


async def test_playback_admits_only_requested_jobs_and_the_next_episode(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        acquire, translate, confirm = (
            pool_of(app, stage) for stage in (Stage.ACQUIRE, Stage.TRANSLATE, Stage.CONFIRM)
        )
        assert acquire.lowest_priority() is Priority.BACKLOG
        fake.start_playback(item)
        assert await app.server_monitor.poll_playback()
        assert acquire.lowest_priority() is Priority.NEXT_EPISODE
        assert translate.lowest_priority() is Priority.NEXT_EPISODE
        assert confirm.lowest_priority() is Priority.BACKLOG
        fake.stop_playback(item)
        assert await app.server_monitor.poll_playback()
        assert acquire.lowest_priority() is Priority.BACKLOG


async def test_session_without_recent_reports_is_not_playback(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        fake.playing[item.id] = clock.now() - timedelta(minutes=4)
        await app.playback.poll()
        assert not app.playback.is_anything_playing


# -- Running work ----------------------------------------------------------------------------------


async def test_transcription_is_preempted_within_one_window_and_resumes_later(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = FastClock()
        async with connected_app(fake, tmp_path / "state", clock, languages={"targets": ["es"]}) as app:
            item = add_demo_film(fake, tmp_path / "media", SPEECH_FILM, [audio()])
            await app.scanner.scan(full=True)
            running = asyncio.create_task(app.workers.run())
            await wait_until(lambda: app.workers.running)
            (watched,) = add_films(fake, 1, clock.now())
            fake.start_playback(watched)
            await app.server_monitor.poll_playback()
            app.workers.preempt()
            await wait_until(lambda: not app.workers.running)
            job = await job_of(app, item)
            assert (job.state, job.reason_code, job.attempts) == (JobState.PARKED, "preempted", 0)

            fake.stop_playback(watched)
            await app.server_monitor.poll_playback()
            app.workers.wake()

            async def job_is_done() -> bool:
                return (await job_of(app, item)).state is JobState.DONE

            await wait_until(job_is_done)
            app.workers.stop()
            await running


async def job_of(app: App, item: FakeItem) -> Job:
    """Return the only job of an item."""
    (job,) = [job for job in await app.storage.jobs.page() if job.item_id == item.id]
    return job


# -- Delivery --------------------------------------------------------------------------------------


async def default_tracks(session: aiohttp.ClientSession, fake: FakeJellyfin, item: FakeItem) -> Defaults:
    """Return the language of the subtitle track that the server selects for each user, by subtitle mode."""
    defaults: Defaults = {}
    for user in fake.accounts.values():
        query = {"ids": item.id, "fields": "MediaSources", "userId": user.id}
        async with session.get(f"{fake.url}/Items", params=query) as answer:
            (source,) = (await answer.json())["Items"][0]["MediaSources"]
        index = source.get("DefaultSubtitleStreamIndex")
        defaults[user.mode] = None if index is None else source["MediaStreams"][index].get("Language")
    return defaults


@pytest.mark.parametrize("version", ["10.10.7", "10.11.11", "12.0.0"])
async def test_delivered_track_is_selected_only_in_the_documented_modes(version: str, tmp_path: Path) -> None:
    # A file in a language that the user did not choose is selected by the mode Default, and on 10.10 by
    # Always (notes/jellyfin-server.md J22).
    german = "ger" if version == "10.10.7" else "deu"
    async with FakeJellyfin(version) as fake:
        clock = FastClock()
        with_english, without_text = add_films(fake, 2, clock.now(), [audio("jpn"), text("eng")])
        streams = without_text.sources[0].streams
        without_text.sources[0].streams = [one for one in streams if one["Type"] != "Subtitle"]
        items = (with_english, without_text)
        for mode in MODES:
            fake.accounts[new_id(mode)] = User(mode, new_id(mode), mode=mode, languages="eng")
        headers = {"Authorization": f'MediaBrowser Token="{KEY}"'}
        async with (
            connected_app(fake, tmp_path, clock) as app,
            aiohttp.ClientSession(headers=headers) as session,
        ):
            before = {item.id: await default_tracks(session, fake, item) for item in items}
            for item in items:
                await queue_upload(app, item)
            await app.workers.run(until_idle=True)
            after = {item.id: await default_tracks(session, fake, item) for item in items}

        for item in items:
            assert list(item.sources[0].sidecars) == [own_name(item)]
            changes = (f"{mode}: {before[item.id][mode]} -> {after[item.id][mode]};" for mode in MODES)
            print(version, *changes)
        selects_english = {"Smart": "eng", "Always": "eng"}
        assert before[with_english.id] == {**dict.fromkeys(MODES), **selects_english}
        assert after[with_english.id] == {**before[with_english.id], "Default": german}
        assert before[without_text.id] == dict.fromkeys(MODES)
        assert after[without_text.id] == {
            **dict.fromkeys(MODES),
            "Default": german,
            "Always": german if version == "10.10.7" else None,
        }


async def test_delivery_waits_while_the_server_cannot_report_sessions(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await queue_upload(app, item)
        fake.break_next("GET /Sessions", Fault(status=500))
        await app.workers.run(until_idle=True)
        assert item.sources[0].sidecars == {}
        assert (await job_of(app, item)).state is JobState.PARKED
