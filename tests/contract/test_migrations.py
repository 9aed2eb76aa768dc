"""Migrations: the schema, whole steps, and every fact of a state that an earlier program wrote."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from fluxcaption.domain.deliveries import Delivery, DeliveryState, DeliveryStep
from fluxcaption.domain.errors import StateError
from fluxcaption.domain.jobs import ANY_SKIP_KEY, Job, JobState, ManualRequest, Priority, Provenance, Stage
from fluxcaption.domain.reasons import ReasonCode
from fluxcaption.domain.transcripts import TranscriptKey, TranslationKey
from fluxcaption.domain.units import Fingerprint, ItemId, Ms, ServerId, SourceId
from fluxcaption.storage.database import DATABASE, MIGRATIONS, migrate
from fluxcaption.storage.rows import parse_tag
from fluxcaption.storage.schema import SCHEMA, render_schema
from fluxcaption.storage.storage import SqliteStorage

from tests.support.upgrade import SERVER, Row7, old_rows, write_state_7

REGENERATE = "python -m fluxcaption.storage.schema > daemon/fluxcaption/storage/schema.sql"

STAGES = {"listen": Stage.ACQUIRE}
STATES = {"settled": JobState.SKIPPED}
PRIORITIES = {
    "asked": Priority.REQUESTED,
    "next": Priority.NEXT_EPISODE,
    "soon": Priority.LATER_EPISODE,
}
REASON_CODES = {"aside": ReasonCode.PREEMPTED, "together": ReasonCode.WAITING_FOR_LANGUAGES}


@pytest.fixture
async def upgraded(tmp_path: Path) -> AsyncIterator[SqliteStorage]:
    """A state of schema 7, opened by this program."""
    write_state_7(tmp_path)
    storage = await SqliteStorage.open(tmp_path)
    yield storage
    await storage.close()


def schema_of(state: Path) -> str:
    with closing(sqlite3.connect(state / DATABASE)) as connection:
        return render_schema(connection)


def time_of(ms: int | None) -> datetime | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)


def provenance_of(text: str) -> Provenance:
    """Return a provenance as schema 7 wrote it."""
    values = json.loads(text) if text else {}
    return Provenance(
        values.get("how", ""),
        values.get("recognizer", ""),
        values.get("score"),
        values.get("translator", ""),
    )


# -- schema ----------------------------------------------------------------------------------------


async def test_schema_sql_is_the_schema_of_a_new_database(tmp_path: Path) -> None:
    await (await SqliteStorage.open(tmp_path)).close()
    assert schema_of(tmp_path) == SCHEMA.read_text(encoding="utf-8"), f"regenerate it: {REGENERATE}"


async def test_schema_sql_creates_the_same_schema() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA.read_text(encoding="utf-8"))
        assert render_schema(connection) == SCHEMA.read_text(encoding="utf-8")


async def test_an_upgraded_database_has_the_schema_of_a_new_one(
    upgraded: SqliteStorage, tmp_path: Path
) -> None:
    assert schema_of(tmp_path) == SCHEMA.read_text(encoding="utf-8")


# -- steps -----------------------------------------------------------------------------------------


async def test_a_migration_is_applied_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
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


async def test_a_copy_of_the_earlier_database_is_kept(upgraded: SqliteStorage, tmp_path: Path) -> None:
    newest = max(int(script.name[:4]) for script in MIGRATIONS.glob("*.sql"))
    with closing(sqlite3.connect(tmp_path / f"{DATABASE}.before-{newest}")) as copy:
        assert copy.execute("PRAGMA user_version").fetchone() == (7,)
        assert copy.execute("SELECT count(*) FROM settled").fetchone() == (3,)


async def test_a_reader_does_not_upgrade_an_earlier_state(tmp_path: Path) -> None:
    write_state_7(tmp_path)
    with pytest.raises(StateError, match="older FluxCaption"):
        await SqliteStorage.open(tmp_path, read_only=True)


async def test_a_migration_from_schema_2_keeps_unconfirmed_deliveries(tmp_path: Path) -> None:
    before = tmp_path / "scripts"
    before.mkdir()
    for name in ("0001_first.sql", "0002_companion.sql"):
        (before / name).write_text((MIGRATIONS / name).read_text())
    async with aiosqlite.connect(tmp_path / DATABASE) as connection:
        await migrate(connection, tmp_path / DATABASE, before)
        await connection.execute(
            "INSERT INTO deliveries (server_id, source_id, target, content_hash, file_name, provenance,"
            " intended_at, state, grade)"
            " VALUES ('v','s','de','h','f.srt','{}',1000,'uploaded','translated by nobody')"
        )
        await connection.commit()
    storage = await SqliteStorage.open(tmp_path)
    try:
        (delivery,) = await storage.deliveries.find(ServerId("v"))
        assert delivery.is_unconfirmed
        assert delivery.provenance == Provenance("translated by nobody")
    finally:
        await storage.close()


# -- facts of schema 7 -----------------------------------------------------------------------------


def expected_job(row: Row7) -> Job:
    return Job(
        id=row["id"],
        server_id=row["server_id"],
        item_id=row["item_id"],
        source_id=row["source_id"],
        target=parse_tag(row["target"]),
        title=row["title"],
        priority=PRIORITIES.get(row["tier"]) or Priority(row["tier"]),
        added_at=datetime.fromtimestamp(row["added_at"] / 1000, UTC),
        stage=STAGES.get(row["stage"]) or Stage(row["stage"]),
        state=STATES.get(row["state"]) or JobState(row["state"]),
        attempts=row["attempts"],
        next_try_at=datetime.fromtimestamp(row["next_try_at"] / 1000, UTC),
        reason=row["reason"],
        reason_code=REASON_CODES.get(row["reason_code"]) or row["reason_code"],
        fingerprint=row["fingerprint"],
        source_ref=row["source_ref"],
        track_ref=row["track_ref"],
        is_held=bool(row["is_held"]),
        ready_at=time_of(row["ready_at"]),
        request=ManualRequest(**json.loads(row["asked"] or "{}")),
        provenance=provenance_of(row["grade"]),
        upload_attempts=row["sends"],
        confirm_attempts=row["looks"],
        claim=row["claims"],
    )


def expected_delivery(row: dict[str, Any], step: DeliveryStep = DeliveryStep.NONE) -> Delivery:
    details = json.loads(row["provenance"])
    details["description"] = details.pop("how")
    return Delivery(
        server_id=row["server_id"],
        source_id=row["source_id"],
        target=parse_tag(row["target"]),
        content_hash=row["content_hash"],
        file_name=row["file_name"],
        details=json.dumps(details, ensure_ascii=False, separators=(",", ":")),
        intended_at=datetime.fromtimestamp(row["intended_at"] / 1000, UTC),
        uploaded_at=time_of(row["uploaded_at"]),
        confirmed_at=time_of(row["confirmed_at"]),
        item_id=row["item_id"],
        title=row["title"],
        fingerprint=row["fingerprint"],
        media_revision=row["made_for"],
        cues_hash=row["cues_hash"],
        provenance=provenance_of(row["grade"]),
        track_path=row["track_path"],
        previous_ref=row["previous_ref"],
        previous=expected_delivery(json.loads(row["previous"])) if row["previous"] else None,
        sent_at=time_of(row["sent_at"]),
        state=DeliveryState(row["state"]),
        missing_since=time_of(row["missing_since"]),
        missing_scans=row["missing_passes"],
        is_requested=bool(row["is_asked"]),
        step=step,
    )


async def test_every_job_of_schema_7_reads_back(upgraded: SqliteStorage) -> None:
    expected = [expected_job(row) for row in old_rows("jobs ORDER BY id DESC")]
    assert {job.state for job in expected} == set(JobState)
    assert {job.stage for job in expected} == set(Stage)
    assert {job.priority for job in expected} == set(Priority)
    assert await upgraded.jobs.page() == expected


async def test_every_delivery_of_schema_7_reads_back(upgraded: SqliteStorage) -> None:
    steps = {
        "Not Visible (2022)": DeliveryStep.REFRESHED_AFTER_UPLOAD,
        "Put Back (2022)": DeliveryStep.RESTORING,
    }
    expected = [
        expected_delivery(dict(row), steps.get(row["title"], DeliveryStep.NONE))
        for row in old_rows("deliveries ORDER BY source_id")
    ]
    assert {one.state for one in expected} == set(DeliveryState)
    assert any(one.previous for one in expected)
    found = await upgraded.deliveries.find(SERVER)
    assert sorted(found, key=lambda one: one.source_id) == expected


async def test_every_skip_of_schema_7_still_holds(upgraded: SqliteStorage) -> None:
    rows = old_rows("settled")
    assert {row["settings_hash"] for row in rows} > {ANY_SKIP_KEY}
    for row in rows:
        found = await upgraded.skips.reason(
            Fingerprint(row["fingerprint"]), parse_tag(row["target"]), row["settings_hash"]
        )
        assert found == (row["code"], row["reason"])


async def test_every_transcript_of_schema_7_reads_back(upgraded: SqliteStorage) -> None:
    for row in old_rows("transcripts"):
        key = TranscriptKey(
            Fingerprint(row["fingerprint"]),
            row["ordinal"],
            row["recognizer"],
            row["model_revision"],
            row["settings_hash"],
        )
        saved = await upgraded.transcripts.get(key)
        assert saved is not None
        windows = old_rows(f"windows WHERE transcript_id = {row['id']} ORDER BY start_ms")
        assert [(window.start, window.end) for window in saved.windows] == [
            (window["start_ms"], window["end_ms"]) for window in windows
        ]
        assert saved.is_complete == bool(row["is_complete"])
    assert {row["is_complete"] for row in old_rows("transcripts")} == {0, 1}
    (alias,) = old_rows("same_sounds")
    (known,) = old_rows(f"transcripts WHERE fingerprint = '{alias['known_fingerprint']}'")
    found = await upgraded.transcripts.get(
        TranscriptKey(
            Fingerprint(alias["fingerprint"]),
            alias["ordinal"],
            known["recognizer"],
            known["model_revision"],
            known["settings_hash"],
        )
    )
    assert found is not None
    assert found.id == known["id"]
    sketches = await upgraded.transcripts.sketches(Ms(60_000), 100_000)
    assert sorted(sketches) == sorted(
        (row["fingerprint"], row["ordinal"], row["sketch"]) for row in old_rows("sketches")
    )


async def test_texts_and_small_values_of_schema_7_read_back(upgraded: SqliteStorage) -> None:
    for row in old_rows("documents"):
        assert await upgraded.documents.get(row["ref"]) == row["content"]
    for row in old_rows("translations"):
        key = TranslationKey(
            parse_tag(row["source"]),
            parse_tag(row["target"]),
            row["backend"],
            row["model_revision"],
            row["glossary"],
        )
        assert await upgraded.translations.find(key, [row["text"]]) == {row["text"]: row["translated"]}
    for row in old_rows("flags"):
        assert await upgraded.state_values.get(row["name"]) == row["value"]
    for row in old_rows("speeds"):
        assert await upgraded.speeds.get(row["way"]) == row["media_ms"] / row["took_ms"]


async def test_items_of_schema_7_read_back(upgraded: SqliteStorage) -> None:
    rows = old_rows("items")
    records = await upgraded.items.records(SERVER, [ItemId(row["id"]) for row in rows])
    for row in rows:
        record = records[ItemId(row["id"])]
        assert (record.row, record.library, record.etag) == (row["row"], row["library"], row["etag"])
        assert (record.decision_inputs_hash, record.needs_reread) == (row["basis"], bool(row["look_again"]))
        assert record.missed_since == time_of(row["missed_since"])
        assert (record.count is None) == (row["ways"] is None)
    by_name = {row["name"]: records[ItemId(row["id"])].count for row in rows}
    missing, half_heard = by_name["Missing (2022)"], by_name["Half Heard (2021)"]
    assert missing is not None
    assert missing.actions == (
        "de skipped,es inspect,fr yield-to-human,it remove-stale,nl translate,pl covered"
    )
    assert half_heard is not None
    assert (half_heard.actions, half_heard.titles) == ("de listen", 1)


async def test_events_playback_and_tracks_of_schema_7_read_back(upgraded: SqliteStorage) -> None:
    now = datetime(2026, 3, 4, tzinfo=UTC)
    (open_event,) = await upgraded.events.due(now)
    assert (open_event.item_id, open_event.attempts) == ("item open", 1)
    ((item_id, source_id, played_at),) = await upgraded.playback.since(SERVER, time_of(0) or now)
    (played,) = old_rows("watched")
    assert (item_id, source_id, played_at) == (
        played["item_id"],
        played["source_id"],
        time_of(played["watched_at"]),
    )
    (fact,) = await upgraded.tracks.facts(SERVER, SourceId("source facts"))
    assert (fact.unusable_reason, fact.is_compared) == ("its times do not fit the sound", True)
    samples = await upgraded.tracks.speech_samples(SERVER, SourceId("source facts"), "revision", 0)
    assert samples is not None
    assert [(sample.start, sample.stop) for sample in samples] == [(0, 1000)]
