"""What the daemon's memory promises of the queue after cancellations, crashes, clock jumps, a full disk and a person's wishes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fluxcaption.domain.deliveries import Delivery
from fluxcaption.domain.errors import DiskLow
from fluxcaption.domain.jobs import Job, JobState, ManualRequest, NewJob, Outcome, Priority, Stage
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.transcripts import TranscribedWindow, TranscriptKey
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, Ms, ServerId, SourceId
from fluxcaption.storage.storage import SqliteStorage

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DE = LanguageTag("de")
KEY = TranscriptKey(Fingerprint("f"), 0, "whisper", "rev", "set")


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[SqliteStorage]:
    opened = await SqliteStorage.open(tmp_path)
    yield opened
    await opened.close()


def gap(source: str = "s", *, priority: Priority = Priority.NEW, days_old: float = 0) -> NewJob:
    return NewJob(
        ServerId("v"),
        ItemId(f"i-{source}"),
        SourceId(source),
        DE,
        f"Film {source}",
        priority,
        NOW - timedelta(days=days_old),
        "no track",
    )


async def claimed(storage: SqliteStorage, stage: Stage = Stage.ACQUIRE, at: datetime = NOW) -> Job:
    job = await storage.queue.claim(stage, at)
    assert job is not None
    return job


async def the_job(storage: SqliteStorage) -> Job:
    (job,) = await storage.jobs.page()
    return job


async def test_what_an_earlier_claim_reports_changes_nothing(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    first = await claimed(storage)
    await storage.jobs.cancel(first.id, NOW)
    await storage.jobs.retry(first.id, NOW)
    assert await storage.queue.record(first, Outcome.done("made"), NOW) is None
    second = await claimed(storage)
    assert await storage.queue.record(first, Outcome.failed("late", "late"), NOW) is None
    assert (await the_job(storage)).state is JobState.RUNNING
    after = await storage.queue.record(second, Outcome.done("made"), NOW)
    assert after is not None
    assert after.state is JobState.DONE


async def test_a_report_for_a_job_that_is_gone_changes_nothing(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    job = await claimed(storage)
    await storage.database.write("DELETE FROM jobs", ())
    assert await storage.queue.record(job, Outcome.done("made"), NOW) is None


async def test_an_attempt_that_is_handed_back_is_due_again_and_not_counted(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    await storage.queue.record(await claimed(storage), Outcome.handed_back(), NOW)
    assert await storage.queue.requeue_interrupted(NOW) == 0
    assert (await claimed(storage)).attempts == 1


async def test_a_job_that_ends_the_process_three_times_is_set_aside_until_a_person_asks(
    storage: SqliteStorage,
) -> None:
    await storage.jobs.add([gap("poison"), gap("other", days_old=1)], NOW)
    for crash in (1, 2, 3):
        job = await claimed(storage)
        assert (job.source_id, job.attempts) == ("poison", crash)
        await storage.queue.requeue_interrupted(NOW)
    after = await storage.jobs.get(job.id)
    assert after is not None
    assert (after.state, after.reason_code) == (JobState.FAILED, "poison")
    assert "jobs retry" in after.reason
    assert (await claimed(storage)).source_id == "other"
    assert await storage.jobs.add([gap("poison")], NOW + timedelta(days=90)) == 0
    await storage.jobs.retry(job.id, NOW)
    for _ in (1, 2):
        assert (await claimed(storage)).source_id == "poison"
        await storage.queue.requeue_interrupted(NOW)
    assert (await claimed(storage, at=NOW + timedelta(hours=1))).state is JobState.RUNNING


async def test_a_job_that_gets_further_each_time_is_not_what_ends_the_process(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    opened = await storage.transcripts.open(KEY, Ms(600_000))
    for window in range(5):
        job = await claimed(storage)
        await storage.jobs.update_progress(job.id, fingerprint=KEY.fingerprint)
        await storage.transcripts.save_window(
            opened.id, TranscribedWindow(Ms(window * 1000), Ms(window * 1000 + 1000), ()), DE
        )
        await storage.queue.requeue_interrupted(NOW)
    assert (await the_job(storage)).state is JobState.QUEUED


async def test_jobs_that_were_in_hand_at_two_crashes_go_on_one_by_one(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap("first"), gap("second", days_old=1)], NOW)
    for _ in (1, 2):
        assert [(await claimed(storage)).source_id for _ in range(2)] == ["first", "second"]
        await storage.queue.requeue_interrupted(NOW)
    assert (await claimed(storage)).source_id == "first"
    assert await storage.queue.claim(Stage.ACQUIRE, NOW) is None
    await storage.queue.requeue_interrupted(NOW)
    second = await claimed(storage, at=NOW + timedelta(minutes=10))
    assert second.source_id == "second"
    done = await storage.queue.record(second, Outcome.done("made"), NOW)
    assert done is not None
    assert done.state is JobState.DONE


async def test_what_a_person_asks_for_is_due_now_in_the_way_that_was_asked_last(
    storage: SqliteStorage,
) -> None:
    await storage.jobs.add([gap()], NOW)
    await storage.queue.record(
        await claimed(storage), Outcome.next(Stage.TRANSLATE, wait=timedelta(hours=2)), NOW
    )
    await storage.jobs.add([gap(priority=Priority.REQUESTED)], NOW)
    job = await the_job(storage)
    assert (job.next_try_at, job.priority, job.stage) == (NOW, Priority.REQUESTED, Stage.TRANSLATE)
    await storage.jobs.add(
        [replace(gap(priority=Priority.REQUESTED), request=ManualRequest(model="/m/large", redo=True))], NOW
    )
    job = await the_job(storage)
    assert (job.request, job.stage) == (ManualRequest(model="/m/large", redo=True), Stage.ACQUIRE)
    await storage.jobs.add([gap()], NOW)
    assert (await the_job(storage)).request.model == "/m/large"


async def test_a_running_job_that_is_asked_for_in_another_way_begins_anew_when_its_attempt_ends(
    storage: SqliteStorage,
) -> None:
    await storage.jobs.add([gap()], NOW)
    job = await claimed(storage)
    await storage.jobs.add(
        [replace(gap(priority=Priority.REQUESTED), request=ManualRequest(model="/m/large"))], NOW
    )
    after = await storage.queue.record(job, Outcome.next(Stage.TRANSLATE), NOW)
    assert after is not None
    assert (after.state, after.stage, after.request.model) == (JobState.QUEUED, Stage.ACQUIRE, "/m/large")


async def test_an_open_job_follows_its_item_to_a_new_id(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    await storage.jobs.add([replace(gap(), item_id=ItemId("new id"))], NOW)
    assert (await the_job(storage)).item_id == "new id"


async def test_a_clock_that_was_set_back_stalls_nothing(storage: SqliteStorage) -> None:
    ahead = NOW + timedelta(days=365)
    await storage.jobs.add([gap()], ahead)
    event = await storage.events.add(ServerId("v"), "ItemAdded", ItemId("i"), ahead)
    await storage.events.reschedule(event, ahead)
    await storage.playback.save(ServerId("v"), [(ItemId("i"), SourceId("s"), ahead)])
    assert await storage.queue.claim(Stage.ACQUIRE, NOW) is None
    await storage.maintenance.clamp_future_times(NOW)
    assert await storage.queue.claim(Stage.ACQUIRE, NOW) is not None
    assert [found.id for found in await storage.events.due(NOW)] == [event]
    assert [at for _, _, at in await storage.playback.since(ServerId("v"), NOW)] == [NOW]


async def test_what_is_due_within_a_day_is_left_to_its_time(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    await storage.queue.record(await claimed(storage), Outcome.again(timedelta(hours=2), "hiccup"), NOW)
    await storage.maintenance.clamp_future_times(NOW)
    assert (await the_job(storage)).next_try_at == NOW + timedelta(hours=2)


async def test_pruning_takes_only_what_is_never_used_again(storage: SqliteStorage) -> None:
    old = NOW - timedelta(days=31)
    for item, at in (("old", old), ("young", NOW)):
        await storage.events.close(
            [await storage.events.add(ServerId("v"), "ItemAdded", ItemId(item), at)], at
        )
        await storage.playback.save(ServerId("v"), [(ItemId(item), SourceId(item), at)])
    waiting = await storage.events.add(ServerId("v"), "ItemAdded", ItemId("waits"), old)
    await storage.jobs.add([gap("open"), gap("done", days_old=1)], NOW)
    refs = [
        await storage.documents.put(text) for text in (b"source", b"track", b"before", b"of a finished job")
    ]
    await storage.jobs.update_progress((await claimed(storage)).id, source_ref=refs[0], track_ref=refs[1])
    await storage.deliveries.record_intent(
        Delivery(
            ServerId("v"), SourceId("s"), DE, ContentHash("h"), "F.de.srt", "{}", NOW, previous_ref=refs[2]
        )
    )
    finished = await claimed(storage)
    await storage.jobs.update_progress(finished.id, track_ref=refs[3])
    await storage.queue.record(finished, Outcome.done("made"), NOW)
    await storage.maintenance.prune(NOW)
    assert [
        row["item_id"] for row in await storage.database.read("SELECT item_id FROM events ORDER BY id")
    ] == [
        "young",
        "waits",
    ]
    assert [event.id for event in await storage.events.due(NOW)] == [waiting]
    assert [row["item_id"] for row in await storage.database.read("SELECT item_id FROM playback")] == [
        "young"
    ]
    assert [await storage.documents.get(ref) is not None for ref in refs] == [True, True, True, False]


async def test_pruning_goes_through_any_number_of_leftovers(storage: SqliteStorage) -> None:
    for number in range(1100):
        await storage.database.write("INSERT INTO documents VALUES (?,?)", (f"ref {number}", b"text"))
    await storage.maintenance.prune(NOW)
    assert (await storage.database.read("SELECT count(*) AS n FROM documents"))[0]["n"] == 0


async def test_a_full_disk_fails_only_the_promise_that_does_not_fit(storage: SqliteStorage) -> None:
    assert storage.database._writer is not None
    (pages,) = await storage.database._writer.execute_fetchall("PRAGMA page_count")
    await storage.database._writer.execute(f"PRAGMA max_page_count={pages[0] + 3}")

    async def large(connection: Any) -> None:
        await connection.execute("INSERT INTO state_values VALUES ('large', hex(zeroblob(500000)))")

    promises = [
        storage.events.add(ServerId("v"), "ItemAdded", ItemId("one"), NOW),
        storage.database.durable_transaction(large),
        storage.events.add(ServerId("v"), "ItemAdded", ItemId("two"), NOW),
    ]
    first, full, second = await asyncio.gather(*promises, return_exceptions=True)
    assert isinstance(full, DiskLow)
    assert [event.id for event in await storage.events.due(NOW)] == [first, second]


async def test_closing_keeps_what_a_cancelled_caller_had_begun(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path)
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow(connection: Any) -> None:
        reached.set()
        await go_on.wait()
        await connection.execute("INSERT INTO state_values VALUES ('one', '1')")

    task = asyncio.create_task(storage.database.transaction(slow))
    await reached.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    closing = asyncio.create_task(storage.close())
    await asyncio.sleep(0)
    go_on.set()
    await closing
    storage = await SqliteStorage.open(tmp_path)
    assert await storage.state_values.get("one") == "1"
    await storage.close()
