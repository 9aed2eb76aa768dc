"""What the daemon's memory promises of the queue after cancellations, crashes, clock jumps, a full disk and a person's wishes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fluxcaption.domain.errors import DiskLow
from fluxcaption.domain.jobs import (
    Delivery,
    HeardWindow,
    Job,
    JobState,
    ManualRequest,
    NewJob,
    Outcome,
    Priority,
    Stage,
    TranscriptKey,
)
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, Ms, ServerId, SourceId
from fluxcaption.storage.store import SqliteStore

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DE = LanguageTag("de")
KEY = TranscriptKey(Fingerprint("f"), 0, "whisper", "rev", "set")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path)
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


async def claimed(store: SqliteStore, stage: Stage = Stage.ACQUIRE, at: datetime = NOW) -> Job:
    job = await store.claim(stage, at)
    assert job is not None
    return job


async def the_job(store: SqliteStore) -> Job:
    (job,) = await store.jobs()
    return job


async def test_what_an_earlier_claim_reports_changes_nothing(store: SqliteStore) -> None:
    await store.add_jobs([gap()], NOW)
    first = await claimed(store)
    await store.cancel(first.id, NOW)
    await store.retry(first.id, NOW)
    assert await store.record(first, Outcome.done("made"), NOW) is None
    second = await claimed(store)
    assert await store.record(first, Outcome.failed("late", "late"), NOW) is None
    assert (await the_job(store)).state is JobState.RUNNING
    after = await store.record(second, Outcome.done("made"), NOW)
    assert after is not None
    assert after.state is JobState.DONE


async def test_a_report_for_a_job_that_is_gone_changes_nothing(store: SqliteStore) -> None:
    await store.add_jobs([gap()], NOW)
    job = await claimed(store)
    await store._write("DELETE FROM jobs", ())
    assert await store.record(job, Outcome.done("made"), NOW) is None


async def test_an_attempt_that_is_handed_back_is_due_again_and_not_counted(store: SqliteStore) -> None:
    await store.add_jobs([gap()], NOW)
    await store.record(await claimed(store), Outcome.handed_back(), NOW)
    assert await store.requeue_interrupted(NOW) == 0
    assert (await claimed(store)).attempts == 1


async def test_a_job_that_ends_the_process_three_times_is_set_aside_until_a_person_asks(
    store: SqliteStore,
) -> None:
    await store.add_jobs([gap("poison"), gap("other", days_old=1)], NOW)
    for crash in (1, 2, 3):
        job = await claimed(store)
        assert (job.source_id, job.attempts) == ("poison", crash)
        await store.requeue_interrupted(NOW)
    after = await store.job(job.id)
    assert after is not None
    assert (after.state, after.reason_code) == (JobState.FAILED, "poison")
    assert "jobs retry" in after.reason
    assert (await claimed(store)).source_id == "other"
    assert await store.add_jobs([gap("poison")], NOW + timedelta(days=90)) == 0
    await store.retry(job.id, NOW)
    for _ in (1, 2):
        assert (await claimed(store)).source_id == "poison"
        await store.requeue_interrupted(NOW)
    assert (await claimed(store, at=NOW + timedelta(hours=1))).state is JobState.RUNNING


async def test_a_job_that_gets_further_each_time_is_not_what_ends_the_process(store: SqliteStore) -> None:
    await store.add_jobs([gap()], NOW)
    opened = await store.open_transcript(KEY, Ms(600_000))
    for window in range(5):
        job = await claimed(store)
        await store.update_progress(job.id, fingerprint=KEY.fingerprint)
        await store.save_window(opened.id, HeardWindow(Ms(window * 1000), Ms(window * 1000 + 1000), ()), DE)
        await store.requeue_interrupted(NOW)
    assert (await the_job(store)).state is JobState.QUEUED


async def test_jobs_that_were_in_hand_at_two_crashes_go_on_one_by_one(store: SqliteStore) -> None:
    await store.add_jobs([gap("first"), gap("second", days_old=1)], NOW)
    for _ in (1, 2):
        assert [(await claimed(store)).source_id for _ in range(2)] == ["first", "second"]
        await store.requeue_interrupted(NOW)
    assert (await claimed(store)).source_id == "first"
    assert await store.claim(Stage.ACQUIRE, NOW) is None
    await store.requeue_interrupted(NOW)
    second = await claimed(store, at=NOW + timedelta(minutes=10))
    assert second.source_id == "second"
    done = await store.record(second, Outcome.done("made"), NOW)
    assert done is not None
    assert done.state is JobState.DONE


async def test_what_a_person_asks_for_is_due_now_in_the_way_that_was_asked_last(store: SqliteStore) -> None:
    await store.add_jobs([gap()], NOW)
    await store.record(await claimed(store), Outcome.next(Stage.TRANSLATE, wait=timedelta(hours=2)), NOW)
    await store.add_jobs([gap(priority=Priority.REQUESTED)], NOW)
    job = await the_job(store)
    assert (job.next_try_at, job.priority, job.stage) == (NOW, Priority.REQUESTED, Stage.TRANSLATE)
    await store.add_jobs(
        [replace(gap(priority=Priority.REQUESTED), request=ManualRequest(model="/m/large", redo=True))], NOW
    )
    job = await the_job(store)
    assert (job.request, job.stage) == (ManualRequest(model="/m/large", redo=True), Stage.ACQUIRE)
    await store.add_jobs([gap()], NOW)
    assert (await the_job(store)).request.model == "/m/large"


async def test_a_running_job_that_is_asked_for_in_another_way_begins_anew_when_its_attempt_ends(
    store: SqliteStore,
) -> None:
    await store.add_jobs([gap()], NOW)
    job = await claimed(store)
    await store.add_jobs(
        [replace(gap(priority=Priority.REQUESTED), request=ManualRequest(model="/m/large"))], NOW
    )
    after = await store.record(job, Outcome.next(Stage.TRANSLATE), NOW)
    assert after is not None
    assert (after.state, after.stage, after.request.model) == (JobState.QUEUED, Stage.ACQUIRE, "/m/large")


async def test_an_open_job_follows_its_item_to_a_new_id(store: SqliteStore) -> None:
    await store.add_jobs([gap()], NOW)
    await store.add_jobs([replace(gap(), item_id=ItemId("new id"))], NOW)
    assert (await the_job(store)).item_id == "new id"


async def test_a_clock_that_was_set_back_stalls_nothing(store: SqliteStore) -> None:
    ahead = NOW + timedelta(days=365)
    await store.add_jobs([gap()], ahead)
    event = await store.add_event(ServerId("v"), "ItemAdded", ItemId("i"), ahead)
    await store.reschedule_event(event, ahead)
    await store.save_watched(ServerId("v"), [(ItemId("i"), SourceId("s"), ahead)])
    assert await store.claim(Stage.ACQUIRE, NOW) is None
    await store.clamp_future_times(NOW)
    assert await store.claim(Stage.ACQUIRE, NOW) is not None
    assert [found.id for found in await store.open_events(NOW)] == [event]
    assert [at for _, _, at in await store.watched_since(ServerId("v"), NOW)] == [NOW]


async def test_what_is_due_within_a_day_is_left_to_its_time(store: SqliteStore) -> None:
    await store.add_jobs([gap()], NOW)
    await store.record(await claimed(store), Outcome.again(timedelta(hours=2), "hiccup"), NOW)
    await store.clamp_future_times(NOW)
    assert (await the_job(store)).next_try_at == NOW + timedelta(hours=2)


async def test_pruning_takes_only_what_is_never_used_again(store: SqliteStore) -> None:
    old = NOW - timedelta(days=31)
    for item, at in (("old", old), ("young", NOW)):
        await store.close_events([await store.add_event(ServerId("v"), "ItemAdded", ItemId(item), at)], at)
        await store.save_watched(ServerId("v"), [(ItemId(item), SourceId(item), at)])
    waiting = await store.add_event(ServerId("v"), "ItemAdded", ItemId("waits"), old)
    await store.add_jobs([gap("open"), gap("done", days_old=1)], NOW)
    refs = [await store.put_document(text) for text in (b"source", b"track", b"before", b"of a finished job")]
    await store.update_progress((await claimed(store)).id, source_ref=refs[0], track_ref=refs[1])
    await store.record_intent(
        Delivery(
            ServerId("v"), SourceId("s"), DE, ContentHash("h"), "F.de.srt", "{}", NOW, previous_ref=refs[2]
        )
    )
    finished = await claimed(store)
    await store.update_progress(finished.id, track_ref=refs[3])
    await store.record(finished, Outcome.done("made"), NOW)
    await store.prune(NOW)
    assert [row["item_id"] for row in await store._db.read("SELECT item_id FROM events ORDER BY id")] == [
        "young",
        "waits",
    ]
    assert [event.id for event in await store.open_events(NOW)] == [waiting]
    assert [row["item_id"] for row in await store._db.read("SELECT item_id FROM watched")] == ["young"]
    assert [await store.document(ref) is not None for ref in refs] == [True, True, True, False]


async def test_pruning_goes_through_any_number_of_leftovers(store: SqliteStore) -> None:
    for number in range(1100):
        await store._write("INSERT INTO documents VALUES (?,?)", (f"ref {number}", b"text"))
    await store.prune(NOW)
    assert (await store._db.read("SELECT count(*) AS n FROM documents"))[0]["n"] == 0


async def test_a_full_disk_fails_only_the_promise_that_does_not_fit(store: SqliteStore) -> None:
    assert store._db._writer is not None
    (pages,) = await store._db._writer.execute_fetchall("PRAGMA page_count")
    await store._db._writer.execute(f"PRAGMA max_page_count={pages[0] + 3}")

    async def large(connection: Any) -> None:
        await connection.execute("INSERT INTO flags VALUES ('large', hex(zeroblob(500000)))")

    promises = [
        store.add_event(ServerId("v"), "ItemAdded", ItemId("one"), NOW),
        store._db.promise(large),
        store.add_event(ServerId("v"), "ItemAdded", ItemId("two"), NOW),
    ]
    first, full, second = await asyncio.gather(*promises, return_exceptions=True)
    assert isinstance(full, DiskLow)
    assert [event.id for event in await store.open_events(NOW)] == [first, second]


async def test_closing_keeps_what_a_cancelled_caller_had_begun(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path)
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow(connection: Any) -> None:
        reached.set()
        await go_on.wait()
        await connection.execute("INSERT INTO flags VALUES ('one', '1')")

    task = asyncio.create_task(store._db.checkpoint(slow))
    await reached.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    go_on.set()
    await closing
    store = await SqliteStore.open(tmp_path)
    assert await store.state_value("one") == "1"
    await store.close()
