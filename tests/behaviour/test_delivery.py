"""Upload and confirmation: each track arrives exactly once despite faults, never during playback."""

import asyncio
import json
import random
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from fluxcaption.app import App
from fluxcaption.domain.deliveries import DeliveryState
from fluxcaption.domain.errors import ServiceUnreachable
from fluxcaption.domain.jobs import JobState, Stage
from fluxcaption.domain.media import MediaIdentity
from fluxcaption.domain.reasons import ReasonCode
from fluxcaption.domain.units import Fingerprint

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import FakeItem, FakeJellyfin, Fault, audio
from tests.support.deliveries import (
    FR,
    HUMAN_SRT,
    PROVENANCE,
    app_with_mapped_folder,
    claim,
    finish_track,
    gap_of,
    queue_upload,
    run_and_record_stage,
    run_jobs,
    run_library_scan,
    run_stage,
)
from tests.support.libraries import (
    SERVER,
    add_films,
    connected_app,
    delivery_states,
    fetch_item,
    german_srt,
    own_name,
    replace_media,
    server_with_app,
    uploads,
    write_requests,
)

VERSIONS = ["10.10.7", "10.11.11", "12.0.0"]


class RandomFaults:
    """Breaks one request in five, and stops the daemon at a random request of each round."""

    def __init__(self, fake: FakeJellyfin, clock: FastClock) -> None:
        self.fake, self.clock = fake, clock
        self.random = random.Random(7)
        self.counts: Counter[str] = Counter()
        self._requests_until_stop = 0
        self._app: App | None = None
        self._work: asyncio.Task[None] | None = None

    async def run_round(self, app: App, requests_until_stop: int) -> None:
        """Run due jobs for one hour, or until the daemon is stopped at the numbered request."""
        self._requests_until_stop = requests_until_stop
        self._app, self._work = app, asyncio.create_task(run_jobs(app, self.clock, hours=1))
        with suppress(asyncio.CancelledError):
            await self._work

    def next_fault(self, request: str) -> Fault | None:
        """Return how to break a request, or None."""
        self._requests_until_stop -= 1
        if self._requests_until_stop == 0 and self._app is not None and self._work is not None:
            # The server still answers this request, but its client has gone.
            self.counts["restart in between"] += 1
            self._app.workers.stop()
            self._work.cancel()
        if self.random.random() >= 0.2:
            return None
        faults = {
            "lost reply": Fault(hang_up=True),
            "500": Fault(status=500),
            "503": Fault(status=503),
            "half a body": Fault(half_body=True),
        }
        if request.startswith("POST /Videos"):
            delay = timedelta(seconds=self.random.choice([4, 40, 400, 1000]))
            faults |= {
                "204 without a file": Fault(accepts_without_writing=True),
                "slow": Fault(listing_delay=delay),
            }
        name = self.random.choice(sorted(faults))
        self.counts[name] += 1
        return faults[name]


async def count_open_jobs(app: App) -> int:
    counts = await app.storage.queue.counts()
    return sum(count for (_, state), count in counts.items() if state not in {JobState.DONE, JobState.FAILED})


def own_tracks(items: list[FakeItem]) -> Counter[str]:
    """Return how often each file name of a FluxCaption track occurs."""
    return Counter(name for item in items for name in item.sources[0].sidecars if ".fluxcaption." in name)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "count", [40, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])]
)
async def test_each_track_arrives_once_through_faults_and_restarts(
    count: int, version: str, tmp_path: Path
) -> None:
    async with FakeJellyfin(version) as fake:
        clock = FastClock()
        fake.now = clock.now
        items = add_films(fake, count, clock.now())
        with_human_track, played = items[::3], items[: count // 5]
        for item in with_human_track:
            item.sources[0].sidecars[f"{item.sources[0].stem}.fr.srt"] = HUMAN_SRT
        for item in played:
            fake.start_playback(item)
        async with connected_app(fake, tmp_path, clock) as app:
            for item in items:
                await queue_upload(app, item)

        faults = RandomFaults(fake, clock)
        fake.choose_fault = faults.next_fault
        rounds = 0
        for rounds in range(1, 400):
            requests_until_stop = faults.random.randint(count // 4, count * 2)
            try:
                async with connected_app(fake, tmp_path, clock) as app:
                    await app.storage.queue.requeue_interrupted(clock.now())
                    await faults.run_round(app, requests_until_stop)
                    open_jobs = await count_open_jobs(app)
            except ServiceUnreachable:
                clock.pass_time(minutes=2)
                continue
            if not open_jobs:
                break
            clock.pass_time(minutes=30)
            if rounds >= 3:
                for item in [item for item in played if item.id in fake.playing]:
                    fake.stop_playback(item)
            run_library_scan(fake, clock)
        fake.choose_fault = None
        clock.pass_time(hours=1)

        lost = {item.id for item in items if not own_tracks([item])}
        async with connected_app(fake, tmp_path, clock) as app:
            outcomes_of_lost = [
                f"{job.title}: {job.state} in {job.stage}: {job.reason}"
                for job in await app.storage.jobs.page(limit=count)
                if job.item_id in lost
            ]
        changed_human_tracks = [
            item.name
            for item in with_human_track
            if item.sources[0].sidecars.get(f"{item.sources[0].stem}.fr.srt") != HUMAN_SRT
        ]
        tracks = own_tracks(items)
        print(
            f"{version}: {count} deliveries, {len(played)} of them played, in {rounds} rounds and"
            f" {len(fake.received)} requests;"
            f" {', '.join(f'{times} x {name}' for name, times in sorted(faults.counts.items()))}:"
            f" {len([n for n in tracks.values() if n > 1])} duplicates, {len(lost)} lost,"
            f" {len(changed_human_tracks)} foreign files changed,"
            f" {len(fake.changes_during_playback)} changes while playing"
        )
        assert not lost, outcomes_of_lost
        assert set(tracks.values()) == {1}
        assert not [name for name in tracks if not name.endswith(".fluxcaption.de.srt")], "a duplicate"
        assert changed_human_tracks == []
        assert fake.changes_during_playback == []
        async with connected_app(fake, tmp_path, clock) as app:
            assert await delivery_states(app) == {DeliveryState.CONFIRMED: count}


async def test_tracks_of_one_film_are_uploaded_together(tmp_path: Path) -> None:
    async with server_with_app(tmp_path, languages={"targets": ["de", "fr"]}) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await queue_upload(app, item)
        new_job = gap_of(item, FR)
        await app.storage.jobs.add([new_job], clock.now())
        outcome = await run_and_record_stage(app, Stage.UPLOAD)
        assert outcome.reason_code == ReasonCode.WAITING_FOR_LANGUAGES
        assert write_requests(fake) == []
        await finish_track(app, await claim(app, Stage.ACQUIRE), german_srt("fr"))
        assert await app.storage.jobs.release_waiting_uploads(SERVER, new_job.source_id, clock.now()) == 1
        await app.workers.run(until_idle=True)
        assert len(item.sources[0].sidecars) == 2


async def test_played_film_gets_no_upload_until_ten_minutes_after_playback(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await queue_upload(app, item)
        fake.start_playback(item)
        await run_jobs(app, clock, hours=0.5)
        assert write_requests(fake) == []
        fake.stop_playback(item)
        stopped_at = clock.now()
        await run_jobs(app, clock, hours=2)
        assert fake.changes_during_playback == []
        (delivery,) = await app.storage.deliveries.find(SERVER)
        assert delivery.state is DeliveryState.CONFIRMED
        assert delivery.intended_at - stopped_at >= timedelta(minutes=9)


async def test_playback_before_the_start_is_read_from_the_activity_log(tmp_path: Path) -> None:
    async with FakeJellyfin() as fake:
        clock = FastClock()
        fake.now = clock.now
        (item,) = add_films(fake, 1, clock.now())
        fake.start_playback(item)
        clock.pass_time(minutes=3)
        fake.stop_playback(item)
        clock.pass_time(minutes=5)
        async with connected_app(fake, tmp_path, clock) as app:
            await queue_upload(app, item)
            await app.workers.run(until_idle=True)
            assert item.sources[0].sidecars == {}
            assert fake.changes_during_playback == []


async def test_upload_is_parked_while_the_server_cannot_read_the_media(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await queue_upload(app, item)
        fake.break_next("HEAD /Videos/{itemId}/stream", Fault(status=404))
        await app.workers.run(until_idle=True)
        (job,) = await app.storage.jobs.page()
        assert (job.state, job.reason_code) == (JobState.PARKED, "media-away")
        assert write_requests(fake) == []


async def test_upload_is_parked_if_only_the_daemon_can_read_the_media(tmp_path: Path) -> None:
    async with app_with_mapped_folder(tmp_path) as (fake, _, app, item, own_track):
        fake.choose_fault = lambda request: Fault(status=404) if request.startswith("HEAD") else None
        await queue_upload(app, item)
        await app.workers.run(until_idle=True)
        (job,) = await app.storage.jobs.page()
        assert (job.reason_code, len(uploads(fake)), own_track.exists()) == ("media-away", 0, False)


async def test_accepted_upload_without_a_file_is_written_as_sidecar(tmp_path: Path) -> None:
    async with app_with_mapped_folder(tmp_path) as (fake, clock, app, item, own_track):
        fake.accepts_without_writing = True
        await queue_upload(app, item)
        await run_jobs(app, clock, hours=2)
        assert own_track.read_bytes() == german_srt(item.name)
        assert len(uploads(fake)) == 1
        assert await delivery_states(app) == {DeliveryState.CONFIRMED: 1}


async def test_refused_upload_is_retried_with_growing_delays_then_fails(tmp_path: Path) -> None:
    async with FakeJellyfin("12.0.0") as fake:
        clock = FastClock()
        async with connected_app(fake, tmp_path, clock) as app:
            (item,) = add_films(fake, 1, clock.now())
            fake.read_only.add(item.sources[0].id)
            await queue_upload(app, item)
            await run_jobs(app, clock, hours=24)
            assert len(uploads(fake)) <= 4
            await run_jobs(app, clock, hours=24 * 20)
            assert len(uploads(fake)) == 5
            (job,) = await app.storage.jobs.page()
            assert (job.state, job.reason_code) == (JobState.FAILED, "server-refuses-uploads")


async def test_failed_read_at_a_late_confirm_causes_no_second_upload(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        fake.hides_new_tracks = True
        await queue_upload(app, item)
        await run_jobs(app, clock, hours=0.12)
        fake.show_hidden()
        fake.break_next("GET /Videos/{itemId}/{mediaSourceId}/Subtitles", Fault(status=500))
        await run_jobs(app, clock, hours=1)
        (job,) = await app.storage.jobs.page()
        assert job.state is JobState.DONE
        assert len(uploads(fake)) == 1


async def test_track_without_cues_is_not_uploaded(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        await queue_upload(app, item, b"\n")
        await app.workers.run(until_idle=True)
        (job,) = await app.storage.jobs.page()
        assert (job.state, job.reason_code, len(uploads(fake))) == (JobState.FAILED, "empty-track", 0)


async def test_track_of_replaced_media_is_not_uploaded(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now(), [audio("eng")])
        source = (await fetch_item(app, item)).sources[0]
        identity = MediaIdentity(Fingerprint("old"), source.size_bytes, source.duration_ms)
        await app.storage.identities.save(SERVER, source, identity)
        job_id = await queue_upload(app, item)
        await app.storage.jobs.update_progress(job_id, fingerprint=Fingerprint("old"))
        replace_media(item, clock.now())
        outcome = await run_stage(app, await claim(app, Stage.UPLOAD))
        assert (outcome.stage, item.sources[0].sidecars) == (Stage.ACQUIRE, {})


async def test_media_replaced_between_upload_and_confirm_makes_the_track_stale(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now(), [audio("eng")])
        await queue_upload(app, item)
        await run_and_record_stage(app, Stage.UPLOAD)
        replace_media(item, clock.now())
        await app.workers.run(until_idle=True)
        assert await delivery_states(app) == {DeliveryState.CONFIRMED: 1}
        ((decision,),) = await app.planner.plan([await fetch_item(app, item)])
        assert "the media was replaced after the FluxCaption track was made" in decision.reason


async def test_provenance_survives_waits_and_faults(tmp_path: Path) -> None:
    async with server_with_app(tmp_path) as (fake, clock, app):
        (item,) = add_films(fake, 1, clock.now())
        fake.start_playback(item)
        await queue_upload(app, item)
        await run_jobs(app, clock, hours=0.2)
        fake.stop_playback(item)
        fake.break_next("POST /Videos", Fault(status=503))
        await run_jobs(app, clock, hours=2)
        (delivery,) = await app.storage.deliveries.find(SERVER)
        assert delivery.provenance == PROVENANCE
        details = json.loads(delivery.details)
        assert (details["description"], details["score"], details["content"]) == (
            PROVENANCE.description,
            0.8,
            delivery.content_hash,
        )
        (job,) = await app.storage.jobs.page()
        assert job.reason == f"{own_name(item)}, {PROVENANCE.description}"
