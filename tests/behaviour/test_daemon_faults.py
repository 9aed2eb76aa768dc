"""Faults around the running daemon: each one is reported, costs no work, and ends without a restart."""

import asyncio
import json
import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from fluxcaption.domain.jobs import Priority, Stage
from fluxcaption.health import PartState

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeJellyfin, Fault, audio, film, text
from tests.support.app import CERTIFICATE, SPEECH_FILM, TEXT_FILM, jellyfin, settings
from tests.support.daemon import (
    SECRET,
    app_of,
    event,
    readiness,
    running_daemon,
    url_of,
    wait_for_connection,
    wait_for_done_job,
)
from tests.support.libraries import add_demo_film, add_films, database_of, server_with_app
from tests.support.stages import pool_of
from tests.support.waiting import wait_until


async def test_fault_in_one_part_is_reported_and_the_part_continues(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session = {
        "NowPlayingItem": {"Id": "1" * 32},
        "LastPlaybackCheckIn": "2999-01-01T00:00:00Z",
        "PlayState": "playing",
    }
    async with (
        FakeJellyfin() as fake,
        running_daemon(settings(tmp_path / "state", jellyfin(fake), ["es"]), FastClock()) as daemon,
    ):
        fake.break_next("GET /Sessions", Fault(nonsense=[session], times=40))

        async def is_reported() -> bool:
            status, body = await readiness(daemon)
            return status == 200 and body["parts"].get("viewers", {}).get("state") == "degraded"

        async def continues() -> bool:
            _, body = await readiness(daemon)
            return bool(
                body["parts"]["viewers"]["state"] == "ok"
                and any(exchange.route == "/Sessions" for exchange in fake.received)
            )

        await wait_until(is_reported)
        assert "unexpected AttributeError" in (await readiness(daemon))[1]["parts"]["viewers"]["cause"]
        await wait_until(continues)
        assert sum(record.exc_info is not None for record in caplog.records) == 1


@pytest.mark.parametrize(
    "fault", [Fault(nonsense=[1, 2], times=3), Fault(nonsense="text", times=3)], ids=["a list", "a text"]
)
async def test_connection_is_retried_while_another_service_answers(fault: Fault, tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        fake.break_next("GET /System/Info/Public", fault)
        async with running_daemon(
            settings(tmp_path / "state", jellyfin(fake), ["es"]), FastClock()
        ) as daemon:

            async def server_state() -> object:
                _, body = await readiness(daemon)
                return body["parts"].get("server", {}).get("state")

            async def is_down() -> bool:
                return await server_state() == "down"

            async def is_connected() -> bool:
                return await server_state() == "ok"

            await wait_until(is_down)
            await wait_until(is_connected)


async def test_missing_certificate_file_is_reported_and_read_later(tmp_path: Path) -> None:
    authority = tmp_path / "authority.pem"
    unreachable = {
        "type": "jellyfin",
        "url": "https://127.0.0.1:9",
        "api_key": "0" * 32,
        "ca_file": str(authority),
    }
    async with running_daemon(settings(tmp_path / "state", unreachable, ["es"]), FastClock()) as daemon:

        def server_is_down_because(cause: str) -> bool:
            part = daemon.health.readiness().parts.get("server")
            return part is not None and part.state is PartState.DOWN and cause in part.cause

        await wait_until(lambda: server_is_down_because(str(authority)))
        shutil.copy(CERTIFICATE, authority)
        await wait_until(lambda: server_is_down_because("connection refused"))


async def test_wrong_path_map_is_logged_once_and_reported_until_corrected(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="fluxcaption")
    async with FakeJellyfin() as fake:
        add_demo_film(fake, tmp_path / "elsewhere", TEXT_FILM, [audio(), text()])
        server = {
            **jellyfin(fake),
            "path_map": [{"server": "/media/movies", "local": str(tmp_path / "media")}],
        }
        async with running_daemon(settings(tmp_path / "state", server, ["es"]), FastClock()) as daemon:

            def path_map_is(state: PartState) -> bool:
                part = daemon.health.readiness().parts.get("path_map")
                return part is not None and part.state is state

            await wait_until(lambda: path_map_is(PartState.DEGRADED))
            cause = daemon.health.readiness().parts["path_map"].cause
            media = tmp_path / "media" / TEXT_FILM / f"{TEXT_FILM}.mkv"
            assert f"{media} does not exist: correct server.path_map: each pair must name" in cause
            await daemon.scan_requests.request_and_wait(full=True)
            assert sum("server.path_map" in record.getMessage() for record in caplog.records) == 1
            (tmp_path / "elsewhere").rename(tmp_path / "media")
            await daemon.scan_requests.request_and_wait(full=True)
            assert path_map_is(PartState.OK)


async def test_full_state_disk_is_reported_as_disk_and_not_as_server_fault(tmp_path: Path) -> None:
    async with (
        FakeJellyfin() as fake,
        running_daemon(settings(tmp_path / "state", jellyfin(fake), ["es"]), FastClock()) as daemon,
    ):
        await wait_for_connection(daemon)
        database = database_of(app_of(daemon))
        ((pages,),) = await database.read("PRAGMA page_count")
        await database.write(f"PRAGMA max_page_count={pages}")
        for _ in range(200):
            fake.add(film(f"Film {len(fake.items)}", [audio()], library=fake.libraries[0].id))
        daemon.scan_requests.request(full=True)

        def disk_is_reported() -> bool:
            parts = daemon.health.readiness().parts
            return "no space left" in parts["disk"].cause and parts["server"].state is PartState.OK

        await wait_until(disk_is_reported)


async def test_database_locked_for_minutes_costs_no_work(tmp_path: Path) -> None:
    clock = FastClock()
    async with (
        FakeJellyfin() as fake,
        running_daemon(settings(tmp_path / "state", jellyfin(fake), ["es"]), clock) as daemon,
    ):
        await wait_for_connection(daemon)
        await database_of(app_of(daemon)).write("PRAGMA busy_timeout=10")
        locked_at = clock.now()
        other = sqlite3.connect(
            tmp_path / "state" / "fluxcaption.sqlite3", isolation_level=None, check_same_thread=False
        )
        # In a thread, because a transaction of the daemon that is open now needs the event loop to end.
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
        item = add_demo_film(fake, tmp_path, TEXT_FILM, [audio(), text()])
        async with (
            aiohttp.ClientSession() as session,
            session.post(url_of(daemon, "/webhook/jellyfin"), json=event(item.id), headers=SECRET) as answer,
        ):
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
            assert (await answer.json(content_type=None))["code"] == "state"
        daemon.scan_requests.request(full=True)

        async def is_down() -> bool:
            status, body = await readiness(daemon)
            return status == 503 and body["parts"]["database"]["state"] == "down"

        async def is_ready() -> bool:
            return (await readiness(daemon))[0] == 200

        await wait_until(is_down)
        await wait_until(lambda: clock.now() - locked_at > timedelta(minutes=5))
        other.execute("ROLLBACK")
        other.close()
        await wait_for_done_job(daemon)
        await wait_until(is_ready)


async def test_wrong_cursor_is_refused_and_a_pause_survives_a_restart(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        config = settings(tmp_path / "state", jellyfin(fake), ["es"])
        async with (
            running_daemon(config, FastClock()),
            aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(tmp_path / "state" / "control.sock"))
            ) as session,
        ):
            async with session.get(f"http://x/api/jobs?cursor={10**30}") as answer:
                assert (answer.status, (await answer.json(content_type=None))["code"]) == (400, "query-wrong")
            async with session.post("http://x/api/queue/pause") as answer:
                assert answer.status == 200
        async with running_daemon(config, FastClock()) as daemon:
            assert (await readiness(daemon))[1]["parts"]["queue"]["cause"].startswith("paused by a user")


async def test_server_that_starts_later_is_connected_and_served(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        fake.break_next("GET /System/Info", Fault(status=503, times=3))
        add_demo_film(fake, tmp_path, TEXT_FILM, [audio(), text()])
        async with running_daemon(
            settings(tmp_path / "state", jellyfin(fake), ["es"]), FastClock()
        ) as daemon:

            async def is_degraded() -> bool:
                status, body = await readiness(daemon)
                return bool(status == 200 and body["state"] == "degraded")

            await wait_until(is_degraded)
            await wait_for_done_job(daemon)


async def test_rejected_key_parks_the_work_until_the_key_is_accepted(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        add_demo_film(fake, tmp_path, SPEECH_FILM, [audio()])
        key = fake.key
        fake.break_next("POST /Videos", Fault(status=401, times=2))
        async with running_daemon(
            settings(tmp_path / "state", jellyfin(fake), ["es"]), FastClock()
        ) as daemon:
            await wait_until(lambda: any(exchange.status == 401 for exchange in fake.received), timeout_s=40)
            assert fake.key == key
            job = await wait_for_done_job(daemon)
            assert job.attempts <= 1


async def test_upload_whose_answer_is_lost_is_not_sent_again(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = add_demo_film(fake, tmp_path, TEXT_FILM, [audio(), text()])
        fake.break_next("POST /Videos", Fault(hang_up=True))
        async with running_daemon(
            settings(tmp_path / "state", jellyfin(fake), ["es"]), FastClock()
        ) as daemon:
            await wait_for_done_job(daemon)
            assert list(item.sources[0].sidecars) == [f"{TEXT_FILM}.fluxcaption.es.srt"]


async def test_api_key_is_in_no_answer_and_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        FakeJellyfin() as fake,
        running_daemon(settings(tmp_path / "state", jellyfin(fake), ["es"]), FastClock()) as daemon,
    ):
        await wait_for_connection(daemon)
        _, body = await readiness(daemon)
        assert fake.key not in json.dumps(body)
        assert fake.key not in caplog.text


async def test_translator_without_a_model_is_replaced_by_the_next(tmp_path: Path) -> None:
    backends = [
        {"type": "local", "model": str(tmp_path / "nowhere")},
        {"type": "local", "model": "miniature"},
    ]
    async with FakeJellyfin() as fake:
        add_demo_film(fake, tmp_path, TEXT_FILM, [audio(), text()])
        config = settings(
            tmp_path / "state", jellyfin(fake), ["es"], translation={"backends": backends, "patience": "0s"}
        )
        async with running_daemon(config, FastClock()) as daemon:
            await wait_for_done_job(daemon)


async def test_translation_runs_as_many_jobs_as_all_backends_together_take(tmp_path: Path) -> None:
    # One backend on this machine makes all translation yield to playback.
    backends = [
        {"type": "ollama", "url": "http://127.0.0.1:9", "model": "m", "concurrency": 4},
        {"type": "local", "model": "miniature"},
    ]
    async with server_with_app(tmp_path, translation={"backends": backends}) as (fake, clock, app):
        pool = pool_of(app, Stage.TRANSLATE)
        assert pool.size == 5
        (item,) = add_films(fake, 1, clock.now())
        fake.start_playback(item)
        await app.server_monitor.poll_playback()
        assert pool.lowest_priority() is Priority.NEXT_EPISODE
