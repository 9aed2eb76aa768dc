"""Limits of real Jellyfin servers that the whole daemon works around (notes/jellyfin-server.md)."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fluxcaption.daemon import run_once
from fluxcaption.domain.deliveries import DeliveryState
from fluxcaption.domain.jobs import JobState, Stage
from fluxcaption.domain.units import ItemId, ServerId

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeJellyfin, Fault, audio, text
from tests.fakes.jellyfin.library import SERVER_ID
from tests.support.app import TEXT_FILM, jellyfin, settings
from tests.support.deliveries import HUMAN_SRT, app_with_mapped_folder, queue_upload, run_jobs
from tests.support.libraries import (
    add_demo_film,
    add_films,
    connected_app,
    german_srt,
    server_with_app,
    uploads,
)


def mapped(fake: FakeJellyfin, media: Path) -> dict[str, Any]:
    """Return the server's settings with the film folder mapped to `media`."""
    return {**jellyfin(fake), "path_map": [{"server": "/media/movies", "local": str(media)}]}


# Reading


async def test_embedded_text_is_not_read_from_a_stale_server_cache(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        item = add_demo_film(fake, tmp_path / "media", TEXT_FILM, [audio(), text("fre"), text()])
        source = item.sources[0]
        source.streams.remove(next(stream for stream in source.streams if stream.get("Language") == "fre"))
        fake.extraction_cache[source.id] = dict.fromkeys(
            [f"{index}.srt" for index in range(6)],
            b"1\n00:00:01,000 --> 00:00:02,000\nThe text of another track.\n",
        )
        source.sidecars[f"{source.stem}.it.srt"] = HUMAN_SRT
        assert source.file is not None
        (source.file.parent / f"{source.stem}.it.srt").write_bytes(HUMAN_SRT)
        report = await run_once(settings(tmp_path / "state", jellyfin(fake), ["es"]), print)
        assert [job.state for job in report.finished] == [JobState.DONE]
        track = source.sidecars[f"{source.stem}.fluxcaption.es.srt"].decode()
        assert track.count("-->") > 5, track


@pytest.mark.parametrize("version", ["10.10.7", "10.11.11", "12.0.0"])
async def test_an_incremental_scan_reads_only_items_saved_since(version: str, tmp_path: Path) -> None:
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


async def test_tracks_dropped_by_a_library_scan_are_restored_after_its_end(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        assert not await app.server_monitor.poll_library_scan()
        fake.begin_library_scan()
        clock.pass_time(seconds=10)
        await queue_upload(app, item)
        await app.workers.run(until_idle=True)
        assert not await app.server_monitor.poll_library_scan()
        assert fake.end_library_scan(dropped_share=1.0) == 1
        clock.pass_time(seconds=10)
        assert await app.server_monitor.poll_library_scan()
        assert item.sources[0].unlisted == set()
        assert not await app.server_monitor.poll_library_scan()
        (delivery,) = await app.storage.deliveries.find(ServerId(SERVER_ID))
        assert delivery.state is DeliveryState.CONFIRMED


# Refused uploads


async def test_10_11_7_refuses_uploads_and_a_mapped_folder_is_written(tmp_path: Path) -> None:
    async with FakeJellyfin("10.11.7") as fake:
        add_demo_film(fake, tmp_path / "media", TEXT_FILM, [audio(), text()])
        report = await run_once(settings(tmp_path / "a", jellyfin(fake), ["es"]), print)
        assert report.exit_code == 75
        assert len(uploads(fake)) == 0
        report = await run_once(settings(tmp_path / "b", mapped(fake, tmp_path / "media"), ["es"]), print)
        assert [job.state for job in report.finished] == [JobState.DONE]
        sidecar = tmp_path / "media" / TEXT_FILM / f"{TEXT_FILM}.fluxcaption.es.srt"
        media = tmp_path / "media" / TEXT_FILM / f"{TEXT_FILM}.mkv"
        assert sidecar.is_file()
        assert sidecar.stat().st_mode & 0o777 == media.stat().st_mode & 0o666


async def test_a_read_only_folder_on_12_is_reported_and_a_mapped_one_written(tmp_path: Path) -> None:
    async with FakeJellyfin("12.0.0") as fake:
        item = add_demo_film(fake, tmp_path / "media", TEXT_FILM, [audio(), text()])
        fake.read_only.add(item.sources[0].id)
        report = await run_once(settings(tmp_path / "a", jellyfin(fake), ["es"]), print)
        assert report.exit_code == 75
        assert report.finished == []
        report = await run_once(settings(tmp_path / "b", mapped(fake, tmp_path / "media"), ["es"]), print)
        assert [job.state for job in report.finished] == [JobState.DONE]


async def test_an_upload_too_large_for_a_proxy_is_written_to_a_mapped_folder(tmp_path: Path) -> None:
    async with app_with_mapped_folder(tmp_path) as (fake, clock, app, item, file):
        fake.choose_fault = lambda name: Fault(status=413) if name.startswith("POST /Videos") else None
        await queue_upload(app, item)
        await run_jobs(app, clock, hours=1)
        assert file.read_bytes() == german_srt(item.name)
        assert len(uploads(fake)) == 1


async def test_an_upload_too_large_for_a_proxy_is_reported_without_a_map(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        fake.choose_fault = lambda name: Fault(status=413) if name.startswith("POST /Videos") else None
        await queue_upload(app, item)
        await run_jobs(app, clock, hours=24)
        (job,) = await app.storage.jobs.page()
        assert "limits the size" in job.reason
        assert len(uploads(fake)) <= 4


# Uploads that may or may not have arrived


async def test_an_upload_before_a_crash_is_looked_for_and_not_repeated(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        fake.hides_new_tracks = True
        job_id = await queue_upload(app, item)
        for _ in range(2):
            # The outcome is not recorded, as after kill -9 between the response and the commit.
            job = await app.storage.jobs.get(job_id)
            assert job is not None
            outcome = await app.delivery.uploader.upload(job)
            assert outcome.stage is Stage.CONFIRM
        assert len(uploads(fake)) == 1


async def test_an_unlisted_track_is_sent_again_only_after_a_library_scan(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        fake.accepts_without_writing = True
        await queue_upload(app, item)
        await run_jobs(app, clock, hours=30)
        assert len(uploads(fake)) == 1, "before a library scan"
        fake.begin_library_scan()
        clock.pass_time(minutes=1)
        await run_jobs(app, clock, hours=3)
        assert len(uploads(fake)) == 1, "during the library scan"
        fake.accepts_without_writing = False
        fake.end_library_scan()
        await run_jobs(app, clock, hours=3)
        assert len(uploads(fake)) == 2
        assert list(item.sources[0].sidecars) == [f"{item.sources[0].stem}.fluxcaption.de.srt"]


# Mapped folders


async def test_a_file_in_a_mapped_folder_is_deleted_without_a_request(tmp_path: Path) -> None:
    async with app_with_mapped_folder(tmp_path) as (fake, _, app, item, file):
        file.write_bytes(HUMAN_SRT)
        item.sources[0].read_folder()
        read = await app.server.fetch_item(ItemId(item.id))
        track = next(track for track in read.sources[0].subtitles if track.file_name == file.name)
        await app.server.delete(read.id, read.sources[0], track)
        assert not file.exists()
        assert not [exchange for exchange in fake.received if exchange.method == "DELETE"]
