"""Webhook events: accepted or refused with a reason, stored durably, and only hints beside the scan."""

import asyncio
import gzip
import json
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from fluxcaption.daemon import Daemon
from fluxcaption.domain.jobs import JobState
from fluxcaption.domain.media import ServerIdentity
from fluxcaption.domain.units import ItemId, ServerId

from tests.fakes.clock import START, FastClock, SimulatedClock
from tests.fakes.jellyfin import FakeItem, FakeJellyfin, Fault, audio, film, new_id, text
from tests.fakes.jellyfin.library import SERVER_ID
from tests.support.app import TEXT_FILM, jellyfin, settings
from tests.support.daemon import (
    NO_TRANSCRIPTION,
    SECRET,
    app_of,
    call,
    event,
    jobs_of,
    readiness,
    running_daemon,
    url_of,
    wait_for_connection,
    wait_for_done_job,
    wait_for_first_scan,
)
from tests.support.libraries import add_demo_film, add_films
from tests.support.openapi import CONTRACT, needs_contract

FOREIGN_SERVER_ID = "f" * 32
PATH = "/webhook/jellyfin"


@asynccontextmanager
async def scanned_daemon(fake: FakeJellyfin, clock: SimulatedClock, state: Path) -> AsyncIterator[Daemon]:
    """Run a daemon that transcribes nothing, after its first scan."""
    fake.now = clock.now
    config = settings(state, jellyfin(fake), ["de"], backlog={"mode": "none"}, schedule=NO_TRANSCRIPTION)
    async with running_daemon(config, clock) as daemon:
        await wait_for_first_scan(daemon)
        yield daemon


@asynccontextmanager
async def listening_daemon(state: Path) -> AsyncIterator[Daemon]:
    """Run a daemon beside a server without items, in real time."""
    async with (
        FakeJellyfin() as fake,
        running_daemon(settings(state, jellyfin(fake), ["de"], backlog={"mode": "none"})) as daemon,
    ):
        yield daemon


async def send(session: aiohttp.ClientSession, daemon: Daemon, kind: str, item_id: str) -> None:
    """Send an event as the plugin does, and require that it is accepted."""
    async with session.post(
        url_of(daemon, PATH),
        data=json.dumps(event(item_id, kind)),
        headers={**SECRET, "Content-Type": "text/plain; charset=utf-8"},
    ) as answer:
        assert answer.status == 202, await answer.text()
        assert int((await answer.json())["id"])


async def post(daemon: Daemon, body: bytes, content_type: str) -> tuple[int, Any]:
    """Send a body with the secret and return the status and the decoded answer."""
    return await call(daemon, "POST", PATH, data=body, headers={**SECRET, "Content-Type": content_type})


async def items_with_jobs(daemon: Daemon, clock: SimulatedClock, length: timedelta) -> set[ItemId]:
    """Advance the time and return the items that have jobs then."""
    await clock.run_for(length)
    # The requests to the server take real time.
    await asyncio.sleep(0.4)
    return {job.item_id for job in await jobs_of(daemon)}


# -- From the event to the job ---------------------------------------------------------------------


async def test_webhook_event_leads_to_a_delivered_track(tmp_path: Path) -> None:
    async with (
        FakeJellyfin() as fake,
        running_daemon(settings(tmp_path / "state", jellyfin(fake), ["es"]), FastClock()) as daemon,
    ):
        await wait_for_connection(daemon)
        item = add_demo_film(fake, tmp_path, TEXT_FILM, [audio(), text()])
        dashed = "-".join((item.id[:8], item.id[8:12], item.id[12:16], item.id[16:20], item.id[20:]))
        status, answer = await call(daemon, "POST", PATH, json=event(dashed), headers=SECRET)
        assert status == 202
        assert isinstance(answer["id"], int)
        await wait_for_done_job(daemon)
        assert f"{TEXT_FILM}.fluxcaption.es.srt" in item.sources[0].sidecars
        status, body = await readiness(daemon)
        assert (status, body["state"]) == (200, "running")


@dataclass(frozen=True)
class Burst:
    """Events as a busy server sends them.

    Attributes:
        sent: Kind and item id of each event, in the order of arrival.
        total: Number of events before some of them were dropped.
        repeats: Number of events that are sent twice.
        displaced: Number of events that arrive out of order.
    """

    sent: list[tuple[str, str]]
    total: int
    repeats: int
    displaced: int


def burst_of(
    count: int, added: list[FakeItem], moved: list[FakeItem], deleted: list[str], dice: random.Random
) -> Burst:
    """Return events of `count` changes: repeated, out of order, and one in ten dropped."""
    events = [("ItemAdded", item.id) for item in added] + [("ItemAdded", item_id) for item_id in deleted]
    dice.shuffle(events)
    # A moved file is deleted and added again; a deleted one is added and then deleted.
    for item in moved:
        place = events.index(("ItemAdded", item.id))
        events.insert(dice.randint(0, place), ("ItemDeleted", item.id))
    for item_id in deleted:
        place = events.index(("ItemAdded", item_id))
        events.insert(dice.randint(place + 1, len(events)), ("ItemDeleted", item_id))
    repeats = 0
    while len(events) < count:
        place = dice.randrange(len(events))
        events.insert(dice.randint(place + 1, len(events)), events[place])
        repeats += 1
    displaced = dice.sample(range(len(events)), len(events) // 20)
    for place in displaced:
        events.insert(dice.randrange(len(events)), events.pop(place))
    sent = [one for one in events if dice.random() >= 0.1]
    return Burst(sent, len(events), repeats, len(displaced))


def add_covered_films(fake: FakeJellyfin, count: int) -> list[FakeItem]:
    """Add films that have a track in the target language already."""
    streams = [audio("eng"), text("ger"), text("eng")]
    covered = [
        film(f"Covered {number}", streams, library=fake.libraries[0].id, added=START)
        for number in range(count)
    ]
    fake.add(*covered)
    return covered


@pytest.mark.parametrize(
    "count", [400, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
async def test_bursts_of_events_and_one_scan_make_exactly_the_right_jobs(count: int, tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = SimulatedClock()
        fake.now = clock.now
        config = settings(
            tmp_path / "state",
            jellyfin(fake),
            ["de"],
            backlog={"mode": "none"},
            limits={"disk_free": 0, "nice": 0, "speech_jobs": 1},
            schedule=NO_TRANSCRIPTION,
        )
        async with running_daemon(config, clock) as daemon:
            await wait_for_first_scan(daemon)
            gaps = add_films(fake, count * 55 // 100, START)
            for item in gaps:
                item.added = START + timedelta(minutes=1)
            covered = add_covered_films(fake, count // 10)
            moved = gaps[: count // 20]
            deleted = [new_id(f"gone {number}") for number in range(count // 20)]
            burst = burst_of(count, [*gaps, *covered], moved, deleted, random.Random(3))
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=32)) as session:
                for first in range(0, len(burst.sent), 500):
                    part = burst.sent[first : first + 500]
                    await asyncio.gather(*(send(session, daemon, *one) for one in part))
            storage = app_of(daemon).storage
            for _ in range(30_000):
                if not await storage.events.due(clock.now()):
                    break
                await clock.run_for(timedelta(seconds=2))
            announced = {ItemId(item.id) for item in gaps if ("ItemAdded", item.id) in burst.sent}
            assert {job.item_id for job in await storage.jobs.page(limit=100_000)} == announced, (
                "exactly the announced items are queued before the scan"
            )
            await daemon.scan_requests.request_and_wait(full=True)
            jobs = await storage.jobs.page(limit=100_000)
            assert {job.item_id for job in jobs} == {ItemId(item.id) for item in gaps}
            assert len(jobs) == len(gaps)
            assert {job.state for job in jobs} <= {JobState.QUEUED, JobState.RUNNING, JobState.PARKED}
            print(
                f"{burst.total} events, {burst.repeats} repeats, {burst.displaced} out of order,"
                f" {burst.total - len(burst.sent)} dropped; {len(moved)} moved, {len(deleted)} deleted:"
                f" {len(announced)} jobs from events, {len(jobs) - len(announced)} more from one scan,"
                f" {len(gaps)} gaps; {len(fake.received)} requests to the server"
            )


async def test_plugin_sends_its_events_when_its_task_is_triggered(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        fake.install_webhook()
        clock = SimulatedClock()
        async with scanned_daemon(fake, clock, tmp_path / "state") as daemon:
            app = app_of(daemon)
            fake.webhook["GenericOptions"] = [
                {
                    "NotificationTypes": ["ItemAdded", "ItemDeleted"],
                    "WebhookUri": url_of(daemon, PATH),
                    "SendAllProperties": True,
                    "Headers": [{"Key": "Authorization", "Value": "Bearer a-secret"}],
                }
            ]
            kept, deleted = (
                film(name, [audio()], library=fake.libraries[0].id, added=clock.now(), now=clock.now())
                for name in ("Kept", "Deleted")
            )
            fake.add_with_event(kept)
            fake.add_with_event(deleted)
            fake.delete_with_event(deleted)
            assert await jobs_of(daemon) == []
            await app.server.trigger_webhook_tasks()
            await clock.run_until(lambda: jobs_of(daemon), step=timedelta(seconds=2))
            assert [job.item_id for job in await jobs_of(daemon)] == [kept.id]
            assert fake.pending_events == []


@pytest.mark.parametrize("cause", ["the server answers with an error", "the item cannot be parsed"])
async def test_event_that_cannot_be_processed_delays_no_other(cause: str, tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = SimulatedClock()
        async with scanned_daemon(fake, clock, tmp_path / "state") as daemon:
            items = add_films(fake, 4, clock.now())
            failing_id = "0" * 31 + "1"
            if cause == "the item cannot be parsed":
                fake.keeps_exchanges = False
                items[0].sources[0].extra["Size"] = "large"
                failing_id = items[0].id
            async with aiohttp.ClientSession() as session:
                for item_id in (failing_id, *(item.id for item in items[1:])):
                    await send(session, daemon, "ItemAdded", item_id)
            found = await items_with_jobs(daemon, clock, timedelta(minutes=1))
            assert found == {item.id for item in items[1:]}
            (waiting,) = await app_of(daemon).storage.events.due(clock.now() + timedelta(days=1))
            assert waiting.item_id == failing_id
            assert waiting.attempts >= 1


@pytest.mark.parametrize("kind", ["Audio", "Trailer", "Recording"])
async def test_event_for_a_kind_that_no_scan_reads_makes_no_job(kind: str, tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = SimulatedClock()
        async with scanned_daemon(fake, clock, tmp_path / "state") as daemon:
            other, ordinary = add_films(fake, 2, clock.now())
            other.kind = kind
            async with aiohttp.ClientSession() as session:
                for item in (other, ordinary):
                    await send(session, daemon, "ItemAdded", item.id)
            assert await items_with_jobs(daemon, clock, timedelta(minutes=1)) == {ordinary.id}


async def test_early_events_of_another_server_are_dropped_at_the_connection(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = SimulatedClock()
        fake.now = clock.now
        fake.is_starting = True
        config = settings(tmp_path / "state", jellyfin(fake), ["de"], backlog={"mode": "none"})
        async with running_daemon(config, clock) as daemon:
            app = app_of(daemon)
            own, foreign = add_films(fake, 2, clock.now())

            async def status_of(item: FakeItem, server_id: str) -> int:
                body = event(item.id, server_id=server_id)
                return (await call(daemon, "POST", PATH, json=body, headers=SECRET))[0]

            assert await status_of(own, SERVER_ID) == 202
            assert await status_of(foreign, FOREIGN_SERVER_ID) == 202
            fake.is_starting = False
            assert await items_with_jobs(daemon, clock, timedelta(minutes=2)) == {own.id}
            assert not await app.storage.events.due(clock.now() + timedelta(days=1))
            assert await status_of(own, FOREIGN_SERVER_ID) == 403
            app.set_server(ServerIdentity(ServerId(FOREIGN_SERVER_ID), "its successor", "10.11.11"))
            assert await status_of(own, FOREIGN_SERVER_ID) == 202


async def test_playback_event_makes_the_daemon_poll_at_once(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = SimulatedClock()
        async with scanned_daemon(fake, clock, tmp_path / "state") as daemon:
            (item,) = add_films(fake, 1, clock.now())
            fake.start_playback(item)
            async with aiohttp.ClientSession() as session:
                await send(session, daemon, "PlaybackStart", item.id)
            await clock.run_until(
                lambda: app_of(daemon).playback.is_anything_playing, step=timedelta(seconds=2)
            )


# -- Accepted and refused requests -----------------------------------------------------------------


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
        (json.dumps(event("0" * 32, server_id=FOREIGN_SERVER_ID)).encode(), SECRET, 403, "wrong-server"),
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
async def test_bad_request_is_refused_with_its_reason(
    body: bytes, headers: dict[str, str], status: int, code: str | None, tmp_path: Path
) -> None:
    async with (
        FakeJellyfin() as fake,
        running_daemon(settings(tmp_path / "state", jellyfin(fake), ["es"]), FastClock()) as daemon,
    ):
        await wait_for_connection(daemon)
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.post(url_of(daemon, PATH), data=body, headers=headers) as answer,
        ):
            assert answer.status == status
            if code:
                problem = await answer.json(content_type=None)
                assert problem["code"] == code
                assert answer.content_type == "application/problem+json"


async def test_form_and_json_with_byte_order_mark_are_one_event(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        fake.break_next("GET /Items", Fault(status=500, times=1000))
        config = settings(tmp_path / "state", jellyfin(fake), ["es"])
        async with running_daemon(config, FastClock()) as daemon:
            await wait_for_connection(daemon)
            body = event("0123456789abcdef0123456789abcdef")
            _, first = await call(daemon, "POST", PATH, data=body, headers=SECRET)
            _, repeat = await call(
                daemon, "POST", PATH, data=b"\xef\xbb\xbf" + json.dumps(body).encode(), headers=SECRET
            )
            assert first["id"] == repeat["id"]


@needs_contract
@pytest.mark.parametrize("version", ["10.10.7", "10.11.11", "12.0-rc5"])
async def test_every_recorded_webhook_request_is_accepted(version: str, tmp_path: Path) -> None:
    async with listening_daemon(tmp_path / "state") as daemon:
        accepted = 0
        for file in sorted((CONTRACT / "recorded" / version).glob("webhook-*.json")):
            for body, content_type in requests_in(json.loads(file.read_text(encoding="utf-8"))):
                body = re.sub(r'("?ServerId"?[=:] ?"?)[0-9a-f-]{32,36}', rf"\g<1>{SERVER_ID}", body)
                status, _ = await post(daemon, body.encode(), content_type)
                is_about_item = ("ItemAdded" in body or "ItemDeleted" in body) and "ItemId" in body
                assert status in ({202} if is_about_item else {202, 400, 403}), (status, body[:200])
                accepted += status == 202
        assert accepted >= 2


def requests_in(value: Any) -> list[tuple[str, str]]:
    """Return body and content type of each request, at any depth of a recording."""
    if isinstance(value, list):
        return [request for part in value for request in requests_in(part)]
    if not isinstance(value, dict):
        return []
    if "body" not in value or "headers" not in value:
        return [request for part in value.values() for request in requests_in(part)]
    body = value["body"]
    if not body:
        return []
    headers = {name.lower(): part for name, part in value["headers"].items()}
    text_body = body if isinstance(body, str) else json.dumps(body)
    return [(text_body, headers.get("content-type", "text/plain"))]


ITEM_ID = new_id("x")
DASHED_ID = "-".join((ITEM_ID[:8], ITEM_ID[8:12], ITEM_ID[12:16], ITEM_ID[16:20], ITEM_ID[20:]))


def item_added(**fields: str) -> bytes:
    """Return the body of an event without a server id."""
    return json.dumps({"NotificationType": "ItemAdded", "ItemId": ITEM_ID, **fields}).encode()


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (item_added(), "application/json"),
        (b"\xef\xbb\xbf" + item_added(), "application/json"),
        (item_added(ItemId=DASHED_ID), "text/plain; charset=utf-8"),
        (f"NotificationType=ItemAdded&ItemId={ITEM_ID}".encode(), "application/x-www-form-urlencoded"),
        (json.dumps(event(ITEM_ID, "PlaybackStart")).encode(), "application/json"),
    ],
    ids=["json", "with a byte order mark", "dashed, as text", "a form", "playback"],
)
async def test_each_form_is_accepted_and_a_repeat_has_the_same_id(
    body: bytes, content_type: str, tmp_path: Path
) -> None:
    async with listening_daemon(tmp_path / "state") as daemon:
        first = await post(daemon, body, content_type)
        assert first[0] == 202
        assert await post(daemon, body, content_type) == first


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
async def test_only_the_secret_as_bearer_token_is_accepted(
    authorization: bytes, status: int, tmp_path: Path
) -> None:
    async with listening_daemon(tmp_path / "state") as daemon:
        assert daemon.web is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", daemon.web.port)
        body = item_added()
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Content-Length: {len(body)}\r\nAuthorization: "
        )
        writer.write(head.encode() + authorization + b"\r\n\r\n" + body)
        answer = await reader.read()
        assert int(answer.split()[1]) == status
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (item_added(Name="[" * 50), "application/json"),
        (item_added(Name='\\" [[[[[[[[[[[[[[[[[[[[[ "'), "application/json"),
        (
            item_added(Overview="one line\nand another\tone").replace(rb"\n", b"\n").replace(rb"\t", b"\t"),
            "text/plain",
        ),
        (
            "&".join(
                [
                    f"NotificationType=ItemAdded&ItemId={ITEM_ID}",
                    *(f"Subtitle_{number}_Codec=srt" for number in range(1200)),
                ]
            ).encode(),
            "application/x-www-form-urlencoded",
        ),
        (
            json.dumps({"NotificationType": "PlaybackProgress", "ItemId": ITEM_ID}).encode(),
            "application/json",
        ),
        (json.dumps({"NotificationType": "UserCreated", "UserId": ITEM_ID}).encode(), "application/json"),
    ],
    ids=[
        "brackets in a name",
        "quotes and brackets in a name",
        "line breaks in an overview",
        "a form of many fields",
        "a type of no use",
        "a type without item",
    ],
)
async def test_every_event_that_a_plugin_may_send_is_accepted(
    body: bytes, content_type: str, tmp_path: Path
) -> None:
    async with listening_daemon(tmp_path / "state") as daemon:
        status, answer = await post(daemon, body, content_type)
        assert status == 202, answer


async def test_plugin_manifest_lists_no_plugins(tmp_path: Path) -> None:
    async with (
        listening_daemon(tmp_path / "state") as daemon,
        aiohttp.ClientSession() as session,
        session.get(url_of(daemon, "/plugin-manifest/manifest.json")) as answer,
    ):
        assert (answer.status, answer.content_type, await answer.json()) == (200, "application/json", [])
