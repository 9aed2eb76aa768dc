"""Replacement of an own track by a better one; the earlier one is restored after a failure."""

import asyncio
from pathlib import Path

import pytest
from fluxcaption.domain.deliveries import DeliveryState
from fluxcaption.domain.jobs import JobState

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeJellyfin, Fault, audio
from tests.support.deliveries import (
    FR,
    HUMAN_SRT,
    app_with_mapped_folder,
    deliver,
    queue_upload,
    run_jobs,
    run_jobs_between_library_scans,
    run_library_scan,
)
from tests.support.libraries import (
    DE,
    SERVER,
    add_films,
    connected_app,
    delivery_states,
    german_srt,
    own_name,
    server_with_app,
)

BETTER_SRT = german_srt("better")


async def test_replacement_keeps_the_file_name_and_deletes_nothing_else(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        source = item.sources[0]
        source.sidecars[f"{source.stem}.cs.srt"] = HUMAN_SRT
        await deliver(app, item)
        await queue_upload(app, item, BETTER_SRT)
        await app.workers.run(until_idle=True)
        assert source.sidecars == {f"{source.stem}.cs.srt": HUMAN_SRT, own_name(item): BETTER_SRT}


async def test_refused_replacement_restores_the_earlier_track_and_is_retried(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await deliver(app, item)
        earlier = dict(item.sources[0].sidecars)
        await queue_upload(app, item, BETTER_SRT)
        fake.break_next("POST /Videos", Fault(status=500))
        await app.workers.run(until_idle=True)
        assert item.sources[0].sidecars == earlier
        clock.pass_time(hours=1)
        await app.workers.run(until_idle=True)
        assert list(item.sources[0].sidecars.values()) == [BETTER_SRT]


async def test_replacement_continues_after_a_failed_deletion(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await deliver(app, item)
        await queue_upload(app, item, BETTER_SRT)
        # The intent is stored before the deletion fails, as with a kill between the two.
        fake.break_next("DELETE /Videos", Fault(status=500))
        await app.workers.run(until_idle=True)
        assert list(item.sources[0].sidecars.values()) == [german_srt(item.name)]
        clock.pass_time(hours=1)
        await app.workers.run(until_idle=True)
        assert list(item.sources[0].sidecars.values()) == [BETTER_SRT]


async def test_parallel_replacements_leave_foreign_files_unchanged(tmp_path: Path) -> None:
    async with server_with_app(tmp_path, languages={"targets": ["de", "fr"]}) as (fake, clock, app):
        for item in add_films(fake, 8, clock.now(), [audio("eng")]):
            source = item.sources[0]
            human = {f"{source.stem}.hu.srt": HUMAN_SRT, f"{source.stem}.it.srt": HUMAN_SRT}
            source.sidecars.update(human)
            await deliver(app, item, DE, FR)
            for target in (DE, FR):
                await queue_upload(app, item, german_srt(f"better {target}"), target)
            await app.workers.run(until_idle=True)
            own = {own_name(item, target): german_srt(f"better {target}") for target in (DE, FR)}
            assert source.sidecars == {**human, **own}


@pytest.mark.parametrize("is_lost", [False, True])
@pytest.mark.parametrize("request_number", range(1, 15))
async def test_replacement_interrupted_at_any_request_leaves_one_track(
    request_number: int, is_lost: bool, tmp_path: Path
) -> None:
    async with FakeJellyfin() as fake:
        clock = FastClock()
        fake.now = clock.now
        (item,) = add_films(fake, 1, clock.now())
        source = item.sources[0]
        source.sidecars[f"{source.stem}.cs.srt"] = HUMAN_SRT
        requests: list[str] = []
        async with connected_app(fake, tmp_path, clock) as app:
            await deliver(app, item)
            await queue_upload(app, item, BETTER_SRT)

            def stop_at_request(request: str) -> Fault | None:
                requests.append(request)
                if len(requests) == request_number:
                    app.workers.stop()
                    return Fault(accepts_without_writing=is_lost and request.startswith("POST /Videos"))
                return None

            fake.choose_fault = stop_at_request
            await app.workers.run(until_idle=True)
            fake.choose_fault = None
        async with connected_app(fake, tmp_path, clock) as app:
            await app.storage.queue.requeue_interrupted(clock.now())
            await run_jobs_between_library_scans(app, fake, clock, 3)
            (job,) = await app.storage.jobs.page()
            (delivery,) = await app.storage.deliveries.find(SERVER)
        upload_was_lost = is_lost and requests[request_number - 1 : request_number] == [
            "POST /Videos/{itemId}/Subtitles"
        ]
        assert source.sidecars == {
            f"{source.stem}.cs.srt": HUMAN_SRT,
            own_name(item): german_srt(item.name) if upload_was_lost else BETTER_SRT,
        }
        assert job.state is (JobState.FAILED if upload_was_lost else JobState.DONE), job.reason
        assert (delivery.state, delivery.previous_ref, delivery.previous) == (
            DeliveryState.CONFIRMED,
            None,
            None,
        )


@pytest.mark.parametrize("fault", [Fault(hang_up=True), Fault(status=503), Fault(status=500)])
@pytest.mark.parametrize(
    "route", ["DELETE /Videos", "POST /Videos", "GET /Sessions", "GET /Items", "HEAD /Videos"]
)
async def test_replacement_succeeds_after_any_single_fault(route: str, fault: Fault, tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await deliver(app, item)
        await queue_upload(app, item, BETTER_SRT)
        fake.break_next(route, Fault(fault.status, hang_up=fault.hang_up))
        await run_jobs_between_library_scans(app, fake, clock, 2)
        assert list(item.sources[0].sidecars.values()) == [BETTER_SRT]
        (delivery,) = await app.storage.deliveries.find(SERVER)
        assert (delivery.state, delivery.previous_ref) == (DeliveryState.CONFIRMED, None)


async def test_replacement_lost_by_the_server_restores_the_earlier_track(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await deliver(app, item)
        (earlier_delivery,) = await app.storage.deliveries.find(SERVER)
        earlier = dict(item.sources[0].sidecars)
        await queue_upload(app, item, BETTER_SRT)
        fake.break_next("POST /Videos", Fault(accepts_without_writing=True))
        await run_jobs(app, clock, hours=0.4)
        assert item.sources[0].sidecars == {}, "the track may still appear within half an hour"
        await run_jobs(app, clock, hours=6)
        assert item.sources[0].sidecars == earlier
        (delivery,) = await app.storage.deliveries.find(SERVER)
        assert (delivery.state, delivery.content_hash, delivery.provenance) == (
            DeliveryState.CONFIRMED,
            earlier_delivery.content_hash,
            earlier_delivery.provenance,
        )
        (job,) = await app.storage.jobs.page()
        assert (job.state, job.reason_code) == (JobState.FAILED, "not-visible")
        assert "the previous track is listed again" in job.reason


async def test_cancelled_replacement_restores_the_earlier_track(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await app.server_monitor.poll_library_scan()
        await deliver(app, item)
        earlier = dict(item.sources[0].sidecars)
        job_id = await queue_upload(app, item, BETTER_SRT)
        fake.break_next("POST /Videos", Fault(status=503))
        await app.workers.run(until_idle=True)
        assert item.sources[0].sidecars == {}
        await app.storage.jobs.cancel(job_id, clock.now())
        for _ in range(3):
            clock.pass_time(hours=1)
            run_library_scan(fake, clock)
            await app.server_monitor.poll_library_scan()
        assert item.sources[0].sidecars == earlier
        assert await delivery_states(app) == {DeliveryState.CONFIRMED: 1}


async def test_repeatedly_refused_replacement_keeps_the_earlier_track(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await deliver(app, item)
        earlier = dict(item.sources[0].sidecars)
        await queue_upload(app, item, BETTER_SRT)
        upload_attempts = 0

        def refuse_every_other_upload(request: str) -> Fault | None:
            nonlocal upload_attempts
            if not request.startswith("POST /Videos"):
                return None
            upload_attempts += 1
            return Fault(status=500) if upload_attempts % 2 == 1 else None

        fake.choose_fault = refuse_every_other_upload
        await run_jobs(app, clock, hours=24 * 7)
        assert item.sources[0].sidecars == earlier
        (job,) = await app.storage.jobs.page()
        assert job.state is JobState.FAILED
        assert upload_attempts <= 12


async def test_unlisted_own_track_is_found_before_the_upload(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await deliver(app, item)
        source = item.sources[0]
        source.unlisted.add(own_name(item))
        item.touch(clock.now())
        await queue_upload(app, item, BETTER_SRT)
        await run_jobs(app, clock, hours=0.1)
        assert source.sidecars == {own_name(item): BETTER_SRT}


async def test_playback_that_starts_during_the_deletion_delays_the_upload(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await deliver(app, item)
        await queue_upload(app, item, BETTER_SRT)

        def play_after_deletion(request: str) -> Fault | None:
            if request.startswith("DELETE"):
                asyncio.get_running_loop().call_soon(lambda: fake.start_playback(item))
            return None

        fake.choose_fault = play_after_deletion
        await app.workers.run(until_idle=True)
        fake.choose_fault = None
        (job,) = await app.storage.jobs.page()
        assert job.reason_code == "watched"
        fake.stop_playback(item)
        await run_jobs(app, clock, hours=1)
        assert list(item.sources[0].sidecars.values()) == [BETTER_SRT]
        assert fake.changes_during_playback == []


async def test_replacement_in_a_mapped_folder_overwrites_the_file(tmp_path: Path) -> None:
    async with app_with_mapped_folder(tmp_path, "12.0.0") as (fake, _, app, item, own_track):
        fake.read_only.add(item.sources[0].id)
        fake.choose_fault = lambda request: Fault(status=500) if request.startswith("DELETE") else None
        await deliver(app, item)
        await queue_upload(app, item, BETTER_SRT)
        await app.workers.run(until_idle=True)
        assert own_track.read_bytes() == BETTER_SRT
        assert not [exchange for exchange in fake.received if exchange.method == "DELETE"]
        (line,) = await app.delivery.undo.remove_own_tracks(SERVER, None, dry_run=False)
        assert "removed" in line
        assert not own_track.exists()
