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
from fluxcaption.domain.units import ItemId

from tests.behaviour.household import jellyfin, settings
from tests.behaviour.libraries import films
from tests.contract.openapi import CONTRACT, needs_contract
from tests.fakes.clock import START, SimulatedClock
from tests.fakes.jellyfin import FakeJellyfin, audio, film, text
from tests.fakes.jellyfin.library import SERVER_ID, new_id

BEARER = {"Authorization": "Bearer a-secret"}
COVERED = [audio("eng"), text("ger"), text("eng")]


async def send(session: aiohttp.ClientSession, url: str, kind: str, item_id: str) -> int:
    body = {"NotificationType": kind, "ItemId": item_id, "ServerId": SERVER_ID}
    async with session.post(url, data=json.dumps(body), headers={**BEARER, "Content-Type": "text/plain; charset=utf-8"}) as answer:
        assert answer.status == 202, await answer.text()
        return int((await answer.json())["id"])


@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
async def test_bursts_of_webhooks_and_one_scan_give_exactly_the_right_jobs(count: int, tmp_path: Path) -> None:
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
        assert daemon.house is not None
        while not await daemon.house.store.flag("scan-basis"):
            await asyncio.sleep(0.01)
        gaps = films(fake, count * 55 // 100, START)
        for item in gaps:
            item.added = START + timedelta(minutes=1)
        moved, covered = gaps[: count // 20], films_named(fake, count // 10)
        gone = [new_id(f"gone {number}") for number in range(count // 20)]
        events = [("ItemAdded", item.id) for item in [*gaps, *covered]] + [("ItemAdded", item_id) for item_id in gone]
        dice.shuffle(events)
        for item_id, after in [*((item.id, False) for item in moved), *((item_id, True) for item_id in gone)]:
            # What was moved went before it came; what is gone came before it went.
            place = events.index(("ItemAdded", item_id))
            events.insert(dice.randint(place + 1, len(events)) if after else dice.randint(0, place), ("ItemDeleted", item_id))
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
        store = daemon.house.store
        for _ in range(30_000):
            if not await store.open_events(clock.now()):
                break
            await asyncio.sleep(0.02)
        hinted = {ItemId(item.id) for item in gaps if ("ItemAdded", item.id) in sent}
        assert {job.item_id for job in await store.jobs(limit=100_000)} == hinted, "what was told of is queued without any scan, and nothing else"
        await daemon._scan(daemon.house, full=True)
        jobs = await store.jobs(limit=100_000)
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
    made = [film(f"Covered {number}", COVERED, library=fake.libraries[0].id, added=START) for number in range(count)]
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
            settings(tmp_path / "state", jellyfin(fake), ["de"], backlog={"mode": "none"}, schedule={"pause": ["00:00-12:00", "12:00-23:59"]}), clock=clock
        )
        ready = asyncio.Event()
        running = asyncio.create_task(daemon.run(on_ready=ready.set))
        await ready.wait()
        assert daemon.web is not None
        assert daemon.house is not None
        house = daemon.house
        while not await house.store.flag("scan-basis"):
            await asyncio.sleep(0.01)
        fake.webhook["GenericOptions"] = [
            {
                "NotificationTypes": ["ItemAdded", "ItemDeleted"],
                "WebhookUri": f"http://127.0.0.1:{daemon.web.port}/webhook/jellyfin",
                "SendAllProperties": True,
                "Headers": [{"Key": "Authorization", "Value": "Bearer a-secret"}],
            }
        ]
        stays, goes = (film(name, [audio()], library=fake.libraries[0].id, added=clock.now(), now=clock.now()) for name in ("Stays", "Goes"))
        fake.arrives(stays)
        fake.arrives(goes)
        fake.leaves(goes)
        assert await house.store.jobs() == []
        await house.server.hurry_news()
        for _ in range(500):
            if jobs := await house.store.jobs():
                break
            await asyncio.sleep(0.02)
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
                    async with session.post(url, data=body, headers={**BEARER, "Content-Type": content_type}) as answer:
                        kind = "ItemAdded" in body or "ItemDeleted" in body
                        assert answer.status in ({202} if kind and "ItemId" in body else {202, 400, 403}), (answer.status, body[:200])
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
        return [(body if isinstance(body, str) else json.dumps(body), headers.get("content-type", "text/plain"))] if body else []
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
async def test_each_shape_is_taken_and_a_repeat_has_the_same_answer(body: Any, content_type: str, tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        daemon, running, url = await listening(tmp_path, fake)
        answers = []
        async with aiohttp.ClientSession() as session:
            for _ in range(2):
                async with session.post(url, data=body(new_id("x")), headers={**BEARER, "Content-Type": content_type}) as answer:
                    assert answer.status == 202
                    answers.append((await answer.json())["id"])
        daemon.stop()
        await running
        assert len(answers) == 2


async def test_the_plugin_repository_is_empty_until_there_is_a_plugin_of_our_own(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        daemon, running, url = await listening(tmp_path, fake)
        async with aiohttp.ClientSession() as session, session.get(url.replace("/webhook/jellyfin", "/plugin-manifest/manifest.json")) as answer:
            assert (answer.status, answer.content_type, await answer.json()) == (200, "application/json", [])
        daemon.stop()
        await running
