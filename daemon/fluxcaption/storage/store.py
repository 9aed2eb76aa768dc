"""The Store port over SQLite: jobs, events, sounds, texts, deliveries and decisions."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import aiosqlite

from fluxcaption.domain.backlog import BacklogStanding
from fluxcaption.domain.cues import Segment
from fluxcaption.domain.jobs import (
    LEGAL_MOVES,
    OPEN_STATES,
    Event,
    HeardWindow,
    Job,
    JobState,
    ManualRequest,
    NewJob,
    Outcome,
    Priority,
    Provenance,
    SavedTranscript,
    Stage,
    TranscriptKey,
    TranslationKey,
)
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.retry import LONGEST_PAUSE, MAX_CRASHES, POISON, REVIVAL_PAUSES, after_crash
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, JobId, Ms, ServerId, SourceId
from fluxcaption.storage.database import Database
from fluxcaption.storage.library import LibraryRecords
from fluxcaption.storage.values import as_ms, as_time, grade_of, grade_text, maybe_time, tag_of

PROMISED = frozenset({JobState.DONE, JobState.SKIPPED})
REPEATED_WITHIN = timedelta(minutes=10)
"""An event that comes again this soon after it was handled is the same one; the plugin sends doubles within minutes."""

MAX_VALUES = 500
"""Values asked for in one query; SQLite takes at least 999."""

EVENTS_KEPT = timedelta(days=30)
"""Handled events, and what was watched."""

PRUNE_BATCH = 500


class SqliteStore(LibraryRecords):
    """The daemon's memory."""

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
                    " created_at, updated_at, asked) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (server_id, source_id, target) DO NOTHING",
                    (
                        job.server_id,
                        job.item_id,
                        job.source_id,
                        str(job.target),
                        job.title,
                        job.priority.value,
                        job.priority.rank,
                        as_ms(job.added_at),
                        Stage.ACQUIRE.value,
                        JobState.QUEUED.value,
                        as_ms(now),
                        int(job.is_held),
                        job.reason,
                        as_ms(now),
                        as_ms(now),
                        _asked_text(job.request),
                    ),
                )
                added += cursor.rowcount
                if cursor.rowcount == 0:
                    added += await self._gap_again(connection, job, now)
            return added

        return await self._db.checkpoint(body)

    @staticmethod
    async def _gap_again(connection: aiosqlite.Connection, job: NewJob, now: datetime) -> int:
        """A gap that has a job already: an open one may move up; an ended one starts again, unless a person cancelled it or it failed just now."""
        key = (job.server_id, job.source_id, str(job.target))
        rank = job.priority.rank
        await connection.execute(
            "UPDATE jobs SET item_id=?, tier=iif(tier_rank>?, ?, tier), is_held=iif(tier_rank>?, ?, is_held), tier_rank=min(tier_rank, ?), updated_at=?"
            " WHERE server_id=? AND source_id=? AND target=? AND state IN ('queued','parked','running') AND (item_id<>? OR tier_rank>?)",
            (
                job.item_id,
                rank,
                job.priority.value,
                rank,
                int(job.is_held),
                rank,
                as_ms(now),
                *key,
                job.item_id,
                rank,
            ),
        )
        is_requested = job.priority is Priority.REQUESTED
        if is_requested:
            await _hurry(connection, job, now)
        pauses = " ".join(
            f"WHEN {number} THEN {int(pause.total_seconds() * 1000)}"
            for number, pause in enumerate(REVIVAL_PAUSES)
        )
        last = int(REVIVAL_PAUSES[-1].total_seconds() * 1000)
        statement = (
            "UPDATE jobs SET tier=?, tier_rank=?, is_held=?, state='queued', stage='listen', attempts=0, crashes=0, next_try_at=?, updated_at=?, reason=?, reason_code='',"
            " source_ref=NULL, track_ref=NULL, ready_at=NULL, grade='', sends=0, looks=0, begun_at=CASE WHEN ? THEN begun_at ELSE NULL END, asked=?, item_id=?,"
            " revivals=CASE state WHEN 'failed' THEN revivals+1 ELSE 0 END"
            " WHERE server_id=? AND source_id=? AND target=? AND (state IN ('done','settled') OR (state='cancelled' AND (reason_code<>'cancelled' OR ?))"
            f" OR (state='failed' AND ((updated_at<=? - CASE revivals {pauses} ELSE {last} END AND reason_code<>'{POISON}') OR ?)))"
        )
        cursor = await connection.execute(
            statement,
            (
                job.priority.value,
                job.priority.rank,
                int(job.is_held),
                as_ms(now),
                as_ms(now),
                job.reason,
                int(not job.is_held),
                _asked_text(job.request),
                job.item_id,
                *key,
                int(is_requested),
                as_ms(now),
                int(is_requested),
            ),
        )
        return cursor.rowcount

    async def claim(self, stage: Stage, now: datetime, lowest: Priority | None = None) -> Job | None:
        """Take the first due job of a stage and count the attempt; with `lowest`, of that tier or an earlier one."""
        values = [stage.value, as_ms(now), (lowest or list(Priority)[-1]).rank]
        query = (
            "SELECT id FROM jobs WHERE stage=? AND state IN ('queued','parked') AND is_held=0 AND next_try_at<=? AND tier_rank<=?"
            " ORDER BY tier_rank, added_at DESC, id LIMIT 1"
        )
        while found := await self._db.read(query, values):
            # Only what one row needs is done under the writer's lock; somebody else may have been quicker.
            if (job := await self._db.checkpoint(_taking(found[0]["id"], now))) is not None:
                return job
        return None

    async def record(self, job: Job, outcome: Outcome, now: datetime) -> Job | None:
        """Write what became of a claimed job, if that claim still holds."""
        if outcome.state not in LEGAL_MOVES[JobState.RUNNING]:
            raise ValueError(f"job {job.id} cannot go from {JobState.RUNNING} to {outcome.state}")

        async def body(connection: aiosqlite.Connection) -> Job | None:
            rows = list(
                await connection.execute_fetchall(
                    "SELECT * FROM jobs WHERE id=? AND claims=?", (job.id, job.claim)
                )
            )
            return await _move(connection, _job(rows[0]), job.request, outcome, now) if rows else None

        return await (self._db.promise(body) if outcome.state in PROMISED else self._db.checkpoint(body))

    async def update_progress(
        self,
        job_id: JobId,
        *,
        fingerprint: Fingerprint | None = None,
        source_ref: ContentHash | None = None,
        track_ref: ContentHash | None = None,
        provenance: Provenance | None = None,
        upload_attempts: int | None = None,
        confirm_attempts: int | None = None,
    ) -> None:
        """Remember what a stage found."""
        await self._write(
            "UPDATE jobs SET fingerprint=coalesce(?, fingerprint), source_ref=coalesce(?, source_ref), track_ref=coalesce(?, track_ref),"
            " grade=coalesce(?, grade), sends=coalesce(?, sends), looks=coalesce(?, looks) WHERE id=?",
            (
                fingerprint,
                source_ref,
                track_ref,
                grade_text(provenance) if provenance else None,
                upload_attempts,
                confirm_attempts,
                job_id,
            ),
        )

    async def job(self, job_id: JobId) -> Job | None:
        """One job."""
        rows = await self._db.read("SELECT * FROM jobs WHERE id=?", (job_id,))
        return _job(rows[0]) if rows else None

    async def jobs(
        self,
        *,
        states: Collection[JobState] = (),
        item_id: ItemId | None = None,
        limit: int = 100,
        before: JobId | None = None,
    ) -> Sequence[Job]:
        """Jobs, newest id first, one page."""
        wanted = [state.value for state in states] or [state.value for state in JobState]
        marks = ",".join("?" * len(wanted))
        # Only what is asked for stands in the query: `? IS NULL OR item_id=?` would read the whole table.
        of_item, values = ("", []) if item_id is None else (" AND item_id=?", [item_id])
        rows = await self._db.read(
            f"SELECT * FROM jobs WHERE state IN ({marks}){of_item} AND id<? ORDER BY id DESC LIMIT ?",
            (*wanted, *values, before if before is not None else 2**62, limit),
        )
        return [_job(row) for row in rows]

    async def retry(self, job_id: JobId, now: datetime) -> Job | None:
        """Queue a job that ended or waits, as asked for."""

        async def body(connection: aiosqlite.Connection) -> Job | None:
            rows = list(
                await connection.execute_fetchall(
                    "UPDATE jobs SET tier='asked', tier_rank=0, is_held=0, attempts=0, crashes=0, sends=0, looks=0, next_try_at=?, updated_at=?,"
                    " stage=CASE WHEN state IN ('queued','parked','failed') THEN stage ELSE 'listen' END, state='queued'"
                    " WHERE id=? AND state<>'running' RETURNING *",
                    (as_ms(now), as_ms(now), job_id),
                )
            )
            if not rows:
                rows = list(await connection.execute_fetchall("SELECT * FROM jobs WHERE id=?", (job_id,)))
            if not rows:
                return None
            job = _job(rows[0])
            if job.fingerprint:
                await connection.execute(
                    "DELETE FROM settled WHERE fingerprint=? AND target=?", (job.fingerprint, str(job.target))
                )
            return job

        return await self._db.checkpoint(body)

    async def cancel(self, job_id: JobId, now: datetime) -> Job | None:
        """Cancel an open job."""
        marks = ",".join(f"'{state.value}'" for state in sorted(OPEN_STATES))
        await self._write(
            f"UPDATE jobs SET state='cancelled', reason='cancelled by a person', reason_code='cancelled', updated_at=? WHERE id=? AND state IN ({marks})",
            (as_ms(now), job_id),
        )
        return await self.job(job_id)

    async def jobs_of_source(self, server_id: ServerId, source_id: SourceId) -> Sequence[Job]:
        """All jobs of one media source."""
        rows = await self._db.read(
            "SELECT * FROM jobs WHERE server_id=? AND source_id=? ORDER BY id", (server_id, source_id)
        )
        return [_job(row) for row in rows]

    async def release_waiting_uploads(self, server_id: ServerId, source_id: SourceId, now: datetime) -> int:
        """Finished tracks of a media source that wait for each other look again now."""
        return await self._write(
            "UPDATE jobs SET next_try_at=? WHERE server_id=? AND source_id=? AND stage='upload' AND state='queued' AND reason_code='together'",
            (as_ms(now), server_id, source_id),
        )

    async def place_in_queue(self, job: Job) -> int:
        """How many jobs of its stage go before it."""
        rows = await self._db.read(
            "SELECT count(*) AS n FROM jobs WHERE stage=? AND state IN ('queued','parked') AND is_held=0 AND (tier_rank, -added_at, id) < (?, ?, ?)",
            (job.stage.value, job.priority.rank, -as_ms(job.added_at), job.id),
        )
        return int(rows[0]["n"])

    async def count_jobs(self) -> Mapping[tuple[Stage, JobState], int]:
        """How many jobs stand where."""
        rows = await self._db.read("SELECT stage, state, count(*) AS n FROM jobs GROUP BY stage, state")
        return {(Stage(row["stage"]), JobState(row["state"])): row["n"] for row in rows}

    async def next_due(self, after: datetime | None = None) -> datetime | None:
        """When the first waiting job is due; with `after`, of those that are due later than that."""
        rows = await self._db.read(
            "SELECT min(next_try_at) AS at FROM jobs WHERE state IN ('queued','parked') AND is_held=0 AND next_try_at>?",
            (as_ms(after) if after else -1,),
        )
        return None if rows[0]["at"] is None else as_time(rows[0]["at"])

    async def requeue_interrupted(self, now: datetime, *, by_crash: bool = True) -> int:
        """Stages that were running are due again; after a crash each is counted that got no further since the last one."""

        async def body(connection: aiosqlite.Connection) -> int:
            rows = list(
                await connection.execute_fetchall(
                    "SELECT id, crashes, windows_at_crash, (SELECT count(*) FROM transcripts AS t JOIN windows AS w ON w.transcript_id=t.id"
                    " WHERE t.fingerprint=jobs.fingerprint) AS windows FROM jobs WHERE state='running' ORDER BY tier_rank, added_at DESC, id"
                )
            )
            suspects = 0
            for row in rows:
                crashes = (
                    row["crashes"]
                    if not by_crash
                    else 1
                    if row["windows"] > row["windows_at_crash"]
                    else row["crashes"] + 1
                )
                outcome = after_crash(crashes, suspects)
                suspects += outcome.wait > timedelta(0) or crashes == MAX_CRASHES - 1
                await connection.execute(
                    "UPDATE jobs SET state=?, crashes=?, windows_at_crash=?, next_try_at=?, updated_at=?, reason=coalesce(nullif(?, ''), reason),"
                    " reason_code=coalesce(nullif(?, ''), reason_code) WHERE id=?",
                    (
                        outcome.state.value,
                        crashes,
                        row["windows"],
                        as_ms(now + outcome.wait),
                        as_ms(now),
                        outcome.reason,
                        outcome.reason_code,
                        row["id"],
                    ),
                )
            return len(rows)

        return await self._db.checkpoint(body)

    async def unpark(self, code: str, now: datetime) -> int:
        """Jobs parked for that reason are due now."""
        return await self._write(
            "UPDATE jobs SET next_try_at=? WHERE state='parked' AND reason_code=? AND next_try_at>?",
            (as_ms(now), code, as_ms(now)),
        )

    async def clamp_future_times(self, now: datetime) -> None:
        """What was written by a clock that went ahead counts as written now."""
        latest = (as_ms(now), as_ms(now + LONGEST_PAUSE))
        far = "next_try_at>? AND state IN ('queued','parked') AND is_held=0"
        if await self._db.read(f"SELECT 1 FROM jobs WHERE {far} LIMIT 1", latest[1:]):
            await self._write(f"UPDATE jobs SET next_try_at=? WHERE {far}", latest)
        if await self._db.read(
            "SELECT 1 FROM events WHERE handled_at IS NULL AND due_at>? LIMIT 1", latest[1:]
        ):
            await self._write("UPDATE events SET due_at=? WHERE handled_at IS NULL AND due_at>?", latest)
        if await self._db.read("SELECT 1 FROM watched WHERE watched_at>? LIMIT 1", latest[1:]):
            await self._write("UPDATE watched SET watched_at=? WHERE watched_at>?", latest)

    async def backlog_standing(self, now: datetime) -> BacklogStanding:
        """Whether titles of the backlog were begun and finished, and how many were begun today; asked every minute, so nothing old is counted."""
        rows = await self._db.read(
            "SELECT EXISTS (SELECT 1 FROM jobs WHERE begun_at IS NOT NULL) AS has_begun,"
            " (SELECT count(DISTINCT server_id || ' ' || source_id) FROM jobs WHERE begun_at>?) AS today,"
            " EXISTS (SELECT 1 FROM jobs AS ended WHERE begun_at IS NOT NULL AND state NOT IN ('queued','running','parked') AND NOT EXISTS"
            " (SELECT 1 FROM jobs WHERE server_id=ended.server_id AND source_id=ended.source_id AND begun_at IS NOT NULL"
            " AND state IN ('queued','running','parked'))) AS has_finished",
            (as_ms(now - timedelta(days=1)),),
        )
        return BacklogStanding(bool(rows[0]["has_begun"]), rows[0]["today"], bool(rows[0]["has_finished"]))

    async def release_backlog(self, titles: int, newest_first: bool, now: datetime) -> int:
        """Make all held jobs of the next titles due."""
        order = "DESC" if newest_first else "ASC"

        async def body(connection: aiosqlite.Connection) -> int:
            rows = list(
                await connection.execute_fetchall(
                    f"SELECT server_id, source_id FROM jobs WHERE is_held=1 GROUP BY server_id, source_id ORDER BY max(added_at) {order}, min(id) LIMIT ?",
                    (titles,),
                )
            )
            for row in rows:
                await connection.execute(
                    "UPDATE jobs SET is_held=0, begun_at=?, next_try_at=? WHERE server_id=? AND source_id=? AND is_held=1",
                    (as_ms(now), as_ms(now), row["server_id"], row["source_id"]),
                )
            return len(rows)

        return await self._db.checkpoint(body)

    async def release_all(self, now: datetime) -> int:
        """Make every held job due now."""
        return await self._write(
            "UPDATE jobs SET is_held=0, begun_at=?, next_try_at=? WHERE is_held=1", (as_ms(now), as_ms(now))
        )

    async def prune(self, now: datetime) -> None:
        """Let go of what can never be used again; transcripts and translations stay."""
        old = (as_ms(now - EVENTS_KEPT),)
        is_open = "state NOT IN ('done','settled','cancelled')"
        used = (
            f"SELECT source_ref FROM jobs WHERE source_ref IS NOT NULL AND {is_open}"
            f" UNION ALL SELECT track_ref FROM jobs WHERE track_ref IS NOT NULL AND {is_open}"
            " UNION ALL SELECT previous_ref FROM deliveries WHERE previous_ref IS NOT NULL"
        )
        for statement, values in (
            ("DELETE FROM events WHERE id IN (SELECT id FROM events WHERE handled_at<? LIMIT ?)", old),
            (
                "DELETE FROM watched WHERE (server_id, item_id) IN (SELECT server_id, item_id FROM watched WHERE watched_at<? LIMIT ?)",
                old,
            ),
            (
                f"DELETE FROM documents WHERE ref IN (SELECT ref FROM documents WHERE ref NOT IN ({used}) LIMIT ?)",
                (),
            ),
        ):
            # In parts: an acknowledgement never waits behind years of leftovers.
            while await self._write(statement, (*values, PRUNE_BATCH)) == PRUNE_BATCH:
                pass

    # -- events -----------------------------------------------------------------------------------------------------

    async def add_event(self, server_id: ServerId, kind: str, item_id: ItemId, now: datetime) -> int:
        """Store an event as a promise; a repeat of one not handled yet, or only lately, is the same event, open again."""

        async def body(connection: aiosqlite.Connection) -> int:
            # One round trip to the database's thread: this is the way of every acknowledgement.
            rows = list(
                await connection.execute_fetchall(
                    "INSERT INTO events (id, server_id, kind, item_id, received_at) VALUES ((SELECT max(id) FROM events"
                    " WHERE server_id=?1 AND kind=?2 AND item_id=?3 AND coalesce(handled_at, ?4)>?5), ?1, ?2, ?3, ?4) ON CONFLICT (id) DO UPDATE SET"
                    " due_at=iif(handled_at IS NULL, due_at, 0), looks=iif(handled_at IS NULL, looks, 0), handled_at=NULL RETURNING id",
                    (server_id, kind, item_id, as_ms(now), as_ms(now - REPEATED_WITHIN)),
                )
            )
            return int(rows[0]["id"])

        return await self._db.promise(body)

    async def open_events(self, now: datetime, limit: int = 100) -> Sequence[Event]:
        """Events that are due and not handled yet, oldest first."""
        rows = await self._db.read(
            "SELECT * FROM events WHERE handled_at IS NULL AND due_at<=? ORDER BY id LIMIT ?",
            (as_ms(now), limit),
        )
        return [
            Event(
                row["id"],
                ServerId(row["server_id"]),
                row["kind"],
                ItemId(row["item_id"]),
                as_time(row["received_at"]),
                row["looks"],
            )
            for row in rows
        ]

    async def reschedule_event(self, event_id: int, until: datetime) -> None:
        """Look at an event again later; the looks are counted."""
        await self._write("UPDATE events SET due_at=?, looks=looks+1 WHERE id=?", (as_ms(until), event_id))

    async def close_events(self, event_ids: Sequence[int], now: datetime) -> None:
        """Events were handled."""
        if not event_ids:
            return

        async def body(connection: aiosqlite.Connection) -> None:
            await connection.executemany(
                "UPDATE events SET handled_at=? WHERE id=?",
                [(as_ms(now), event_id) for event_id in event_ids],
            )

        await self._db.checkpoint(body)

    # -- sound ------------------------------------------------------------------------------------------------------

    async def transcript(self, key: TranscriptKey) -> SavedTranscript | None:
        """What was heard of a sound so far."""
        key = await self._known_as(key)
        rows = await self._db.read(
            "SELECT * FROM transcripts WHERE fingerprint=? AND ordinal=? AND recognizer=? AND model_revision=? AND settings_hash=?",
            _key_values(key),
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

    async def save_window(
        self, transcript_id: int, window: HeardWindow, language: LanguageTag | None
    ) -> None:
        """Checkpoint one heard window."""
        segments = json.dumps(
            [[part.start, part.end, part.text, round(part.confidence, 4)] for part in window.segments],
            ensure_ascii=False,
        )

        async def body(connection: aiosqlite.Connection) -> None:
            await connection.execute(
                "INSERT OR REPLACE INTO windows VALUES (?,?,?,?)",
                (transcript_id, window.start, window.end, segments),
            )
            if language is not None:
                await connection.execute(
                    "UPDATE transcripts SET language=? WHERE id=? AND language IS NOT ?",
                    (str(language), transcript_id, str(language)),
                )

        await self._db.checkpoint(body)

    async def finish_transcript(self, transcript_id: int, language: LanguageTag) -> None:
        """Everything was heard."""
        await self._write(
            "UPDATE transcripts SET is_complete=1, language=? WHERE id=?", (str(language), transcript_id)
        )

    async def save_sketch(
        self, fingerprint: Fingerprint, ordinal: int, duration_ms: Ms, sketch: bytes
    ) -> None:
        """Remember what six stretches of a sound look like."""
        await self._write(
            "INSERT OR REPLACE INTO sketches VALUES (?,?,?,?)", (fingerprint, ordinal, duration_ms, sketch)
        )

    async def sketches(self, duration_ms: Ms, tolerance_ms: int) -> Sequence[tuple[Fingerprint, int, bytes]]:
        """Sketches of sounds of about that length."""
        rows = await self._db.read(
            "SELECT * FROM sketches WHERE duration_ms BETWEEN ? AND ?",
            (duration_ms - tolerance_ms, duration_ms + tolerance_ms),
        )
        return [(Fingerprint(row["fingerprint"]), row["ordinal"], row["sketch"]) for row in rows]

    async def alias_sound(
        self, fingerprint: Fingerprint, ordinal: int, known: Fingerprint, known_ordinal: int
    ) -> None:
        """From now on the first is looked up as the second."""
        await self._write(
            "INSERT OR REPLACE INTO same_sounds VALUES (?,?,?,?)",
            (fingerprint, ordinal, known, known_ordinal),
        )

    async def _known_as(self, key: TranscriptKey) -> TranscriptKey:
        rows = await self._db.read(
            "SELECT * FROM same_sounds WHERE fingerprint=? AND ordinal=?", (key.fingerprint, key.ordinal)
        )
        if not rows:
            return key
        return TranscriptKey(
            Fingerprint(rows[0]["known_fingerprint"]),
            rows[0]["known_ordinal"],
            key.recognizer,
            key.model_revision,
            key.asr_settings_key,
        )

    async def _saved(self, row: aiosqlite.Row) -> SavedTranscript:
        windows = [
            HeardWindow(
                Ms(part["start_ms"]),
                Ms(part["end_ms"]),
                tuple(
                    Segment(Ms(start), Ms(end), text, sure)
                    for start, end, text, sure in json.loads(part["segments"])
                ),
            )
            for part in await self._db.read(
                "SELECT * FROM windows WHERE transcript_id=? ORDER BY start_ms", (row["id"],)
            )
        ]
        language = tag_of(row["language"]) if row["language"] else None
        heard_until = Ms(max((window.end for window in windows), default=0))
        return SavedTranscript(row["id"], language, bool(row["is_complete"]), heard_until, tuple(windows))

    # -- text -------------------------------------------------------------------------------------------------------

    async def translations(self, key: TranslationKey, texts: Collection[str]) -> Mapping[str, str]:
        """Earlier translations by source text."""
        found: dict[str, str] = {}
        wanted = sorted(texts)
        for first in range(0, len(wanted), MAX_VALUES):
            part = wanted[first : first + MAX_VALUES]
            marks = ",".join("?" * len(part))
            rows = await self._db.read(
                f"SELECT text, translated FROM translations WHERE text IN ({marks}) AND source=? AND target=? AND backend=? AND model_revision=? AND glossary=?",
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

    # -- the rest ---------------------------------------------------------------------------------------------------

    async def state_value(self, name: str) -> str | None:
        """A small fact about the daemon itself."""
        rows = await self._db.read("SELECT value FROM flags WHERE name=?", (name,))
        return rows[0]["value"] if rows else None

    async def set_state_value(self, name: str, value: str) -> None:
        """Remember it."""
        if await self.state_value(name) != value:
            await self._write("INSERT OR REPLACE INTO flags VALUES (?,?)", (name, value))

    async def record_speed(self, activity: str, media_ms: Ms, took_ms: Ms) -> None:
        """Add a measurement; old ones fade by half once ten hours are in the sum."""
        await self._write(
            "INSERT INTO speeds VALUES (?,?,?) ON CONFLICT (way) DO UPDATE SET"
            " media_ms=iif(media_ms>36000000, media_ms/2, media_ms)+excluded.media_ms, took_ms=iif(media_ms>36000000, took_ms/2, took_ms)+excluded.took_ms",
            (activity, media_ms, took_ms),
        )

    async def speed(self, activity: str) -> float | None:
        """Seconds of media done in a second."""
        rows = await self._db.read("SELECT media_ms, took_ms FROM speeds WHERE way=?", (activity,))
        return rows[0]["media_ms"] / rows[0]["took_ms"] if rows and rows[0]["took_ms"] else None


async def _hurry(connection: aiosqlite.Connection, job: NewJob, now: datetime) -> None:
    """A person asks for an open job: it is due now, and one that is wanted in another way begins anew; a running one does when its attempt ends."""
    key = (job.server_id, job.source_id, str(job.target))
    request = _asked_text(job.request)
    if request:
        await connection.execute(
            "UPDATE jobs SET stage='listen', attempts=0, source_ref=NULL, track_ref=NULL, ready_at=NULL, grade='', sends=0, looks=0"
            " WHERE server_id=? AND source_id=? AND target=? AND state IN ('queued','parked') AND asked<>?",
            (*key, request),
        )
    await connection.execute(
        "UPDATE jobs SET asked=?, next_try_at=?, updated_at=? WHERE server_id=? AND source_id=? AND target=? AND state IN ('queued','parked','running')",
        (request, as_ms(now), as_ms(now), *key),
    )


def _taking(job_id: int, now: datetime) -> Callable[[aiosqlite.Connection], Awaitable[Job | None]]:
    """A transaction that claims one job if it is still due."""

    async def body(connection: aiosqlite.Connection) -> Job | None:
        rows = list(
            await connection.execute_fetchall(
                "UPDATE jobs SET state='running', attempts=attempts+1, claims=claims+1, updated_at=? WHERE id=? AND state IN ('queued','parked')"
                " AND is_held=0 AND next_try_at<=? RETURNING *",
                (as_ms(now), job_id, as_ms(now)),
            )
        )
        return _job(rows[0]) if rows else None

    return body


async def _move(
    connection: aiosqlite.Connection, job: Job, request: ManualRequest, outcome: Outcome, now: datetime
) -> Job | None:
    """Let a claimed job make the move its attempt decided, unless a person has decided otherwise meanwhile."""
    if job.state is not JobState.RUNNING:
        return job if job.state is JobState.CANCELLED else None
    if job.request != request and not job.request.is_default:
        outcome = Outcome.next(Stage.ACQUIRE, "it was asked for in another way meanwhile")
    stage = outcome.stage or job.stage
    if outcome.gives_back_attempt:
        attempts = max(0, job.attempts - 1)
    else:
        attempts = job.attempts if outcome.keeps_attempts else 0
    rows = list(
        await connection.execute_fetchall(
            "UPDATE jobs SET state=?, stage=?, attempts=?, crashes=0, next_try_at=?, reason=?, reason_code=?, updated_at=?,"
            " ready_at=CASE WHEN ?='upload' THEN coalesce(ready_at, ?) WHEN ?='confirm' THEN ready_at END WHERE id=? RETURNING *",
            (
                outcome.state.value,
                stage.value,
                attempts,
                as_ms(now + outcome.wait),
                outcome.reason or job.reason,
                outcome.reason_code,
                as_ms(now),
                stage.value,
                as_ms(now),
                stage.value,
                job.id,
            ),
        )
    )
    if outcome.state is JobState.CANCELLED or (outcome.state in PROMISED and job.stage is Stage.ACQUIRE):
        # Nothing was made, so nothing changes in the library: only this tells the next complete pass that another decision may hold now.
        await connection.execute(
            "UPDATE items SET look_again=1 WHERE server_id=? AND id=? AND look_again=0",
            (job.server_id, job.item_id),
        )
    return _job(rows[0])


def _key_values(key: TranscriptKey) -> tuple[object, ...]:
    return (key.fingerprint, key.ordinal, key.recognizer, key.model_revision, key.asr_settings_key)


def _translation_values(key: TranslationKey) -> tuple[object, ...]:
    return (str(key.source), str(key.target), key.backend, key.model_revision, key.glossary)


def _job(row: aiosqlite.Row) -> Job:
    return Job(
        id=JobId(row["id"]),
        server_id=ServerId(row["server_id"]),
        item_id=ItemId(row["item_id"]),
        source_id=SourceId(row["source_id"]),
        target=tag_of(row["target"]),
        title=row["title"],
        priority=Priority(row["tier"]),
        added_at=as_time(row["added_at"]),
        stage=Stage(row["stage"]),
        state=JobState(row["state"]),
        attempts=row["attempts"],
        next_try_at=as_time(row["next_try_at"]),
        reason=row["reason"],
        reason_code=row["reason_code"],
        fingerprint=Fingerprint(row["fingerprint"]) if row["fingerprint"] else None,
        source_ref=ContentHash(row["source_ref"]) if row["source_ref"] else None,
        track_ref=ContentHash(row["track_ref"]) if row["track_ref"] else None,
        is_held=bool(row["is_held"]),
        ready_at=maybe_time(row["ready_at"]),
        request=ManualRequest(**json.loads(row["asked"])) if row["asked"] else ManualRequest(),
        provenance=grade_of(row["grade"]),
        upload_attempts=row["sends"],
        confirm_attempts=row["looks"],
        claim=row["claims"],
    )


def _asked_text(request: ManualRequest) -> str:
    return (
        ""
        if request.is_default
        else json.dumps({"source": request.source, "model": request.model, "redo": request.redo})
    )
