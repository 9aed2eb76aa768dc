"""Scans of the library read only what changed, find every item, and queue nothing for a finished library."""

import asyncio
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from fluxcaption.daemon import Daemon
from fluxcaption.domain.deliveries import DeliveryState
from fluxcaption.domain.errors import ItemGone, ServiceUnreachable
from fluxcaption.domain.gaps import Action
from fluxcaption.domain.jobs import JobState, Outcome, Stage
from fluxcaption.domain.units import Fingerprint
from fluxcaption.ports.storage import TrackFact
from fluxcaption.storage.database import Connection, fetch_all
from fluxcaption.storage.storage import SqliteStorage

from tests.fakes.clock import FastClock, SimulatedClock
from tests.fakes.jellyfin import FakeItem, FakeJellyfin, Fault, audio, film, new_id, text
from tests.fakes.jellyfin.server import Library
from tests.fakes.media import RATE, sound_clip
from tests.support.app import SPEECH_FILM, TEXT_FILM, clip, jellyfin, settings, windows_transcribed
from tests.support.deliveries import claim
from tests.support.libraries import (
    DE,
    DEMO_LENGTHS_S,
    SERVER,
    add_delivered_tracks,
    add_films,
    change_before_page,
    connected_app,
    database_of,
    delivery_states,
    fail_item_lists,
    fetch_item,
    intercept_rows,
    non_get_requests,
    replace_media,
    save_identity,
    scan_and_work,
    server_with_app,
    storage_of,
)


async def rows_written(storage: SqliteStorage) -> int:
    """Return the number of rows changed since the database was opened."""

    async def body(connection: Connection) -> int:
        return int((await fetch_all(connection, "SELECT total_changes() AS n"))[0]["n"])

    return await storage.database.transaction(body)


async def count_item_records(storage: SqliteStorage) -> int:
    return len(await storage.items.rows(SERVER, 0, 1000))


# -- Which items are read ----------------------------------------------------------------------


async def test_unchanged_library_is_scanned_without_full_reads_or_writes(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        add_films(fake, 1200, clock.now())
        first = await app.scanner.scan(full=True)
        assert (first.items, first.read, first.queued) == (1200, 1200, 1200)
        clock.pass_time(hours=24)
        requests_before, rows_before = len(fake.received), await rows_written(storage_of(app))
        second = await app.scanner.scan(full=True)
        fields = [
            exchange.query.get("fields")
            for exchange in fake.received[requests_before:]
            if exchange.route == "/Items"
        ]
        assert (second.items, second.read, second.queued) == (1200, 0, 0)
        assert fields == ["Etag"] * 3
        assert await rows_written(storage_of(app)) - rows_before <= 2, "only the cursor is written"


async def test_scan_reads_only_changed_items_in_full(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        items = add_films(fake, 300, clock.now())
        await app.scanner.scan(full=True)
        items[7].sources[0].sidecars["Film 000007.de.srt"] = b"1\n00:00:01,000 --> 00:00:02,000\nJa.\n"
        items[7].touch(clock.now())
        fake.add(film("Another", [audio()], library=fake.libraries[0].id))
        report = await app.scanner.scan(full=True)
        assert report.items == 301
        assert report.read == 2
        assert report.tally.table()["de"].get("covered") == 1


async def test_new_policy_or_server_version_rereads_every_item_once(tmp_path: Path) -> None:
    async with FakeJellyfin("10.10.7") as fake:
        clock = FastClock()
        async with connected_app(fake, tmp_path, clock) as app:
            add_films(fake, 50, clock.now())
            assert (await app.scanner.scan(full=True)).read == 50
            assert (await app.scanner.scan(full=True)).read == 0
            fake.version_text = "10.11.11"
            app.set_server(await app.server.connect())
            assert (await app.scanner.scan(full=True)).read == 50
            assert (await app.scanner.scan(full=True)).read == 0
        async with connected_app(fake, tmp_path, clock, languages={"targets": ["de", "fr"]}) as app:
            assert (await app.scanner.scan(full=True)).read == 50


async def test_unprobed_stream_url_is_read_once(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        for item in add_films(fake, 3, clock.now(), []):
            source = item.sources[0]
            source.streams = []
            source.extra = {"Protocol": "Http", "Path": "http://films.example/1", "IsRemote": True}
        assert [(await app.scanner.scan(full=True)).read for _ in range(3)] == [3, 0, 0]


async def test_second_scan_reports_the_same_tally_and_forecast(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        add_films(fake, 30, clock.now(), [audio("eng")])
        fake.add(film("Covered", [audio("eng"), text("ger")], library=fake.libraries[0].id, now=clock.now()))
        first, second = await app.scanner.scan(full=True), await app.scanner.scan(full=True)
        assert second.read == 0
        assert first.tally.table() == second.tally.table() == {"de": {"covered": 1, "listen": 30}}
        for report in (first, second):
            assert report.forecast is not None
            assert (report.forecast.titles, report.forecast.listening_hours) == (30, 45)


async def test_event_loop_stays_responsive_during_a_scan(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        add_films(fake, 2000, clock.now())
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        counter = asyncio.create_task(count_turns())
        await app.scanner.scan(full=True)
        counter.cancel()
        assert turns > 1000


async def test_detected_track_language_applies_only_to_that_media_file(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (made,) = add_films(fake, 1, clock.now(), [audio("jpn"), text("und")])
        item = await fetch_item(app, made)
        source = item.sources[0]
        fact = TrackFact(source.subtitles[0].key, item.etag, DE, media=source.revision)
        await app.storage.tracks.save_fact(item.server_id, source.id, fact)

        async def planned_action() -> Action:
            ((decision,),) = await app.planner.plan([await fetch_item(app, made)])
            return decision.action

        assert await planned_action() is Action.COVERED
        made.touch(clock.now() + timedelta(days=1))
        assert await planned_action() is Action.COVERED
        replace_media(made, clock.now())
        assert await planned_action() is Action.INSPECT


# -- Libraries, collections and pages ----------------------------------------------------------


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("change", ["60 come", "30 go", "450 go", "the last page goes"])
async def test_changes_between_pages_hide_and_repeat_no_item(change: str, lean: bool, tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        items = add_films(fake, 1600, clock.now())
        removed = {"30 go": items[:30], "450 go": items[:450], "the last page goes": items[400:]}

        def add_or_remove() -> None:
            if change == "60 come":
                added = clock.now() - timedelta(days=900)
                library = fake.libraries[0].id
                fake.add(*[film(f"Old {n}", [audio()], library=library, added=added) for n in range(60)])
            for item in removed.get(change, []):
                del fake.items[item.id]

        change_before_page(fake, 3, add_or_remove)
        (library,) = await app.server.libraries()
        pages = app.server.item_revisions(library) if lean else app.server.items(library)
        listed = [listed.id async for page in pages for listed in page]
        assert len(listed) == len(set(listed))
        assert {item.id for item in items if item.id in fake.items} <= set(listed)


async def test_response_with_unrequested_items_is_rejected(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        items = add_films(fake, 3, clock.now())
        intercept_rows(fake, lambda query, rows: list(fake.items.values()) if "ids" in query else rows(query))
        with pytest.raises(Exception, match="items that were not requested"):
            await fetch_item(app, items[0])


async def test_item_in_two_libraries_stays_with_the_first(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        fake.libraries.append(Library(new_id("other"), "Other", folder="/media/other"))
        add_films(fake, 5, clock.now())
        intercept_rows(
            fake, lambda query, rows: list(fake.items.values()) if "parentid" in query else rows(query)
        )
        for lean in (False, True):
            assert (await app.scanner.scan(full=True, lean=lean)).items == 5
            rows = await database_of(app).read("SELECT library, missed_since FROM items")
            assert [(row["library"], row["missed_since"]) for row in rows] == [("Movies", None)] * 5


async def test_scan_assigns_the_library_despite_substituted_paths(tmp_path: Path) -> None:
    rules = [{"library": "Movies", "targets": ["es"]}]
    async with server_with_app(tmp_path, rules=rules) as (fake, clock, app):
        # The folder of the library differs from the paths of its items.
        fake.libraries[0].folder = "/srv/films"
        add_films(fake, 2, clock.now())
        await app.scanner.scan(full=True)
        new = film("New", [audio()], library=fake.libraries[0].id, added=clock.now())
        fake.add(new)
        await app.scanner.scan(full=True)
        assert [str(job.target) for job in await app.storage.jobs.page()] == ["es"] * 3
        assert (await fetch_item(app, new)).library == "Movies"


async def test_item_is_planned_again_when_it_joins_or_leaves_a_collection(tmp_path: Path) -> None:
    rules = [{"collection": "Anime", "targets": ["es"]}]
    async with server_with_app(tmp_path, rules=rules) as (fake, clock, app):
        items = add_films(fake, 3, clock.now())
        collection = new_id("box")
        fake.box_names[collection], fake.box_sets[collection] = "Anime", []
        await app.scanner.scan(full=True)
        fake.box_sets[collection] = [items[0].id]
        assert (await app.scanner.scan(full=True)).read == 1
        spanish = [job.title for job in await app.storage.jobs.page() if str(job.target) == "es"]
        assert spanish == [items[0].name]
        assert (await app.scanner.scan(full=True)).read == 0
        fake.box_sets[collection] = []
        assert (await app.scanner.scan(full=True)).read == 1


async def test_renamed_library_is_planned_again_and_a_missing_one_forgotten(tmp_path: Path) -> None:
    rules = [{"library": "Kids", "targets": ["es"]}]
    async with server_with_app(tmp_path, rules=rules) as (fake, clock, app):
        add_films(fake, 3, clock.now())
        await app.scanner.scan(full=True)
        fake.libraries[0].name = "Kids"
        assert (await app.scanner.scan(full=True)).read == 3
        assert [str(job.target) for job in await app.storage.jobs.page()].count("es") == 3
        fake.libraries.clear()
        for hours, remaining in ((1, 3), (12, 3), (30, 0)):
            clock.pass_time(hours=hours)
            await app.scanner.scan(full=True)
            assert await count_item_records(storage_of(app)) == remaining


# -- Interrupted scans and failed jobs ---------------------------------------------------------


async def test_interrupted_scan_continues_with_unread_items(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        add_films(fake, 900, clock.now())
        fail_item_lists(fake, after=3)
        with pytest.raises(ServiceUnreachable):
            await app.scanner.scan(full=True)
        fake.choose_fault = None
        async with connected_app(fake, tmp_path, clock) as app_after_restart:
            report = await app_after_restart.scanner.scan(full=True)
            assert report.items == 900
            assert 300 < report.read <= 400
            assert len(await app_after_restart.storage.jobs.page(limit=2000)) == 900


async def test_failed_job_of_an_unchanged_item_is_queued_again_after_a_day(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        add_films(fake, 3, clock.now())
        await app.scanner.scan(full=True)
        await app.storage.backlog.release_all(clock.now())
        job = await claim(app, Stage.ACQUIRE)
        await app.storage.queue.record(job, Outcome.failed("no", "transient"), clock.now())
        clock.pass_time(hours=12)
        assert (await app.scanner.scan(full=True)).read == 0
        clock.pass_time(hours=13)
        report = await app.scanner.scan(full=True)
        assert (report.read, report.queued) == (1, 1)
        clock.pass_time(hours=13)
        assert (await app.scanner.scan(full=True)).read == 0


async def test_item_that_was_briefly_gone_is_queued_again(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await app.scanner.scan(full=True)
        await app.storage.backlog.release_all(clock.now())
        job = await claim(app, Stage.ACQUIRE)
        gone = ItemGone(item.id)
        outcome = Outcome(JobState.CANCELLED, reason=str(gone), reason_code=gone.code)
        await app.storage.queue.record(job, outcome, clock.now())
        report = await app.scanner.scan(full=True)
        assert (report.read, report.queued) == (1, 1)
        assert (await app.scanner.scan(full=True)).read == 0


async def test_open_job_follows_its_media_source_to_the_merged_item(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        merged, former = add_films(fake, 2, clock.now())
        await app.scanner.scan(full=True)
        merged.sources.append(former.sources[0])
        del fake.items[former.id]
        merged.touch(clock.now())
        await app.scanner.scan(full=True)
        assert {job.item_id for job in await app.storage.jobs.page()} == {merged.id}


async def test_failed_refresh_of_one_item_does_not_end_the_scan(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        items = add_films(fake, 30, clock.now())
        await add_delivered_tracks(fake, storage_of(app), items[:1], clock.now())
        items[0].sources[0].sidecars.clear()
        fake.choose_fault = lambda request: Fault(status=500) if request.startswith("POST /Items") else None
        assert (await app.scanner.scan(full=True)).items == 30


# -- Finished libraries ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "count", [200, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])]
)
async def test_finished_library_makes_no_job_after_upgrades_and_new_ids(count: int, tmp_path: Path) -> None:
    """The daemon runs, so that its workers would start any job that a scan queues."""
    async with FakeJellyfin("10.10.7") as fake:
        clock = SimulatedClock()
        fake.now = clock.now
        items = add_films(fake, count, clock.now(), [audio("eng"), text("ger", "PGSSUB"), text("eng")])
        storage = await SqliteStorage.open(tmp_path)
        await add_delivered_tracks(fake, storage, items, clock.now())
        await storage.close()
        daemon = Daemon(settings(tmp_path, jellyfin(fake), ["de"]), clock=clock)
        ready = asyncio.Event()
        daemon_task = asyncio.create_task(daemon.run(on_ready=ready.set))
        await ready.wait()
        app = daemon.app
        assert app is not None
        full_scans = 0

        async def pass_a_day() -> None:
            """Run two scans of the server over its folders, and two full scans of the daemon."""
            nonlocal full_scans
            for _ in range(2):
                fake.begin_library_scan()
                await clock.run_for(timedelta(minutes=3))
                fake.end_library_scan()
                await clock.run_for(timedelta(minutes=3))
                clock.pass_time(hours=15)
                connector = aiohttp.UnixConnector(str(tmp_path / "control.sock"))
                async with (
                    aiohttp.ClientSession(connector=connector) as session,
                    session.post("http://daemon/api/scan") as answer,
                ):
                    assert answer.status == 200, await answer.text()
                    full_scans += 1

        await pass_a_day()
        for version in ("10.11.11", "12.0.0"):
            fake.version_text = version
            for item in items:
                item.touch(clock.now())  # As by the first scan of a new version (J16).
            await pass_a_day()
        fake.change_all_ids()
        await pass_a_day()
        jobs = await app.storage.queue.counts()
        windows = await windows_transcribed(tmp_path)
        methods = Counter(
            exchange.method for exchange in fake.received if exchange.route.startswith(("/Videos", "/Items"))
        )
        print(
            f"{count} finished items, {full_scans} full scans: {methods['POST']} uploads and refreshes,"
            f" {methods['DELETE']} deletions, {windows} windows transcribed; {jobs}"
        )
        assert (await app.server.connect()).version == "12.0.0"
        assert {state for _, state in jobs} == {JobState.DONE}
        assert sum(jobs.values()) == count, "no job but those of the delivered tracks"
        assert set(methods) <= {"GET"}
        assert windows == 0
        assert not app.engines.recognizer.is_loaded
        assert await delivery_states(app) == {DeliveryState.CONFIRMED: count}
        daemon.stop()
        await daemon_task


@pytest.mark.parametrize("code", ["no-speech", "not-good-enough", "undone", "language-unknown", "spoken"])
async def test_full_scans_make_no_job_for_a_remembered_skip(code: str, tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await save_identity(app, item, "f")
        skip_key = "*" if code == "undone" else app.planner.skip_key
        await app.storage.skips.remember(Fingerprint("f"), DE, skip_key, code, f"because {code}", clock.now())
        for _ in range(2):
            assert (await app.scanner.scan(full=True, lean=False)).queued == 0
        fake.change_all_ids()
        assert (await app.scanner.scan(full=True, lean=False)).queued == 0
        assert await app.storage.queue.counts() == {}
        assert non_get_requests(fake) == []


FINISHED = ["no-speech", "spoken", "not-good-enough", "undone", "refused"]
"""Reason codes that a job of the daemon, an undo or a removal by a user leaves."""


def add_film_that_ends_with(code: str, fake: FakeJellyfin, media: Path, clock: FastClock) -> FakeItem:
    """Add a film whose job leaves a reason code of `FINISHED`."""
    title, streams = SPEECH_FILM, [audio(None if code == "spoken" else "eng")]
    if code in {"undone", "refused"}:
        title, streams = TEXT_FILM, [audio(), text()]
    file, length_s = media / title / f"{title}.mkv", DEMO_LENGTHS_S[title]
    if code == "no-speech":
        length_s = 20
        sound_clip(file, [("eng", np.zeros(length_s * RATE, dtype=np.float32))])
    else:
        clip(media, title)
    library = fake.libraries[0].id
    item = film(title, streams, library=library, file=file, minutes=length_s / 60, now=clock.now())
    fake.add(item)
    return item


def settings_that_end_with(code: str) -> dict[str, Any]:
    """Return the settings under which a film leaves a reason code of `FINISHED`."""
    spoken = {"targets": ["en"], "when_spoken": "skip"}
    return {
        "languages": spoken if code == "spoken" else {"targets": ["es"]},
        "asr": {
            "backends": [{"type": "local", "model": "miniature"}],
            "min_score": 1.0 if code == "not-good-enough" else 0.5,
        },
    }


@pytest.mark.parametrize("code", FINISHED)
async def test_full_scans_make_no_job_after_a_job_ended_for_good(code: str, tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = FastClock()
        item = add_film_that_ends_with(code, fake, tmp_path / "media", clock)
        source = item.sources[0]
        state = tmp_path / "state"
        async with connected_app(fake, state, clock, **settings_that_end_with(code)) as app:
            assert (await scan_and_work(app)).queued == 1
            (job,) = await app.storage.jobs.page()
            if code in {"undone", "refused"}:
                assert job.state is JobState.DONE, job.reason
                if code == "undone":
                    await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=False)
                else:
                    source.sidecars.clear()
                    assert source.file is not None
                    source.file.with_name(f"{item.name}.fluxcaption.es.srt").unlink()
                    item.touch(clock.now())
                    for _ in range(3):
                        await app.scanner.scan(full=True)
                        clock.pass_time(hours=25)
                assert await delivery_states(app) == {DeliveryState.REFUSED: 1}
            else:
                assert (job.state, job.reason_code) == (JobState.SKIPPED, code), job.reason
            requests_before, windows_before = len(fake.received), await windows_transcribed(state)
            for ids in ("the same", "the same", "new"):
                if ids == "new":
                    fake.change_all_ids()
                clock.pass_time(hours=30)
                assert (await app.scanner.scan(full=True, lean=False)).queued == 0
                await app.workers.run(until_idle=True)
            (job_after,) = await app.storage.jobs.page()
            assert (job_after.id, job_after.state) == (job.id, job.state)
            assert non_get_requests(fake, requests_before) == []
            assert source.sidecars == {}
            assert await windows_transcribed(state) == windows_before
            print(f"{code}: {job.reason}; two full scans and one with new ids: 0 jobs")
