"""The Store port over SQLite: jobs, events, sounds, texts, deliveries and decisions."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiosqlite

from fluxcaption.domain.backlog import BacklogStanding
from fluxcaption.domain.cues import Segment
from fluxcaption.domain.jobs import (
    LEGAL_MOVES,
    OPEN_STATES,
    Delivery,
    Event,
    HeardWindow,
    Job,
    JobState,
    NewJob,
    Outcome,
    SavedTranscript,
    Stage,
    Tier,
    TranscriptKey,
    TranslationKey,
)
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import MediaIdentity
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, JobId, Ms, ServerId, SourceId
from fluxcaption.storage.database import Database

PROMISED = frozenset({JobState.DONE, JobState.SETTLED})
MOST_VALUES = 500
"""Values asked for in one query; SQLite takes at least 999."""


class SqliteStore:
    """The daemon's memory."""

    def __init__(self, database: Database) -> None:
        self._db = database

    @classmethod
    async def open(cls, state: Path, *, read_only: bool = False) -> "SqliteStore":
        """Open the state directory's file, made or migrated if need be."""
        return cls(await Database.open(state, read_only=read_only))

    async def close(self) -> None:
        """Let go of the file."""
        await self._db.close()

    # -- jobs -------------------------------------------------------------------------------------------------------

    async def add_jobs(self, new: Sequence[NewJob], now: datetime) -> int:
        """Queue gaps and say how many were new."""

        async def body(connection: aiosqlite.Connection) -> int:
            added = 0
            for job in new:
                cursor = await connection.execute(
                    "INSERT INTO jobs (server_id, item_id, source_id, target, title, tier, tier_rank, added_at, stage, state, next_try_at, is_held, reason,"
                    " created_at, updated_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (server_id, source_id, target) DO NOTHING",
                    (
                        job.server_id,
                        job.item_id,
                        job.source_id,
                        str(job.target),
                        job.title,
                        job.tier.value,
                        job.tier.rank,
                        _ms(job.added_at),
                        Stage.LISTEN.value,
                        JobState.QUEUED.value,
                        _ms(now),
                        int(job.is_held),
                        job.reason,
                        _ms(now),
                        _ms(now),
                    ),
                )
                added += cursor.rowcount
                if cursor.rowcount == 0 and job.tier is not Tier.BACKLOG:
                    await self._move_up(connection, job, now)
            return added

        return await self._db.checkpoint(body)

    @staticmethod
    async def _move_up(connection: aiosqlite.Connection, job: NewJob, now: datetime) -> None:
        """An open job that is asked for, or arrives anew, leaves the backlog; a finished one starts again only when asked."""
        key = (job.server_id, job.source_id, str(job.target))
        await connection.execute(
            "UPDATE jobs SET tier=?, tier_rank=?, is_held=0, updated_at=? WHERE server_id=? AND source_id=? AND target=? AND state IN ('queued','parked') AND tier<>'asked'",
            (job.tier.value, job.tier.rank, _ms(now), *key),
        )
        if job.tier is Tier.ASKED:
            await connection.execute(
                "UPDATE jobs SET tier='asked', tier_rank=0, is_held=0, state='queued', stage='listen', attempts=0, next_try_at=?, updated_at=?"
                " WHERE server_id=? AND source_id=? AND target=? AND state IN ('done','settled','failed','cancelled')",
                (_ms(now), _ms(now), *key),
            )

    async def claim(self, stage: Stage, now: datetime, limit_to: Tier | None = None) -> Job | None:
        """Take the first due job of a stage and count the attempt."""
        tier = "AND tier=?" if limit_to else ""
        values = [stage.value, _ms(now), *([limit_to.value] if limit_to else [])]
        query = (
            "SELECT id FROM jobs WHERE stage=? AND state IN ('queued','parked') AND is_held=0 AND next_try_at<=? "  # noqa: S608 the clause is ours
            f"{tier} ORDER BY tier_rank, added_at DESC, id LIMIT 1"
        )
        if not await self._db.read(query, values):
            return None

        async def body(connection: aiosqlite.Connection) -> Job | None:
            rows = list(await connection.execute_fetchall(query, values))
            if not rows:
                return None
            rows = list(
                await connection.execute_fetchall(
                    "UPDATE jobs SET state='running', attempts=attempts+1, updated_at=? WHERE id=? RETURNING *", (_ms(now), rows[0]["id"])
                )
            )
            return _job(rows[0])

        return await self._db.checkpoint(body)

    async def record(self, job_id: JobId, outcome: Outcome, now: datetime) -> Job:
        """Write what became of a running job."""

        async def body(connection: aiosqlite.Connection) -> Job:
            rows = list(await connection.execute_fetchall("SELECT * FROM jobs WHERE id=?", (job_id,)))
            job = _job(rows[0])
            if job.state is JobState.CANCELLED:
                return job
            if outcome.state not in LEGAL_MOVES[job.state]:
                raise ValueError(f"job {job_id} cannot go from {job.state} to {outcome.state}")
            stage = outcome.stage or job.stage
            if outcome.state is JobState.PARKED:
                attempts = max(0, job.attempts - 1)
            else:
                attempts = job.attempts if outcome.keeps_attempts else 0
            rows = list(
                await connection.execute_fetchall(
                    "UPDATE jobs SET state=?, stage=?, attempts=?, next_try_at=?, reason=?, reason_code=?, updated_at=? WHERE id=? RETURNING *",
                    (outcome.state.value, stage.value, attempts, _ms(now + outcome.wait), outcome.reason or job.reason, outcome.reason_code, _ms(now), job_id),
                )
            )
            return _job(rows[0])

        return await (self._db.promise(body) if outcome.state in PROMISED else self._db.checkpoint(body))

    async def note(
        self, job_id: JobId, *, fingerprint: Fingerprint | None = None, source_ref: ContentHash | None = None, track_ref: ContentHash | None = None
    ) -> None:
        """Remember what a stage found."""
        await self._write(
            "UPDATE jobs SET fingerprint=coalesce(?, fingerprint), source_ref=coalesce(?, source_ref), track_ref=coalesce(?, track_ref) WHERE id=?",
            (fingerprint, source_ref, track_ref, job_id),
        )

    async def job(self, job_id: JobId) -> Job | None:
        """One job."""
        rows = await self._db.read("SELECT * FROM jobs WHERE id=?", (job_id,))
        return _job(rows[0]) if rows else None

    async def jobs(self, *, states: Collection[JobState] = (), item_id: ItemId | None = None, limit: int = 100, before: JobId | None = None) -> Sequence[Job]:
        """Jobs, newest id first, one page."""
        wanted = [state.value for state in states] or [state.value for state in JobState]
        marks = ",".join("?" * len(wanted))
        rows = await self._db.read(
            f"SELECT * FROM jobs WHERE state IN ({marks}) AND (? IS NULL OR item_id=?) AND id<? ORDER BY id DESC LIMIT ?",  # noqa: S608 only question marks
            (*wanted, item_id, item_id, before if before is not None else 2**62, limit),
        )
        return [_job(row) for row in rows]

    async def ask_again(self, job_id: JobId, now: datetime) -> Job | None:
        """Queue a job that ended or waits, as asked for."""

        async def body(connection: aiosqlite.Connection) -> Job | None:
            rows = list(
                await connection.execute_fetchall(
                    "UPDATE jobs SET tier='asked', tier_rank=0, is_held=0, attempts=0, next_try_at=?, updated_at=?,"
                    " stage=CASE WHEN state IN ('queued','parked','failed') THEN stage ELSE 'listen' END, state='queued'"
                    " WHERE id=? AND state<>'running' RETURNING *",
                    (_ms(now), _ms(now), job_id),
                )
            )
            if not rows:
                rows = list(await connection.execute_fetchall("SELECT * FROM jobs WHERE id=?", (job_id,)))
            if not rows:
                return None
            job = _job(rows[0])
            if job.fingerprint:
                await connection.execute("DELETE FROM settled WHERE fingerprint=? AND target=?", (job.fingerprint, str(job.target)))
            return job

        return await self._db.checkpoint(body)

    async def cancel(self, job_id: JobId, now: datetime) -> Job | None:
        """Cancel an open job."""
        marks = ",".join(f"'{state.value}'" for state in sorted(OPEN_STATES))
        await self._write(
            f"UPDATE jobs SET state='cancelled', reason='cancelled by a person', reason_code='cancelled', updated_at=? WHERE id=? AND state IN ({marks})",  # noqa: S608 our own words
            (_ms(now), job_id),
        )
        return await self.job(job_id)

    async def count_jobs(self) -> Mapping[tuple[Stage, JobState], int]:
        """How many jobs stand where."""
        rows = await self._db.read("SELECT stage, state, count(*) AS n FROM jobs GROUP BY stage, state")
        return {(Stage(row["stage"]), JobState(row["state"])): row["n"] for row in rows}

    async def next_due(self, after: datetime | None = None) -> datetime | None:
        """When the first waiting job is due; with `after`, of those that are due later than that."""
        rows = await self._db.read(
            "SELECT min(next_try_at) AS at FROM jobs WHERE state IN ('queued','parked') AND is_held=0 AND next_try_at>?", (_ms(after) if after else -1,)
        )
        return None if rows[0]["at"] is None else _time(rows[0]["at"])

    async def requeue_interrupted(self, now: datetime) -> int:
        """At start: stages that were running are due again."""
        return await self._write("UPDATE jobs SET state='queued', next_try_at=?, updated_at=? WHERE state='running'", (_ms(now), _ms(now)))

    async def unpark(self, code: str, now: datetime) -> int:
        """Jobs parked for that reason are due now."""
        return await self._write("UPDATE jobs SET next_try_at=? WHERE state='parked' AND reason_code=?", (_ms(now), code))

    async def backlog_standing(self, now: datetime) -> BacklogStanding:
        """How many titles of the backlog were begun, and how many of those have no open job left."""
        rows = await self._db.read(
            "SELECT count(*) AS ever, coalesce(sum(at>?),0) AS today, coalesce(sum(open=0),0) AS finished FROM (SELECT max(begun_at) AS at,"
            " sum(state IN ('queued','running','parked')) AS open FROM jobs WHERE begun_at IS NOT NULL GROUP BY server_id, source_id)",
            (_ms(now - timedelta(days=1)),),
        )
        return BacklogStanding(rows[0]["ever"], rows[0]["today"], rows[0]["finished"])

    async def release_backlog(self, titles: int, newest_first: bool, now: datetime) -> int:
        """Make all held jobs of the next titles due."""
        order = "DESC" if newest_first else "ASC"

        async def body(connection: aiosqlite.Connection) -> int:
            rows = list(
                await connection.execute_fetchall(
                    f"SELECT server_id, source_id FROM jobs WHERE is_held=1 GROUP BY server_id, source_id ORDER BY max(added_at) {order}, min(id) LIMIT ?",  # noqa: S608
                    (titles,),
                )
            )
            for row in rows:
                await connection.execute(
                    "UPDATE jobs SET is_held=0, begun_at=?, next_try_at=? WHERE server_id=? AND source_id=? AND is_held=1",
                    (_ms(now), _ms(now), row["server_id"], row["source_id"]),
                )
            return len(rows)

        return await self._db.checkpoint(body)

    async def hold_none(self, now: datetime) -> int:
        """Make every held job due now."""
        return await self._write("UPDATE jobs SET is_held=0, begun_at=?, next_try_at=? WHERE is_held=1", (_ms(now), _ms(now)))

    # -- events -----------------------------------------------------------------------------------------------------

    async def add_event(self, server_id: ServerId, kind: str, item_id: ItemId, now: datetime) -> int:
        """Store an event as a promise; a repeat of one not handled yet has the same id."""

        async def body(connection: aiosqlite.Connection) -> int:
            await connection.execute(
                "INSERT INTO events (server_id, kind, item_id, received_at) VALUES (?,?,?,?) ON CONFLICT DO NOTHING", (server_id, kind, item_id, _ms(now))
            )
            rows = list(
                await connection.execute_fetchall(
                    "SELECT id FROM events WHERE server_id=? AND kind=? AND item_id=? AND handled_at IS NULL", (server_id, kind, item_id)
                )
            )
            return int(rows[0]["id"])

        return await self._db.promise(body)

    async def open_events(self, limit: int = 100) -> Sequence[Event]:
        """Events not handled yet, oldest first."""
        rows = await self._db.read("SELECT * FROM events WHERE handled_at IS NULL ORDER BY id LIMIT ?", (limit,))
        return [Event(row["id"], ServerId(row["server_id"]), row["kind"], ItemId(row["item_id"]), _time(row["received_at"])) for row in rows]

    async def close_event(self, event_id: int, now: datetime) -> None:
        """An event was handled."""
        await self._write("UPDATE events SET handled_at=? WHERE id=?", (_ms(now), event_id))

    # -- sound ------------------------------------------------------------------------------------------------------

    async def identity(self, server_id: ServerId, source_id: SourceId, revision: str) -> MediaIdentity | None:
        """What was read of that file at that revision."""
        rows = await self._db.read("SELECT * FROM identities WHERE server_id=? AND source_id=? AND revision=?", (server_id, source_id, revision))
        return MediaIdentity(Fingerprint(rows[0]["fingerprint"]), rows[0]["size_bytes"], Ms(rows[0]["duration_ms"])) if rows else None

    async def save_identity(self, server_id: ServerId, source_id: SourceId, revision: str, identity: MediaIdentity) -> None:
        """Remember it."""
        await self._write(
            "INSERT OR REPLACE INTO identities VALUES (?,?,?,?,?,?)",
            (server_id, source_id, revision, identity.fingerprint, identity.size_bytes, identity.duration_ms),
        )

    async def transcript(self, key: TranscriptKey) -> SavedTranscript | None:
        """What was heard of a sound so far."""
        key = await self._known_as(key)
        rows = await self._db.read(
            "SELECT * FROM transcripts WHERE fingerprint=? AND ordinal=? AND recognizer=? AND model_revision=? AND settings_hash=?", _key_values(key)
        )
        return await self._saved(rows[0]) if rows else None

    async def open_transcript(self, key: TranscriptKey, duration_ms: Ms) -> SavedTranscript:
        """The same, made if there is none."""
        key = await self._known_as(key)
        await self._write(
            "INSERT INTO transcripts (fingerprint, ordinal, recognizer, model_revision, settings_hash, duration_ms) VALUES (?,?,?,?,?,?) ON CONFLICT DO NOTHING",
            (*_key_values(key), duration_ms),
        )
        saved = await self.transcript(key)
        assert saved is not None
        return saved

    async def save_window(self, transcript_id: int, window: HeardWindow, language: LanguageTag | None) -> None:
        """Checkpoint one heard window."""
        segments = json.dumps([[part.start, part.end, part.text, round(part.confidence, 4)] for part in window.segments], ensure_ascii=False)

        async def body(connection: aiosqlite.Connection) -> None:
            await connection.execute("INSERT OR REPLACE INTO windows VALUES (?,?,?,?)", (transcript_id, window.start, window.end, segments))
            if language is not None:
                await connection.execute("UPDATE transcripts SET language=? WHERE id=? AND language IS NOT ?", (str(language), transcript_id, str(language)))

        await self._db.checkpoint(body)

    async def finish_transcript(self, transcript_id: int, language: LanguageTag) -> None:
        """Everything was heard."""
        await self._write("UPDATE transcripts SET is_complete=1, language=? WHERE id=?", (str(language), transcript_id))

    async def save_sketch(self, fingerprint: Fingerprint, ordinal: int, duration_ms: Ms, sketch: bytes) -> None:
        """Remember what six stretches of a sound look like."""
        await self._write("INSERT OR REPLACE INTO sketches VALUES (?,?,?,?)", (fingerprint, ordinal, duration_ms, sketch))

    async def sketches(self, duration_ms: Ms, tolerance_ms: int) -> Sequence[tuple[Fingerprint, int, bytes]]:
        """Sketches of sounds of about that length."""
        rows = await self._db.read("SELECT * FROM sketches WHERE duration_ms BETWEEN ? AND ?", (duration_ms - tolerance_ms, duration_ms + tolerance_ms))
        return [(Fingerprint(row["fingerprint"]), row["ordinal"], row["sketch"]) for row in rows]

    async def same_sound(self, fingerprint: Fingerprint, ordinal: int, known: Fingerprint, known_ordinal: int) -> None:
        """From now on the first is looked up as the second."""
        await self._write("INSERT OR REPLACE INTO same_sounds VALUES (?,?,?,?)", (fingerprint, ordinal, known, known_ordinal))

    async def _known_as(self, key: TranscriptKey) -> TranscriptKey:
        rows = await self._db.read("SELECT * FROM same_sounds WHERE fingerprint=? AND ordinal=?", (key.fingerprint, key.ordinal))
        if not rows:
            return key
        return TranscriptKey(Fingerprint(rows[0]["known_fingerprint"]), rows[0]["known_ordinal"], key.recognizer, key.model_revision, key.settings_hash)

    async def _saved(self, row: aiosqlite.Row) -> SavedTranscript:
        windows = [
            HeardWindow(
                Ms(part["start_ms"]),
                Ms(part["end_ms"]),
                tuple(Segment(Ms(start), Ms(end), text, sure) for start, end, text, sure in json.loads(part["segments"])),
            )
            for part in await self._db.read("SELECT * FROM windows WHERE transcript_id=? ORDER BY start_ms", (row["id"],))
        ]
        language = LanguageTag(*_tag_parts(row["language"])) if row["language"] else None
        heard_until = Ms(max((window.end for window in windows), default=0))
        return SavedTranscript(row["id"], language, bool(row["is_complete"]), heard_until, tuple(windows))

    # -- text -------------------------------------------------------------------------------------------------------

    async def translations(self, key: TranslationKey, texts: Collection[str]) -> Mapping[str, str]:
        """Earlier translations by source text."""
        found: dict[str, str] = {}
        wanted = sorted(texts)
        for first in range(0, len(wanted), MOST_VALUES):
            part = wanted[first : first + MOST_VALUES]
            marks = ",".join("?" * len(part))
            rows = await self._db.read(
                f"SELECT text, translated FROM translations WHERE text IN ({marks}) AND source=? AND target=? AND backend=? AND model_revision=? AND glossary=?",  # noqa: S608 only question marks
                (*part, *_translation_values(key)),
            )
            found |= {row["text"]: row["translated"] for row in rows}
        return found

    async def save_translations(self, key: TranslationKey, texts: Mapping[str, str]) -> None:
        """Checkpoint one batch."""

        async def body(connection: aiosqlite.Connection) -> None:
            await connection.executemany(
                "INSERT OR REPLACE INTO translations (source, target, backend, model_revision, glossary, text, translated) VALUES (?,?,?,?,?,?,?)",
                [(*_translation_values(key), text, translated) for text, translated in texts.items()],
            )

        await self._db.checkpoint(body)

    async def put_document(self, content: bytes) -> ContentHash:
        """Keep bytes by their hash."""
        ref = ContentHash(hashlib.sha256(content).hexdigest())
        await self._write("INSERT INTO documents VALUES (?,?) ON CONFLICT DO NOTHING", (ref, content))
        return ref

    async def document(self, ref: ContentHash) -> bytes | None:
        """Bytes by their hash."""
        rows = await self._db.read("SELECT content FROM documents WHERE ref=?", (ref,))
        return bytes(rows[0]["content"]) if rows else None

    # -- deliveries and decisions -----------------------------------------------------------------------------------

    async def record_intent(self, delivery: Delivery) -> None:
        """Promise what is about to be uploaded."""

        async def body(connection: aiosqlite.Connection) -> None:
            await connection.execute(
                "INSERT OR REPLACE INTO deliveries (server_id, source_id, target, content_hash, file_name, provenance, intended_at) VALUES (?,?,?,?,?,?,?)",
                (
                    delivery.server_id,
                    delivery.source_id,
                    str(delivery.target),
                    delivery.content_hash,
                    delivery.file_name,
                    delivery.provenance,
                    _ms(delivery.intended_at),
                ),
            )

        await self._db.promise(body)

    async def delivery(self, server_id: ServerId, source_id: SourceId, target: LanguageTag) -> Delivery | None:
        """The latest intent for a target."""
        rows = await self._db.read("SELECT * FROM deliveries WHERE server_id=? AND source_id=? AND target=?", (server_id, source_id, str(target)))
        if not rows:
            return None
        row = rows[0]
        return Delivery(
            server_id,
            source_id,
            target,
            ContentHash(row["content_hash"]),
            row["file_name"],
            row["provenance"],
            _time(row["intended_at"]),
            _maybe_time(row["uploaded_at"]),
            _maybe_time(row["confirmed_at"]),
        )

    async def mark_uploaded(self, server_id: ServerId, source_id: SourceId, target: LanguageTag, now: datetime) -> None:
        """The upload was answered."""
        await self._write("UPDATE deliveries SET uploaded_at=? WHERE server_id=? AND source_id=? AND target=?", (_ms(now), server_id, source_id, str(target)))

    async def mark_confirmed(self, server_id: ServerId, source_id: SourceId, target: LanguageTag, now: datetime) -> None:
        """The track was seen where it belongs."""

        async def body(connection: aiosqlite.Connection) -> None:
            await connection.execute(
                "UPDATE deliveries SET confirmed_at=? WHERE server_id=? AND source_id=? AND target=?", (_ms(now), server_id, source_id, str(target))
            )

        await self._db.promise(body)

    async def settle(self, fingerprint: Fingerprint, target: LanguageTag, settings_hash: str, code: str, reason: str, now: datetime) -> None:
        """Remember that nothing is to be made."""

        async def body(connection: aiosqlite.Connection) -> None:
            await connection.execute("INSERT OR REPLACE INTO settled VALUES (?,?,?,?,?,?)", (fingerprint, str(target), settings_hash, code, reason, _ms(now)))

        await self._db.promise(body)

    async def settled(self, fingerprint: Fingerprint, target: LanguageTag, settings_hash: str) -> tuple[str, str] | None:
        """Code and reason of such a decision."""
        rows = await self._db.read(
            "SELECT code, reason FROM settled WHERE fingerprint=? AND target=? AND settings_hash=?", (fingerprint, str(target), settings_hash)
        )
        return (rows[0]["code"], rows[0]["reason"]) if rows else None

    async def unsettle(self, fingerprint: Fingerprint, target: LanguageTag) -> None:
        """A person asked: forget the decision."""
        await self._write("DELETE FROM settled WHERE fingerprint=? AND target=?", (fingerprint, str(target)))

    # -- the rest ---------------------------------------------------------------------------------------------------

    async def flag(self, name: str) -> str | None:
        """A small fact about the daemon itself."""
        rows = await self._db.read("SELECT value FROM flags WHERE name=?", (name,))
        return rows[0]["value"] if rows else None

    async def set_flag(self, name: str, value: str) -> None:
        """Remember it."""
        if await self.flag(name) != value:
            await self._write("INSERT OR REPLACE INTO flags VALUES (?,?)", (name, value))

    async def record_speed(self, way: str, media_ms: Ms, took_ms: Ms) -> None:
        """Add a measurement; old ones fade by half once ten hours are in the sum."""
        await self._write(
            "INSERT INTO speeds VALUES (?,?,?) ON CONFLICT (way) DO UPDATE SET"
            " media_ms=iif(media_ms>36000000, media_ms/2, media_ms)+excluded.media_ms, took_ms=iif(media_ms>36000000, took_ms/2, took_ms)+excluded.took_ms",
            (way, media_ms, took_ms),
        )

    async def speed(self, way: str) -> float | None:
        """Seconds of media done in a second."""
        rows = await self._db.read("SELECT media_ms, took_ms FROM speeds WHERE way=?", (way,))
        return rows[0]["media_ms"] / rows[0]["took_ms"] if rows and rows[0]["took_ms"] else None

    async def _write(self, statement: str, values: Sequence[object]) -> int:
        async def body(connection: aiosqlite.Connection) -> int:
            return (await connection.execute(statement, tuple(values))).rowcount

        return await self._db.checkpoint(body)


def _key_values(key: TranscriptKey) -> tuple[object, ...]:
    return (key.fingerprint, key.ordinal, key.recognizer, key.model_revision, key.settings_hash)


def _translation_values(key: TranslationKey) -> tuple[object, ...]:
    return (str(key.source), str(key.target), key.backend, key.model_revision, key.glossary)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _maybe_time(ms: int | None) -> datetime | None:
    return None if ms is None else _time(ms)


def _tag_parts(text: str) -> tuple[str, str, str]:
    """Our own spelling taken apart; unlike a foreign one it needs no normalising."""
    language, *rest = text.split("-")
    return language, next((part for part in rest if len(part) == 4), ""), next((part for part in rest if len(part) != 4), "")


def _job(row: aiosqlite.Row) -> Job:
    return Job(
        id=JobId(row["id"]),
        server_id=ServerId(row["server_id"]),
        item_id=ItemId(row["item_id"]),
        source_id=SourceId(row["source_id"]),
        target=LanguageTag(*_tag_parts(row["target"])),
        title=row["title"],
        tier=Tier(row["tier"]),
        added_at=_time(row["added_at"]),
        stage=Stage(row["stage"]),
        state=JobState(row["state"]),
        attempts=row["attempts"],
        next_try_at=_time(row["next_try_at"]),
        reason=row["reason"],
        reason_code=row["reason_code"],
        fingerprint=Fingerprint(row["fingerprint"]) if row["fingerprint"] else None,
        source_ref=ContentHash(row["source_ref"]) if row["source_ref"] else None,
        track_ref=ContentHash(row["track_ref"]) if row["track_ref"] else None,
    )
