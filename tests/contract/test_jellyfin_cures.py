"""What of the server's behaviour would break a naive client, each with its cure held to (notes/jellyfin-server.md and notes/libraries.md).

The eleven points, and what goes red without the cure of each:

1. An item by key needs the list route: `test_an_item_is_read_with_a_key_and_the_header_every_version_takes`.
2. A sidecar renumbers every stream: `test_a_deletion_follows_the_path_though_every_index_has_moved`.
3. Embedded text from the server's cache may be another track's: `test_embedded_text_is_not_taken_from_the_servers_cache_once_files_lie_beside_it`.
4. Codes flip between versions: `test_finished_library_makes_no_job_after_upgrades_and_new_ids` (behaviour), `test_language` (unit).
5. Uploads never overwrite, may lie, and 10.11.7 takes none: `test_a_track_that_never_shows_is_sent_again_only_after_a_library_scan_and_half_an_hour`,
   `test_what_was_perhaps_sent_before_a_crash_is_looked_for_and_not_sent_again`, `test_10_11_7_refuses_uploads_and_a_mapped_folder_takes_the_file`.
6. A read-only folder on 12: `test_a_read_only_folder_on_12_is_told_and_a_mapped_one_is_written_to`.
7. News wait for the plugin's task: `test_the_plugins_timers_are_armed_only_where_a_start_left_them_waiting`.
8. The end of a library scan is never pushed: `test_the_end_of_a_library_scan_is_polled_and_what_came_during_it_is_looked_at_again`.
9. The client library hides errors, repeats, forgets its key, trusts every certificate and prints the key: `test_an_error_of_the_server_is_an_error`,
   `test_an_error_where_no_answer_is_expected_is_an_error_too`, `test_a_lost_reply_to_an_upload_is_not_followed_by_another_request`,
   `test_no_request_and_no_connection_is_repeated_by_itself`, `test_a_refused_key_is_told_and_not_forgotten`,
   `test_an_untrusted_certificate_is_refused_until_it_is_named`, `test_the_client_library_prints_nothing`.
10. Without `collapseBoxSetItems=false` the cursor is ignored: `test_an_incremental_pass_reads_only_what_was_saved_since`; a list without a valid id is no
    filter: `test_an_id_that_is_none_is_never_asked_for`.
11. 12 takes one header only: `test_an_item_is_read_with_a_key_and_the_header_every_version_takes[12.0.0]`.
"""

import asyncio
import logging
import ssl
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from fluxcaption.daemon import run_once
from fluxcaption.domain.deliveries import DeliveryState
from fluxcaption.domain.errors import ItemGone, KeyRejected, ServiceUnreachable, WriteRefused
from fluxcaption.domain.jobs import JobState
from fluxcaption.domain.units import ItemId, ServerId
from fluxcaption.folder.atomic_write import write_sidecar
from fluxcaption.jellyfin.client import JellyfinClient
from fluxcaption.jellyfin.server import JellyfinServer
from fluxcaption.settings import JellyfinConfig as Settings

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import KEY, FakeJellyfin, Fault, audio, film, text
from tests.fakes.jellyfin.library import SERVER_ID
from tests.support.app import READ, clip, jellyfin, settings
from tests.support.deliveries import HUMAN_SRT, app_with_mapped_folder, queue_upload, run_jobs
from tests.support.libraries import add_films, connected_app, german_srt, server_with_app, uploads

CERTIFICATE = Path(__file__).parents[1] / "data" / "self-signed.pem"


def server_of(fake: FakeJellyfin, **more: object) -> JellyfinServer:
    return JellyfinServer(
        Settings.model_validate({"url": fake.url, "api_key": KEY, **more}), "1", write_sidecar
    )


@pytest.mark.parametrize("version", ["10.10.7", "10.11.11", "12.0.0"])
async def test_an_item_is_read_with_a_key_and_the_header_every_version_takes(version: str) -> None:
    async with FakeJellyfin(version) as fake:
        (made,) = add_films(fake, 1, fake.now())
        server = server_of(fake)
        assert (await server.connect()).version == version
        assert (await server.fetch_item(ItemId(made.id))).name == made.name
        await server.close()


async def test_a_deletion_follows_the_path_though_every_index_has_moved() -> None:
    async with FakeJellyfin() as fake:
        (made,) = add_films(fake, 1, fake.now())
        source = made.sources[0]
        ours = f"{source.stem}.fluxcaption.de.srt"
        source.sidecars[ours] = HUMAN_SRT
        server = server_of(fake)
        item = await server.fetch_item(ItemId(made.id))
        track = next(track for track in item.sources[0].subtitles if track.file_name == ours)
        source.sidecars[f"{source.stem}.cs.srt"] = HUMAN_SRT
        await server.delete(item.id, item.sources[0], track)
        assert list(source.sidecars) == [f"{source.stem}.cs.srt"]
        await server.close()


async def test_embedded_text_is_not_taken_from_the_servers_cache_once_files_lie_beside_it(
    tmp_path: Path,
) -> None:
    async with FakeJellyfin() as fake:
        item = film(
            READ,
            [audio(), text("fre"), text()],
            library=fake.libraries[0].id,
            file=clip(tmp_path / "media", READ),
            minutes=61 / 60,
        )
        source = item.sources[0]
        source.streams.remove(next(stream for stream in source.streams if stream.get("Language") == "fre"))
        fake.add(item)
        fake.extractions[source.id] = dict.fromkeys(
            [f"{index}.srt" for index in range(6)],
            b"1\n00:00:01,000 --> 00:00:02,000\nThe text of another track.\n",
        )
        source.sidecars[f"{source.stem}.it.srt"] = HUMAN_SRT
        assert source.file is not None
        (source.file.parent / f"{source.stem}.it.srt").write_bytes(HUMAN_SRT)
        report = await run_once(settings(tmp_path / "state", jellyfin(fake), ["es"]), print)
        assert [job.state for job in report.finished] == [JobState.DONE]
        made = source.sidecars[f"{source.stem}.fluxcaption.es.srt"].decode()
        assert made.count("-->") > 5, made


async def test_10_11_7_refuses_uploads_and_a_mapped_folder_takes_the_file(tmp_path: Path) -> None:
    async with FakeJellyfin("10.11.7") as fake:
        item = film(
            READ,
            [audio(), text()],
            library=fake.libraries[0].id,
            file=clip(tmp_path / "media", READ),
            minutes=61 / 60,
        )
        fake.add(item)
        report = await run_once(settings(tmp_path / "a", jellyfin(fake), ["es"]), print)
        assert report.exit_code == 75
        assert not [
            exchange
            for exchange in fake.received
            if exchange.method == "POST" and exchange.route.endswith("Subtitles")
        ]
        mapped = {
            **jellyfin(fake),
            "path_map": [{"server": "/media/movies", "local": str(tmp_path / "media")}],
        }
        report = await run_once(settings(tmp_path / "b", mapped, ["es"]), print)
        assert [job.state for job in report.finished] == [JobState.DONE]
        sidecar = tmp_path / "media" / READ / f"{READ}.fluxcaption.es.srt"
        assert sidecar.is_file()
        assert (
            sidecar.stat().st_mode & 0o777
            == (tmp_path / "media" / READ / f"{READ}.mkv").stat().st_mode & 0o666
        )


async def test_a_read_only_folder_on_12_is_told_and_a_mapped_one_is_written_to(tmp_path: Path) -> None:
    async with FakeJellyfin("12.0.0") as fake:
        item = film(
            READ,
            [audio(), text()],
            library=fake.libraries[0].id,
            file=clip(tmp_path / "media", READ),
            minutes=61 / 60,
        )
        fake.add(item)
        fake.read_only.add(item.sources[0].id)
        report = await run_once(settings(tmp_path / "a", jellyfin(fake), ["es"]), print)
        assert report.exit_code == 75
        assert report.finished == []
        mapped = {
            **jellyfin(fake),
            "path_map": [{"server": "/media/movies", "local": str(tmp_path / "media")}],
        }
        report = await run_once(settings(tmp_path / "b", mapped, ["es"]), print)
        assert [job.state for job in report.finished] == [JobState.DONE]


async def test_the_end_of_a_library_scan_is_polled_and_what_came_during_it_is_looked_at_again(
    tmp_path: Path,
) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        assert not await app.server_monitor.poll_library_scan()
        fake.begin_library_scan()
        clock.pass_time(seconds=10)
        await queue_upload(app, item)
        await app.workers.run(until_idle=True)
        assert not await app.server_monitor.poll_library_scan()
        assert fake.end_library_scan(drops=1.0) == 1
        clock.pass_time(seconds=10)
        assert await app.server_monitor.poll_library_scan()
        assert item.sources[0].unlisted == set()
        assert not await app.server_monitor.poll_library_scan()
        (delivery,) = await app.storage.deliveries.find(ServerId(SERVER_ID))
        assert delivery.state is DeliveryState.CONFIRMED


async def test_the_plugins_timers_are_armed_only_where_a_start_left_them_waiting() -> None:
    async with FakeJellyfin() as fake:
        fake.install_webhook()
        fake.tasks["WebhookItemDeleted"].ended = fake.now()
        fake.tasks["WebhookItemAdded"].takes_s = 0.7
        server = server_of(fake)
        await server.trigger_webhook_tasks()
        assert (fake.tasks["WebhookItemAdded"].is_armed, fake.tasks["WebhookItemAdded"].kicks) == (True, 1)
        assert (fake.tasks["WebhookItemDeleted"].is_armed, fake.tasks["WebhookItemDeleted"].kicks) == (
            False,
            1,
        )
        await server.close()


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_an_error_of_the_server_is_an_error(status: int) -> None:
    async with FakeJellyfin() as fake:
        server = server_of(fake)
        fake.break_next("GET /System/Info", Fault(status=status))
        with pytest.raises(ServiceUnreachable):
            await server.connect()
        assert len(fake.received) == 1, "asked once, not again and again"
        await server.close()


async def test_a_refused_key_is_told_and_not_forgotten() -> None:
    async with FakeJellyfin() as fake:
        server = server_of(fake)
        await server.connect()
        fake.key = "0" * 32
        with pytest.raises(KeyRejected):
            await server.libraries()
        fake.key = KEY
        assert len(await server.libraries()) == 1
        assert KEY in fake.received[-1].headers["Authorization"]
        await server.close()


async def test_a_lost_reply_to_an_upload_is_not_followed_by_another_request() -> None:
    async with FakeJellyfin() as fake:
        (made,) = add_films(fake, 1, fake.now())
        server = server_of(fake)
        item = await server.fetch_item(ItemId(made.id))
        from fluxcaption.domain.language import LanguageTag
        from fluxcaption.domain.media import FinishedTrack
        from fluxcaption.domain.units import ContentHash

        fake.break_next("POST /Videos", Fault(hang_up=True))
        with pytest.raises(ServiceUnreachable) as caught:
            await server.upload(
                item.sources[0],
                FinishedTrack(LanguageTag("de"), "fluxcaption", "srt", HUMAN_SRT, ContentHash("")),
            )
        assert caught.value.was_sent
        # Not a moment later either: what repeats a request by itself may do so as another kind.
        await server.fetch_item(ItemId(made.id))
        sent = [
            (exchange.method, exchange.broken)
            for exchange in fake.received
            if exchange.route.endswith("Subtitles") or exchange.broken
        ]
        assert sent == [("POST", "hung up")]
        assert list(made.sources[0].sidecars) == [f"{made.sources[0].stem}.fluxcaption.de.srt"]
        await server.close()


async def test_an_untrusted_certificate_is_refused_until_it_is_named() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    fake = FakeJellyfin()
    fake.tls = context
    async with fake:
        server = server_of(fake)
        with pytest.raises(ServiceUnreachable, match="certificate not trusted"):
            await server.connect()
        await server.close()
        trusting = server_of(fake, ca_file=str(CERTIFICATE))
        assert (await trusting.connect()).name == "fake"
        await trusting.close()


async def test_a_certificate_file_that_is_gone_is_a_server_out_of_reach() -> None:
    server = JellyfinServer(
        Settings.model_validate({"url": "https://127.0.0.1:9", "api_key": KEY, "ca_file": "/nowhere.pem"}),
        "1",
        write_sidecar,
    )
    with pytest.raises(ServiceUnreachable, match=r"/nowhere\.pem"):
        await server.connect()
    await server.close()


@pytest.mark.parametrize("version", ["10.10.7", "10.11.11", "12.0.0"])
async def test_an_incremental_pass_reads_only_what_was_saved_since(version: str, tmp_path: Path) -> None:
    async with FakeJellyfin(version) as fake:
        clock = FastClock()
        async with connected_app(fake, tmp_path, clock) as app:
            items = add_films(fake, 30, clock.now())
            await app.scanner.scan(full=True)
            clock.pass_time(hours=1)
            items[3].touch(clock.now())
            report = await app.scanner.scan(full=False)
            assert report.items == 1
            assert clock.now() - items[3].saved < timedelta(minutes=1)


async def test_an_error_where_no_answer_is_expected_is_an_error_too() -> None:
    async with FakeJellyfin() as fake:
        (made,) = add_films(fake, 1, fake.now())
        server = server_of(fake)
        fake.break_next("POST /Items", Fault(status=500))
        with pytest.raises(ServiceUnreachable):
            await server.refresh(ItemId(made.id))
        await server.close()


async def test_what_was_perhaps_sent_before_a_crash_is_looked_for_and_not_sent_again(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        fake.hides_new_tracks = True
        number = await queue_upload(app, item)
        from fluxcaption.domain.jobs import Stage

        upload = app.workers._stages[Stage.UPLOAD].run
        for _ in range(2):
            # The second time as after kill -9 between the server's 204 and our commit: the job is where it was.
            job = await app.storage.jobs.get(number)  # type: ignore[arg-type]
            assert job is not None
            outcome = await upload(job)
            assert outcome.stage is Stage.CONFIRM
        assert (
            len(
                [
                    exchange
                    for exchange in fake.received
                    if exchange.method == "POST" and exchange.route.endswith("Subtitles")
                ]
            )
            == 1
        )


async def test_a_size_limit_of_a_proxy_is_got_round_by_the_mapped_folder(tmp_path: Path) -> None:
    async with app_with_mapped_folder(tmp_path) as (fake, clock, app, item, file):
        fake.chaos = lambda name: Fault(status=413) if name.startswith("POST /Videos") else None
        await queue_upload(app, item)
        await run_jobs(app, clock, hours=1)
        assert file.read_bytes() == german_srt(item.name)
        assert len(uploads(fake)) == 1


async def test_a_size_limit_of_a_proxy_is_told_where_no_folder_is_mapped(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        fake.chaos = lambda name: Fault(status=413) if name.startswith("POST /Videos") else None
        await queue_upload(app, item)
        await run_jobs(app, clock, hours=24)
        (job,) = await app.storage.jobs.page()
        assert "limits the size" in job.reason
        assert len(uploads(fake)) <= 4


@pytest.mark.parametrize(
    ("comes", "goes", "told"),
    [
        ("cs", "", "a file that was added in the same moment may have been deleted instead"),
        ("", "bg", "a file of another origin disappeared"),
    ],
)
async def test_a_file_of_somebody_that_vanishes_in_place_of_ours_is_told_loudly(
    comes: str, goes: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeJellyfin() as fake:
        (made,) = add_films(fake, 1, fake.now())
        source = made.sources[0]
        source.sidecars |= {f"{source.stem}.{name}.srt": HUMAN_SRT for name in ("bg", "fluxcaption.de", "hu")}
        server = server_of(fake)
        item = await server.fetch_item(ItemId(made.id))
        track = next(track for track in item.sources[0].subtitles if "fluxcaption" in track.file_name)

        def somebody_moves_a_file(name: str) -> Fault | None:
            if name.startswith("DELETE"):
                source.sidecars |= {f"{source.stem}.{comes}.srt": HUMAN_SRT} if comes else {}
                source.sidecars.pop(f"{source.stem}.{goes}.srt", None)
            return None

        fake.chaos = somebody_moves_a_file
        with pytest.raises(WriteRefused, match="still lists it"):
            await server.delete(item.id, item.sources[0], track)
        assert told in caplog.text
        await server.close()


async def test_a_text_is_read_by_the_number_it_has_now() -> None:
    async with FakeJellyfin() as fake:
        (made,) = add_films(fake, 1, fake.now())
        source = made.sources[0]
        source.sidecars[f"{source.stem}.hu.srt"] = HUMAN_SRT
        server = server_of(fake)
        item = await server.fetch_item(ItemId(made.id))
        track = next(track for track in item.sources[0].subtitles if track.is_external)
        source.sidecars[f"{source.stem}.cs.srt"] = b"1\n00:00:01,000 --> 00:00:02,000\nAnother.\n"
        assert await server.read_text_track(item.id, item.sources[0], track) == HUMAN_SRT
        await server.close()


async def test_a_file_in_a_mapped_folder_is_removed_by_its_path_and_no_number(tmp_path: Path) -> None:
    async with app_with_mapped_folder(tmp_path) as (fake, _, app, made, file):
        file.write_bytes(HUMAN_SRT)
        made.sources[0].look_at_disk()
        item = await app.server.fetch_item(ItemId(made.id))
        track = next(track for track in item.sources[0].subtitles if track.file_name == file.name)
        await app.server.delete(item.id, item.sources[0], track)
        assert not file.exists()
        assert not [exchange for exchange in fake.received if exchange.method == "DELETE"]


async def test_no_request_and_no_connection_is_repeated_by_itself() -> None:
    async with FakeJellyfin() as fake:
        server = server_of(fake)
        fake.break_next("GET /System/Info", Fault(hang_up=True))
        with pytest.raises(ServiceUnreachable):
            await server.connect()
        assert [exchange.broken for exchange in fake.received] == ["hung up"]
        await server.close()
    met = 0

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal met
        met += 1
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as deaf:
        host, port = deaf.sockets[0].getsockname()
        server = JellyfinServer(
            Settings.model_validate({"url": f"https://{host}:{port}", "api_key": KEY}), "1", write_sidecar
        )
        with pytest.raises(ServiceUnreachable):
            await server.connect()
        assert met == 1
        await server.close()


async def test_half_an_answer_is_no_answer() -> None:
    async with FakeJellyfin() as fake:
        (made,) = add_films(fake, 1, fake.now())
        server = server_of(fake)
        await server.connect()
        fake.break_next("GET /Items", Fault(half_body=True))
        with pytest.raises(ServiceUnreachable):
            await server.fetch_item(ItemId(made.id))
        assert fake.received[-1].broken == "half"
        await server.close()


async def test_the_client_library_prints_nothing(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    async with FakeJellyfin() as fake:
        server = server_of(fake)
        with caplog.at_level(logging.DEBUG):
            await server.connect()
            await server.libraries()
        await server.close()
    for name in ("Jellyfin", "JELLYFIN"):
        assert logging.getLogger(name).handlers == []
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)
    assert KEY not in caplog.text
    assert capsys.readouterr().out == ""


async def test_an_id_that_is_none_is_never_asked_for() -> None:
    async with FakeJellyfin() as fake:
        add_films(fake, 1, fake.now())
        server = server_of(fake)
        await server.connect()
        with pytest.raises(ItemGone):
            await server.fetch_item(ItemId("xyz"))
        assert await server.fetch_items([ItemId("xyz"), ItemId("")]) == []
        assert not [exchange for exchange in fake.received if exchange.route == "/Items"]
        await server.close()


async def test_a_base_path_is_kept_and_a_wrong_one_is_told() -> None:
    async with FakeJellyfin(base="/jellyfin") as fake:
        (made,) = add_films(fake, 1, fake.now())
        server = server_of(fake)
        await server.connect()
        assert (await server.fetch_item(ItemId(made.id))).name == made.name
        await server.close()
        lost = JellyfinServer(
            Settings.model_validate({"url": fake.url.removesuffix("/jellyfin"), "api_key": KEY}),
            "1",
            write_sidecar,
        )
        with pytest.raises(ServiceUnreachable, match="base path"):
            await lost.connect()
        assert fake.received[-1].status == 302, "and it is not followed to a page"
        await lost.close()


async def test_a_track_that_never_shows_is_sent_again_only_after_a_library_scan_and_half_an_hour(
    tmp_path: Path,
) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        fake.lies_about_uploads = True

        def uploads() -> int:
            return len(
                [
                    exchange
                    for exchange in fake.received
                    if exchange.method == "POST" and exchange.route.endswith("Subtitles")
                ]
            )

        await queue_upload(app, item)
        await run_jobs(app, clock, hours=30)
        assert uploads() == 1, "however long it takes, without a library scan in between nothing is known"
        fake.begin_library_scan()
        clock.pass_time(minutes=1)
        await run_jobs(app, clock, hours=3)
        assert uploads() == 1, "nor while one runs"
        fake.lies_about_uploads = False
        fake.end_library_scan()
        await run_jobs(app, clock, hours=3)
        assert uploads() == 2
        assert list(item.sources[0].sidecars) == [f"{item.sources[0].stem}.fluxcaption.de.srt"]


async def test_an_answer_that_drips_holds_up_nobody_longer_than_its_time() -> None:
    connections: list[asyncio.Task[None] | None] = []

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.current_task())
        with suppress(OSError), closing(writer):
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
            )
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)

    dripping = await asyncio.start_server(drip, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{dripping.sockets[0].getsockname()[1]}"
    client = JellyfinClient(Settings.model_validate({"url": url, "api_key": KEY}), "1")
    async with asyncio.timeout(5):
        calls = [client.call("GET", "/System/Info", timeout_s=0.3) for _ in range(4)]
        for error in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(error, ServiceUnreachable)
            assert "no answer in time" in str(error)
    await client.close()
    dripping.close()
    await asyncio.gather(*(connection for connection in connections if connection))


async def test_one_item_that_nobody_can_read_holds_up_no_others(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeJellyfin() as fake:
        server = server_of(fake)
        source = {
            "Id": "1" * 32,
            "Path": "/media/movies/A.mkv",
            "Size": 5,
            "MediaStreams": [{"Type": "Audio", "Index": 0}],
        }
        rows = [
            {"Id": digit * 32, "Name": digit, "Type": "Movie", "MediaSources": [source | {"Id": digit * 32}]}
            for digit in "123"
        ]
        rows[1]["MediaSources"] = [source | {"MediaStreams": {"Type": "Audio"}}]
        (library,) = await server.libraries()
        fake.break_next("GET /Items", Fault(nonsense={"Items": rows}))
        items = [item async for page in server.items(library) for item in page]
        assert [(item.name, bool(item.skipped)) for item in items] == [
            ("1", False),
            ("2", True),
            ("3", False),
        ]
        (said,) = [record for record in caplog.records if "were skipped" in record.getMessage()]
        assert (said.__dict__["items"], said.__dict__["id"]) == (1, "2" * 32)
        await server.close()
