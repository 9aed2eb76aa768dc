"""The running daemon: events, neighbours that are away, and a clean end."""

import asyncio
import gzip
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from fluxcaption.daemon import Daemon
from fluxcaption.domain.jobs import Job, JobState, Priority, Stage

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeJellyfin, Fault, audio, film, text
from tests.support.app import HEARD, READ, clip, jellyfin, settings
from tests.support.libraries import beside_a_server, films

CERTIFICATE = Path(__file__).parents[1] / "data" / "self-signed.pem"
SECRET = {"Authorization": "Bearer a-secret"}


@asynccontextmanager
async def running(wanted: Any) -> AsyncIterator[Daemon]:
    daemon = Daemon(wanted, clock=FastClock())
    ready = asyncio.Event()
    task = asyncio.create_task(daemon.run(on_ready=ready.set))
    waiter = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    if task.done():
        task.result()
    try:
        yield daemon
    finally:
        daemon.stop()
        async with asyncio.timeout(20):
            await task


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so; the daemon itself says nothing to tests."""
    async with asyncio.timeout(40):
        while not await condition():
            await asyncio.sleep(0.02)


async def jobs(daemon: Daemon) -> list[Job]:
    assert daemon.app is not None
    return list(await daemon.app.storage.jobs.page())


async def call(daemon: Daemon, method: str, path: str, **more: Any) -> tuple[int, Any]:
    assert daemon.web is not None
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://127.0.0.1:{daemon.web.port}{path}", **more) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


def event(item_id: str, **more: Any) -> dict[str, Any]:
    return {
        "NotificationType": "ItemAdded",
        "ItemId": item_id,
        "ServerId": "81ea6ae80e18429d96f4f383a4d5c813",
        **more,
    }


async def test_a_webhook_brings_a_subtitle(tmp_path: Path) -> None:
    async with (
        FakeJellyfin() as fake,
        running(settings(tmp_path / "state", jellyfin(fake), ["es"])) as daemon,
    ):
        await until(lambda: _is(daemon.health.readiness().parts.get("server") is not None))
        new = film(
            READ, [audio(), text()], library=fake.libraries[0].id, file=clip(tmp_path, READ), minutes=61 / 60
        )
        fake.add(new)
        dashed = f"{new.id[:8]}-{new.id[8:12]}-{new.id[12:16]}-{new.id[16:20]}-{new.id[20:]}"
        status, first = await call(daemon, "POST", "/webhook/jellyfin", json=event(dashed), headers=SECRET)
        assert status == 202
        assert isinstance(first["id"], int)

        async def is_delivered() -> bool:
            return (
                f"{READ}.fluxcaption.es.srt" in new.sources[0].sidecars
                and (await jobs(daemon))[0].state is JobState.DONE
            )

        await until(is_delivered)
        status, body = await call(daemon, "GET", "/health/ready")
        assert (status, body["state"]) == (200, "running")


async def _is(value: bool) -> bool:
    return value


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{}", {}, 401, "webhook-secret-wrong"),
        (b"{}", {"Authorization": "Bearer wrong"}, 401, "webhook-secret-wrong"),
        (b"{}", SECRET, 400, "notification-unknown"),
        (b"\xff\xfe{", SECRET, 400, "payload-unreadable"),
        (b"[" * 100_000, SECRET, 413, None),
        (b"[" * 10_000, SECRET, 400, "payload-unreadable"),
        (b'{"NotificationType": "ItemAdded", "ItemId": "../../etc"}', SECRET, 400, "item-id-missing"),
        (json.dumps(event("0" * 32, ServerId="f" * 32)).encode(), SECRET, 403, "wrong-server"),
        (b"x" * 70_000, SECRET, 413, None),
        (
            gzip.compress(b"{}", mtime=0),
            {**SECRET, "Content-Encoding": "gzip"},
            415,
            "encoding-not-supported",
        ),
        (b"{}", {**SECRET, "Content-Encoding": "gzip"}, 415, "encoding-not-supported"),
    ],
)
async def test_a_bad_webhook_is_refused_with_its_reason(
    body: bytes, headers: dict[str, str], status: int, code: str | None, tmp_path: Path
) -> None:
    async with (
        FakeJellyfin() as fake,
        running(settings(tmp_path / "state", jellyfin(fake), ["es"])) as daemon,
    ):
        await until(lambda: _is(daemon.health.readiness().parts.get("server") is not None))
        assert daemon.web is not None
        url = f"http://127.0.0.1:{daemon.web.port}/webhook/jellyfin"
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.post(url, data=body, headers=headers) as answer,
        ):
            assert answer.status == status
            if code:
                problem = await answer.json(content_type=None)
                assert problem["code"] == code
                assert answer.content_type == "application/problem+json"


async def test_a_form_and_a_byte_order_mark_are_understood_and_a_repeat_has_the_same_id(
    tmp_path: Path,
) -> None:
    async with FakeJellyfin() as fake:
        wanted = settings(tmp_path / "state", jellyfin(fake), ["es"])
        fake.break_next("GET /Items", Fault(status=500, times=1000))
        async with running(wanted) as daemon:
            await until(lambda: _is(daemon.health.readiness().parts.get("server") is not None))
            item = "0123456789abcdef0123456789abcdef"
            _, first = await call(daemon, "POST", "/webhook/jellyfin", data=event(item), headers=SECRET)
            _, again = await call(
                daemon,
                "POST",
                "/webhook/jellyfin",
                data=b"\xef\xbb\xbf" + json.dumps(event(item)).encode(),
                headers=SECRET,
            )
            assert first["id"] == again["id"]


async def readiness(daemon: Daemon) -> tuple[int, Any]:
    return await call(daemon, "GET", "/health/ready")


async def test_a_fault_in_one_part_is_shown_and_the_part_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session = {
        "NowPlayingItem": {"Id": "1" * 32},
        "LastPlaybackCheckIn": "2999-01-01T00:00:00Z",
        "PlayState": "playing",
    }
    async with (
        FakeJellyfin() as fake,
        running(settings(tmp_path / "state", jellyfin(fake), ["es"])) as daemon,
    ):
        fake.break_next("GET /Sessions", Fault(nonsense=[session], times=40))

        async def is_shown() -> bool:
            status, body = await readiness(daemon)
            return status == 200 and body["parts"].get("viewers", {}).get("state") == "degraded"

        async def goes_on() -> bool:
            _, body = await readiness(daemon)
            return bool(
                body["parts"]["viewers"]["state"] == "ok"
                and any(exchange.route == "/Sessions" for exchange in fake.received)
            )

        await until(is_shown)
        assert "unexpected AttributeError" in (await readiness(daemon))[1]["parts"]["viewers"]["cause"]
        await until(goes_on)
        assert sum(record.exc_info is not None for record in caplog.records) == 1


@pytest.mark.parametrize(
    "fault", [Fault(nonsense=[1, 2], times=3), Fault(nonsense="text", times=3)], ids=["a list", "a text"]
)
async def test_whatever_answers_at_the_servers_address_it_is_asked_on_until_it_is_the_server(
    fault: Fault, tmp_path: Path
) -> None:
    async with FakeJellyfin() as fake:
        fake.break_next("GET /System/Info/Public", fault)
        async with running(settings(tmp_path / "state", jellyfin(fake), ["es"])) as daemon:

            async def server_is(state: str) -> bool:
                _, body = await readiness(daemon)
                return bool(body["parts"].get("server", {}).get("state") == state)

            await until(lambda: server_is("down"))
            await until(lambda: server_is("ok"))


async def test_a_certificate_file_that_is_not_there_yet_ends_nothing(tmp_path: Path) -> None:
    authority = tmp_path / "authority.pem"
    nobody = {
        "type": "jellyfin",
        "url": "https://127.0.0.1:9",
        "api_key": "0" * 32,
        "ca_file": str(authority),
    }
    async with running(settings(tmp_path / "state", nobody, ["es"])) as daemon:

        async def server_is_down(cause: str) -> bool:
            part = daemon.health.readiness().parts.get("server")
            return part is not None and part.state == "down" and cause in part.cause

        await until(lambda: server_is_down(str(authority)))
        shutil.copy(CERTIFICATE, authority)
        await until(lambda: server_is_down("connection refused"))


async def test_a_path_map_that_leads_nowhere_is_said_once_and_shown_until_it_is_right(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="fluxcaption")
    async with FakeJellyfin() as fake:
        file = clip(tmp_path / "elsewhere", READ)
        fake.add(film(READ, [audio(), text()], library=fake.libraries[0].id, file=file, minutes=61 / 60))
        mapped = {
            **jellyfin(fake),
            "path_map": [{"server": "/media/movies", "local": str(tmp_path / "media")}],
        }
        async with running(settings(tmp_path / "state", mapped, ["es"])) as daemon:

            async def map_is(state: str) -> bool:
                part = daemon.health.readiness().parts.get("path_map")
                return part is not None and part.state == state

            await until(lambda: map_is("degraded"))
            cause = daemon.health.readiness().parts["path_map"].cause
            media = tmp_path / "media" / READ / f"{READ}.mkv"
            assert f"{media} does not exist: correct server.path_map: each pair must name" in cause
            await daemon.scan_requests.request_and_wait(full=True)
            assert sum("server.path_map" in record.getMessage() for record in caplog.records) == 1
            (tmp_path / "elsewhere").rename(tmp_path / "media")
            await daemon.scan_requests.request_and_wait(full=True)
            assert await map_is("ok")


async def test_a_full_state_disk_is_no_fault_of_the_server(tmp_path: Path) -> None:
    async with (
        FakeJellyfin() as fake,
        running(settings(tmp_path / "state", jellyfin(fake), ["es"])) as daemon,
    ):
        await until(lambda: _is(daemon.health.readiness().parts.get("server") is not None))
        writer = daemon.app.storage.database._writer  # type: ignore[union-attr]
        for row in await (await writer.execute("PRAGMA page_count")).fetchall():
            await writer.execute(f"PRAGMA max_page_count={row[0]}")
        for _ in range(200):
            fake.add(film(f"Film {len(fake.items)}", [audio()], library=fake.libraries[0].id))
        daemon.scan_requests.request(full=True)

        async def disk_is_named() -> bool:
            parts = daemon.health.readiness().parts
            return "no space left" in parts["disk"].cause and parts["server"].state == "ok"

        await until(disk_is_named)


async def test_a_database_that_is_locked_for_minutes_ends_nothing(tmp_path: Path) -> None:
    async with (
        FakeJellyfin() as fake,
        running(settings(tmp_path / "state", jellyfin(fake), ["es"])) as daemon,
    ):
        await until(lambda: _is(daemon.health.readiness().parts.get("server") is not None))
        assert daemon.app is not None
        await daemon.app.storage.database._writer.execute("PRAGMA busy_timeout=10")  # type: ignore[attr-defined]
        began = daemon.app.clock.now()
        other = sqlite3.connect(
            tmp_path / "state" / "fluxcaption.sqlite3", isolation_level=None, check_same_thread=False
        )
        # In a thread: what the daemon writes at this moment needs the loop to come to its end.
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
        new = film(
            READ, [audio(), text()], library=fake.libraries[0].id, file=clip(tmp_path, READ), minutes=61 / 60
        )
        fake.add(new)
        assert daemon.web is not None
        url = f"http://127.0.0.1:{daemon.web.port}/webhook/jellyfin"
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json=event(new.id), headers=SECRET) as answer,
        ):
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
            assert (await answer.json(content_type=None))["code"] == "state"
        daemon.scan_requests.request(full=True)

        async def is_down() -> bool:
            status, body = await readiness(daemon)
            return status == 503 and body["parts"]["database"]["state"] == "down"

        async def minutes_are_over() -> bool:
            return bool((daemon.app.clock.now() - began).total_seconds() > 300) if daemon.app else False

        async def is_done() -> bool:
            found = await jobs(daemon)
            return bool(found) and found[0].state is JobState.DONE and (await readiness(daemon))[0] == 200

        await until(is_down)
        await until(minutes_are_over)
        other.execute("ROLLBACK")
        other.close()
        await until(is_done)


async def test_a_page_beyond_all_numbers_is_a_wrong_query_and_a_pause_is_still_shown_after_a_restart(
    tmp_path: Path,
) -> None:
    async with FakeJellyfin() as fake:
        wanted = settings(tmp_path / "state", jellyfin(fake), ["es"])
        async with (
            running(wanted),
            aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(tmp_path / "state" / "control.sock"))
            ) as session,
        ):
            async with session.get(f"http://x/api/jobs?cursor={10**30}") as answer:
                assert (answer.status, (await answer.json(content_type=None))["code"]) == (400, "query-wrong")
            async with session.post("http://x/api/queue/pause") as answer:
                assert answer.status == 200
        async with running(wanted) as daemon:
            assert (await readiness(daemon))[1]["parts"]["queue"]["cause"].startswith("paused by a user")


async def test_a_server_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        fake.break_next("GET /System/Info", Fault(status=503, times=3))
        fake.add(
            film(
                READ,
                [audio(), text()],
                library=fake.libraries[0].id,
                file=clip(tmp_path, READ),
                minutes=61 / 60,
            )
        )
        async with running(settings(tmp_path / "state", jellyfin(fake), ["es"])) as daemon:

            async def is_degraded() -> bool:
                status, body = await call(daemon, "GET", "/health/ready")
                return status == 200 and body["state"] == "degraded"

            async def is_done() -> bool:
                found = await jobs(daemon)
                return bool(found) and found[0].state is JobState.DONE

            await until(is_degraded)
            await until(is_done)


async def test_a_key_that_is_taken_back_parks_the_work_and_a_new_one_lets_it_go_on(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        fake.add(
            film(HEARD, [audio()], library=fake.libraries[0].id, file=clip(tmp_path, HEARD), minutes=70 / 60)
        )
        right = fake.key
        fake.break_next("POST /Videos", Fault(status=401, times=2))
        async with running(settings(tmp_path / "state", jellyfin(fake), ["es"])) as daemon:

            async def was_parked() -> bool:
                return any(exchange.status == 401 for exchange in fake.received)

            async def is_done() -> bool:
                found = await jobs(daemon)
                return bool(found) and found[0].state is JobState.DONE

            await until(was_parked)
            assert fake.key == right
            await until(is_done)
            assert (await jobs(daemon))[0].attempts <= 1


async def test_an_upload_whose_answer_is_lost_is_not_sent_again(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        fake.add(
            film(
                READ,
                [audio(), text()],
                library=fake.libraries[0].id,
                file=clip(tmp_path, READ),
                minutes=61 / 60,
            )
        )
        fake.break_next("POST /Videos", Fault(hang_up=True))
        async with running(settings(tmp_path / "state", jellyfin(fake), ["es"])) as daemon:

            async def is_done() -> bool:
                found = await jobs(daemon)
                return bool(found) and found[0].state is JobState.DONE

            await until(is_done)
            names = list(next(iter(fake.items.values())).sources[0].sidecars)
            assert names == [f"{READ}.fluxcaption.es.srt"]


async def test_the_key_is_in_no_answer_and_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        FakeJellyfin() as fake,
        running(settings(tmp_path / "state", jellyfin(fake), ["es"])) as daemon,
    ):
        await until(lambda: _is(daemon.health.readiness().parts.get("server") is not None))
        _, body = await call(daemon, "GET", "/health/ready")
        assert fake.key not in json.dumps(body)
        assert fake.key not in caplog.text


async def test_a_translator_without_its_model_gives_way_to_the_next(tmp_path: Path) -> None:
    backends = [
        {"type": "local", "model": str(tmp_path / "nowhere")},
        {"type": "local", "model": "miniature"},
    ]
    async with FakeJellyfin() as fake:
        fake.add(
            film(
                READ,
                [audio(), text()],
                library=fake.libraries[0].id,
                file=clip(tmp_path, READ),
                minutes=61 / 60,
            )
        )
        wanted = settings(
            tmp_path / "state", jellyfin(fake), ["es"], translation={"backends": backends, "patience": "0s"}
        )
        async with running(wanted) as daemon:

            async def is_done() -> bool:
                found = await jobs(daemon)
                return bool(found) and found[0].state is JobState.DONE

            await until(is_done)


async def test_each_translator_gets_as_many_jobs_as_it_takes_at_once_and_one_on_this_machine_makes_them_all_polite(
    tmp_path: Path,
) -> None:
    backends = [
        {"type": "ollama", "url": "http://127.0.0.1:9", "model": "m", "concurrency": 4},
        {"type": "local", "model": "miniature"},
    ]
    policy = {"translation": {"backends": backends}}
    async with beside_a_server(tmp_path, **policy) as (fake, clock, app):
        plan = app.workers._stages[Stage.TRANSLATE]
        assert plan.size == 5
        (item,) = films(fake, 1, clock.now())
        fake.somebody_plays(item)
        await app.server_monitor.poll_playback()
        assert plan.lowest_priority() is Priority.NEXT_EPISODE
