"""The queue of jobs: order, attempts, cancellation, crashes, requests of users, and the backlog."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fluxcaption.domain.events import EventKind
from fluxcaption.domain.jobs import Job, JobState, ManualRequest, Outcome, Priority, Stage
from fluxcaption.domain.transcripts import TranscribedWindow, TranscriptKey
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, Ms
from fluxcaption.storage.storage import SqliteStorage

from tests.support.jobs import DE, ES, NOW, SERVER, claim, gap, only_job

LARGE_MODEL = ManualRequest(model="/m/large", redo=True)


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[SqliteStorage]:
    opened = await SqliteStorage.open(tmp_path)
    yield opened
    await opened.close()


async def record(storage: SqliteStorage, job: Job, outcome: Outcome, at: datetime = NOW) -> Job:
    """Record an outcome under a claim that holds."""
    recorded = await storage.queue.record(job, outcome, at)
    assert recorded is not None
    return recorded


# -- adding and claiming ---------------------------------------------------------------------------


async def test_the_same_gap_added_twice_is_one_job(storage: SqliteStorage) -> None:
    assert await storage.jobs.add([gap(), gap(), gap(target=ES)], NOW) == 2
    assert await storage.jobs.add([gap()], NOW) == 0


async def test_jobs_are_claimed_by_priority_then_newest_item_first(storage: SqliteStorage) -> None:
    await storage.jobs.add(
        [
            gap("old backlog", priority=Priority.BACKLOG, days_old=9),
            gap("young backlog", priority=Priority.BACKLOG),
            gap("new", days_old=3),
            gap("later episode", priority=Priority.LATER_EPISODE, days_old=4),
            gap("next episode", priority=Priority.NEXT_EPISODE, days_old=4),
            gap("requested", priority=Priority.REQUESTED, days_old=5),
        ],
        NOW,
    )
    order = []
    while (job := await storage.queue.claim(Stage.ACQUIRE, NOW)) is not None:
        order.append(job.source_id)
    assert order == ["requested", "next episode", "later episode", "new", "young backlog", "old backlog"]


async def test_no_job_below_the_lowest_priority_is_claimed(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap("new"), gap("requested", priority=Priority.REQUESTED)], NOW)
    first = await storage.queue.claim(Stage.ACQUIRE, NOW, Priority.NEXT_EPISODE)
    assert first is not None
    assert first.source_id == "requested"
    assert await storage.queue.claim(Stage.ACQUIRE, NOW, Priority.NEXT_EPISODE) is None


async def test_concurrent_claims_never_return_the_same_job(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap(str(number)) for number in range(20)], NOW)
    claimed = await asyncio.gather(*(storage.queue.claim(Stage.ACQUIRE, NOW) for _ in range(30)))
    ids = [job.id for job in claimed if job]
    assert len(ids) == len(set(ids)) == 20


async def test_position_counts_the_jobs_that_are_claimed_before(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap("first"), gap("second", days_old=1), gap("third", days_old=2)], NOW)
    positions = {job.source_id: await storage.jobs.position(job) for job in await storage.jobs.page()}
    assert positions == {"first": 0, "second": 1, "third": 2}


async def test_an_open_job_follows_its_item_to_a_new_id(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    await storage.jobs.add([replace(gap(), item_id=ItemId("new id"))], NOW)
    assert (await only_job(storage)).item_id == "new id"


# -- attempts and outcomes -------------------------------------------------------------------------


async def test_an_attempt_is_counted_when_it_is_claimed(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    job = await claim(storage)
    assert job.attempts == 1
    failed = await record(storage, job, Outcome.again(timedelta(minutes=1), "hiccup"))
    assert failed.attempts == 1
    assert await storage.queue.next_due() == NOW + timedelta(minutes=1)


async def test_a_parked_attempt_is_not_counted(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    outcome = Outcome.parked(timedelta(minutes=2), "away", "service-unreachable")
    assert (await record(storage, await claim(storage), outcome)).attempts == 0
    assert await storage.queue.claim(Stage.ACQUIRE, NOW) is None


async def test_unpark_makes_jobs_parked_for_that_reason_due(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    outcome = Outcome.parked(timedelta(minutes=2), "away", "service-unreachable")
    await record(storage, await claim(storage), outcome)
    assert await storage.queue.unpark("key-rejected", NOW) == 0
    assert await storage.queue.unpark("service-unreachable", NOW) == 1
    assert (await claim(storage)).attempts == 1


async def test_a_handed_back_attempt_is_due_again_and_not_counted(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    await record(storage, await claim(storage), Outcome.handed_back())
    assert await storage.queue.requeue_interrupted(NOW) == 0
    assert (await claim(storage)).attempts == 1


async def test_an_illegal_move_is_refused(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    with pytest.raises(ValueError, match="cannot go from running to running"):
        await storage.queue.record(await claim(storage), Outcome(JobState.RUNNING), NOW)


async def test_facts_found_by_a_stage_stay_until_they_are_replaced(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    job = await claim(storage)
    await storage.jobs.update_progress(job.id, source_ref=ContentHash("source"), upload_attempts=2)
    await storage.jobs.update_progress(job.id, track_ref=ContentHash("track"))
    changed = await only_job(storage)
    assert (changed.source_ref, changed.track_ref, changed.upload_attempts) == ("source", "track", 2)


async def test_a_report_of_an_earlier_claim_changes_nothing(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    first = await claim(storage)
    await storage.jobs.cancel(first.id, NOW)
    await storage.jobs.retry(first.id, NOW)
    assert await storage.queue.record(first, Outcome.done("made"), NOW) is None
    second = await claim(storage)
    assert await storage.queue.record(first, Outcome.failed("late", "late"), NOW) is None
    assert (await only_job(storage)).state is JobState.RUNNING
    assert (await record(storage, second, Outcome.done("made"))).state is JobState.DONE


async def test_a_report_for_a_deleted_job_changes_nothing(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    job = await claim(storage)
    await storage.database.write("DELETE FROM jobs")
    assert await storage.queue.record(job, Outcome.done("made"), NOW) is None


async def test_a_job_cancelled_while_it_runs_stays_cancelled(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    job = await claim(storage)
    await storage.jobs.cancel(job.id, NOW)
    assert (await record(storage, job, Outcome.done("made"))).state is JobState.CANCELLED


async def test_cancelling_a_finished_job_changes_nothing(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    done = await record(storage, await claim(storage), Outcome.done("made"))
    assert await storage.jobs.cancel(done.id, NOW) == done


# -- gaps found again ------------------------------------------------------------------------------


async def test_a_gap_found_again_restarts_its_finished_job(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    await record(storage, await claim(storage), Outcome.done("made"))
    assert await storage.jobs.add([gap()], NOW) == 1


async def test_a_gap_found_again_does_not_restart_a_cancelled_job(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    await storage.jobs.cancel((await only_job(storage)).id, NOW)
    assert await storage.jobs.add([gap()], NOW) == 0
    assert await storage.queue.claim(Stage.ACQUIRE, NOW) is None
    await storage.jobs.add([gap(priority=Priority.REQUESTED)], NOW)
    await claim(storage)


async def test_a_failed_job_restarts_after_growing_pauses(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    at, pauses = NOW, []
    for _ in range(3):
        await record(storage, await claim(storage, at=at), Outcome.failed("no", "transient"), at)
        failed_at = at
        while not await storage.jobs.add([gap()], at):
            at += timedelta(hours=12)
        pauses.append(at - failed_at)
    assert pauses == [timedelta(days=1), timedelta(days=4), timedelta(days=14)]


# -- restarts and crashes --------------------------------------------------------------------------


async def test_a_restart_makes_running_jobs_due_again(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path)
    await storage.jobs.add([gap()], NOW)
    await claim(storage)
    await storage.close()
    storage = await SqliteStorage.open(tmp_path)
    assert await storage.queue.requeue_interrupted(NOW) == 1
    assert (await claim(storage)).attempts == 2
    await storage.close()


async def test_a_job_that_crashes_the_process_three_times_fails(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap("poison"), gap("other", days_old=1)], NOW)
    for crash in (1, 2, 3):
        job = await claim(storage)
        assert (job.source_id, job.attempts) == ("poison", crash)
        await storage.queue.requeue_interrupted(NOW)
    after = await storage.jobs.get(job.id)
    assert after is not None
    assert (after.state, after.reason_code) == (JobState.FAILED, "poison")
    assert "jobs retry" in after.reason
    assert (await claim(storage)).source_id == "other"


async def test_a_crashing_job_runs_again_only_when_a_user_retries_it(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    for _ in range(3):
        await claim(storage)
        await storage.queue.requeue_interrupted(NOW)
    assert await storage.jobs.add([gap()], NOW + timedelta(days=90)) == 0
    await storage.jobs.retry((await only_job(storage)).id, NOW)
    for _ in range(2):
        await claim(storage)
        await storage.queue.requeue_interrupted(NOW)
    assert (await claim(storage, at=NOW + timedelta(hours=1))).state is JobState.RUNNING


async def test_progress_between_crashes_clears_a_job_of_suspicion(storage: SqliteStorage) -> None:
    key = TranscriptKey(Fingerprint("f"), 0, "whisper", "rev", "set")
    await storage.jobs.add([gap()], NOW)
    transcript = await storage.transcripts.open(key, Ms(600_000))
    for window in range(5):
        job = await claim(storage)
        await storage.jobs.update_progress(job.id, fingerprint=key.fingerprint)
        await storage.transcripts.save_window(
            transcript.id, TranscribedWindow(Ms(window * 1000), Ms(window * 1000 + 1000), ()), DE
        )
        await storage.queue.requeue_interrupted(NOW)
    assert (await only_job(storage)).state is JobState.QUEUED


async def test_jobs_that_ran_during_two_crashes_go_on_one_by_one(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap("first"), gap("second", days_old=1)], NOW)
    for _ in range(2):
        assert [(await claim(storage)).source_id for _ in range(2)] == ["first", "second"]
        await storage.queue.requeue_interrupted(NOW)
    assert (await claim(storage)).source_id == "first"
    assert await storage.queue.claim(Stage.ACQUIRE, NOW) is None
    await storage.queue.requeue_interrupted(NOW)
    second = await claim(storage, at=NOW + timedelta(minutes=10))
    assert second.source_id == "second"
    assert (await record(storage, second, Outcome.done("made"))).state is JobState.DONE


# -- requests of users -----------------------------------------------------------------------------


async def test_a_requested_job_is_due_now_and_keeps_its_stage(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    await record(storage, await claim(storage), Outcome.next(Stage.TRANSLATE, wait=timedelta(hours=2)))
    await storage.jobs.add([gap(priority=Priority.REQUESTED)], NOW)
    job = await only_job(storage)
    assert (job.next_try_at, job.priority, job.stage) == (NOW, Priority.REQUESTED, Stage.TRANSLATE)


async def test_another_request_restarts_an_open_job(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    await record(storage, await claim(storage), Outcome.next(Stage.TRANSLATE))
    await storage.jobs.add([gap(priority=Priority.REQUESTED, request=LARGE_MODEL)], NOW)
    job = await only_job(storage)
    assert (job.request, job.stage) == (LARGE_MODEL, Stage.ACQUIRE)
    await storage.jobs.add([gap()], NOW)
    assert (await only_job(storage)).request == LARGE_MODEL


async def test_another_request_restarts_a_running_job_when_its_attempt_ends(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    job = await claim(storage)
    await storage.jobs.add([gap(priority=Priority.REQUESTED, request=LARGE_MODEL)], NOW)
    after = await record(storage, job, Outcome.next(Stage.TRANSLATE))
    assert (after.state, after.stage, after.request) == (JobState.QUEUED, Stage.ACQUIRE, LARGE_MODEL)


# -- backlog ---------------------------------------------------------------------------------------


async def test_the_backlog_is_released_title_by_title_newest_first(storage: SqliteStorage) -> None:
    await storage.jobs.add(
        [
            gap(str(n), target, Priority.BACKLOG, days_old=n, is_held=True)
            for n in range(5)
            for target in (DE, ES)
        ],
        NOW,
    )
    assert await storage.queue.claim(Stage.ACQUIRE, NOW) is None
    assert await storage.queue.next_due() is None
    assert await storage.backlog.release(1, True, NOW) == 1
    claimed = [await storage.queue.claim(Stage.ACQUIRE, NOW) for _ in range(3)]
    assert [job.source_id if job else None for job in claimed] == ["0", "0", None]
    assert await storage.backlog.release(1, False, NOW) == 1
    assert (await claim(storage)).source_id == "4"


async def test_backlog_progress_counts_started_and_finished_titles(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap("film", target, Priority.BACKLOG, is_held=True) for target in (DE, ES)], NOW)
    await storage.backlog.release(1, True, NOW)
    before = await storage.backlog.progress(NOW)
    assert (before.has_started, before.started_today, before.has_finished) == (True, 1, False)
    for _ in range(2):
        await record(storage, await claim(storage), Outcome.done("made"))
    assert (await storage.backlog.progress(NOW)).has_finished
    assert (await storage.backlog.progress(NOW + timedelta(days=2))).started_today == 0


async def test_a_requested_job_leaves_the_backlog(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap(priority=Priority.BACKLOG, is_held=True)], NOW)
    await storage.jobs.add([gap(priority=Priority.REQUESTED)], NOW)
    assert (await claim(storage)).priority is Priority.REQUESTED


# -- clock jumps -----------------------------------------------------------------------------------


async def test_a_clock_that_is_set_back_delays_nothing(storage: SqliteStorage) -> None:
    ahead = NOW + timedelta(days=365)
    await storage.jobs.add([gap()], ahead)
    event = await storage.events.add(SERVER, EventKind.ITEM_ADDED, ItemId("i"), ahead)
    await storage.events.reschedule(event, ahead)
    await storage.playback.save(SERVER, [(ItemId("i"), gap().source_id, ahead)])
    assert await storage.queue.claim(Stage.ACQUIRE, NOW) is None
    await storage.maintenance.clamp_future_times(NOW)
    await claim(storage)
    assert [found.id for found in await storage.events.due(NOW)] == [event]
    assert [played_at for _, _, played_at in await storage.playback.since(SERVER, NOW)] == [NOW]


async def test_times_within_a_day_are_not_clamped(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    await record(storage, await claim(storage), Outcome.again(timedelta(hours=2), "hiccup"))
    await storage.maintenance.clamp_future_times(NOW)
    assert (await only_job(storage)).next_try_at == NOW + timedelta(hours=2)
