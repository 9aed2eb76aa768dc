"""What the daemon's memory promises."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from fluxcaption.domain.cues import Segment
from fluxcaption.domain.deliveries import Delivery, DeliveryState
from fluxcaption.domain.errors import StateError
from fluxcaption.domain.jobs import JobState, NewJob, Outcome, Priority, Provenance, Stage
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.transcripts import TranscribedWindow, TranscriptKey, TranslationKey
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, Ms, ServerId, SourceId
from fluxcaption.storage.database import DATABASE, MIGRATIONS, migrate
from fluxcaption.storage.lock import StateLock
from fluxcaption.storage.storage import SqliteStorage

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DE, ES = LanguageTag("de"), LanguageTag("es")


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[SqliteStorage]:
    opened = await SqliteStorage.open(tmp_path)
    yield opened
    await opened.close()


def gap(
    source: str = "s",
    target: LanguageTag = DE,
    priority: Priority = Priority.NEW,
    *,
    days_old: float = 0,
    held: bool = False,
) -> NewJob:
    return NewJob(
        ServerId("v"),
        ItemId(f"i-{source}"),
        SourceId(source),
        target,
        f"Film {source}",
        priority,
        NOW - timedelta(days=days_old),
        "no track",
        held,
    )


KEY = TranscriptKey(Fingerprint("f"), 0, "whisper", "rev", "set")


async def test_a_gap_found_twice_is_one_job(storage: SqliteStorage) -> None:
    assert await storage.jobs.add([gap(), gap(), gap(target=ES)], NOW) == 2
    assert await storage.jobs.add([gap()], NOW) == 0


async def test_asked_goes_before_new_before_backlog_and_newest_first(storage: SqliteStorage) -> None:
    jobs = [
        gap("old", priority=Priority.BACKLOG, days_old=9),
        gap("young", priority=Priority.BACKLOG),
        gap("new", days_old=3),
        gap("asked", priority=Priority.REQUESTED, days_old=5),
    ]
    await storage.jobs.add(jobs, NOW)
    order = []
    while (job := await storage.queue.claim(Stage.ACQUIRE, NOW)) is not None:
        order.append(job.source_id)
    assert order == ["asked", "new", "young", "old"]


async def test_two_claimers_never_get_one_job(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap(str(number)) for number in range(20)], NOW)
    claimed = await asyncio.gather(*(storage.queue.claim(Stage.ACQUIRE, NOW) for _ in range(30)))
    ids = [job.id for job in claimed if job]
    assert len(ids) == len(set(ids)) == 20


async def test_an_attempt_is_counted_before_the_work_and_not_when_parked(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    job = await storage.queue.claim(Stage.ACQUIRE, NOW)
    assert job is not None
    assert job.attempts == 1
    parked = await storage.queue.record(
        job, Outcome.parked(timedelta(minutes=2), "away", "service-unreachable"), NOW
    )
    assert parked is not None
    assert parked.attempts == 0
    assert await storage.queue.claim(Stage.ACQUIRE, NOW) is None
    assert await storage.queue.unpark("service-unreachable", NOW) == 1
    again = await storage.queue.claim(Stage.ACQUIRE, NOW)
    assert again is not None
    failed = await storage.queue.record(again, Outcome.again(timedelta(minutes=1), "hiccup"), NOW)
    assert failed is not None
    assert failed.attempts == 1
    assert await storage.queue.next_due() == NOW + timedelta(minutes=1)


async def test_an_illegal_move_is_refused(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    job = await storage.queue.claim(Stage.ACQUIRE, NOW)
    assert job is not None
    with pytest.raises(ValueError, match="cannot go"):
        await storage.queue.record(job, Outcome(JobState.RUNNING), NOW)


async def test_a_job_cancelled_while_it_runs_stays_cancelled(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    job = await storage.queue.claim(Stage.ACQUIRE, NOW)
    assert job is not None
    await storage.jobs.cancel(job.id, NOW)
    after = await storage.queue.record(job, Outcome.done("made"), NOW)
    assert after is not None
    assert after.state is JobState.CANCELLED


async def test_a_gap_that_is_found_again_starts_its_finished_job_again_but_not_one_that_a_person_cancelled(
    storage: SqliteStorage,
) -> None:
    await storage.jobs.add([gap()], NOW)
    job = await storage.queue.claim(Stage.ACQUIRE, NOW)
    assert job is not None
    await storage.queue.record(job, Outcome.done("made"), NOW)
    assert await storage.jobs.add([gap()], NOW) == 1
    await storage.jobs.cancel(job.id, NOW)
    assert await storage.jobs.add([gap()], NOW) == 0
    assert await storage.queue.claim(Stage.ACQUIRE, NOW) is None
    await storage.jobs.add([gap(priority=Priority.REQUESTED)], NOW)
    assert await storage.queue.claim(Stage.ACQUIRE, NOW) is not None


async def test_a_failed_job_starts_again_after_growing_pauses(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    at, restarts = NOW, []
    for _ in range(3):
        job = await storage.queue.claim(Stage.ACQUIRE, at)
        assert job is not None
        await storage.queue.record(job, Outcome.failed("no", "transient"), at)
        failed_at = at
        while not await storage.jobs.add([gap()], at):
            at += timedelta(hours=12)
        restarts.append(at - failed_at)
    assert restarts == [timedelta(days=1), timedelta(days=4), timedelta(days=14)]


async def test_a_restart_makes_running_work_due_again(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path)
    await storage.jobs.add([gap()], NOW)
    await storage.queue.claim(Stage.ACQUIRE, NOW)
    await storage.close()
    storage = await SqliteStorage.open(tmp_path)
    assert await storage.queue.requeue_interrupted(NOW) == 1
    job = await storage.queue.claim(Stage.ACQUIRE, NOW)
    assert job is not None
    assert job.attempts == 2
    await storage.close()


async def test_the_backlog_is_released_title_by_title_newest_first(storage: SqliteStorage) -> None:
    await storage.jobs.add(
        [
            gap(str(n), target, Priority.BACKLOG, days_old=n, held=True)
            for n in range(5)
            for target in (DE, ES)
        ],
        NOW,
    )
    assert await storage.queue.claim(Stage.ACQUIRE, NOW) is None
    assert await storage.queue.next_due() is None
    assert await storage.backlog.release(1, True, NOW) == 1
    first = [await storage.queue.claim(Stage.ACQUIRE, NOW) for _ in range(3)]
    assert [job.source_id if job else None for job in first] == ["0", "0", None]
    target_history = await storage.backlog.progress(NOW)
    assert (target_history.has_started, target_history.started_today, target_history.has_finished) == (
        True,
        1,
        False,
    )
    for job in first[:2]:
        assert job is not None
        await storage.queue.record(job, Outcome.done("made"), NOW)
    assert (await storage.backlog.progress(NOW + timedelta(days=2))).started_today == 0
    assert (await storage.backlog.progress(NOW)).has_finished


async def test_an_asked_job_leaves_the_backlog(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap(priority=Priority.BACKLOG, held=True)], NOW)
    await storage.jobs.add([gap(priority=Priority.REQUESTED)], NOW)
    job = await storage.queue.claim(Stage.ACQUIRE, NOW)
    assert job is not None
    assert job.priority is Priority.REQUESTED


async def test_a_repeated_event_has_the_same_id_and_is_open_again_for_ten_minutes_after_it_was_handled(
    storage: SqliteStorage,
) -> None:
    first, again = await asyncio.gather(
        *(storage.events.add(ServerId("v"), "ItemAdded", ItemId("i"), NOW) for _ in range(2))
    )
    other = await storage.events.add(ServerId("v"), "ItemAdded", ItemId("j"), NOW)
    assert first == again != other
    assert [event.id for event in await storage.events.due(NOW)] == [first, other]
    await storage.events.reschedule(first, NOW + timedelta(minutes=1))
    await storage.events.close([first], NOW)
    later = NOW + timedelta(minutes=9)
    assert await storage.events.add(ServerId("v"), "ItemAdded", ItemId("i"), later) == first
    assert [(event.id, event.attempts) for event in await storage.events.due(NOW)] == [(first, 0), (other, 0)]
    await storage.events.close([first], later)
    assert await storage.events.add(
        ServerId("v"), "ItemAdded", ItemId("i"), later + timedelta(minutes=11)
    ) not in {first, other}


async def test_promises_that_wait_together_each_get_their_own_answer(storage: SqliteStorage) -> None:
    async def broken(connection: Any) -> None:
        await connection.execute("INSERT INTO state_values VALUES ('half', 'written')")
        raise ValueError("mine alone")

    good = [storage.events.add(ServerId("v"), "ItemAdded", ItemId(str(number)), NOW) for number in range(5)]
    results = await asyncio.gather(
        *good, storage.database.durable_transaction(broken), return_exceptions=True
    )
    assert sorted(result for result in results if isinstance(result, int)) == [1, 2, 3, 4, 5]
    assert isinstance(results[-1], ValueError)
    assert await storage.state_values.get("half") is None


async def test_a_cancelled_caller_leaves_no_half_transaction(storage: SqliteStorage) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow(connection: Any) -> None:
        await connection.execute("INSERT INTO state_values VALUES ('one', '1')")
        reached.set()
        await go_on.wait()
        await connection.execute("INSERT INTO state_values VALUES ('two', '2')")

    task = asyncio.create_task(storage.database.transaction(slow))
    await reached.wait()
    task.cancel()
    go_on.set()
    await asyncio.gather(task, return_exceptions=True)
    await storage.state_values.set("three", "3")
    assert [await storage.state_values.get(name) for name in ("one", "two", "three")] == ["1", "2", "3"]


async def test_a_transcript_is_filled_window_by_window_and_found_again(storage: SqliteStorage) -> None:
    assert await storage.transcripts.get(KEY) is None
    opened = await storage.transcripts.open(KEY, Ms(60_000))
    await storage.transcripts.save_window(
        opened.id, TranscribedWindow(Ms(0), Ms(20_000), (Segment(Ms(1), Ms(2), "Hi.", 0.9),)), DE
    )
    saved = await storage.transcripts.get(KEY)
    assert saved is not None
    assert (saved.transcribed_until, saved.is_complete, saved.language) == (20_000, False, DE)
    await storage.transcripts.finish(opened.id, DE)
    await storage.transcripts.alias_sound(Fingerprint("other file"), 1, KEY.fingerprint, 0)
    found = await storage.transcripts.get(
        TranscriptKey(Fingerprint("other file"), 1, "whisper", "rev", "set")
    )
    assert found is not None
    assert found.is_complete
    assert found.windows[0].segments[0].text == "Hi."
    assert (
        await storage.transcripts.get(
            TranscriptKey(Fingerprint("f"), 0, "whisper", "another revision", "set")
        )
        is None
    )


async def test_translations_are_found_by_text_pair_and_model(storage: SqliteStorage) -> None:
    key = TranslationKey(LanguageTag("en"), DE, "local", "r1")
    await storage.translations.save(key, {f"text {n}": f"Text {n}" for n in range(1200)})
    assert (
        len(await storage.translations.find(key, {f"text {n}" for n in range(0, 1200, 2)} | {"unknown"}))
        == 600
    )
    assert (
        await storage.translations.find(TranslationKey(LanguageTag("en"), DE, "local", "r2"), {"text 1"})
        == {}
    )


async def test_an_intent_is_remembered_with_its_hash(storage: SqliteStorage) -> None:
    await storage.deliveries.record_intent(
        Delivery(ServerId("v"), SourceId("s"), DE, ContentHash("h"), "F.de.srt", "{}", NOW)
    )
    await storage.deliveries.mark_uploaded(ServerId("v"), SourceId("s"), DE, NOW)
    await storage.deliveries.mark_confirmed(ServerId("v"), SourceId("s"), DE, "/m/F.de.srt", "r", NOW)
    known = await storage.deliveries.get(ServerId("v"), SourceId("s"), DE)
    assert known is not None
    assert (known.content_hash, known.confirmed_at) == ("h", NOW)


async def test_a_decision_is_remembered_for_the_media_and_forgotten_when_asked(
    storage: SqliteStorage,
) -> None:
    await storage.skips.remember(Fingerprint("f"), DE, "settings", "no-speech", "nobody speaks", NOW)
    assert await storage.skips.reason(Fingerprint("f"), DE, "settings") == ("no-speech", "nobody speaks")
    assert await storage.skips.reason(Fingerprint("f"), DE, "other settings") is None
    await storage.skips.forget(Fingerprint("f"), DE)
    assert await storage.skips.reason(Fingerprint("f"), DE, "settings") is None


async def test_a_claim_needs_no_walk_through_a_long_queue(storage: SqliteStorage) -> None:
    plan = await storage.database.read(
        "EXPLAIN QUERY PLAN SELECT id FROM jobs WHERE stage='listen' AND state IN ('queued','parked') AND is_held=0 AND next_try_at<=1 ORDER BY tier_rank, added_at DESC, id LIMIT 1"
    )
    assert "jobs_due" in plan[0]["detail"]
    assert not any("TEMP B-TREE" in row["detail"] for row in plan)


async def test_a_delivery_is_kept_with_the_one_it_replaces_until_it_is_seen(storage: SqliteStorage) -> None:
    earlier = Delivery(
        ServerId("v"),
        SourceId("s"),
        DE,
        ContentHash("old"),
        "f.srt",
        "{}",
        NOW,
        confirmed_at=NOW,
        state=DeliveryState.CONFIRMED,
        provenance=Provenance("heard", "ears", 0.7),
    )
    intent = replace(
        earlier,
        content_hash=ContentHash("new"),
        state=DeliveryState.INTENDED,
        previous=earlier,
        previous_ref=ContentHash("bytes"),
        sent_at=NOW,
    )
    await storage.deliveries.record_intent(intent)
    assert await storage.deliveries.get(ServerId("v"), SourceId("s"), DE) == replace(
        intent, item_id=ItemId("s"), previous=replace(earlier, item_id=ItemId("s"))
    )
    await storage.deliveries.mark_confirmed(ServerId("v"), SourceId("s"), DE, "/f.srt", "r", NOW)
    seen = await storage.deliveries.get(ServerId("v"), SourceId("s"), DE)
    assert seen is not None
    assert (seen.state, seen.previous, seen.previous_ref) == (DeliveryState.CONFIRMED, None, None)


async def test_a_state_of_an_earlier_program_keeps_what_was_on_its_way(tmp_path: Path) -> None:
    before = tmp_path / "scripts"
    before.mkdir()
    for name in ("0001_first.sql", "0002_companion.sql"):
        (before / name).write_text((MIGRATIONS / name).read_text())
    async with aiosqlite.connect(tmp_path / DATABASE) as connection:
        await migrate(connection, tmp_path / DATABASE, before)
        await connection.execute(
            "INSERT INTO deliveries (server_id, source_id, target, content_hash, file_name, provenance, intended_at, state, grade)"
            " VALUES ('v','s','de','h','f.srt','{}',1000,'uploaded','translated by nobody')"
        )
        await connection.commit()
    with pytest.raises(StateError, match="older FluxCaption"):
        await SqliteStorage.open(tmp_path, read_only=True)
    storage = await SqliteStorage.open(tmp_path)
    try:
        (delivery,) = await storage.deliveries.find(ServerId("v"))
        assert delivery.is_unconfirmed
        assert delivery.provenance == Provenance("translated by nobody")
    finally:
        await storage.close()


async def test_a_migration_is_whole_or_not_at_all(tmp_path: Path) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "0001_first.sql").write_text("CREATE TABLE one (a INTEGER);\n")
    for broken in (
        "CREATE TABLE two (a INTEGER);\nCREATE TABLE one (a INTEGER);\n",
        "CREATE TABLE two (a INTEGER);\nCREATE TABLE three (a\n",
    ):
        (scripts / "0002_second.sql").write_text(broken)
        async with aiosqlite.connect(tmp_path / DATABASE, isolation_level=None) as connection:
            with pytest.raises((sqlite3.Error, ValueError)):
                await migrate(connection, tmp_path / DATABASE, scripts)
            rows = await connection.execute_fetchall("SELECT name FROM sqlite_master WHERE type='table'")
            (version,) = await connection.execute_fetchall("PRAGMA user_version")
            assert ([row[0] for row in rows], version[0]) == (["one"], 1)


async def test_a_newer_state_is_refused(tmp_path: Path) -> None:
    await (await SqliteStorage.open(tmp_path)).close()
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StateError, match="newer FluxCaption"):
        await SqliteStorage.open(tmp_path)


async def test_a_damaged_state_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"not a database at all" * 500)
    with pytest.raises(StateError, match="damaged"):
        await SqliteStorage.open(tmp_path)


def test_a_second_daemon_is_told_who_is_there(tmp_path: Path) -> None:
    first, second = StateLock(tmp_path), StateLock(tmp_path)
    first.take()
    with pytest.raises(StateError, match=f"process {os.getpid()}"):
        second.take()
    first.release()
    second.take()
    second.release()


WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from fluxcaption.storage.storage import SqliteStorage
async def main():
    store = await SqliteStorage.open(Path(sys.argv[1]))
    n = 0
    while True:
        got = await asyncio.gather(*(store.events.add("v", "ItemAdded", f"{n + k}", datetime.now(UTC)) for k in range(7)))
        n += 7
        print(max(got), flush=True)
asyncio.run(main())
"""


async def test_kill_9_loses_no_promise(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(5):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    promised = [int(line) for line in process.stdout.read().splitlines()]
    process.wait()
    process.stdout.close()
    storage = await SqliteStorage.open(tmp_path)
    try:
        events = await storage.events.due(NOW, limit=1_000_000)
        assert len(events) >= max([35, *promised])
        assert (await storage.database.read("PRAGMA integrity_check"))[0][0] == "ok"
    finally:
        await storage.close()


async def test_deliveries_are_found_by_the_time_they_were_sent_though_no_answer_came_back(
    storage: SqliteStorage,
) -> None:
    server = ServerId("v")
    for name, at in (("old", NOW - timedelta(days=2)), ("answered", NOW), ("lost", NOW)):
        await storage.deliveries.record_intent(
            Delivery(
                server,
                SourceId(name),
                DE,
                ContentHash("h"),
                "F.de.srt",
                "{}",
                at,
                item_id=ItemId(f"i-{name}"),
            )
        )
    await storage.deliveries.mark_uploaded(server, SourceId("answered"), DE, NOW)
    found = await storage.deliveries.find(server, uploaded_since=NOW - timedelta(hours=1))
    assert {delivery.source_id for delivery in found} == {"answered", "lost"}
    assert [
        delivery.source_id for delivery in await storage.deliveries.find(server, item_id=ItemId("i-lost"))
    ] == ["lost"]
    assert [
        delivery.source_id for delivery in await storage.deliveries.find(server, item_id=ItemId("old"))
    ] == ["old"]


async def test_what_is_asked_often_walks_no_table(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    request: list[tuple[str, tuple[object, ...]]] = []
    read = storage.database.read

    async def keep(query: str, values: Iterable[object] = ()) -> list[sqlite3.Row]:
        request.append((query, tuple(values)))
        return await read(query, values)

    monkeypatch.setattr(storage.database, "read", keep)
    await storage.backlog.progress(NOW)
    await storage.queue.counts()
    await storage.queue.next_due(NOW)
    await storage.jobs.page(item_id=ItemId("i"))
    await storage.deliveries.find(ServerId("v"), item_id=ItemId("i"))
    await storage.items.rows(ServerId("v"), 0, 10)
    for query, values in request:
        plan = [row["detail"] for row in await read(f"EXPLAIN QUERY PLAN {query}", values)]
        assert not [
            step
            for step in plan
            if step.startswith("SCAN")
            and step.split()[1] in {"jobs", "ended", "deliveries"}
            and "COVERING INDEX" not in step
        ], plan
        assert not ("FROM items" in query and any("TEMP B-TREE" in step for step in plan)), plan
