"""Passes over the library: cheap where nothing changed, complete before anything is concluded, and never fooled by the server's own changes."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from fluxcaption.app import App
from fluxcaption.daemon import Daemon
from fluxcaption.domain.deliveries import DeliveryState
from fluxcaption.domain.errors import ItemGone, ServiceUnreachable
from fluxcaption.domain.gaps import Action
from fluxcaption.domain.jobs import JobState, Outcome, Stage
from fluxcaption.domain.media import MediaIdentity
from fluxcaption.domain.units import Fingerprint, ItemId
from fluxcaption.ports.storage import TrackFact
from fluxcaption.storage.storage import SqliteStorage

from tests.fakes.clock import FastClock, SimulatedClock
from tests.fakes.jellyfin import FakeItem, FakeJellyfin, Fault, audio, film, new_id, text
from tests.fakes.jellyfin.server import Library
from tests.fakes.media import RATE, sound_clip
from tests.support.app import HEARD, READ, clip, jellyfin, settings, windows_transcribed
from tests.support.libraries import DE, app_beside, beside_a_server, films, finish, states


def changes(fake: FakeJellyfin, since: int = 0) -> list[str]:
    return [
        f"{exchange.method} {exchange.route}"
        for exchange in fake.received[since:]
        if exchange.method != "GET"
    ]


def replace_media(item: FakeItem, clock: FastClock) -> None:
    """Another file under the same name."""
    source = item.sources[0]
    source.size, source.etag = source.size + 5000, new_id(f"another {source.etag}")
    item.touch(clock.now())


def between_pages(fake: FakeJellyfin, number: int, change: Callable[[], None]) -> None:
    """Change the library just before a page is asked for, counted from 1."""
    real, request = fake._rows, 0

    def rows(query: dict[str, str]) -> Any:
        nonlocal request
        request += "startindex" in query
        if request == number and "startindex" in query:
            change()
        return real(query)

    fake._rows = rows  # type: ignore[method-assign]


def storage_of(app: App) -> SqliteStorage:
    assert isinstance(app.storage, SqliteStorage)
    return app.storage


async def writes(storage: SqliteStorage) -> int:
    """Rows ever changed on the writing connection."""
    writer = storage.database._writer
    assert writer is not None
    return writer.total_changes


async def test_an_unchanged_library_is_passed_over_without_a_full_read_or_a_write(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake, app_beside(fake, tmp_path, FastClock()) as app:
        films(fake, 1200, app.clock.now())
        first = await app.scanner.scan(full=True)
        assert (first.items, first.read, first.queued) == (1200, 1200, 1200)
        assert isinstance(app.clock, FastClock)
        app.clock.pass_time(hours=24)
        before, file_suffix = len(fake.received), await writes(storage_of(app))
        second = await app.scanner.scan(full=True)
        request = [
            exchange.query.get("fields") for exchange in fake.received[before:] if exchange.route == "/Items"
        ]
        assert (second.items, second.read, second.queued) == (1200, 0, 0)
        assert request == ["Etag"] * 3
        assert await writes(storage_of(app)) - file_suffix <= 2, "the cursor alone is written"


async def test_only_what_changed_is_read_in_full(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake, app_beside(fake, tmp_path, FastClock()) as app:
        items = films(fake, 300, app.clock.now())
        await app.scanner.scan(full=True)
        items[7].sources[0].sidecars["Film 000007.de.srt"] = b"1\n00:00:01,000 --> 00:00:02,000\nJa.\n"
        items[7].touch(app.clock.now())
        fake.add(film("Another", [audio()], library=fake.libraries[0].id))
        report = await app.scanner.scan(full=True)
        assert report.items == 301
        assert report.read == 2
        assert report.tally.table()["de"].get("covered") == 1


async def test_other_wishes_or_another_server_version_make_every_item_be_read_once(tmp_path: Path) -> None:
    async with FakeJellyfin("10.10.7") as fake:
        clock = FastClock()
        async with app_beside(fake, tmp_path, clock) as app:
            films(fake, 50, clock.now())
            assert (await app.scanner.scan(full=True)).read == 50
            assert (await app.scanner.scan(full=True)).read == 0
            fake.version_text = "10.11.11"
            app.set_server(await app.server.connect())
            assert (await app.scanner.scan(full=True)).read == 50
            assert (await app.scanner.scan(full=True)).read == 0
        async with app_beside(fake, tmp_path, clock, languages={"targets": ["de", "fr"]}) as app:
            assert (await app.scanner.scan(full=True)).read == 50


async def test_an_answer_with_items_nobody_asked_for_is_refused(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake, app_beside(fake, tmp_path, FastClock()) as app:
        items = films(fake, 3, app.clock.now())
        real = fake._rows
        fake._rows = lambda query: list(fake.items.values()) if "ids" in query else real(query)  # type: ignore[method-assign]
        with pytest.raises(Exception, match="items that were not requested"):
            await app.server.fetch_item(items[0].id)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "count", [200, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])]
)
async def test_a_finished_library_stays_finished_through_upgrades_and_new_ids(
    count: int, tmp_path: Path
) -> None:
    """Under the running daemon, whose workers would take up whatever it queued."""
    async with FakeJellyfin("10.10.7") as fake:
        clock = SimulatedClock()
        fake.now = clock.now
        items = films(fake, count, clock.now(), [audio("eng"), text("ger", "PGSSUB"), text("eng")])
        storage = await SqliteStorage.open(tmp_path)
        await finish(fake, storage, items, clock.now())
        await storage.close()
        daemon = Daemon(settings(tmp_path, jellyfin(fake), ["de"]), clock=clock)
        ready = asyncio.Event()
        running = asyncio.create_task(daemon.run(on_ready=ready.set))
        await ready.wait()
        assert daemon.app is not None
        app = daemon.app
        full_passes = 0

        async def a_day_goes_by() -> None:
            """The server looks through its folders, the daemon through the library, twice in full."""
            nonlocal full_passes
            for _ in range(2):
                fake.begin_library_scan()
                await clock.run_for(timedelta(minutes=3))
                fake.end_library_scan()
                await clock.run_for(timedelta(minutes=3))
                clock.pass_time(hours=15)
                control = aiohttp.UnixConnector(str(tmp_path / "control.sock"))
                async with (
                    aiohttp.ClientSession(connector=control) as session,
                    session.post("http://daemon/api/scan") as answer,
                ):
                    assert answer.status == 200, await answer.text()
                    full_passes += 1

        await a_day_goes_by()
        for version in ("10.11.11", "12.0.0"):
            fake.version_text = version
            for item in items:
                item.touch(clock.now())  # As by the first scan of a new version (J16).
            await a_day_goes_by()
        fake.change_all_ids()
        await a_day_goes_by()
        jobs = await app.storage.queue.counts()
        found = await states(storage_of(app))
        heard = (await storage_of(app).database.read("SELECT count(*) AS n FROM windows"))[0]["n"]
        sent = Counter(
            exchange.method for exchange in fake.received if exchange.route.startswith(("/Videos", "/Items"))
        )
        print(
            f"{count} finished items, {full_passes} full passes: {sent['POST']} uploads and refreshes, {sent['DELETE']} deletions, {heard} windows heard; {jobs}"
        )
        assert (await app.server.connect()).version == "12.0.0"
        assert {state for _, state in jobs} == {JobState.DONE}
        assert sum(jobs.values()) == count, "no job beside those that were done before"
        assert {method for method in sent if method != "GET"} == set()
        assert heard == 0
        assert not app.engines.recognizer.is_loaded
        assert found == {DeliveryState.CONFIRMED: count}
        daemon.stop()
        await running


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
async def test_tracks_that_a_library_scan_drops_are_never_taken_for_a_no(count: int, tmp_path: Path) -> None:
    async with FakeJellyfin() as fake, app_beside(fake, tmp_path, FastClock()) as app:
        items = films(fake, count, app.clock.now())
        await finish(fake, storage_of(app), items, app.clock.now())
        assert isinstance(app.clock, FastClock)
        await app.scanner.scan(full=True)
        dropped = 0
        for _ in range(3):
            fake.begin_library_scan()
            app.clock.pass_time(minutes=5)
            await app.scanner.scan(full=True)
            dropped += fake.end_library_scan(drops=0.3)
            for _ in range(3):
                app.clock.pass_time(hours=30)
                await app.scanner.scan(full=True)
        found = await states(storage_of(app))
        print(
            f"{count} delivered items, {dropped} times a track dropped by three library scans: {found.get(DeliveryState.REFUSED, 0)} taken for a no"
        )
        assert dropped >= count
        assert found.get(DeliveryState.REFUSED, 0) == 0
        assert found == {DeliveryState.CONFIRMED: count}
        assert {state for _, state in await app.storage.queue.counts()} == {JobState.DONE}
        assert set(changes(fake)) == {"POST /Items/{itemId}/Refresh"}


async def test_a_track_that_somebody_removed_is_a_no_after_two_complete_passes_a_day_apart(
    tmp_path: Path,
) -> None:
    async with FakeJellyfin() as fake, app_beside(fake, tmp_path, FastClock()) as app:
        items = films(fake, 5, app.clock.now())
        await finish(fake, storage_of(app), items, app.clock.now())
        await app.scanner.scan(full=True)
        items[2].sources[0].sidecars.clear()
        items[2].touch(app.clock.now())
        assert isinstance(app.clock, FastClock)
        for _ in range(5):
            app.clock.pass_time(hours=2)
            await app.scanner.scan(full=True)
        assert await states(storage_of(app)) == {DeliveryState.CONFIRMED: 4, DeliveryState.MISSING: 1}
        app.clock.pass_time(hours=24)
        await app.scanner.scan(full=True)
        assert await states(storage_of(app)) == {DeliveryState.CONFIRMED: 4, DeliveryState.REFUSED: 1}
        for _ in range(2):
            app.clock.pass_time(hours=30)
            assert (await app.scanner.scan(full=True, lean=False)).queued == 0
        assert {state for _, state in await app.storage.queue.counts()} == {JobState.DONE}


async def test_a_renamed_track_of_ours_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake, app_beside(fake, tmp_path, FastClock()) as app:
        (item,) = films(fake, 1, app.clock.now())
        await finish(fake, storage_of(app), [item], app.clock.now())
        source = item.sources[0]
        source.sidecars = {f"{source.stem}.german.srt": next(iter(source.sidecars.values()))}
        item.touch(app.clock.now())
        report = await app.scanner.scan(full=True)
        assert report.queued == 0
        reads = [exchange for exchange in fake.received if "Subtitles" in exchange.route]
        assert len(reads) == 1
        item.touch(app.clock.now())
        (decision,) = (await app.planner.plan([await app.server.fetch_item(item.id)]))[0]  # type: ignore[arg-type]
        assert "FluxCaption German text track exists" in decision.reason


SKIPPED = ["no-speech", "not-good-enough", "undone", "language-unknown", "spoken"]


@pytest.mark.parametrize("code", SKIPPED)
async def test_two_full_scans_after_each_settled_reason_make_no_job(code: str, tmp_path: Path) -> None:
    async with FakeJellyfin() as fake, app_beside(fake, tmp_path, FastClock()) as app:
        (made,) = films(fake, 1, app.clock.now())
        item = await app.server.fetch_item(made.id)  # type: ignore[arg-type]
        source = item.sources[0]
        await app.storage.identities.save(
            item.server_id, source, MediaIdentity(Fingerprint("f"), source.size_bytes, source.duration_ms)
        )
        await app.storage.skips.remember(
            Fingerprint("f"),
            DE,
            "*" if code == "undone" else app.planner.skip_key,
            code,
            f"because {code}",
            app.clock.now(),
        )
        for lean in (False, False):
            assert (await app.scanner.scan(full=True, lean=lean)).queued == 0
        fake.change_all_ids()
        assert (await app.scanner.scan(full=True, lean=False)).queued == 0
        assert await app.storage.queue.counts() == {}
        assert changes(fake) == []


@pytest.mark.parametrize("code", ["no-speech", "spoken", "not-good-enough", "undone", "refused"])
async def test_two_full_scans_after_the_work_itself_came_to_a_reason_make_no_job(
    code: str, tmp_path: Path
) -> None:
    """As above, but each reason is reached as in a household: by listening, by `undo`, by somebody who deletes the file."""
    policy: dict[str, Any] = (
        {"targets": ["en"], "when_spoken": "skip"} if code == "spoken" else {"targets": ["es"]}
    )
    asr = {
        "backends": [{"type": "local", "model": "miniature"}],
        "min_score": 1.0 if code == "not-good-enough" else 0.5,
    }
    title, streams = (
        (READ, [audio(), text()])
        if code in {"undone", "refused"}
        else (HEARD, [audio(None if code == "spoken" else "eng")])
    )
    async with FakeJellyfin() as fake:
        clock = FastClock()
        file = tmp_path / "media" / title / f"{title}.mkv"
        if code == "no-speech":
            sound_clip(file, [("eng", np.zeros(20 * RATE, dtype=np.float32))])
        else:
            clip(tmp_path / "media", title)
        seconds = 20 if code == "no-speech" else 61 if title == READ else 70
        made = film(
            title, streams, library=fake.libraries[0].id, file=file, minutes=seconds / 60, now=clock.now()
        )
        fake.add(made)
        async with app_beside(fake, tmp_path / "state", clock, languages=policy, asr=asr) as app:
            assert (await app.scanner.scan(full=True)).queued == 1
            await app.storage.backlog.release_all(clock.now())
            await app.workers.run(until_idle=True)
            (job,) = await app.storage.jobs.page()
            if code in {"undone", "refused"}:
                assert job.state is JobState.DONE, job.reason
                if code == "undone":
                    await app.delivery.undo.remove_own_tracks(app.playback.server_id, None, dry_run=False)
                else:
                    made.sources[0].sidecars.clear()
                    file.with_name(f"{title}.fluxcaption.es.srt").unlink()
                    made.touch(clock.now())
                    for _ in range(3):
                        await app.scanner.scan(full=True)
                        clock.pass_time(hours=25)
                assert await states(storage_of(app)) == {DeliveryState.REFUSED: 1}
            else:
                assert (job.state, job.reason_code) == (JobState.SKIPPED, code), job.reason
            before, heard = len(fake.received), await windows_transcribed(tmp_path / "state")
            for ids in ("the same", "the same", "new"):
                if ids == "new":
                    fake.change_all_ids()
                clock.pass_time(hours=30)
                assert (await app.scanner.scan(full=True, lean=False)).queued == 0
                await app.workers.run(until_idle=True)
            (after,) = await app.storage.jobs.page()
            assert (after.id, after.state) == (job.id, job.state)
            assert changes(fake, before) == []
            assert made.sources[0].sidecars == {}
            assert await windows_transcribed(tmp_path / "state") == heard
            print(f"{code}: {job.reason}; two full scans and one with new ids: 0 jobs")


async def test_the_loop_answers_while_a_library_is_read(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake, app_beside(fake, tmp_path, FastClock()) as app:
        films(fake, 2000, app.clock.now())
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        ticking = asyncio.create_task(turn())
        await app.scanner.scan(full=True)
        ticking.cancel()
        assert turns > 1000


async def test_a_pass_that_was_broken_off_goes_on_with_what_it_has_not_read(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        films(fake, 900, clock.now())
        fake.chaos = lambda name: (
            Fault(status=500)
            if name == "GET /Items" and len([e for e in fake.received if e.route == "/Items"]) >= 3
            else None
        )
        with pytest.raises(ServiceUnreachable):
            await app.scanner.scan(full=True)
        fake.chaos = None
        async with app_beside(fake, tmp_path, clock) as app:
            report = await app.scanner.scan(full=True)
            assert report.items == 900
            assert 300 < report.read <= 400
            assert len(await app.storage.jobs.page(limit=2000)) == 900


async def test_an_unchanged_item_whose_job_failed_comes_back_after_a_day(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        films(fake, 3, clock.now())
        await app.scanner.scan(full=True)
        await app.storage.backlog.release_all(clock.now())
        job = await app.storage.queue.claim(Stage.ACQUIRE, clock.now())
        assert job is not None
        await app.storage.queue.record(job, Outcome.failed("no", "transient"), clock.now())
        clock.pass_time(hours=12)
        assert (await app.scanner.scan(full=True)).read == 0
        clock.pass_time(hours=13)
        report = await app.scanner.scan(full=True)
        assert (report.read, report.queued) == (1, 1)
        clock.pass_time(hours=13)
        assert (await app.scanner.scan(full=True)).read == 0


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("change", ["60 come", "30 go", "450 go", "the last page goes"])
async def test_what_comes_or_goes_between_two_pages_hides_and_doubles_nothing(
    change: str, lean: bool, tmp_path: Path
) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        items = films(fake, 1600, clock.now())

        def happens() -> None:
            if change == "60 come":
                fake.add(
                    *[
                        film(
                            f"Old {number}",
                            [audio()],
                            library=fake.libraries[0].id,
                            added=clock.now() - timedelta(days=900),
                        )
                        for number in range(60)
                    ]
                )
            for item in {"30 go": items[:30], "450 go": items[:450], "the last page goes": items[400:]}.get(
                change, []
            ):
                del fake.items[item.id]

        between_pages(fake, 3, happens)
        (library,) = await app.server.libraries()
        pages = app.server.item_revisions(library) if lean else app.server.items(library)
        found = [part.id async for page in pages for part in page]
        assert len(found) == len(set(found))
        assert {item.id for item in items if item.id in fake.items} <= set(found)


async def test_what_a_second_library_shows_again_stays_with_the_first(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        fake.libraries.append(Library(new_id("other"), "Other", folder="/media/other"))
        films(fake, 5, clock.now())
        real = fake._rows
        fake._rows = lambda query: list(fake.items.values()) if "parentid" in query else real(query)  # type: ignore[method-assign]
        for lean in (False, True):
            assert (await app.scanner.scan(full=True, lean=lean)).items == 5
            rows = await storage_of(app).database.read("SELECT library, missed_since FROM items")
            assert [(row["library"], row["missed_since"]) for row in rows] == [("Movies", None)] * 5


async def test_a_pass_knows_the_library_however_the_server_spells_its_paths(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path, rules=[{"library": "Movies", "targets": ["es"]}]) as (
        fake,
        clock,
        app,
    ):
        # The server shows its items under substituted paths.
        fake.libraries[0].folder = "/srv/films"
        films(fake, 2, clock.now())
        await app.scanner.scan(full=True)
        new = film("New", [audio()], library=fake.libraries[0].id, added=clock.now())
        fake.add(new)
        await app.scanner.scan(full=True)
        assert [str(job.target) for job in await app.storage.jobs.page()] == ["es"] * 3
        assert (await app.server.fetch_item(ItemId(new.id))).library == "Movies"


async def test_a_film_that_joins_a_collection_of_a_rule_is_decided_anew(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path, rules=[{"collection": "Anime", "targets": ["es"]}]) as (
        fake,
        clock,
        app,
    ):
        items = films(fake, 3, clock.now())
        box = new_id("box")
        fake.box_names[box], fake.box_sets[box] = "Anime", []
        await app.scanner.scan(full=True)
        fake.box_sets[box] = [items[0].id]
        assert (await app.scanner.scan(full=True)).read == 1
        assert [job.title for job in await app.storage.jobs.page() if str(job.target) == "es"] == [
            items[0].name
        ]
        assert (await app.scanner.scan(full=True)).read == 0
        fake.box_sets[box] = []
        assert (await app.scanner.scan(full=True)).read == 1


async def test_a_renamed_library_is_decided_anew_and_one_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path, rules=[{"library": "Kids", "targets": ["es"]}]) as (
        fake,
        clock,
        app,
    ):
        films(fake, 3, clock.now())
        await app.scanner.scan(full=True)
        fake.libraries[0].name = "Kids"
        assert (await app.scanner.scan(full=True)).read == 3
        assert [str(job.target) for job in await app.storage.jobs.page()].count("es") == 3
        fake.libraries.clear()
        for hours, left in ((1, 3), (12, 3), (30, 0)):
            clock.pass_time(hours=hours)
            await app.scanner.scan(full=True)
            assert (await storage_of(app).database.read("SELECT count(*) AS n FROM items"))[0]["n"] == left


async def test_a_stream_address_that_nobody_has_probed_is_read_once(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        for item in films(fake, 3, clock.now(), []):
            item.sources[0].streams, item.sources[0].extra = (
                [],
                {"Protocol": "Http", "Path": "http://films.example/1", "IsRemote": True},
            )
        assert [(await app.scanner.scan(full=True)).read for _ in range(3)] == [3, 0, 0]


async def test_the_second_pass_tells_the_same_as_the_first(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        films(fake, 30, clock.now(), [audio("eng")])
        fake.add(film("Covered", [audio("eng"), text("ger")], library=fake.libraries[0].id, now=clock.now()))
        first, second = await app.scanner.scan(full=True), await app.scanner.scan(full=True)
        assert second.read == 0
        assert first.tally.table() == second.tally.table() == {"de": {"covered": 1, "listen": 30}}
        assert first.forecast is not None
        assert second.forecast is not None
        assert (
            (second.forecast.titles, second.forecast.listening_hours)
            == (first.forecast.titles, first.forecast.listening_hours)
            == (30, 45)
        )


async def test_a_film_that_was_away_for_a_moment_gets_its_job_back(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        await app.scanner.scan(full=True)
        await app.storage.backlog.release_all(clock.now())
        job = await app.storage.queue.claim(Stage.ACQUIRE, clock.now())
        assert job is not None
        gone = ItemGone(item.id)
        await app.storage.queue.record(
            job, Outcome(JobState.CANCELLED, reason=str(gone), reason_code=gone.code), clock.now()
        )
        report = await app.scanner.scan(full=True)
        assert (report.read, report.queued) == (1, 1)
        assert (await app.scanner.scan(full=True)).read == 0


async def test_an_open_job_follows_its_file_to_the_film_it_was_merged_into(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        one, other = films(fake, 2, clock.now())
        await app.scanner.scan(full=True)
        one.sources.append(other.sources[0])
        del fake.items[other.id]
        one.touch(clock.now())
        await app.scanner.scan(full=True)
        assert {job.item_id for job in await app.storage.jobs.page()} == {one.id}


async def test_one_item_that_the_server_stumbles_over_does_not_end_the_pass(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        items = films(fake, 30, clock.now())
        await finish(fake, storage_of(app), items[:1], clock.now())
        items[0].sources[0].sidecars.clear()
        fake.chaos = lambda name: Fault(status=500) if name.startswith("POST /Items") else None
        assert (await app.scanner.scan(full=True)).items == 30


# -- what became of ours ------------------------------------------------------------------------------------------------


async def test_a_file_that_a_library_scan_dropped_is_no_no_though_somebody_watched_at_the_first_pass(
    tmp_path: Path,
) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        await finish(fake, storage_of(app), [item], clock.now())
        await app.scanner.scan(full=True)
        source = item.sources[0]
        source.unlisted.add(f"{source.stem}.fluxcaption.de.srt")
        item.touch(clock.now())
        fake.somebody_plays(item)
        await app.scanner.scan(full=True)
        fake.stops(item)
        clock.pass_time(hours=25)
        await app.scanner.scan(full=True)
        assert source.unlisted == set()
        clock.pass_time(hours=25)
        await app.scanner.scan(full=True)
        assert await states(storage_of(app)) == {DeliveryState.CONFIRMED: 1}


async def test_what_was_dropped_again_just_before_the_last_look_is_refreshed_before_anything_is_concluded(
    tmp_path: Path,
) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        await finish(fake, storage_of(app), [item], clock.now())
        source = item.sources[0]
        for _ in range(4):
            # Each time between two passes the server's own scan drops it.
            source.unlisted.add(f"{source.stem}.fluxcaption.de.srt")
            item.touch(clock.now())
            await app.scanner.scan(full=True)
            clock.pass_time(hours=25)
        assert DeliveryState.REFUSED not in await states(storage_of(app))


async def test_passes_that_broke_off_do_not_make_a_no(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        items = films(fake, 900, clock.now())
        await finish(fake, storage_of(app), items[:1], clock.now())
        await app.scanner.scan(full=True)
        items[0].sources[0].sidecars.clear()
        items[0].touch(clock.now())
        for _ in range(3):
            before = len(fake.received)
            fake.chaos = lambda name, before=before: (
                Fault(status=500)
                if name == "GET /Items"
                and sum(exchange.route == "/Items" for exchange in fake.received[before:]) >= 2
                else None
            )
            with pytest.raises(ServiceUnreachable):
                await app.scanner.scan(full=True)
            clock.pass_time(hours=25)
        assert await states(storage_of(app)) == {DeliveryState.CONFIRMED: 1}


async def test_a_library_scan_that_begins_during_a_pass_makes_it_count_for_nothing(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        await finish(fake, storage_of(app), [item], clock.now())
        await app.scanner.scan(full=True)
        item.sources[0].sidecars.clear()
        item.touch(clock.now())

        def walks() -> None:
            fake.begin_library_scan()
            clock.pass_time(minutes=1)
            fake.end_library_scan()

        for _ in range(3):
            between_pages(fake, 1, walks)
            await app.scanner.scan(full=True)
            clock.pass_time(hours=25)
        assert await states(storage_of(app)) == {DeliveryState.CONFIRMED: 1}


async def test_a_no_holds_when_the_film_gets_another_name(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = FastClock()
        item = film(
            READ,
            [audio(), text()],
            library=fake.libraries[0].id,
            file=clip(tmp_path / "media", READ),
            minutes=61 / 60,
        )
        fake.add(item)
        async with app_beside(fake, tmp_path / "state", clock, languages={"targets": ["es"]}) as app:

            async def work() -> None:
                await app.scanner.scan(full=True)
                await app.storage.backlog.release_all(clock.now())
                await app.workers.run(until_idle=True)

            await work()
            (name,) = item.sources[0].sidecars
            folder = tmp_path / "media" / READ
            (folder / name).unlink()
            item.sources[0].sidecars.clear()
            item.touch(clock.now())
            await work()
            clock.pass_time(hours=25)
            await work()
            assert await states(storage_of(app)) == {DeliveryState.REFUSED: 1}
            folder.rename(folder.with_name("New"))
            file = (folder.with_name("New") / f"{READ}.mkv").rename(folder.with_name("New") / "New.mkv")
            fake.items.clear()
            renamed = film("New", [audio(), text()], library=fake.libraries[0].id, file=file, minutes=61 / 60)
            fake.add(renamed)
            await work()
            assert renamed.sources[0].sidecars == {}
            assert "removed by a user" in (await app.storage.jobs.page())[0].reason


@pytest.mark.parametrize("why", ["no-speech", "removed"])
async def test_another_file_under_the_same_name_is_looked_at_again(why: str, tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (made,) = films(fake, 1, clock.now())
        if why == "removed":
            await finish(fake, storage_of(app), [made], clock.now())
            made.sources[0].sidecars.clear()
            for _ in range(2):
                await app.scanner.scan(full=True)
                clock.pass_time(hours=25)
            assert await states(storage_of(app)) == {DeliveryState.REFUSED: 1}
        else:
            item = await app.server.fetch_item(ItemId(made.id))
            source = item.sources[0]
            await app.storage.identities.save(
                item.server_id, source, MediaIdentity(Fingerprint("f"), source.size_bytes, source.duration_ms)
            )
            await app.storage.skips.remember(
                Fingerprint("f"), DE, app.planner.skip_key, why, "nobody speaks in it", clock.now()
            )
        assert (await app.scanner.scan(full=True)).queued == 0
        replace_media(made, clock)
        assert (await app.scanner.scan(full=True)).queued == 1


async def test_a_language_that_was_read_is_of_that_file_alone(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (made,) = films(fake, 1, clock.now(), [audio("jpn"), text("und")])
        item = await app.server.fetch_item(ItemId(made.id))
        source = item.sources[0]
        await app.storage.tracks.save_fact(
            item.server_id,
            source.id,
            TrackFact(source.subtitles[0].key, item.etag, DE, media=source.revision),
        )

        async def action() -> Action:
            ((decision,),) = await app.planner.plan([await app.server.fetch_item(ItemId(made.id))])
            return decision.action

        assert await action() is Action.COVERED
        made.touch(clock.now() + timedelta(days=1))
        assert await action() is Action.COVERED
        replace_media(made, clock)
        assert await action() is Action.INSPECT


# -- media that was replaced under ours ---------------------------------------------------------------------------------


async def test_a_track_of_replaced_media_is_made_anew_whatever_the_backlog_says(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path, backlog={"mode": "none"}) as (fake, clock, app):
        items = films(fake, 2, clock.now() - timedelta(days=60))
        await finish(fake, storage_of(app), items[:1], clock.now())
        assert (await app.scanner.scan(full=True)).queued == 0
        replace_media(items[0], clock)
        assert (await app.scanner.scan(full=True)).queued == 1
        (job,) = await app.storage.jobs.page()
        assert (job.title, job.state, job.is_held) == (items[0].name, JobState.QUEUED, False)


@pytest.mark.parametrize("why", ["settled", "not wanted", "nothing to make it from", "another serves"])
async def test_a_track_of_replaced_media_goes_where_no_other_is_made(why: str, tmp_path: Path) -> None:
    async with beside_a_server(tmp_path, languages={"targets": ["de"], "when_spoken": "skip"}) as (
        fake,
        clock,
        app,
    ):
        (made,) = films(fake, 1, clock.now(), [audio("eng")])
        await finish(fake, storage_of(app), [made], clock.now())
        await app.scanner.scan(full=True)
        replace_media(made, clock)
        item = await app.server.fetch_item(ItemId(made.id))
        source = item.sources[0]
        await app.storage.identities.save(
            item.server_id, source, MediaIdentity(Fingerprint("new"), source.size_bytes, source.duration_ms)
        )
        if why == "settled":
            await app.storage.skips.remember(
                Fingerprint("new"),
                DE,
                app.planner.skip_key,
                "no-speech",
                "nobody speaks in it",
                clock.now(),
            )
        elif why == "not wanted":
            made.sources[0].streams = [audio("ger")]
        elif why == "nothing to make it from":
            made.sources[0].streams = [audio("eng", Title="Director's commentary")]
        else:
            made.sources[0].streams = [audio("eng"), text("ger")]
        ((decision,),) = await app.planner.plan([await app.server.fetch_item(ItemId(made.id))])
        if why == "another serves":
            assert decision.action is Action.YIELD_TO_HUMAN
            return
        assert decision.action is Action.REMOVE_STALE
        assert "the media was replaced after" in decision.reason
        assert (await app.scanner.scan(full=True)).queued == 1
        job = await app.storage.queue.claim(Stage.ACQUIRE, clock.now())
        assert job is not None
        outcome = await app.workers._stages[Stage.ACQUIRE].run(job)
        assert (outcome.state, outcome.stage, job.track_ref) == (JobState.QUEUED, Stage.UPLOAD, None)


async def test_a_track_beside_a_file_that_only_seems_replaced_stays(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path, languages={"targets": ["de"], "when_spoken": "skip"}) as (
        fake,
        clock,
        app,
    ):
        (made,) = films(fake, 1, clock.now(), [audio("eng")])
        await finish(fake, storage_of(app), [made], clock.now())
        await app.scanner.scan(full=True)
        replace_media(made, clock)
        made.sources[0].streams = [audio("ger")]
        item = await app.server.fetch_item(ItemId(made.id))
        source = item.sources[0]
        # The very bytes it was made for.
        await app.storage.identities.save(
            item.server_id,
            source,
            MediaIdentity(Fingerprint(f"f{made.id}"), source.size_bytes, source.duration_ms),
        )
        assert (await app.scanner.scan(full=True)).queued == 1
        job = await app.storage.queue.claim(Stage.ACQUIRE, clock.now())
        assert job is not None
        outcome = await app.workers._stages[Stage.ACQUIRE].run(job)
        assert (outcome.state, outcome.reason) == (
            JobState.DONE,
            "the media file is unchanged, the existing FluxCaption track was made for it",
        )
        await app.storage.queue.record(job, outcome, clock.now())
        assert [(await app.scanner.scan(full=True)).queued for _ in range(2)] == [0, 0]


async def test_a_film_that_replaced_another_and_brought_no_track_is_a_gap_after_one_whole_pass(
    tmp_path: Path,
) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (made,) = films(fake, 1, clock.now())
        await finish(fake, storage_of(app), [made], clock.now())
        await app.scanner.scan(full=True)
        replace_media(made, clock)
        made.sources[0].sidecars.clear()
        assert [(await app.scanner.scan(full=True)).queued for _ in range(2)] == [0, 1]
