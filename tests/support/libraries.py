"""Large libraries for tests of scans and deliveries: many films without bytes, finished ones with our tracks and all we remember of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fluxcaption.app import App, build_app
from fluxcaption.domain.cues import hash_cues
from fluxcaption.domain.deliveries import Delivery, DeliveryState
from fluxcaption.domain.jobs import NewJob, Outcome, Priority, Stage
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import MediaIdentity
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, Ms, ServerId, SourceId
from fluxcaption.jellyfin.parse import read_item
from fluxcaption.storage.storage import SqliteStorage
from fluxcaption.subtitles.codec import Pysubs2Codec

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeItem, FakeJellyfin, audio, film, text
from tests.support.app import jellyfin, settings

DE = LanguageTag("de")


def words(title: str) -> bytes:
    return f"1\n00:00:01,000 --> 00:00:02,500\n{title}.\n\n2\n00:00:03,000 --> 00:00:04,500\nGuten Abend.\n".encode()


def films(
    fake: FakeJellyfin, count: int, now: datetime, streams: list[dict[str, Any]] | None = None
) -> list[FakeItem]:
    """Films that came an hour apart, each with English sound and text unless said otherwise."""
    made = [
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
    fake.add(*made)
    return made


async def finish(fake: FakeJellyfin, storage: SqliteStorage, items: list[FakeItem], now: datetime) -> None:
    """As after months of work: our German track beside each film, delivered, confirmed and remembered."""
    codec = Pysubs2Codec()
    for first in range(0, len(items), 500):
        part = items[first : first + 500]
        facts = []
        for made in part:
            source = made.sources[0]
            content = words(source.stem)
            name = f"{source.stem}.fluxcaption.de.srt"
            source.sidecars[name] = content
            item = read_item(
                made.dto({"MediaSources", "Path", "Etag", "DateCreated"}, fake.version), "Movies"
            )
            seen = item.sources[0]
            facts.append((item, seen, content, name, f"{source.folder}/{name}"))
        await storage.jobs.add(
            [
                NewJob(
                    item.server_id, item.id, seen.id, DE, item.name, Priority.BACKLOG, item.added_at, "gap"
                )
                for item, seen, _, _, _ in facts
            ],
            now,
        )
        for _ in part:
            job = await storage.queue.claim(Stage.ACQUIRE, now)
            assert job is not None
            await storage.queue.record(job, Outcome.next(Stage.CONFIRM), now)
        jobs = [
            job for job in [await storage.queue.claim(Stage.CONFIRM, now) for _ in part] if job is not None
        ]
        await asyncio.gather(*(storage.queue.record(job, Outcome.done("made"), now) for job in jobs))
        await asyncio.gather(
            *(
                storage.deliveries.record_intent(
                    Delivery(
                        item.server_id,
                        seen.id,
                        DE,
                        ContentHash(f"h{item.id}"),
                        name,
                        "{}",
                        now,
                        item_id=item.id,
                        title=item.name,
                        fingerprint=Fingerprint(f"f{item.id}"),
                        media_revision=seen.revision,
                        cues_hash=hash_cues(codec.read(name, content)),
                    )
                )
                for item, seen, content, name, _ in facts
            )
        )
        await asyncio.gather(
            *(
                storage.deliveries.mark_confirmed(item.server_id, seen.id, DE, path, seen.revision, now)
                for item, seen, _, _, path in facts
            )
        )
        for item, seen, _, _, _ in facts:
            await storage.identities.save(
                item.server_id,
                seen,
                MediaIdentity(Fingerprint(f"f{item.id}"), seen.size_bytes, Ms(seen.duration_ms)),
            )


@asynccontextmanager
async def app_beside(fake: FakeJellyfin, state: Path, clock: FastClock, **more: Any) -> AsyncIterator[App]:
    """The daemon's parts on a state, introduced to the server; German is wanted, nothing is translated by itself."""
    fake.now = clock.now
    storage = await SqliteStorage.open(state)
    try:
        app = build_app(settings(state, jellyfin(fake), ["de"], **more), storage, clock=clock)
        try:
            app.set_server(await app.server.connect())
            yield app
        finally:
            await app.close()
    finally:
        await storage.close()


@asynccontextmanager
async def beside_a_server(state: Path, **more: Any) -> AsyncIterator[tuple[FakeJellyfin, FastClock, App]]:
    """A server and the daemon's parts beside it, on one clock."""
    async with FakeJellyfin() as fake:
        clock = FastClock()
        async with app_beside(fake, state, clock, **more) as app:
            yield fake, clock, app


async def states(storage: SqliteStorage) -> dict[DeliveryState, int]:
    """How many deliveries stand where."""
    found: dict[DeliveryState, int] = {}
    for delivery in await storage.deliveries.find(ServerId("81ea6ae80e18429d96f4f383a4d5c813")):
        found[delivery.state] = found.get(delivery.state, 0) + 1
    return found


__all__ = [
    "DE",
    "ItemId",
    "SourceId",
    "app_beside",
    "beside_a_server",
    "films",
    "finish",
    "states",
    "words",
]
