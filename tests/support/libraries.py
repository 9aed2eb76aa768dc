"""Fake libraries with the app connected to them: many films without bytes, delivered tracks, demo films."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fluxcaption.app import App, build_app
from fluxcaption.domain.cues import hash_cues
from fluxcaption.domain.deliveries import Delivery, DeliveryState
from fluxcaption.domain.jobs import NewJob, Outcome, Priority, Stage
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import Item, MediaIdentity, MediaSource
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, Ms, ServerId
from fluxcaption.jellyfin.parse import read_item
from fluxcaption.pipeline.discovery.scan_run import ScanReport
from fluxcaption.storage.database import Database
from fluxcaption.storage.storage import SqliteStorage
from fluxcaption.subtitles.codec import Pysubs2Codec

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeItem, FakeJellyfin, Fault, audio, film, new_id, text
from tests.fakes.jellyfin.library import SERVER_ID
from tests.support.app import SPEECH_FILM, TEXT_FILM, clip, jellyfin, settings

DE = LanguageTag("de")
SERVER = ServerId(SERVER_ID)

DEMO_LENGTHS_S = {SPEECH_FILM: 70, TEXT_FILM: 61}

_BATCH = 500


def german_srt(title: str) -> bytes:
    """Return a track of two cues whose first line is the title."""
    first = f"1\n00:00:01,000 --> 00:00:02,500\n{title}.\n"
    second = "2\n00:00:03,000 --> 00:00:04,500\nGuten Abend.\n"
    return f"{first}\n{second}".encode()


def own_name(item: FakeItem, target: LanguageTag | str = DE) -> str:
    """Return the file name of the FluxCaption track of an item."""
    return f"{item.sources[0].stem}.fluxcaption.{target}.srt"


# -- Films -------------------------------------------------------------------------------------


def add_films(
    fake: FakeJellyfin, count: int, now: datetime, streams: list[dict[str, Any]] | None = None
) -> list[FakeItem]:
    """Add films that were added one hour apart, by default with English audio and text tracks."""
    films = [
        film(
            f"Film {number:06d}",
            [audio("eng"), text("eng")] if streams is None else streams,
            library=fake.libraries[0].id,
            added=now - timedelta(hours=count - number),
            minutes=90,
            now=now - timedelta(days=30),
        )
        for number in range(count)
    ]
    fake.add(*films)
    return films


def add_demo_film(
    fake: FakeJellyfin, folder: Path, title: str, streams: list[dict[str, Any]], name: str | None = None
) -> FakeItem:
    """Add a film whose file is a copy of a demo clip below `folder`."""
    item = film(
        name or title,
        streams,
        library=fake.libraries[0].id,
        file=clip(folder, title, name),
        minutes=DEMO_LENGTHS_S[title] / 60,
    )
    fake.add(item)
    return item


def replace_media(item: FakeItem, now: datetime) -> None:
    """Give the item another media file under the same name."""
    source = item.sources[0]
    source.size, source.etag = source.size + 5000, new_id(f"another {source.etag}")
    item.touch(now)


# -- Delivered tracks --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Delivered:
    """One item with a German FluxCaption track beside it."""

    item: Item
    content: bytes
    file_name: str
    path: str

    @property
    def source(self) -> MediaSource:
        return self.item.sources[0]

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint(f"f{self.item.id}")


async def add_delivered_tracks(
    fake: FakeJellyfin, storage: SqliteStorage, items: list[FakeItem], now: datetime
) -> None:
    """Give each film a confirmed German track, with the job, the delivery and the identity it leaves."""
    for first in range(0, len(items), _BATCH):
        batch = [_write_own_track(fake, item) for item in items[first : first + _BATCH]]
        await _add_done_jobs(storage, batch, now)
        await asyncio.gather(*(_add_confirmed_delivery(storage, track, now) for track in batch))
        for track in batch:
            source = track.source
            await storage.identities.save(
                track.item.server_id,
                source,
                MediaIdentity(track.fingerprint, source.size_bytes, Ms(source.duration_ms)),
            )


def _write_own_track(fake: FakeJellyfin, item: FakeItem) -> _Delivered:
    source = item.sources[0]
    content, name = german_srt(source.stem), own_name(item)
    source.sidecars[name] = content
    answer = item.dto({"MediaSources", "Path", "Etag", "DateCreated"}, fake.version)
    return _Delivered(read_item(answer, "Movies"), content, name, f"{source.folder}/{name}")


async def _add_done_jobs(storage: SqliteStorage, batch: Sequence[_Delivered], now: datetime) -> None:
    new_jobs = [
        NewJob(
            track.item.server_id,
            track.item.id,
            track.source.id,
            DE,
            track.item.name,
            Priority.BACKLOG,
            track.item.added_at,
            "gap",
        )
        for track in batch
    ]
    await storage.jobs.add(new_jobs, now)
    for stage, outcome in (
        (Stage.ACQUIRE, Outcome.next(Stage.CONFIRM)),
        (Stage.CONFIRM, Outcome.done("made")),
    ):
        jobs = [job for job in [await storage.queue.claim(stage, now) for _ in batch] if job is not None]
        assert len(jobs) == len(batch)
        await asyncio.gather(*(storage.queue.record(job, outcome, now) for job in jobs))


async def _add_confirmed_delivery(storage: SqliteStorage, track: _Delivered, now: datetime) -> None:
    item, source = track.item, track.source
    await storage.deliveries.record_intent(
        Delivery(
            item.server_id,
            source.id,
            DE,
            ContentHash(f"h{item.id}"),
            track.file_name,
            "{}",
            now,
            item_id=item.id,
            title=item.name,
            fingerprint=track.fingerprint,
            media_revision=source.revision,
            cues_hash=hash_cues(Pysubs2Codec().read(track.file_name, track.content)),
        )
    )
    await storage.deliveries.mark_confirmed(item.server_id, source.id, DE, track.path, source.revision, now)


# -- The app -----------------------------------------------------------------------------------


@asynccontextmanager
async def connected_app(
    fake: FakeJellyfin, state: Path, clock: FastClock, **overrides: Any
) -> AsyncIterator[App]:
    """Build the app on a state directory, connected to a fake server; its target language is German."""
    async with app_with_settings(fake, state, clock, jellyfin(fake), **overrides) as app:
        yield app


@asynccontextmanager
async def app_with_settings(
    fake: FakeJellyfin, state: Path, clock: FastClock, server: dict[str, Any], **overrides: Any
) -> AsyncIterator[App]:
    """Build the app as `connected_app` does, with its own `server` section of the configuration."""
    fake.now = clock.now
    storage = await SqliteStorage.open(state)
    try:
        app = build_app(settings(state, server, ["de"], **overrides), storage, clock=clock)
        try:
            app.set_server(await app.server.connect())
            yield app
        finally:
            await app.close()
    finally:
        await storage.close()


@asynccontextmanager
async def server_with_app(
    state: Path, **overrides: Any
) -> AsyncIterator[tuple[FakeJellyfin, FastClock, App]]:
    """Start a fake server and build the app connected to it, on one clock."""
    async with FakeJellyfin() as fake:
        clock = FastClock()
        async with connected_app(fake, state, clock, **overrides) as app:
            yield fake, clock, app


async def scan_and_work(app: App) -> ScanReport:
    """Scan the whole library, start its backlog and run all due jobs. Return the report of the scan."""
    report = await app.scanner.scan(full=True)
    await app.storage.backlog.release_all(app.clock.now())
    await app.workers.run(until_idle=True)
    return report


def storage_of(app: App) -> SqliteStorage:
    """Return the storage of an app as the class that has the database."""
    assert isinstance(app.storage, SqliteStorage)
    return app.storage


def database_of(app: App) -> Database:
    """Return the database of an app, for queries that no port has."""
    return storage_of(app).database


async def fetch_item(app: App, item: FakeItem) -> Item:
    """Return the item as the app reads it from the server."""
    return await app.server.fetch_item(ItemId(item.id))


async def save_identity(app: App, item: FakeItem, fingerprint: str) -> None:
    """Store the fingerprint of the media file that the item has now."""
    read = await fetch_item(app, item)
    source = read.sources[0]
    await app.storage.identities.save(
        read.server_id, source, MediaIdentity(Fingerprint(fingerprint), source.size_bytes, source.duration_ms)
    )


async def delivery_states(app: App) -> dict[DeliveryState, int]:
    """Return the number of deliveries by state, without zeros."""
    return dict(Counter(delivery.state for delivery in await app.storage.deliveries.find(SERVER)))


def non_get_requests(fake: FakeJellyfin, since: int = 0) -> list[str]:
    """Return method and route of each request but GET, from the request number `since` on."""
    return [
        f"{exchange.method} {exchange.route}"
        for exchange in fake.received[since:]
        if exchange.method != "GET"
    ]


def write_requests(fake: FakeJellyfin, since: int = 0) -> list[str]:
    """Return method and route of each request that changes the server."""
    return [request for request in non_get_requests(fake, since) if not request.startswith("HEAD ")]


def uploads(fake: FakeJellyfin) -> list[str]:
    """Return the path of each upload request."""
    return [
        exchange.path
        for exchange in fake.received
        if exchange.method == "POST" and exchange.route.endswith("Subtitles")
    ]


RowQuery = Callable[[dict[str, str]], Any]
"""The rows that a fake server lists for the query of a request."""


def fail_item_lists(fake: FakeJellyfin, after: int) -> None:
    """Answer 500 to lists of items, except for the next `after` ones."""
    before = len(fake.received)

    def fail(request: str) -> Fault | None:
        answered = sum(exchange.route == "/Items" for exchange in fake.received[before:])
        return Fault(status=500) if request == "GET /Items" and answered >= after else None

    fake.choose_fault = fail


def intercept_rows(fake: FakeJellyfin, intercept: Callable[[dict[str, str], RowQuery], Any]) -> None:
    """List the rows that `intercept` returns, given the query and the original function."""
    original = fake.rows
    fake.rows = lambda query: intercept(query, original)  # type: ignore[method-assign]


def change_before_page(fake: FakeJellyfin, number: int, change: Callable[[], None]) -> None:
    """Call `change` just before a page of items is listed; pages count from 1."""
    pages = itertools.count(1)

    def intercept(query: dict[str, str], original: RowQuery) -> Any:
        if "startindex" in query and next(pages) == number:
            change()
        return original(query)

    intercept_rows(fake, intercept)
