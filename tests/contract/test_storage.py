"""The stored state: events, transcripts, deliveries, skips, clean-up, transactions and query plans."""

import asyncio
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fluxcaption.domain.cues import Segment, Span
from fluxcaption.domain.deliveries import LEGAL_DELIVERY_MOVES, Delivery, DeliveryState, DeliveryStep
from fluxcaption.domain.errors import DiskLow, StateError
from fluxcaption.domain.events import EventKind
from fluxcaption.domain.jobs import ANY_SKIP_KEY, Outcome, Provenance, Stage
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.sync_check import SpeechSample
from fluxcaption.domain.transcripts import TranscribedWindow, TranscriptKey, TranslationKey
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, Ms, SourceId
from fluxcaption.ports.storage import TrackFact
from fluxcaption.storage.database import DATABASE, Database, Values
from fluxcaption.storage.lock import StateLock
from fluxcaption.storage.storage import SqliteStorage

from tests.support.jobs import DE, NOW, SERVER, claim, gap

KEY = TranscriptKey(Fingerprint("f"), 0, "whisper", "rev", "set")
S = SourceId("s")


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[SqliteStorage]:
    opened = await SqliteStorage.open(tmp_path)
    yield opened
    await opened.close()


def delivery(source: str = "s", **changes: Any) -> Delivery:
    """Return the intent to deliver a track."""
    intent = Delivery(
        SERVER,
        SourceId(source),
        DE,
        ContentHash("h"),
        "F.de.srt",
        "{}",
        NOW,
        item_id=ItemId(f"i-{source}"),
    )
    return replace(intent, **changes)


async def the_delivery(storage: SqliteStorage) -> Delivery:
    found = await storage.deliveries.get(SERVER, S, DE)
    assert found is not None
    return found


# -- events ----------------------------------------------------------------------------------------


async def add_event(storage: SqliteStorage, item: str = "i", minutes: float = 0) -> int:
    return await storage.events.add(
        SERVER, EventKind.ITEM_ADDED, ItemId(item), NOW + timedelta(minutes=minutes)
    )


async def test_a_repeat_of_an_open_event_has_the_same_id(storage: SqliteStorage) -> None:
    first, repeat = await asyncio.gather(add_event(storage), add_event(storage))
    other = await add_event(storage, "j")
    assert first == repeat != other
    assert [event.id for event in await storage.events.due(NOW)] == [first, other]


async def test_a_repeat_within_ten_minutes_opens_a_handled_event_again(storage: SqliteStorage) -> None:
    first = await add_event(storage)
    await storage.events.reschedule(first, NOW + timedelta(minutes=1))
    await storage.events.close([first], NOW)
    assert await add_event(storage, minutes=9) == first
    assert [(event.id, event.attempts) for event in await storage.events.due(NOW)] == [(first, 0)]


async def test_an_event_later_than_ten_minutes_after_handling_is_new(storage: SqliteStorage) -> None:
    first = await add_event(storage)
    await storage.events.close([first], NOW)
    assert await add_event(storage, minutes=11) != first


async def test_a_rescheduled_event_is_due_later_and_counts_the_attempt(storage: SqliteStorage) -> None:
    event = await add_event(storage)
    later = NOW + timedelta(minutes=5)
    await storage.events.reschedule(event, later)
    assert await storage.events.due(NOW) == []
    assert [(found.id, found.attempts) for found in await storage.events.due(later)] == [(event, 1)]


# -- transcripts, translations, tracks -------------------------------------------------------------


async def test_a_transcript_is_filled_window_by_window(storage: SqliteStorage) -> None:
    assert await storage.transcripts.get(KEY) is None
    opened = await storage.transcripts.open(KEY, Ms(60_000))
    window = TranscribedWindow(Ms(0), Ms(20_000), (Segment(Ms(1), Ms(2), "Hi.", 0.9),))
    await storage.transcripts.save_window(opened.id, window, DE)
    saved = await storage.transcripts.get(KEY)
    assert saved is not None
    assert (saved.transcribed_until, saved.is_complete, saved.language) == (20_000, False, DE)
    assert saved.windows == (window,)


async def test_an_aliased_sound_has_the_transcript_of_the_known_one(storage: SqliteStorage) -> None:
    opened = await storage.transcripts.open(KEY, Ms(60_000))
    await storage.transcripts.finish(opened.id, DE)
    await storage.transcripts.alias_sound(Fingerprint("other file"), 1, KEY.fingerprint, 0)
    found = await storage.transcripts.get(replace(KEY, fingerprint=Fingerprint("other file"), ordinal=1))
    assert found is not None
    assert (found.id, found.is_complete) == (opened.id, True)


async def test_another_model_revision_has_another_transcript(storage: SqliteStorage) -> None:
    await storage.transcripts.open(KEY, Ms(60_000))
    assert await storage.transcripts.get(replace(KEY, model_revision="another")) is None


async def test_translations_are_found_by_text_pair_and_model(storage: SqliteStorage) -> None:
    key = TranslationKey(LanguageTag("en"), DE, "local", "r1")
    await storage.translations.save(key, {f"text {n}": f"Text {n}" for n in range(1200)})
    texts = {f"text {n}" for n in range(0, 1200, 2)}
    assert set(await storage.translations.find(key, texts | {"unknown"})) == texts
    assert await storage.translations.find(replace(key, model_revision="r2"), {"text 1"}) == {}


async def test_track_facts_and_speech_samples_are_read_back(storage: SqliteStorage) -> None:
    fact = TrackFact("embedded 1", "etag", DE, ContentHash("cues"), "out of sync", True, "revision")
    await storage.tracks.save_fact(SERVER, S, fact)
    assert await storage.tracks.facts(SERVER, S) == [fact]
    samples = [SpeechSample(Ms(0), Ms(1000), (Span(Ms(10), Ms(500)),))]
    await storage.tracks.save_speech_samples(SERVER, S, "revision", 0, samples)
    assert await storage.tracks.speech_samples(SERVER, S, "revision", 0) == samples
    assert await storage.tracks.speech_samples(SERVER, S, "another revision", 0) is None


# -- deliveries ------------------------------------------------------------------------------------


async def test_a_delivery_keeps_its_hash_and_time_of_confirmation(storage: SqliteStorage) -> None:
    await storage.deliveries.record_intent(delivery())
    await storage.deliveries.mark_uploaded(SERVER, S, DE, NOW)
    await storage.deliveries.mark_confirmed(SERVER, S, DE, "/m/F.de.srt", "r", NOW)
    found = await the_delivery(storage)
    assert (found.content_hash, found.confirmed_at, found.media_revision) == ("h", NOW, "r")


async def test_a_delivery_keeps_the_replaced_one_until_it_is_confirmed(storage: SqliteStorage) -> None:
    earlier = delivery(
        confirmed_at=NOW, state=DeliveryState.CONFIRMED, provenance=Provenance("heard", "ears", 0.7)
    )
    intent = delivery(
        content_hash=ContentHash("new"), previous=earlier, previous_ref=ContentHash("bytes"), sent_at=NOW
    )
    await storage.deliveries.record_intent(intent)
    assert await the_delivery(storage) == intent
    await storage.deliveries.mark_confirmed(SERVER, S, DE, "/f.srt", "r", NOW)
    found = await the_delivery(storage)
    assert (found.state, found.previous, found.previous_ref) == (DeliveryState.CONFIRMED, None, None)


async def test_a_delivery_without_an_answer_counts_from_its_intent(storage: SqliteStorage) -> None:
    for source, intended_at in (("old", NOW - timedelta(days=2)), ("answered", NOW), ("lost", NOW)):
        await storage.deliveries.record_intent(delivery(source, intended_at=intended_at))
    await storage.deliveries.mark_uploaded(SERVER, SourceId("answered"), DE, NOW)
    found = await storage.deliveries.find(SERVER, uploaded_since=NOW - timedelta(hours=1))
    assert {one.source_id for one in found} == {"answered", "lost"}


@pytest.mark.parametrize("item_id", ["i-wanted", "wanted"])
async def test_deliveries_are_found_by_item_or_media_source(item_id: str, storage: SqliteStorage) -> None:
    for source in ("wanted", "other"):
        await storage.deliveries.record_intent(delivery(source))
    found = await storage.deliveries.find(SERVER, item_id=ItemId(item_id))
    assert [one.source_id for one in found] == ["wanted"]


async def test_the_step_of_a_delivery_lasts_until_it_is_confirmed(storage: SqliteStorage) -> None:
    intent = replace(delivery(sent_at=NOW), step=DeliveryStep.REFRESHED_AFTER_UPLOAD)
    await storage.deliveries.record_intent(intent)
    await storage.deliveries.mark_uploaded(SERVER, S, DE, NOW)
    assert (await the_delivery(storage)).step is DeliveryStep.REFRESHED_AFTER_UPLOAD
    await storage.deliveries.mark_confirmed(SERVER, S, DE, "/f.srt", "r", NOW)
    assert (await the_delivery(storage)).step is DeliveryStep.NONE


async def test_only_seen_tracks_are_marked_missing(storage: SqliteStorage) -> None:
    await storage.deliveries.record_intent(delivery())
    await storage.deliveries.mark_missing(SERVER, [(S, DE)], NOW)
    assert (await the_delivery(storage)).state is DeliveryState.INTENDED
    await storage.deliveries.mark_confirmed(SERVER, S, DE, "/f.srt", "r", NOW)
    for _ in range(2):
        await storage.deliveries.mark_missing(SERVER, [(S, DE)], NOW)
    found = await the_delivery(storage)
    assert (found.state, found.missing_since, found.missing_scans) == (DeliveryState.MISSING, NOW, 2)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(DeliveryState, repeat=2)))
async def test_only_legal_moves_of_a_delivery_are_stored(
    before: DeliveryState, after: DeliveryState, storage: SqliteStorage
) -> None:
    await storage.deliveries.record_intent(delivery())
    await storage.deliveries.set_state(SERVER, S, DE, before)
    if after in LEGAL_DELIVERY_MOVES[before]:
        await storage.deliveries.record_intent(delivery(state=after))
        assert (await the_delivery(storage)).state is after
    else:
        with pytest.raises(ValueError, match=f"cannot go from {before} to {after}"):
            await storage.deliveries.set_state(SERVER, S, DE, after)
        with pytest.raises(ValueError, match=f"cannot go from {before} to {after}"):
            await storage.deliveries.record_intent(delivery(state=after))
        assert (await the_delivery(storage)).state is before


async def test_a_delivery_cannot_begin_as_confirmed(storage: SqliteStorage) -> None:
    with pytest.raises(ValueError, match="cannot begin as confirmed"):
        await storage.deliveries.record_intent(delivery(state=DeliveryState.CONFIRMED))
    await storage.deliveries.mark_confirmed(SERVER, S, DE, "/f.srt", "r", NOW)
    assert await storage.deliveries.get(SERVER, S, DE) is None


# -- skips -----------------------------------------------------------------------------------------


async def test_a_skip_holds_for_its_settings_only(storage: SqliteStorage) -> None:
    await storage.skips.remember(Fingerprint("f"), DE, "settings", "no-speech", "no speech", NOW)
    assert await storage.skips.reason(Fingerprint("f"), DE, "settings") == ("no-speech", "no speech")
    assert await storage.skips.reason(Fingerprint("f"), DE, "other settings") is None


async def test_a_skip_of_a_user_holds_for_all_settings(storage: SqliteStorage) -> None:
    await storage.skips.remember(Fingerprint("f"), DE, ANY_SKIP_KEY, "undone", "it was undone", NOW)
    assert await storage.skips.reason(Fingerprint("f"), DE, "any settings") == ("undone", "it was undone")


async def test_a_forgotten_skip_no_longer_holds(storage: SqliteStorage) -> None:
    await storage.skips.remember(Fingerprint("f"), DE, "settings", "no-speech", "no speech", NOW)
    await storage.skips.forget(Fingerprint("f"), DE)
    assert await storage.skips.reason(Fingerprint("f"), DE, "settings") is None


async def test_retrying_a_job_forgets_the_skip_of_its_media(storage: SqliteStorage) -> None:
    await storage.jobs.add([gap()], NOW)
    job = await claim(storage)
    await storage.jobs.update_progress(job.id, fingerprint=Fingerprint("f"))
    await storage.skips.remember(Fingerprint("f"), DE, "settings", "no-speech", "no speech", NOW)
    await storage.queue.record(job, Outcome.skipped("no speech", "no-speech"), NOW)
    await storage.jobs.retry(job.id, NOW)
    assert await storage.skips.reason(Fingerprint("f"), DE, "settings") is None


# -- clean-up --------------------------------------------------------------------------------------


async def test_pruning_deletes_old_handled_events_and_playback_times(storage: SqliteStorage) -> None:
    old = -31 * 24 * 60
    for item, minutes in (("old", old), ("young", 0)):
        event = await add_event(storage, item, minutes)
        await storage.events.close([event], NOW + timedelta(minutes=minutes))
        await storage.playback.save(SERVER, [(ItemId(item), S, NOW + timedelta(minutes=minutes))])
    waiting = await add_event(storage, "waiting", old)
    await storage.maintenance.prune(NOW)
    assert [event.id for event in await storage.events.due(NOW)] == [waiting]
    events = await storage.database.read("SELECT item_id FROM events ORDER BY id")
    assert [row["item_id"] for row in events] == ["young", "waiting"]
    played = await storage.playback.since(SERVER, NOW - timedelta(days=100))
    assert [item for item, _, _ in played] == ["young"]


async def test_pruning_keeps_documents_that_are_still_needed(storage: SqliteStorage) -> None:
    source, track, replaced, finished = [
        await storage.documents.put(text) for text in (b"source", b"track", b"replaced", b"finished")
    ]
    await storage.jobs.add([gap("open"), gap("done", days_old=1)], NOW)
    await storage.jobs.update_progress((await claim(storage)).id, source_ref=source, track_ref=track)
    await storage.deliveries.record_intent(delivery(previous_ref=replaced))
    job = await claim(storage)
    await storage.jobs.update_progress(job.id, track_ref=finished)
    await storage.queue.record(job, Outcome.done("made"), NOW)
    await storage.maintenance.prune(NOW)
    kept = [await storage.documents.get(ref) is not None for ref in (source, track, replaced, finished)]
    assert kept == [True, True, True, False]


async def test_pruning_deletes_any_number_of_leftovers(storage: SqliteStorage) -> None:
    await storage.database.write_many(
        "INSERT INTO documents (ref, content) VALUES (:ref, :content)",
        [{"ref": f"ref {number}", "content": b"text"} for number in range(1100)],
    )
    await storage.maintenance.prune(NOW)
    assert (await storage.database.read("SELECT count(*) AS n FROM documents"))[0]["n"] == 0


# -- transactions ----------------------------------------------------------------------------------

SET_VALUE = "INSERT INTO state_values (name, value) VALUES (:name, 'set')"


async def test_a_failed_durable_transaction_undoes_only_itself(storage: SqliteStorage) -> None:
    async def broken(connection: Any) -> None:
        await connection.execute(SET_VALUE, {"name": "half"})
        raise ValueError("broken")

    events = [add_event(storage, str(number)) for number in range(5)]
    results = await asyncio.gather(
        *events, storage.database.durable_transaction(broken), return_exceptions=True
    )
    assert sorted(result for result in results if isinstance(result, int)) == [1, 2, 3, 4, 5]
    assert isinstance(results[-1], ValueError)
    assert await storage.state_values.get("half") is None


async def test_a_full_disk_fails_only_the_transaction_that_does_not_fit(storage: SqliteStorage) -> None:
    async def limit_pages(connection: Any) -> None:
        (pages,) = await connection.execute_fetchall("PRAGMA page_count")
        await connection.execute(f"PRAGMA max_page_count={pages[0] + 3}")

    async def large(connection: Any) -> None:
        await connection.execute(
            "INSERT INTO state_values (name, value) VALUES ('large', hex(zeroblob(500000)))"
        )

    await storage.database.transaction(limit_pages)
    first, full, second = await asyncio.gather(
        add_event(storage, "one"),
        storage.database.durable_transaction(large),
        add_event(storage, "two"),
        return_exceptions=True,
    )
    assert isinstance(full, DiskLow)
    assert [event.id for event in await storage.events.due(NOW)] == [first, second]


async def test_a_cancelled_caller_leaves_no_half_transaction(storage: SqliteStorage) -> None:
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow(connection: Any) -> None:
        await connection.execute(SET_VALUE, {"name": "one"})
        has_begun.set()
        await may_end.wait()
        await connection.execute(SET_VALUE, {"name": "two"})

    task = asyncio.create_task(storage.database.transaction(slow))
    await has_begun.wait()
    task.cancel()
    may_end.set()
    await asyncio.gather(task, return_exceptions=True)
    await storage.state_values.set("three", "set")
    assert [await storage.state_values.get(name) for name in ("one", "two", "three")] == ["set"] * 3


async def test_closing_finishes_the_transaction_of_a_cancelled_caller(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path)
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow(connection: Any) -> None:
        has_begun.set()
        await may_end.wait()
        await connection.execute(SET_VALUE, {"name": "one"})

    task = asyncio.create_task(storage.database.transaction(slow))
    await has_begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    closing = asyncio.create_task(storage.close())
    await asyncio.sleep(0)
    may_end.set()
    await closing
    storage = await SqliteStorage.open(tmp_path)
    assert await storage.state_values.get("one") == "set"
    await storage.close()


WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from fluxcaption.storage.storage import SqliteStorage

async def main():
    storage = await SqliteStorage.open(Path(sys.argv[1]))
    number = 0
    while True:
        now = datetime.now(UTC)
        adding = (storage.events.add("v", "ItemAdded", f"{number + k}", now) for k in range(7))
        ids = await asyncio.gather(*adding)
        number += 7
        print(max(ids), flush=True)

asyncio.run(main())
"""


async def test_kill_9_loses_no_durable_event(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(5):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    reported = [int(line) for line in process.stdout.read().splitlines()]
    process.wait()
    process.stdout.close()
    storage = await SqliteStorage.open(tmp_path)
    try:
        events = await storage.events.due(NOW, limit=1_000_000)
        assert len(events) >= max([35, *reported])
        assert (await storage.database.read("PRAGMA integrity_check"))[0][0] == "ok"
    finally:
        await storage.close()


# -- opening ---------------------------------------------------------------------------------------


async def test_a_newer_state_is_refused(tmp_path: Path) -> None:
    await (await SqliteStorage.open(tmp_path)).close()
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StateError, match="newer FluxCaption"):
        await SqliteStorage.open(tmp_path)


async def test_a_damaged_state_is_reported_with_its_fix(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"not a database at all" * 500)
    with pytest.raises(StateError, match=r"damaged: move it away"):
        await SqliteStorage.open(tmp_path)


def test_a_second_lock_names_the_process_that_holds_it(tmp_path: Path) -> None:
    first, second = StateLock(tmp_path), StateLock(tmp_path)
    first.take()
    with pytest.raises(StateError, match=f"process {os.getpid()}"):
        second.take()
    first.release()
    second.take()
    second.release()


# -- query plans -----------------------------------------------------------------------------------


class RecordingDatabase(Database):
    """A database that keeps the queries it is asked, with their parameters."""

    def __init__(self, *connections: Any) -> None:
        super().__init__(*connections)
        self.queries: list[tuple[str, Values]] = []

    async def read(self, query: str, values: Values | None = None) -> list[sqlite3.Row]:
        self.queries.append((query, values or {}))
        return await super().read(query, values)

    async def plans(self) -> list[tuple[str, list[str]]]:
        """Return each query that was asked with the steps of its plan."""
        plans = []
        for query, values in self.queries:
            rows = await super().read(f"EXPLAIN QUERY PLAN {query}", values)
            plans.append((query, [row["detail"] for row in rows]))
        return plans


@pytest.fixture
async def recording(tmp_path: Path) -> AsyncIterator[RecordingDatabase]:
    database = await RecordingDatabase.open(tmp_path)
    yield database
    await database.close()


async def test_a_claim_reads_one_row_of_a_long_queue(recording: RecordingDatabase) -> None:
    await SqliteStorage(recording).queue.claim(Stage.ACQUIRE, NOW)
    ((_, plan),) = await recording.plans()
    assert "jobs_due" in plan[0]
    assert not any("TEMP B-TREE" in step for step in plan)


async def test_frequent_queries_never_read_a_whole_table(recording: RecordingDatabase) -> None:
    storage = SqliteStorage(recording)
    await storage.jobs.add([gap()], NOW)
    (job,) = await storage.jobs.page(item_id=gap().item_id)
    await storage.jobs.position(job)
    await storage.backlog.progress(NOW)
    await storage.queue.counts()
    await storage.queue.next_due(NOW)
    await storage.events.due(NOW)
    await storage.deliveries.find(SERVER, item_id=ItemId("i"))
    await storage.items.rows(SERVER, 0, 10)
    await storage.items.records(SERVER, [ItemId("i")])
    await storage.items.next_episodes(SERVER, ItemId("i"), 2)
    await storage.translations.find(TranslationKey(LanguageTag("en"), DE, "local", "r1"), {"text"})
    for query, plan in await recording.plans():
        scanned = {step.split()[1] for step in plan if step.startswith("SCAN") and "INDEX" not in step}
        assert scanned <= {"json_each", "CONSTANT"}, (query, plan)
        assert not any(step.endswith("(server_id=?)") for step in plan), (query, plan)
        assert not ("FROM items" in query and any("TEMP B-TREE" in step for step in plan)), (query, plan)
