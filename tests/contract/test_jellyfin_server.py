"""The Jellyfin adapter with the limits of real servers and of the client library, on the fake server.

Facts: notes/jellyfin-server.md and notes/libraries.md. `test_jellyfin_workarounds` has the ones that need the
whole daemon.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fluxcaption.domain.errors import ItemGone, KeyRejected, ServiceUnreachable, WriteRefused
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import FinishedTrack
from fluxcaption.domain.units import ContentHash, ItemId
from fluxcaption.folder.atomic_write import write_sidecar
from fluxcaption.jellyfin.server import JellyfinServer
from fluxcaption.settings import JellyfinConfig

from tests.fakes.jellyfin import KEY, FakeJellyfin, Fault
from tests.support.deliveries import HUMAN_SRT
from tests.support.libraries import add_films

CERTIFICATE = Path(__file__).parents[1] / "data" / "self-signed.pem"


@asynccontextmanager
async def adapter(url: str, **options: object) -> AsyncIterator[JellyfinServer]:
    """Yield the adapter for a server, and close it."""
    config = JellyfinConfig.model_validate({"url": url, "api_key": KEY, **options})
    server = JellyfinServer(config, "1", write_sidecar)
    try:
        yield server
    finally:
        await server.close()


@pytest.mark.parametrize("version", ["10.10.7", "10.11.11", "12.0.0"])
async def test_an_item_is_read_with_the_api_key_on_each_version(version: str) -> None:
    async with FakeJellyfin(version) as fake, adapter(fake.url) as server:
        (film,) = add_films(fake, 1, fake.now())
        assert (await server.connect()).version == version
        assert (await server.fetch_item(ItemId(film.id))).name == film.name


# Requests, errors and credentials


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_an_error_status_is_raised_and_the_request_is_not_repeated(status: int) -> None:
    async with FakeJellyfin() as fake, adapter(fake.url) as server:
        fake.break_next("GET /System/Info", Fault(status=status))
        with pytest.raises(ServiceUnreachable):
            await server.connect()
        assert len(fake.received) == 1


async def test_an_error_of_a_call_without_a_response_body_is_raised() -> None:
    async with FakeJellyfin() as fake, adapter(fake.url) as server:
        (film,) = add_films(fake, 1, fake.now())
        fake.break_next("POST /Items", Fault(status=500))
        with pytest.raises(ServiceUnreachable):
            await server.refresh(ItemId(film.id))


async def test_a_truncated_response_is_a_failure() -> None:
    async with FakeJellyfin() as fake, adapter(fake.url) as server:
        (film,) = add_films(fake, 1, fake.now())
        await server.connect()
        fake.break_next("GET /Items", Fault(half_body=True))
        with pytest.raises(ServiceUnreachable):
            await server.fetch_item(ItemId(film.id))
        assert fake.received[-1].broken == "half"


async def test_the_client_library_repeats_no_request_and_no_connection() -> None:
    async with FakeJellyfin() as fake, adapter(fake.url) as server:
        fake.break_next("GET /System/Info", Fault(hang_up=True))
        with pytest.raises(ServiceUnreachable):
            await server.connect()
        assert [exchange.broken for exchange in fake.received] == ["hung up"]
    connections = 0

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as listener:
        host, port = listener.sockets[0].getsockname()
        async with adapter(f"https://{host}:{port}") as server:
            with pytest.raises(ServiceUnreachable):
                await server.connect()
            assert connections == 1


async def test_a_rejected_key_is_reported_and_still_sent_afterwards() -> None:
    async with FakeJellyfin() as fake, adapter(fake.url) as server:
        await server.connect()
        fake.key = "0" * 32
        with pytest.raises(KeyRejected):
            await server.libraries()
        fake.key = KEY
        assert len(await server.libraries()) == 1
        assert KEY in fake.received[-1].headers["Authorization"]


async def test_an_untrusted_certificate_is_refused_until_configured() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    fake = FakeJellyfin()
    fake.tls = context
    async with fake:
        async with adapter(fake.url) as server:
            with pytest.raises(ServiceUnreachable, match="certificate not trusted"):
                await server.connect()
        async with adapter(fake.url, ca_file=str(CERTIFICATE)) as server:
            assert (await server.connect()).name == "fake"


async def test_a_missing_certificate_file_makes_the_server_unreachable() -> None:
    async with adapter("https://127.0.0.1:9", ca_file="/nowhere.pem") as server:
        with pytest.raises(ServiceUnreachable, match=r"/nowhere\.pem"):
            await server.connect()


async def test_a_base_path_is_used_and_a_wrong_one_is_reported() -> None:
    async with FakeJellyfin(base="/jellyfin") as fake:
        (film,) = add_films(fake, 1, fake.now())
        async with adapter(fake.url) as server:
            await server.connect()
            assert (await server.fetch_item(ItemId(film.id))).name == film.name
        async with adapter(fake.url.removesuffix("/jellyfin")) as server:
            with pytest.raises(ServiceUnreachable, match="base path"):
                await server.connect()
            assert fake.received[-1].status == 302, "the redirect is not followed"


async def test_the_client_library_logs_and_prints_nothing(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    async with FakeJellyfin() as fake, adapter(fake.url) as server:
        with caplog.at_level(logging.DEBUG):
            await server.connect()
            await server.libraries()
    for name in ("Jellyfin", "JELLYFIN"):
        assert logging.getLogger(name).handlers == []
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)
    assert KEY not in caplog.text
    assert capsys.readouterr().out == ""


# Items


async def test_an_invalid_item_id_is_never_requested() -> None:
    async with FakeJellyfin() as fake, adapter(fake.url) as server:
        add_films(fake, 1, fake.now())
        await server.connect()
        with pytest.raises(ItemGone):
            await server.fetch_item(ItemId("xyz"))
        assert await server.fetch_items([ItemId("xyz"), ItemId("")]) == []
        assert not [exchange for exchange in fake.received if exchange.route == "/Items"]


async def test_an_unreadable_item_does_not_stop_the_listing_of_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = {
        "Path": "/media/movies/A.mkv",
        "Size": 5,
        "MediaStreams": [{"Type": "Audio", "Index": 0}],
    }
    rows = [
        {"Id": digit * 32, "Name": digit, "Type": "Movie", "MediaSources": [{**source, "Id": digit * 32}]}
        for digit in "123"
    ]
    rows[1]["MediaSources"] = [{**source, "Id": "1" * 32, "MediaStreams": {"Type": "Audio"}}]
    async with FakeJellyfin() as fake, adapter(fake.url) as server:
        (library,) = await server.libraries()
        fake.break_next("GET /Items", Fault(nonsense={"Items": rows}))
        items = [item async for page in server.items(library) for item in page]
    assert [(item.name, bool(item.skipped)) for item in items] == [("1", False), ("2", True), ("3", False)]
    (record,) = [record for record in caplog.records if "were skipped" in record.getMessage()]
    assert (record.__dict__["items"], record.__dict__["id"]) == (1, "2" * 32)


# Tracks


async def test_a_text_track_is_read_by_its_current_index() -> None:
    async with FakeJellyfin() as fake, adapter(fake.url) as server:
        (film,) = add_films(fake, 1, fake.now())
        source = film.sources[0]
        source.sidecars[f"{source.stem}.hu.srt"] = HUMAN_SRT
        item = await server.fetch_item(ItemId(film.id))
        track = next(track for track in item.sources[0].subtitles if track.is_external)
        source.sidecars[f"{source.stem}.cs.srt"] = b"1\n00:00:01,000 --> 00:00:02,000\nAnother.\n"
        assert await server.read_text_track(item.id, item.sources[0], track) == HUMAN_SRT


async def test_an_upload_without_a_response_is_not_repeated() -> None:
    async with FakeJellyfin() as fake, adapter(fake.url) as server:
        (film,) = add_films(fake, 1, fake.now())
        item = await server.fetch_item(ItemId(film.id))
        track = FinishedTrack(LanguageTag("de"), "fluxcaption", "srt", HUMAN_SRT, ContentHash(""))
        fake.break_next("POST /Videos", Fault(hang_up=True))
        with pytest.raises(ServiceUnreachable) as caught:
            await server.upload(item.sources[0], track)
        assert caught.value.was_sent
        # The client library repeats a dropped POST as a GET; a later request shows that it did not.
        await server.fetch_item(ItemId(film.id))
        sent = [
            (exchange.method, exchange.broken)
            for exchange in fake.received
            if exchange.route.endswith("Subtitles") or exchange.broken
        ]
        assert sent == [("POST", "hung up")]
        assert list(film.sources[0].sidecars) == [f"{film.sources[0].stem}.fluxcaption.de.srt"]


async def test_a_deletion_finds_its_track_by_path_after_indexes_changed() -> None:
    async with FakeJellyfin() as fake, adapter(fake.url) as server:
        (film,) = add_films(fake, 1, fake.now())
        source = film.sources[0]
        own_name = f"{source.stem}.fluxcaption.de.srt"
        source.sidecars[own_name] = HUMAN_SRT
        item = await server.fetch_item(ItemId(film.id))
        track = next(track for track in item.sources[0].subtitles if track.file_name == own_name)
        source.sidecars[f"{source.stem}.cs.srt"] = HUMAN_SRT
        await server.delete(item.id, item.sources[0], track)
        assert list(source.sidecars) == [f"{source.stem}.cs.srt"]


@pytest.mark.parametrize(
    ("added", "removed", "message"),
    [
        ("cs", "", "a file that was added in the same moment may have been deleted instead"),
        ("", "bg", "a file of another origin disappeared"),
    ],
)
async def test_a_foreign_file_that_changes_during_a_deletion_is_logged(
    added: str, removed: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeJellyfin() as fake, adapter(fake.url) as server:
        (film,) = add_films(fake, 1, fake.now())
        source = film.sources[0]
        source.sidecars |= {
            f"{source.stem}.{suffix}.srt": HUMAN_SRT for suffix in ("bg", "fluxcaption.de", "hu")
        }
        item = await server.fetch_item(ItemId(film.id))
        track = next(track for track in item.sources[0].subtitles if "fluxcaption" in track.file_name)

        def change_files(name: str) -> Fault | None:
            if name.startswith("DELETE"):
                source.sidecars |= {f"{source.stem}.{added}.srt": HUMAN_SRT} if added else {}
                source.sidecars.pop(f"{source.stem}.{removed}.srt", None)
            return None

        fake.choose_fault = change_files
        with pytest.raises(WriteRefused, match="still lists it"):
            await server.delete(item.id, item.sources[0], track)
        assert message in caplog.text


# Webhook plugin


async def test_triggers_are_set_again_only_for_a_webhook_task_never_run() -> None:
    async with FakeJellyfin() as fake, adapter(fake.url) as server:
        fake.install_webhook()
        added, deleted = fake.tasks["WebhookItemAdded"], fake.tasks["WebhookItemDeleted"]
        added.duration_s = 0.7
        deleted.ended = fake.now()
        await server.trigger_webhook_tasks()
        assert (added.is_armed, added.start_count) == (True, 1)
        assert (deleted.is_armed, deleted.start_count) == (False, 1)
