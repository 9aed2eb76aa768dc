"""Every track arrives once: through lost replies, errors, lies and restarts, with viewers, on each kind of server."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fluxcaption.app import App, build_app
from fluxcaption.domain.deliveries import DeliveryState
from fluxcaption.domain.errors import ServiceUnreachable
from fluxcaption.domain.jobs import Job, JobState, ManualRequest, NewJob, Outcome, Priority, Provenance, Stage
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import MediaIdentity
from fluxcaption.domain.reasons import ReasonCode
from fluxcaption.domain.units import Fingerprint, ItemId, ServerId, SourceId
from fluxcaption.storage.storage import SqliteStorage

from tests.behaviour.test_scans_are_the_truth import storage_of
from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeItem, FakeJellyfin, Fault, audio, film, new_id, text
from tests.fakes.jellyfin.library import SERVER_ID
from tests.support.app import READ, clip, jellyfin, settings
from tests.support.libraries import DE, app_beside, beside_a_server, films, states, words

VERSIONS = ["10.10.7", "10.11.11", "12.0.0"]
FR = LanguageTag("fr")
SERVER = ServerId(SERVER_ID)
HUMAN = b"1\n00:00:01,000 --> 00:00:02,000\nVon Menschenhand.\n"


async def ready(
    storage: SqliteStorage, item: FakeItem, app: App, content: bytes | None = None, target: LanguageTag = DE
) -> int:
    """A job whose track is finished and waits for delivery."""
    now = app.clock.now()
    await storage.jobs.add(
        [
            NewJob(
                SERVER,
                ItemId(item.id),
                SourceId(item.sources[0].id),
                target,
                item.name,
                Priority.NEW,
                item.added,
                "gap",
            )
        ],
        now,
    )
    job = await storage.queue.claim(Stage.ACQUIRE, now)
    assert job is not None
    await storage.jobs.update_progress(
        job.id,
        track_ref=await storage.documents.put(content or words(item.name)),
        provenance=Provenance("translated by nobody", "ears", 0.8, "nobody"),
    )
    await storage.queue.record(job, Outcome.next(Stage.UPLOAD, "translated by nobody"), now)
    return job.id


async def work(app: App, fake: FakeJellyfin, clock: FastClock, *, hours: float = 0.0) -> None:
    """Let the pools run until nothing is due, or until so much time has passed."""
    end = clock.now() + timedelta(hours=hours)
    while True:
        if not hours:
            await app.workers.run(until_idle=True)
            return
        due = await app.storage.queue.next_due()
        if due is None or due > end:
            return
        if due > clock.now():
            clock._now = due
        await app.workers.run(until_idle=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "count", [40, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])]
)
async def test_each_of_many_tracks_arrives_once_whatever_breaks(
    count: int, version: str, tmp_path: Path
) -> None:
    dice = random.Random(7)
    async with FakeJellyfin(version) as fake:
        clock = FastClock()
        fake.now = clock.now
        items = films(fake, count, clock.now())
        for item in items[::3]:
            item.sources[0].sidecars[f"{item.sources[0].stem}.fr.srt"] = HUMAN
        watched = items[: count // 5]
        for item in watched:
            fake.somebody_plays(item)

        happened: Counter[str] = Counter()
        until_killed = 0
        working: asyncio.Task[None] | None = None

        def chaos(name: str) -> Fault | None:
            nonlocal until_killed
            until_killed -= 1
            if until_killed == 0 and working is not None:
                # At any request: it is answered, and nobody is there who hears it.
                happened["restart in between"] += 1
                app.workers.stop()
                working.cancel()
            if dice.random() >= 0.2:
                return None
            kinds = {
                "lost reply": Fault(hang_up=True),
                "500": Fault(status=500),
                "503": Fault(status=503),
                "half a body": Fault(half_body=True),
            }
            if name.startswith("POST /Videos"):
                kinds |= {
                    "204 without a file": Fault(lies=True),
                    "slow": Fault(late=timedelta(seconds=dice.choice([4, 40, 400, 1000]))),
                }
            what = dice.choice(sorted(kinds))
            happened[what] += 1
            return kinds[what]

        async with app_beside(fake, tmp_path, clock) as app:
            for item in items:
                await ready(storage_of(app), item, app)
        fake.chaos = chaos
        rounds = 0
        for rounds in range(1, 400):
            until_killed = dice.randint(count // 4, count * 2)
            try:
                async with app_beside(fake, tmp_path, clock) as app:
                    await app.storage.queue.requeue_interrupted(clock.now())
                    working = asyncio.create_task(work(app, fake, clock, hours=1))
                    with suppress(asyncio.CancelledError):
                        await working
                    open_jobs = sum(
                        n
                        for (_, state), n in (await app.storage.queue.counts()).items()
                        if state not in {JobState.DONE, JobState.FAILED}
                    )
            except ServiceUnreachable:
                clock.pass_time(minutes=2)
                continue
            if not open_jobs:
                break
            clock.pass_time(minutes=30)
            if rounds >= 3:
                for item in [item for item in watched if item.id in fake.playing]:
                    fake.stops(item)
            fake.begin_library_scan()
            clock.pass_time(minutes=1)
            fake.end_library_scan()
        fake.chaos = None
        clock.pass_time(hours=1)

        ours = Counter(name for item in items for name in item.sources[0].sidecars if ".fluxcaption." in name)
        lost = {
            item.id for item in items if not any(".fluxcaption." in name for name in item.sources[0].sidecars)
        }
        async with app_beside(fake, tmp_path, clock) as app:
            told = [
                f"{job.title}: {job.state} in {job.stage}: {job.reason}"
                for job in await app.storage.jobs.page(limit=count)
                if job.item_id in lost
            ]
        touched = [
            item.name
            for item in items[::3]
            if item.sources[0].sidecars.get(f"{item.sources[0].stem}.fr.srt") != HUMAN
        ]
        doubled = [
            name for name, times in ours.items() if times > 1 or not name.endswith(".fluxcaption.de.srt")
        ]
        print(
            f"{version}: {count} deliveries, {len(watched)} of them watched, in {rounds} rounds and {len(fake.received)} requests;"
            f" {', '.join(f'{times} x {what}' for what, times in sorted(happened.items()))}:"
            f" {len(doubled)} duplicates, {len(lost)} lost, {len(touched)} foreign files touched,"
            f" {len(fake.changed_while_watched)} while playing"
        )
        assert not lost, told
        assert set(ours.values()) == {1}
        assert not [name for name in ours if not name.endswith(".fluxcaption.de.srt")], (
            "a second one beside the first"
        )
        assert touched == []
        assert fake.changed_while_watched == []
        async with app_beside(fake, tmp_path, clock) as app:
            assert await states(storage_of(app)) == {DeliveryState.CONFIRMED: count}


async def test_tracks_of_one_film_arrive_together(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path, languages={"targets": ["de", "fr"]}) as (fake, clock, app):
        storage = storage_of(app)
        (item,) = films(fake, 1, clock.now())
        await ready(storage, item, app)
        await storage.jobs.add(
            [
                NewJob(
                    SERVER,
                    ItemId(item.id),
                    SourceId(item.sources[0].id),
                    FR,
                    item.name,
                    Priority.NEW,
                    item.added,
                    "gap",
                )
            ],
            clock.now(),
        )
        job = await claimed(storage, Stage.UPLOAD, clock)
        outcome = await app.workers._stages[Stage.UPLOAD].run(job)
        assert outcome.reason_code == ReasonCode.WAITING_FOR_LANGUAGES
        assert not [exchange for exchange in fake.received if exchange.method not in {"GET", "HEAD"}]
        await storage.queue.record(job, outcome, clock.now())
        other = await claimed(storage, Stage.ACQUIRE, clock)
        await storage.jobs.update_progress(other.id, track_ref=await storage.documents.put(words("fr")))
        await storage.queue.record(other, Outcome.next(Stage.UPLOAD, "made"), clock.now())
        assert (
            await storage.jobs.release_waiting_uploads(SERVER, SourceId(item.sources[0].id), clock.now()) == 1
        )
        await app.workers.run(until_idle=True)
        assert len(item.sources[0].sidecars) == 2


async def claimed(storage: SqliteStorage, stage: Stage, clock: FastClock):  # type: ignore[no-untyped-def]
    job = await storage.queue.claim(stage, clock.now())
    assert job is not None
    return job


async def test_a_film_being_watched_is_left_alone_until_ten_minutes_after(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        await ready(storage_of(app), item, app)
        fake.somebody_plays(item)
        await work(app, fake, clock, hours=0.5)
        assert not [exchange for exchange in fake.received if exchange.method not in {"GET", "HEAD"}]
        fake.stops(item)
        stopped = clock.now()
        await work(app, fake, clock, hours=2)
        assert fake.changed_while_watched == []
        (delivery,) = await app.storage.deliveries.find(SERVER)
        assert delivery.state is DeliveryState.CONFIRMED
        assert delivery.intended_at - stopped >= timedelta(minutes=9)


async def test_what_was_played_before_the_start_is_known_from_the_activity_log(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = FastClock()
        fake.now = clock.now
        (item,) = films(fake, 1, clock.now())
        fake.somebody_plays(item)
        clock.pass_time(minutes=3)
        fake.stops(item)
        clock.pass_time(minutes=5)
        async with app_beside(fake, tmp_path, clock) as app:
            await ready(storage_of(app), item, app)
            await app.workers.run(until_idle=True)
            assert item.sources[0].sidecars == {}
            assert fake.changed_while_watched == []


async def test_nothing_is_written_where_the_media_itself_cannot_be_seen(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        await ready(storage_of(app), item, app)
        fake.break_next("HEAD /Videos/{itemId}/stream", Fault(status=404))
        await app.workers.run(until_idle=True)
        (job,) = await app.storage.jobs.page()
        assert (job.state, job.reason_code) == (JobState.PARKED, "media-away")
        assert not [exchange for exchange in fake.received if exchange.method not in {"GET", "HEAD"}]


async def test_a_replaced_track_of_ours_keeps_its_name_and_nothing_else_is_deleted(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        storage = storage_of(app)
        source = item.sources[0]
        source.sidecars[f"{source.stem}.cs.srt"] = HUMAN
        await ready(storage, item, app)
        await app.workers.run(until_idle=True)
        await ready(storage, item, app, words("better"))
        await app.workers.run(until_idle=True)
        assert source.sidecars == {
            f"{source.stem}.cs.srt": HUMAN,
            f"{source.stem}.fluxcaption.de.srt": words("better"),
        }


async def test_the_old_track_is_put_back_where_the_new_one_is_refused(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        storage = storage_of(app)
        await ready(storage, item, app)
        await app.workers.run(until_idle=True)
        old = dict(item.sources[0].sidecars)
        await ready(storage, item, app, words("better"))
        fake.break_next("POST /Videos", Fault(status=500))
        await app.workers.run(until_idle=True)
        assert item.sources[0].sidecars == old
        clock.pass_time(hours=1)
        await app.workers.run(until_idle=True)
        assert list(item.sources[0].sidecars.values()) == [words("better")], (
            "and the new one takes its place once the server lets it"
        )


async def test_a_replacement_broken_off_before_the_deletion_goes_on(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        storage = storage_of(app)
        await ready(storage, item, app)
        await app.workers.run(until_idle=True)
        await ready(storage, item, app, words("better"))
        # The delete fails after the intent was written down: as kill -9 between the two.
        fake.break_next("DELETE /Videos", Fault(status=500))
        await app.workers.run(until_idle=True)
        assert list(item.sources[0].sidecars.values()) == [words(item.name)]
        clock.pass_time(hours=1)
        await app.workers.run(until_idle=True)
        assert list(item.sources[0].sidecars.values()) == [words("better")]


async def test_what_a_person_asked_for_beside_a_humans_track_stays(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        storage = storage_of(app)
        source = item.sources[0]
        source.sidecars[f"{source.stem}.de.srt"] = HUMAN
        number = await ready(storage, item, app)
        await app.enqueuer.enqueue_requested(ItemId(item.id), [], ManualRequest(redo=True))
        job = await storage.queue.claim(Stage.UPLOAD, clock.now()) or await storage.queue.claim(
            Stage.ACQUIRE, clock.now()
        )
        assert job is not None
        assert job.id == number
        await storage.jobs.update_progress(job.id, track_ref=await storage.documents.put(words("asked")))
        await storage.queue.record(job, Outcome.next(Stage.UPLOAD, "made"), clock.now())
        await app.workers.run(until_idle=True)
        assert len(source.sidecars) == 2
        assert (await app.scanner.scan(full=True, lean=False)).queued == 0
        assert len(source.sidecars) == 2


async def test_a_humans_track_that_comes_later_retires_ours(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        await ready(storage_of(app), item, app)
        await app.workers.run(until_idle=True)
        source = item.sources[0]
        source.sidecars[f"{source.stem}.de.srt"] = HUMAN
        item.touch(clock.now())
        await app.scanner.scan(full=True)
        await app.workers.run(until_idle=True)
        assert source.sidecars == {f"{source.stem}.de.srt": HUMAN}
        assert await states(storage_of(app)) == {DeliveryState.WITHDRAWN: 1}
        assert (await app.scanner.scan(full=True, lean=False)).queued == 0


async def test_undo_removes_exactly_ours_and_remembers_the_no(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        first, second = films(fake, 2, clock.now())
        for item in (first, second):
            await ready(storage_of(app), item, app)
        await app.workers.run(until_idle=True)
        edited = second.sources[0]
        edited.sidecars[f"{edited.stem}.fluxcaption.de.srt"] = HUMAN
        first.sources[0].sidecars[f"{first.sources[0].stem}.it.srt"] = HUMAN
        would = await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=True)
        assert any("would remove" in line for line in would)
        said = await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=False)
        assert any("was edited by a user" in line for line in said)
        assert first.sources[0].sidecars == {f"{first.sources[0].stem}.it.srt": HUMAN}
        assert edited.sidecars == {f"{edited.stem}.fluxcaption.de.srt": HUMAN}
        await app.scanner.scan(full=True)
        assert {state for _, state in await app.storage.queue.counts()} == {JobState.DONE}


async def test_another_programs_track_does_not_retire_ours(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        await ready(storage_of(app), item, app)
        await app.workers.run(until_idle=True)
        source = item.sources[0]
        source.sidecars[f"{source.stem}.ai.de.srt"] = HUMAN
        item.touch(clock.now())
        assert (await app.scanner.scan(full=True)).queued == 0
        assert len(source.sidecars) == 2


async def test_what_was_undone_is_made_again_when_somebody_asks(tmp_path: Path) -> None:
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

            async def everything() -> None:
                await app.scanner.scan(full=True)
                await app.storage.backlog.release_all(clock.now())
                await app.workers.run(until_idle=True)

            await everything()
            assert len(item.sources[0].sidecars) == 1
            await app.delivery.undo.remove_own_tracks(SERVER, ItemId(item.id), dry_run=False)
            assert item.sources[0].sidecars == {}
            await everything()
            assert item.sources[0].sidecars == {}
            await app.enqueuer.enqueue_requested(ItemId(item.id), [], ManualRequest())
            await app.workers.run(until_idle=True)
            assert len(item.sources[0].sidecars) == 1


# -- replacing -----------------------------------------------------------------------------------------------------------


async def delivered(app: App, item: FakeItem, *targets: LanguageTag) -> None:
    for target in targets or (DE,):
        await ready(storage_of(app), item, app, target=target)
    await app.workers.run(until_idle=True)


def posts(fake: FakeJellyfin) -> int:
    return sum(
        exchange.method == "POST" and exchange.route.endswith("Subtitles") for exchange in fake.received
    )


async def scans(app: App, fake: FakeJellyfin, clock: FastClock, times: int) -> None:
    """Hours with a library scan in each."""
    for _ in range(times):
        await work(app, fake, clock, hours=1)
        clock.pass_time(minutes=30)
        fake.begin_library_scan()
        clock.pass_time(minutes=1)
        fake.end_library_scan()
    await work(app, fake, clock, hours=1)


async def test_two_languages_replaced_at_once_touch_nobody_elses_file(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path, languages={"targets": ["de", "fr"]}) as (fake, clock, app):
        for item in films(fake, 8, clock.now(), [audio("eng")]):
            source = item.sources[0]
            human = {f"{source.stem}.hu.srt": HUMAN, f"{source.stem}.it.srt": HUMAN}
            source.sidecars.update(human)
            await delivered(app, item, DE, FR)
            for target in (DE, FR):
                await ready(storage_of(app), item, app, words(f"better {target}"), target)
            await app.workers.run(until_idle=True)
            ours = {
                f"{source.stem}.fluxcaption.{target}.srt": words(f"better {target}") for target in (DE, FR)
            }
            assert source.sidecars == {**human, **ours}


@pytest.mark.parametrize("lies", [False, True])
@pytest.mark.parametrize("request_number", range(1, 15))
async def test_a_replacement_broken_off_anywhere_ends_with_one_track(
    request_number: int, lies: bool, tmp_path: Path
) -> None:
    async with FakeJellyfin() as fake:
        clock = FastClock()
        fake.now = clock.now
        (item,) = films(fake, 1, clock.now())
        source = item.sources[0]
        source.sidecars[f"{source.stem}.cs.srt"] = HUMAN
        async with app_beside(fake, tmp_path, clock) as app:
            await delivered(app, item)
            await ready(storage_of(app), item, app, words("better"))
            seen: list[str] = []

            def power_goes(name: str) -> Fault | None:
                seen.append(name)
                if len(seen) == request_number:
                    app.workers.stop()
                    return Fault(lies=lies and name.startswith("POST /Videos"))
                return None

            fake.chaos = power_goes
            await app.workers.run(until_idle=True)
            fake.chaos = None
        async with app_beside(fake, tmp_path, clock) as app:
            await app.storage.queue.requeue_interrupted(clock.now())
            await scans(app, fake, clock, 3)
            (job,) = await app.storage.jobs.page()
            (delivery,) = await app.storage.deliveries.find(SERVER)
        was_lied_to = (
            lies and len(seen) >= request_number and seen[request_number - 1].startswith("POST /Videos")
        )
        expected = words(item.name) if was_lied_to else words("better")
        assert source.sidecars == {
            f"{source.stem}.cs.srt": HUMAN,
            f"{source.stem}.fluxcaption.de.srt": expected,
        }
        assert job.state is (JobState.FAILED if was_lied_to else JobState.DONE), job.reason
        assert (delivery.state, delivery.previous_ref, delivery.previous) == (
            DeliveryState.CONFIRMED,
            None,
            None,
        )


@pytest.mark.parametrize("fault", [Fault(hang_up=True), Fault(status=503), Fault(status=500)])
@pytest.mark.parametrize(
    "route", ["DELETE /Videos", "POST /Videos", "GET /Sessions", "GET /Items", "HEAD /Videos"]
)
async def test_a_replacement_gets_there_through_any_one_failure(
    route: str, fault: Fault, tmp_path: Path
) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        await delivered(app, item)
        await ready(storage_of(app), item, app, words("better"))
        fake.break_next(route, Fault(fault.status, hang_up=fault.hang_up))
        await scans(app, fake, clock, 2)
        assert list(item.sources[0].sidecars.values()) == [words("better")]
        (delivery,) = await app.storage.deliveries.find(SERVER)
        assert (delivery.state, delivery.previous_ref) == (DeliveryState.CONFIRMED, None)


async def test_what_a_silent_server_swallowed_is_put_back_and_never_lies_there_twice(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        await delivered(app, item)
        (before,) = await app.storage.deliveries.find(SERVER)
        old = dict(item.sources[0].sidecars)
        await ready(storage_of(app), item, app, words("better"))
        fake.break_next("POST /Videos", Fault(lies=True))
        await work(app, fake, clock, hours=0.4)
        assert item.sources[0].sidecars == {}, "not before half an hour: it may still appear"
        await work(app, fake, clock, hours=6)
        assert item.sources[0].sidecars == old
        (delivery,) = await app.storage.deliveries.find(SERVER)
        assert (delivery.state, delivery.content_hash, delivery.provenance) == (
            DeliveryState.CONFIRMED,
            before.content_hash,
            before.provenance,
        )
        (job,) = await app.storage.jobs.page()
        assert (job.state, job.reason_code) == (JobState.FAILED, "not-visible")
        assert "the previous track is listed again" in job.reason


async def test_a_replacement_cancelled_midway_does_not_cost_the_track_that_was_there(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        await app.server_monitor.poll_library_scan()
        await delivered(app, item)
        old = dict(item.sources[0].sidecars)
        number = await ready(storage_of(app), item, app, words("better"))
        fake.break_next("POST /Videos", Fault(status=503))
        await app.workers.run(until_idle=True)
        assert item.sources[0].sidecars == {}
        await app.storage.jobs.cancel(number, clock.now())  # type: ignore[arg-type]
        for _ in range(3):
            clock.pass_time(hours=1)
            fake.begin_library_scan()
            clock.pass_time(minutes=1)
            fake.end_library_scan()
            await app.server_monitor.poll_library_scan()
        assert item.sources[0].sidecars == old
        assert await states(storage_of(app)) == {DeliveryState.CONFIRMED: 1}


async def test_a_server_that_refuses_again_and_again_keeps_the_old_track_and_is_asked_seldom(
    tmp_path: Path,
) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        await delivered(app, item)
        old = dict(item.sources[0].sidecars)
        await ready(storage_of(app), item, app, words("better"))
        fake.chaos = lambda name: (
            Fault(status=500) if name.startswith("POST /Videos") and tries() % 2 == 0 else None
        )
        sent: list[str] = []

        def tries() -> int:
            sent.append("")
            return len(sent) - 1

        await work(app, fake, clock, hours=24 * 7)
        assert item.sources[0].sidecars == old
        (job,) = await app.storage.jobs.page()
        assert job.state is JobState.FAILED
        assert len(sent) <= 12


async def test_an_upload_that_is_refused_is_repeated_at_growing_pauses_and_given_up(tmp_path: Path) -> None:
    async with FakeJellyfin("12.0.0") as fake:
        clock = FastClock()
        async with app_beside(fake, tmp_path, clock) as app:
            (item,) = films(fake, 1, clock.now())
            fake.read_only.add(item.sources[0].id)
            await ready(storage_of(app), item, app)
            await work(app, fake, clock, hours=24)
            assert posts(fake) <= 4
            await work(app, fake, clock, hours=24 * 20)
            assert posts(fake) == 5
            (job,) = await app.storage.jobs.page()
            assert (job.state, job.reason_code) == (JobState.FAILED, "server-refuses-uploads")


async def test_our_track_that_a_library_scan_dropped_is_found_before_another_is_sent(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        await delivered(app, item)
        source = item.sources[0]
        source.unlisted.add(f"{source.stem}.fluxcaption.de.srt")
        item.touch(clock.now())
        await ready(storage_of(app), item, app, words("better"))
        await work(app, fake, clock, hours=0.1)
        assert source.sidecars == {f"{source.stem}.fluxcaption.de.srt": words("better")}


async def test_play_that_begins_while_the_old_track_is_deleted_holds_the_new_one_back(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        await delivered(app, item)
        await ready(storage_of(app), item, app, words("better"))

        def plays(name: str) -> Fault | None:
            if name.startswith("DELETE"):
                asyncio.get_running_loop().call_soon(lambda: fake.somebody_plays(item))
            return None

        fake.chaos = plays
        await app.workers.run(until_idle=True)
        fake.chaos = None
        (job,) = await app.storage.jobs.page()
        assert job.reason_code == "watched"
        fake.stops(item)
        await work(app, fake, clock, hours=1)
        assert list(item.sources[0].sidecars.values()) == [words("better")]
        assert fake.changed_while_watched == []


async def test_media_that_was_replaced_meanwhile_does_not_get_the_track_of_the_old_one(
    tmp_path: Path,
) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now(), [audio("eng")])
        storage, source = storage_of(app), item.sources[0]
        seen = (await app.server.fetch_item(ItemId(item.id))).sources[0]
        await storage.identities.save(
            SERVER, seen, MediaIdentity(Fingerprint("old"), seen.size_bytes, seen.duration_ms)
        )
        number = await ready(storage, item, app)
        await storage.jobs.update_progress(number, fingerprint=Fingerprint("old"))  # type: ignore[arg-type]
        source.size, source.etag = source.size + 5000, new_id("newer file")
        item.touch(clock.now())
        outcome = await app.workers._stages[Stage.UPLOAD].run(await claimed(storage, Stage.UPLOAD, clock))
        assert (outcome.stage, source.sidecars) == (Stage.ACQUIRE, {})


async def test_media_replaced_between_sending_and_looking_is_known_to_have_the_old_track(
    tmp_path: Path,
) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now(), [audio("eng")])
        storage, source = storage_of(app), item.sources[0]
        await ready(storage, item, app)
        outcome = await app.workers._stages[Stage.UPLOAD].run(
            job := await claimed(storage, Stage.UPLOAD, clock)
        )
        await storage.queue.record(job, outcome, clock.now())
        source.size, source.etag = source.size + 5000, new_id("newer file")
        item.touch(clock.now())
        await app.workers.run(until_idle=True)
        assert await states(storage) == {DeliveryState.CONFIRMED: 1}
        ((decision,),) = await app.planner.plan([await app.server.fetch_item(ItemId(item.id))])
        assert "the media was replaced after the FluxCaption track was made" in decision.reason


async def test_how_a_track_was_made_stays_known_through_waits_and_failures(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        fake.somebody_plays(item)
        await ready(storage_of(app), item, app)
        await work(app, fake, clock, hours=0.2)
        fake.stops(item)
        fake.break_next("POST /Videos", Fault(status=503))
        await work(app, fake, clock, hours=2)
        (delivery,) = await app.storage.deliveries.find(SERVER)
        assert delivery.provenance == Provenance("translated by nobody", "ears", 0.8, "nobody")
        kept = json.loads(delivery.details)
        assert (kept["description"], kept["score"], kept["content"]) == (
            "translated by nobody",
            0.8,
            delivery.content_hash,
        )
        (job,) = await app.storage.jobs.page()
        assert job.reason == f"{item.name}.fluxcaption.de.srt, translated by nobody"


async def test_a_track_that_cannot_be_read_back_at_a_late_look_is_only_looked_at_again(
    tmp_path: Path,
) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        fake.hides_new_tracks = True
        await ready(storage_of(app), item, app)
        await work(app, fake, clock, hours=0.12)
        fake.show_hidden()
        fake.break_next("GET /Videos/{itemId}/{mediaSourceId}/Subtitles", Fault(status=500))
        await work(app, fake, clock, hours=1)
        (job,) = await app.storage.jobs.page()
        assert job.state is JobState.DONE
        assert posts(fake) == 1


async def test_a_track_without_a_cue_is_never_delivered(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        await ready(storage_of(app), item, app, b"\n")
        await app.workers.run(until_idle=True)
        (job,) = await app.storage.jobs.page()
        assert (job.state, job.reason_code, posts(fake)) == (JobState.FAILED, "empty-track", 0)


# -- taking back ---------------------------------------------------------------------------------------------------------


async def test_what_is_undone_while_it_is_on_its_way_is_not_sent_again(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        fake.hides_new_tracks = True
        await ready(storage_of(app), item, app)
        await work(app, fake, clock, hours=0.5)
        fake.hidden.clear()
        fake.hides_new_tracks = False
        await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=False)
        await scans(app, fake, clock, 3)
        assert item.sources[0].sidecars == {}
        assert posts(fake) == 1


async def test_undo_stops_a_better_track_that_waits_to_take_the_place(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        await delivered(app, item)
        number = await ready(storage_of(app), item, app, words("better"))
        waiting = await app.storage.jobs.get(number)  # type: ignore[arg-type]
        await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=False)
        await app.workers.run(until_idle=True)
        assert item.sources[0].sidecars == {}
        assert waiting is not None
        outcome = await app.workers._stages[Stage.UPLOAD].run(waiting)
        assert outcome.state is JobState.CANCELLED, "also one that was claimed before the undo had its turn"
        assert item.sources[0].sidecars == {}


async def test_undo_finds_a_file_that_is_not_listed(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        await delivered(app, item)
        item.sources[0].unlisted.update(item.sources[0].sidecars)
        (line,) = await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=False)
        assert "removed" in line
        assert item.sources[0].sidecars == {}


async def test_what_appears_after_its_undo_can_be_undone_too(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        fake.hides_new_tracks = True
        await ready(storage_of(app), item, app)
        await work(app, fake, clock, hours=0.1)
        assert (
            "no FluxCaption track was found"
            in (await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=False))[0]
        )
        assert await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=False) == []
        fake.show_hidden()
        assert "removed" in (await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=False))[0]
        assert item.sources[0].sidecars == {}


async def test_an_undo_that_fails_for_one_film_goes_on_with_the_next(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        for item in (made := films(fake, 3, clock.now())):
            await delivered(app, item)
        fake.break_next("DELETE /Videos", Fault(status=500))
        lines = await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=False)
        assert [("could not delete" in line, "removed" in line) for line in lines] == [
            (True, False),
            (False, True),
            (False, True),
        ]
        assert [len(item.sources[0].sidecars) for item in made] == [1, 0, 0]
        await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=False)
        assert [len(item.sources[0].sidecars) for item in made] == [0, 0, 0]


@pytest.mark.parametrize(
    "edit",
    [lambda ours: HUMAN, lambda ours: ours.replace(b"Guten Abend.", b"<i>Guten Abend.</i>")],
    ids=["words", "italics"],
)
async def test_a_track_that_somebody_edited_is_remembered_as_theirs(
    edit: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        await delivered(app, item)
        source = item.sources[0]
        name = f"{source.stem}.fluxcaption.de.srt"
        assert edit(source.sidecars[name]) != source.sidecars[name]
        source.sidecars[name] = edit(source.sidecars[name])
        source.sidecars[f"{source.stem}.de.srt"] = HUMAN
        queued = []
        for _ in range(3):
            item.touch(clock.now())
            queued.append((await app.scanner.scan(full=True, lean=False)).queued)
            await app.workers.run(until_idle=True)
        assert queued == [1, 0, 0]
        assert await states(storage_of(app)) == {DeliveryState.EDITED: 1}
        source.sidecars.pop(f"{source.stem}.de.srt")
        source.size, source.etag = source.size + 5000, new_id("newer file")
        item.touch(clock.now())
        assert (await app.scanner.scan(full=True, lean=False)).queued == 0, "and it does not become stale"


async def test_another_programs_track_does_not_take_ours_away_once_the_humans_is_gone(tmp_path: Path) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        await delivered(app, item)
        source = item.sources[0]
        source.sidecars |= {f"{source.stem}.de.srt": HUMAN, f"{source.stem}.whisper.de.srt": HUMAN}
        item.touch(clock.now())
        await app.scanner.scan(full=True)
        job: Job = await claimed(storage_of(app), Stage.ACQUIRE, clock)
        await app.storage.queue.record(job, await app.workers._stages[Stage.ACQUIRE].run(job), clock.now())
        source.sidecars.pop(f"{source.stem}.de.srt")
        item.touch(clock.now())
        await app.workers.run(until_idle=True)
        assert f"{source.stem}.fluxcaption.de.srt" in source.sidecars


async def test_a_track_that_was_asked_for_where_none_was_yields_to_a_human_like_any_other(
    tmp_path: Path,
) -> None:
    async with beside_a_server(tmp_path) as (fake, clock, app):
        (item,) = films(fake, 1, clock.now())
        number = await ready(storage_of(app), item, app)
        await app.storage.jobs.retry(number, clock.now())  # type: ignore[arg-type]
        await app.workers.run(until_idle=True)
        (delivery,) = await app.storage.deliveries.find(SERVER)
        assert not delivery.is_requested


# -- where the folder can be reached ---------------------------------------------------------------------------------------


@asynccontextmanager
async def beside_a_folder(
    tmp_path: Path, version: str = "10.11.11", **server: Any
) -> AsyncIterator[tuple[FakeJellyfin, FastClock, App, FakeItem, Path]]:
    async with FakeJellyfin(version) as fake:
        clock = FastClock()
        fake.now = clock.now
        file = clip(tmp_path / "media", READ)
        item = film(READ, [audio(), text()], library=fake.libraries[0].id, file=file, minutes=61 / 60)
        fake.add(item)
        storage = await SqliteStorage.open(tmp_path / "state")
        mapped = {
            **jellyfin(fake),
            "path_map": [{"server": "/media/movies", "local": str(tmp_path / "media")}],
            **server,
        }
        app = build_app(settings(tmp_path / "state", mapped, ["de"]), storage, clock=clock)
        try:
            app.set_server(await app.server.connect())
            yield fake, clock, app, item, file.parent / f"{READ}.fluxcaption.de.srt"
        finally:
            await app.close()
            await storage.close()


async def test_a_yes_that_wrote_nothing_is_made_good_beside_the_media(tmp_path: Path) -> None:
    async with beside_a_folder(tmp_path) as (fake, clock, app, item, file):
        fake.lies_about_uploads = True
        await ready(storage_of(app), item, app)
        await work(app, fake, clock, hours=2)
        assert file.read_bytes() == words(item.name)
        assert posts(fake) == 1
        assert await states(storage_of(app)) == {DeliveryState.CONFIRMED: 1}


async def test_a_replacement_is_written_over_the_old_track_in_a_mapped_folder(tmp_path: Path) -> None:
    async with beside_a_folder(tmp_path, "12.0.0") as (fake, _, app, item, file):
        fake.read_only.add(item.sources[0].id)
        fake.chaos = lambda name: Fault(status=500) if name.startswith("DELETE") else None
        await delivered(app, item)
        await ready(storage_of(app), item, app, words("better"))
        await app.workers.run(until_idle=True)
        assert file.read_bytes() == words("better")
        assert not [exchange for exchange in fake.received if exchange.method == "DELETE"]
        assert "removed" in (await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=False))[0]
        assert not file.exists()


async def test_nothing_is_sent_where_the_server_cannot_see_the_media_though_we_can(tmp_path: Path) -> None:
    async with beside_a_folder(tmp_path) as (fake, _, app, item, file):
        fake.chaos = lambda name: Fault(status=404) if name.startswith("HEAD") else None
        await ready(storage_of(app), item, app)
        await app.workers.run(until_idle=True)
        (job,) = await app.storage.jobs.page()
        assert (job.reason_code, posts(fake), file.exists()) == ("media-away", 0, False)
