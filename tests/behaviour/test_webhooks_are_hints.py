"""Ten thousand webhooks, doubled, dropped and out of order, and one scan: exactly the right jobs. And every shape a plugin sends."""

import asyncio
import json
import random
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from fluxcaption.daemon import Daemon
from fluxcaption.domain.jobs import JobState
from fluxcaption.domain.media import ServerIdentity
from fluxcaption.domain.units import ItemId, ServerId

from tests.fakes.clock import START, SimulatedClock
from tests.fakes.jellyfin import FakeJellyfin, audio, film, text
from tests.fakes.jellyfin.library import SERVER_ID, new_id
from tests.support.app import jellyfin, settings
from tests.support.libraries import films
from tests.support.openapi import CONTRACT, needs_contract

BEARER = {"Authorization": "Bearer a-secret"}
COVERED = [audio("eng"), text("ger"), text("eng")]


async def send(session: aiohttp.ClientSession, url: str, kind: str, item_id: str) -> int:
    body = {"NotificationType": kind, "ItemId": item_id, "ServerId": SERVER_ID}
    async with session.post(
        url, data=json.dumps(body), headers={**BEARER, "Content-Type": "text/plain; charset=utf-8"}
    ) as answer:
        assert answer.status == 202, await answer.text()
        return int((await answer.json())["id"])


@pytest.mark.parametrize(
    "count", [400, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
async def test_bursts_of_webhooks_and_one_scan_give_exactly_the_right_jobs(
    count: int, tmp_path: Path
) -> None:
    dice = random.Random(3)
    async with FakeJellyfin() as fake:
        clock = SimulatedClock()
        fake.now = clock.now
        wanted = settings(
            tmp_path / "state",
            jellyfin(fake),
            ["de"],
            backlog={"mode": "none"},
            limits={"disk_free": 0, "nice": 0, "speech_jobs": 1},
            schedule={"pause": ["00:00-12:00", "12:00-23:59"]},
        )
        daemon = Daemon(wanted, clock=clock)
        ready = asyncio.Event()
        running = asyncio.create_task(daemon.run(on_ready=ready.set))
        await ready.wait()
        assert daemon.web is not None
        assert daemon.app is not None
        while not await daemon.app.storage.state_values.get("scan-basis"):
            await asyncio.sleep(0.01)
        gaps = films(fake, count * 55 // 100, START)
        for item in gaps:
            item.added = START + timedelta(minutes=1)
        moved, covered = gaps[: count // 20], films_named(fake, count // 10)
        gone = [new_id(f"gone {number}") for number in range(count // 20)]
        events = [("ItemAdded", item.id) for item in [*gaps, *covered]] + [
            ("ItemAdded", item_id) for item_id in gone
        ]
        dice.shuffle(events)
        for item_id, after in [*((item.id, False) for item in moved), *((item_id, True) for item_id in gone)]:
            # What was moved went before it came; what is gone came before it went.
            place = events.index(("ItemAdded", item_id))
            events.insert(
                dice.randint(place + 1, len(events)) if after else dice.randint(0, place),
                ("ItemDeleted", item_id),
            )
        repeated = 0
        while len(events) < count:
            place = dice.randrange(len(events))
            events.insert(dice.randint(place + 1, len(events)), events[place])
            repeated += 1
        displaced = dice.sample(range(len(events)), len(events) // 20)
        for place in displaced:
            events.insert(dice.randrange(len(events)), events.pop(place))
        sent = [event for event in events if dice.random() >= 0.1]
        url = f"http://127.0.0.1:{daemon.web.port}/webhook/jellyfin"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=32)) as session:
            for first in range(0, len(sent), 500):
                await asyncio.gather(*(send(session, url, *event) for event in sent[first : first + 500]))
        storage = daemon.app.storage
        for _ in range(30_000):
            if not await storage.events.due(clock.now()):
                break
            await clock.run_for(timedelta(seconds=2))
        hinted = {ItemId(item.id) for item in gaps if ("ItemAdded", item.id) in sent}
        assert {job.item_id for job in await storage.jobs.page(limit=100_000)} == hinted, (
            "what was told of is queued without any scan, and nothing else"
        )
        await daemon.scan_requests.request_and_wait(full=True)
        jobs = await storage.jobs.page(limit=100_000)
        assert {job.item_id for job in jobs} == {ItemId(item.id) for item in gaps}
        assert len(jobs) == len(gaps)
        assert {job.state for job in jobs} <= {JobState.QUEUED, JobState.RUNNING, JobState.PARKED}
        print(
            f"{len(events)} events, {repeated} of them repeats, {len(displaced)} out of order, {len(events) - len(sent)} dropped; {len(moved)} moved and {len(gone)} gone again:"
            f" {len(hinted)} jobs from hints, {len(jobs) - len(hinted)} more from one scan, of {len(gaps)} gaps; {len(fake.received)} requests to the server"
        )
        daemon.stop()
        await running


def films_named(fake: FakeJellyfin, count: int) -> list[Any]:
    made = [
        film(f"Covered {number}", COVERED, library=fake.libraries[0].id, added=START)
        for number in range(count)
    ]
    fake.add(*made)
    return made


async def listening(tmp_path: Path, fake: FakeJellyfin) -> tuple[Daemon, "asyncio.Task[None]", str]:
    daemon = Daemon(settings(tmp_path / "state", jellyfin(fake), ["de"], backlog={"mode": "none"}))
    ready = asyncio.Event()
    running = asyncio.create_task(daemon.run(on_ready=ready.set))
    await ready.wait()
    assert daemon.web is not None
    return daemon, running, f"http://127.0.0.1:{daemon.web.port}/webhook/jellyfin"


async def test_the_servers_own_news_come_when_its_task_is_run(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        fake.install_webhook()
        clock = SimulatedClock()
        fake.now = clock.now
        daemon = Daemon(
            settings(
                tmp_path / "state",
                jellyfin(fake),
                ["de"],
                backlog={"mode": "none"},
                schedule={"pause": ["00:00-12:00", "12:00-23:59"]},
            ),
            clock=clock,
        )
        ready = asyncio.Event()
        running = asyncio.create_task(daemon.run(on_ready=ready.set))
        await ready.wait()
        assert daemon.web is not None
        assert daemon.app is not None
        app = daemon.app
        while not await app.storage.state_values.get("scan-basis"):
            await asyncio.sleep(0.01)
        fake.webhook["GenericOptions"] = [
            {
                "NotificationTypes": ["ItemAdded", "ItemDeleted"],
                "WebhookUri": f"http://127.0.0.1:{daemon.web.port}/webhook/jellyfin",
                "SendAllProperties": True,
                "Headers": [{"Key": "Authorization", "Value": "Bearer a-secret"}],
            }
        ]
        stays, goes = (
            film(name, [audio()], library=fake.libraries[0].id, added=clock.now(), now=clock.now())
            for name in ("Stays", "Goes")
        )
        fake.arrives(stays)
        fake.arrives(goes)
        fake.leaves(goes)
        assert await app.storage.jobs.page() == []
        await app.server.trigger_webhook_tasks()
        for _ in range(500):
            if jobs := await app.storage.jobs.page():
                break
            await clock.run_for(timedelta(seconds=2))
        assert [job.item_id for job in jobs] == [stays.id]
        assert fake.news == []
        daemon.stop()
        await running


@needs_contract
@pytest.mark.parametrize("version", ["10.10.7", "10.11.11", "12.0-rc5"])
async def test_every_recorded_delivery_is_taken(version: str, tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        daemon, running, url = await listening(tmp_path, fake)
        taken = 0
        async with aiohttp.ClientSession() as session:
            for file in sorted((CONTRACT / "recorded" / version).glob("webhook-*.json")):
                for body, content_type in deliveries_in(json.loads(file.read_text(encoding="utf-8"))):
                    body = re.sub(r'("?ServerId"?[=:] ?"?)[0-9a-f-]{32,36}', rf"\g<1>{SERVER_ID}", body)
                    async with session.post(
                        url, data=body, headers={**BEARER, "Content-Type": content_type}
                    ) as answer:
                        kind = "ItemAdded" in body or "ItemDeleted" in body
                        assert answer.status in ({202} if kind and "ItemId" in body else {202, 400, 403}), (
                            answer.status,
                            body[:200],
                        )
                        taken += answer.status == 202
        daemon.stop()
        await running
        assert taken >= 2


def deliveries_in(value: Any) -> list[tuple[str, str]]:
    """Bodies with their content type, wherever in a recording they stand."""
    if isinstance(value, list):
        return [found for part in value for found in deliveries_in(part)]
    if not isinstance(value, dict):
        return []
    if "body" in value and "headers" in value:
        headers = {name.lower(): part for name, part in value["headers"].items()}
        body = value["body"]
        return (
            [(body if isinstance(body, str) else json.dumps(body), headers.get("content-type", "text/plain"))]
            if body
            else []
        )
    return [found for part in value.values() for found in deliveries_in(part)]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (lambda item: json.dumps({"NotificationType": "ItemAdded", "ItemId": item}).encode(), "application/json"),
        (lambda item: b"\xef\xbb\xbf" + json.dumps({"NotificationType": "ItemAdded", "ItemId": item}).encode(), "application/json"),
        (lambda item: json.dumps({"NotificationType": "ItemAdded", "ItemId": f"{item[:8]}-{item[8:12]}-{item[12:16]}-{item[16:20]}-{item[20:]}"}).encode(), "text/plain; charset=utf-8"),
        (lambda item: f"NotificationType=ItemAdded&ItemId={item}".encode(), "application/x-www-form-urlencoded"),
        (lambda item: json.dumps({"NotificationType": "PlaybackStart", "ItemId": item, "ServerId": SERVER_ID}).encode(), "application/json"),
    ],
    ids=["json", "with a byte order mark", "dashed, as text", "a form", "playback"],
)  # fmt: skip
async def test_each_shape_is_taken_and_a_repeat_has_the_same_answer(
    body: Any, content_type: str, tmp_path: Path
) -> None:
    async with FakeJellyfin() as fake:
        daemon, running, url = await listening(tmp_path, fake)
        answers = []
        async with aiohttp.ClientSession() as session:
            for _ in range(2):
                async with session.post(
                    url, data=body(new_id("x")), headers={**BEARER, "Content-Type": content_type}
                ) as answer:
                    assert answer.status == 202
                    answers.append((await answer.json())["id"])
        daemon.stop()
        await running
        assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (b"Bearer a-secret", 202),
        (b"bearer a-secret", 202),
        (b"a-secret", 401),
        (b"Basic a-secret", 401),
        (b"Bearer \xff\xfe", 401),
        (b"", 401),
    ],
)
async def test_the_secret_is_a_bearer_token_whatever_bytes_are_sent_instead(
    authorization: bytes, status: int, tmp_path: Path
) -> None:
    async with FakeJellyfin() as fake:
        daemon, running, _ = await listening(tmp_path, fake)
        assert daemon.web is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", daemon.web.port)
        body = json.dumps({"NotificationType": "ItemAdded", "ItemId": new_id("x")}).encode()
        head = f"POST /webhook/jellyfin HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\nAuthorization: "
        writer.write(head.encode() + authorization + b"\r\n\r\n" + body)
        answer = await reader.read()
        assert int(answer.split()[1]) == status
        writer.close()
        await writer.wait_closed()
        daemon.stop()
        await running


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (json.dumps({"NotificationType": "ItemAdded", "ItemId": new_id("x"), "Name": "[" * 50}), "application/json"),
        (json.dumps({"NotificationType": "ItemAdded", "ItemId": new_id("x"), "Name": '\\" [[[[[[[[[[[[[[[[[[[[[ "'}), "application/json"),
        (f'{{"NotificationType": "ItemAdded", "ItemId": "{new_id("x")}", "Overview": "one line\nand another\tone"}}', "text/plain"),
        ("&".join([f"NotificationType=ItemAdded&ItemId={new_id('x')}", *(f"Subtitle_{number}_Codec=srt" for number in range(1200))]), "application/x-www-form-urlencoded"),
        (json.dumps({"NotificationType": "PlaybackProgress", "ItemId": new_id("x")}), "application/json"),
        (json.dumps({"NotificationType": "UserCreated", "UserId": new_id("x")}), "application/json"),
    ],
    ids=["brackets in a name", "quotes and brackets in a name", "line breaks in an overview", "a form of many fields", "a type of no use", "a type without item"],
)  # fmt: skip
async def test_what_a_plugin_may_send_is_taken(body: str, content_type: str, tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        daemon, running, url = await listening(tmp_path, fake)
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=body.encode(), headers={**BEARER, "Content-Type": content_type}) as answer,
        ):
            assert answer.status == 202, await answer.text()
        daemon.stop()
        await running


async def jobs_after(daemon: Daemon, clock: SimulatedClock, length: timedelta) -> set[ItemId]:
    """For which items there are jobs, after so long."""
    assert daemon.app is not None
    await clock.run_for(length)
    for _ in range(20):
        await asyncio.sleep(0.02)
    return {job.item_id for job in await daemon.app.storage.jobs.page()}


async def beside(
    fake: FakeJellyfin, clock: SimulatedClock, tmp_path: Path
) -> tuple[Daemon, "asyncio.Task[None]"]:
    """A daemon whose first pass over an empty library is over, and that listens to nothing."""
    fake.now = clock.now
    more = {"backlog": {"mode": "none"}, "schedule": {"pause": ["00:00-12:00", "12:00-23:59"]}}
    daemon = Daemon(settings(tmp_path / "state", jellyfin(fake), ["de"], **more), clock=clock)
    ready = asyncio.Event()
    running = asyncio.create_task(daemon.run(on_ready=ready.set))
    await ready.wait()
    assert daemon.app is not None
    while not await daemon.app.storage.state_values.get("scan-basis"):
        await asyncio.sleep(0.01)
    return daemon, running


@pytest.mark.parametrize("trouble", ["the server fails at it", "it is not to be understood"])
async def test_an_event_that_cannot_be_followed_holds_up_no_other(trouble: str, tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = SimulatedClock()
        daemon, running = await beside(fake, clock, tmp_path)
        assert daemon.web is not None
        assert daemon.app is not None
        new = films(fake, 4, clock.now())
        bad = "0" * 31 + "1"
        if trouble == "it is not to be understood":
            fake.keeps_exchanges = False
            new[0].sources[0].extra["Size"] = "large"
            bad = new[0].id
        async with aiohttp.ClientSession() as session:
            for item_id in (bad, *(item.id for item in new[1:])):
                await send(
                    session, f"http://127.0.0.1:{daemon.web.port}/webhook/jellyfin", "ItemAdded", item_id
                )
        assert await jobs_after(daemon, clock, timedelta(minutes=1)) == {item.id for item in new[1:]}
        (waiting,) = await daemon.app.storage.events.due(clock.now() + timedelta(days=1))
        assert waiting.item_id == bad
        assert waiting.attempts >= 1
        daemon.stop()
        await running


@pytest.mark.parametrize("kind", ["Audio", "Trailer", "Recording"])
async def test_what_no_pass_reads_gets_no_job_from_an_event_either(kind: str, tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = SimulatedClock()
        daemon, running = await beside(fake, clock, tmp_path)
        assert daemon.web is not None
        new = films(fake, 2, clock.now())
        new[0].kind = kind
        async with aiohttp.ClientSession() as session:
            for item in new:
                await send(
                    session, f"http://127.0.0.1:{daemon.web.port}/webhook/jellyfin", "ItemAdded", item.id
                )
        assert await jobs_after(daemon, clock, timedelta(minutes=1)) == {new[1].id}
        daemon.stop()
        await running


async def test_events_of_another_server_that_came_before_the_first_answer_are_dropped(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = SimulatedClock()
        fake.now = clock.now
        fake.is_starting = True
        daemon = Daemon(
            settings(tmp_path / "state", jellyfin(fake), ["de"], backlog={"mode": "none"}), clock=clock
        )
        ready = asyncio.Event()
        running = asyncio.create_task(daemon.run(on_ready=ready.set))
        await ready.wait()
        assert daemon.web is not None
        assert daemon.app is not None
        own, foreign = films(fake, 2, clock.now())
        url = f"http://127.0.0.1:{daemon.web.port}/webhook/jellyfin"
        async with aiohttp.ClientSession() as session:
            for item, server_id in ((own, SERVER_ID), (foreign, "f" * 32)):
                body = {"NotificationType": "ItemAdded", "ItemId": item.id, "ServerId": server_id}
                async with session.post(url, json=body, headers=BEARER) as answer:
                    assert answer.status == 202
            fake.is_starting = False
            assert await jobs_after(daemon, clock, timedelta(minutes=2)) == {own.id}
            assert not await daemon.app.storage.events.due(clock.now() + timedelta(days=1))
            async with session.post(
                url,
                json={"NotificationType": "ItemAdded", "ItemId": own.id, "ServerId": "f" * 32},
                headers=BEARER,
            ) as answer:
                assert answer.status == 403
            daemon.app.set_server(ServerIdentity(ServerId("f" * 32), "its successor", "10.11.11"))
            async with session.post(
                url,
                json={"NotificationType": "ItemAdded", "ItemId": own.id, "ServerId": "f" * 32},
                headers=BEARER,
            ) as answer:
                assert answer.status == 202
        daemon.stop()
        await running


async def test_word_that_somebody_began_to_play_has_the_server_asked_at_once(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = SimulatedClock()
        daemon, running = await beside(fake, clock, tmp_path)
        assert daemon.web is not None
        assert daemon.app is not None
        (item,) = films(fake, 1, clock.now())
        fake.somebody_plays(item)
        async with aiohttp.ClientSession() as session:
            await send(
                session, f"http://127.0.0.1:{daemon.web.port}/webhook/jellyfin", "PlaybackStart", item.id
            )
        async with asyncio.timeout(10):
            while not daemon.app.playback.is_anything_playing:
                await clock.run_for(timedelta(seconds=2))
        daemon.stop()
        await running


async def test_the_plugin_repository_is_empty_until_there_is_a_plugin_of_our_own(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        daemon, running, url = await listening(tmp_path, fake)
        async with (
            aiohttp.ClientSession() as session,
            session.get(url.replace("/webhook/jellyfin", "/plugin-manifest/manifest.json")) as answer,
        ):
            assert (answer.status, answer.content_type, await answer.json()) == (200, "application/json", [])
        daemon.stop()
        await running
