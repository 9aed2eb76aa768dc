"""What is remembered of a library: its items, what was read of tracks, deliveries, settled decisions, what was watched."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import aiosqlite

from fluxcaption.domain.cues import Span
from fluxcaption.domain.forecast import ItemCount
from fluxcaption.domain.gaps import DeliveryState, SourceHistory, TargetHistory
from fluxcaption.domain.jobs import ANY_SKIP_KEY, Delivery
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import Item, MediaIdentity, MediaSource
from fluxcaption.domain.retry import POISON, REVIVAL_PAUSES
from fluxcaption.domain.sources import KnownTracks
from fluxcaption.domain.sync_check import SpeechSample
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, Ms, ServerId, SourceId
from fluxcaption.ports.storage import ItemRecord, TrackFact
from fluxcaption.storage.database import Database
from fluxcaption.storage.values import as_ms, as_time, grade_of, grade_text, maybe_time, tag_of


class LibraryRecords:
    """The part of the store about items, tracks and deliveries."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # -- items ------------------------------------------------------------------------------------------------------

    async def item_records(self, server_id: ServerId, ids: Sequence[ItemId]) -> Mapping[ItemId, ItemRecord]:
        """What is known of some items, by id."""
        rows = await self._db.read(
            f"SELECT * FROM items WHERE server_id=? AND id IN ({_marks(ids)})",
            (server_id, *ids),
        )
        return {ItemId(row["id"]): _item_record(row) for row in rows}

    async def save_items(
        self, items: Sequence[tuple[Item, bool, ItemCount]], decision_inputs_hash: str
    ) -> None:
        """Remember items as they were read, each with whether it is looked at again however unchanged; equal rows are left alone."""

        async def body(connection: aiosqlite.Connection) -> None:
            await connection.executemany(
                "INSERT INTO items (server_id, id, library, etag, basis, name, series_id, season, episode, look_again, ways, titles, listen_ms, added_at)"
                " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
                " ON CONFLICT (server_id, id) DO UPDATE SET library=excluded.library, etag=excluded.etag, basis=excluded.basis, name=excluded.name, series_id=excluded.series_id,"
                " season=excluded.season, episode=excluded.episode, look_again=excluded.look_again, ways=excluded.ways, titles=excluded.titles,"
                " listen_ms=excluded.listen_ms, added_at=excluded.added_at, missed_since=NULL"
                " WHERE (library, etag, basis, name, look_again, ways, titles, listen_ms, added_at) IS NOT (excluded.library, excluded.etag, excluded.basis,"
                " excluded.name, excluded.look_again, excluded.ways, excluded.titles, excluded.listen_ms, excluded.added_at) OR missed_since IS NOT NULL",
                [
                    (
                        *(
                            item.server_id,
                            item.id,
                            item.library,
                            item.etag,
                            decision_inputs_hash,
                            item.name,
                            item.series_id,
                            item.season,
                            item.episode,
                        ),
                        *(
                            int(look_again),
                            count.actions,
                            count.titles,
                            count.listen_ms,
                            as_ms(count.added_at),
                        ),
                    )
                    for item, look_again, count in items
                ],
            )

        if items:
            await self._db.checkpoint(body)

    async def item_rows(
        self, server_id: ServerId, after_row: int, limit: int
    ) -> Sequence[tuple[int, datetime | None]]:
        """A page of the rows of a server's items, in order, each with when a complete pass first did not see it."""
        rows = await self._db.read(
            "SELECT row, missed_since FROM items WHERE row>? AND +server_id=? ORDER BY row LIMIT ?",
            (after_row, server_id, limit),
        )
        return [(row["row"], maybe_time(row["missed_since"])) for row in rows]

    async def look_again_at_failed(self, now: datetime) -> int:
        """Items whose job failed long enough ago are read in full by the next pass, however unchanged."""
        pauses = " ".join(
            f"WHEN {number} THEN {int(pause.total_seconds() * 1000)}"
            for number, pause in enumerate(REVIVAL_PAUSES)
        )
        last = int(REVIVAL_PAUSES[-1].total_seconds() * 1000)
        return await self._write(
            "UPDATE items SET look_again=1 WHERE look_again=0 AND (server_id, id) IN (SELECT server_id, item_id FROM jobs WHERE state='failed'"
            f" AND reason_code<>'{POISON}' AND updated_at<=? - CASE revivals {pauses} ELSE {last} END)",
            (as_ms(now),),
        )

    async def mark_missed(self, rows: Sequence[int], now: datetime) -> None:
        """Items that a complete pass did not see, for the first time."""

        async def body(connection: aiosqlite.Connection) -> None:
            await connection.executemany(
                "UPDATE items SET missed_since=? WHERE row=? AND missed_since IS NULL",
                [(as_ms(now), row) for row in rows],
            )

        if rows:
            await self._db.checkpoint(body)

    async def mark_seen(self, rows: Sequence[int]) -> None:
        """Items that were missed by an earlier pass and are there after all."""

        async def body(connection: aiosqlite.Connection) -> None:
            await connection.executemany(
                "UPDATE items SET missed_since=NULL WHERE row=?", [(row,) for row in rows]
            )

        if rows:
            await self._db.checkpoint(body)

    async def forget_items(self, rows: Sequence[int]) -> None:
        """Items that are gone for good; what was made for them stays known by the media."""

        async def body(connection: aiosqlite.Connection) -> None:
            await connection.executemany("DELETE FROM items WHERE row=?", [(row,) for row in rows])

        if rows:
            await self._db.checkpoint(body)

    async def next_episodes(self, server_id: ServerId, item_id: ItemId, count: int) -> Sequence[ItemId]:
        """The episodes that follow one in its series, in order."""
        rows = await self._db.read(
            "SELECT next.id FROM items AS seen JOIN items AS next ON next.server_id=seen.server_id AND next.series_id=seen.series_id"
            " AND (next.season, next.episode) > (seen.season, seen.episode)"
            " WHERE seen.server_id=? AND seen.id=? AND seen.series_id<>'' AND seen.season>0 ORDER BY next.season, next.episode LIMIT ?",
            (server_id, item_id, count),
        )
        return [ItemId(row["id"]) for row in rows]

    async def find_items(self, text: str, limit: int = 20) -> Sequence[tuple[ItemId, str]]:
        """Items whose name has a text in it: id and name."""
        pattern = "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        rows = await self._db.read(
            "SELECT id, name FROM items WHERE name LIKE ? ESCAPE '\\' ORDER BY name LIMIT ?", (pattern, limit)
        )
        return [(ItemId(row["id"]), row["name"]) for row in rows]

    # -- watching ---------------------------------------------------------------------------------------------------

    async def save_watched(
        self, server_id: ServerId, seen: Sequence[tuple[ItemId, SourceId, datetime]]
    ) -> None:
        """Remember what was played, and when last."""

        async def body(connection: aiosqlite.Connection) -> None:
            await connection.executemany(
                "INSERT INTO watched VALUES (?,?,?,?) ON CONFLICT (server_id, item_id) DO UPDATE SET source_id=excluded.source_id,"
                " watched_at=max(watched_at, excluded.watched_at)",
                [(server_id, item_id, source_id, as_ms(at)) for item_id, source_id, at in seen],
            )

        if seen:
            await self._db.checkpoint(body)

    async def watched_since(
        self, server_id: ServerId, since: datetime
    ) -> Sequence[tuple[ItemId, SourceId, datetime]]:
        """What was played since then, latest first."""
        rows = await self._db.read(
            "SELECT * FROM watched WHERE server_id=? AND watched_at>=? ORDER BY watched_at DESC LIMIT 200",
            (server_id, as_ms(since)),
        )
        return [
            (ItemId(row["item_id"]), SourceId(row["source_id"]), as_time(row["watched_at"])) for row in rows
        ]

    # -- media and tracks -------------------------------------------------------------------------------------------

    async def identity(self, server_id: ServerId, source_id: SourceId, revision: str) -> MediaIdentity | None:
        """What was read of that file at that revision."""
        rows = await self._db.read(
            "SELECT * FROM identities WHERE server_id=? AND source_id=? AND revision=?",
            (server_id, source_id, revision),
        )
        return (
            MediaIdentity(
                Fingerprint(rows[0]["fingerprint"]), rows[0]["size_bytes"], Ms(rows[0]["duration_ms"])
            )
            if rows
            else None
        )

    async def save_identity(self, server_id: ServerId, source: MediaSource, identity: MediaIdentity) -> None:
        """Remember it, with where the file lies."""
        await self._write(
            "INSERT OR REPLACE INTO identities (server_id, source_id, revision, fingerprint, size_bytes, duration_ms, path) VALUES (?,?,?,?,?,?,?)",
            (
                server_id,
                source.id,
                source.revision,
                identity.fingerprint,
                identity.size_bytes,
                identity.duration_ms,
                source.path,
            ),
        )

    async def rebind_moved_media(self, items: Sequence[Item]) -> int:
        """Where a file that was known by path and size has a new id, everything about it moves there; returns how many moved."""
        sources = [
            (item, source) for item in items for source in item.sources if source.path and source.size_bytes
        ]
        if not sources or not await self._db.read("SELECT 1 FROM identities LIMIT 1"):
            return 0
        rows = await self._db.read(
            f"SELECT server_id, source_id, path, size_bytes FROM identities WHERE server_id=? AND path IN ({_marks(sources)})",
            (items[0].server_id, *[source.path for _, source in sources]),
        )
        known = {(row["path"], row["size_bytes"]): SourceId(row["source_id"]) for row in rows}
        moved = [
            (old, source.id, item.id)
            for item, source in sources
            if (old := known.get((source.path, source.size_bytes))) is not None and old != source.id
        ]

        async def body(connection: aiosqlite.Connection) -> None:
            for old, new, item_id in moved:
                for table in ("identities", "deliveries", "track_facts"):
                    await connection.execute(
                        f"UPDATE OR REPLACE {table} SET source_id=? WHERE server_id=? AND source_id=?",
                        (new, items[0].server_id, old),
                    )
                for table in ("jobs", "deliveries"):
                    await connection.execute(
                        f"UPDATE OR REPLACE {table} SET source_id=?, item_id=? WHERE server_id=? AND source_id IN (?,?)",
                        (new, item_id, items[0].server_id, old, new),
                    )

        if moved:
            await self._db.checkpoint(body)
        return len(moved)

    async def track_facts(self, server_id: ServerId, source_id: SourceId) -> Sequence[TrackFact]:
        """What reading the tracks of a media source has told."""
        rows = await self._db.read(
            "SELECT * FROM track_facts WHERE server_id=? AND source_id=?", (server_id, source_id)
        )
        return [_track_fact(row) for row in rows]

    async def save_track_fact(self, server_id: ServerId, source_id: SourceId, fact: TrackFact) -> None:
        """Remember what reading a track told."""
        await self._write(
            "INSERT OR REPLACE INTO track_facts (server_id, source_id, track, revision, language, cues_hash, misfit, is_compared, media) VALUES (?,?,?,?,?,?,?,?,?)",
            (
                server_id,
                source_id,
                fact.track,
                fact.revision,
                str(fact.language) if fact.language else None,
                fact.cues_hash,
                fact.unusable_reason,
                int(fact.is_compared),
                fact.media,
            ),
        )

    async def speech_map(
        self, server_id: ServerId, source_id: SourceId, revision: str, ordinal: int
    ) -> Sequence[SpeechSample] | None:
        """Where somebody speaks in some stretches of a sound track of that file, if they were listened to."""
        rows = await self._db.read(
            "SELECT heard FROM speech_maps WHERE server_id=? AND source_id=? AND ordinal=? AND revision=?",
            (server_id, source_id, ordinal, revision),
        )
        if not rows:
            return None
        return [
            SpeechSample(Ms(start), Ms(stop), tuple(Span(Ms(first), Ms(last)) for first, last in speech))
            for start, stop, speech in json.loads(rows[0]["heard"])
        ]

    async def save_speech_map(
        self,
        server_id: ServerId,
        source_id: SourceId,
        revision: str,
        ordinal: int,
        heard: Sequence[SpeechSample],
    ) -> None:
        """Remember it, in the place of an older one."""
        told = json.dumps(
            [
                [stretch.start, stretch.stop, [[span.start, span.end] for span in stretch.speech]]
                for stretch in heard
            ]
        )
        await self._write(
            "INSERT OR REPLACE INTO speech_maps VALUES (?,?,?,?,?)",
            (server_id, source_id, ordinal, revision, told),
        )

    async def load_history(self, items: Sequence[Item], skip_key: str) -> Mapping[SourceId, SourceHistory]:
        """What is remembered about every media source of some items of one server; one that nothing is known of is left out."""
        sources = [(item, source) for item in items for source in item.sources]
        if not sources:
            return {}
        server_id, ids = items[0].server_id, [source.id for _, source in sources]
        marks = _marks(ids)
        facts = await self._db.read(
            f"SELECT * FROM track_facts WHERE server_id=? AND source_id IN ({marks})",
            (server_id, *ids),
        )
        deliveries = await self._db.read(
            f"SELECT * FROM deliveries WHERE server_id=? AND source_id IN ({marks})",
            (server_id, *ids),
        )
        skips = await self._db.read(
            f"SELECT i.source_id, i.revision, s.target, s.reason FROM identities AS i JOIN settled AS s ON s.fingerprint=i.fingerprint"
            f" WHERE i.server_id=? AND i.source_id IN ({marks}) AND s.settings_hash IN (?, ?)",
            (server_id, *ids, skip_key, ANY_SKIP_KEY),
        )
        if not (facts or deliveries or skips):
            return {}
        ours = await self._hashes_of_ours([row["cues_hash"] for row in facts if row["cues_hash"]])
        memory: dict[SourceId, SourceHistory] = {}
        for item, source in sources:
            own_facts = [row for row in facts if row["source_id"] == source.id]
            targets: dict[LanguageTag, TargetHistory] = {}
            for row in skips:
                # A decision is about the media that was read: of another file behind the same id it says nothing.
                if (row["source_id"], row["revision"]) == (source.id, source.revision):
                    targets[tag_of(row["target"])] = TargetHistory(skip_reason=row["reason"])
            for row in deliveries:
                if row["source_id"] == source.id:
                    target = tag_of(row["target"])
                    before = targets.get(target, TargetHistory())
                    targets[target] = TargetHistory(
                        before.skip_reason,
                        DeliveryState(row["state"]),
                        row["made_for"],
                        bool(row["is_asked"]),
                    )
            if own_facts or targets:
                memory[source.id] = SourceHistory(_known(own_facts, ours, item, source), targets)
        return memory

    async def _hashes_of_ours(self, hashes: Collection[str]) -> frozenset[str]:
        if not hashes:
            return frozenset()
        rows = await self._db.read(
            f"SELECT cues_hash FROM deliveries WHERE cues_hash IN ({_marks(hashes)})",
            tuple(hashes),
        )
        return frozenset(row["cues_hash"] for row in rows)

    # -- deliveries and decisions -----------------------------------------------------------------------------------

    async def record_intent(self, delivery: Delivery) -> None:
        """Promise what is about to be done, before it is done; the row is then as given."""
        columns = _columns(delivery)
        await self._promise_write(
            f"INSERT OR REPLACE INTO deliveries ({','.join(columns)}) VALUES ({_marks(columns)})",
            tuple(columns.values()),
        )

    async def delivery(
        self, server_id: ServerId, source_id: SourceId, target: LanguageTag
    ) -> Delivery | None:
        """The latest intent for a target."""
        rows = await self._db.read(
            "SELECT * FROM deliveries WHERE server_id=? AND source_id=? AND target=?",
            (server_id, source_id, str(target)),
        )
        return _delivery(rows[0]) if rows else None

    async def deliveries(
        self,
        server_id: ServerId,
        *,
        item_id: ItemId | None = None,
        states: Collection[DeliveryState] = (),
        uploaded_since: datetime | None = None,
    ) -> Sequence[Delivery]:
        """Deliveries, oldest first; where the answer to an upload was lost, it counts from when it was meant."""
        wanted = [state.value for state in states] or [state.value for state in DeliveryState]
        query = f"SELECT * FROM deliveries WHERE state IN ({_marks(wanted)})"
        values: list[object] = [*wanted]
        if item_id is None:
            query += " AND server_id=?"
            values.append(server_id)
        else:
            query += " AND (server_id=? AND item_id=? OR server_id=? AND source_id=?)"
            values += [server_id, item_id, server_id, item_id]
        if uploaded_since is not None:
            query += " AND coalesce(uploaded_at, intended_at)>=?"
            values.append(as_ms(uploaded_since))
        return [_delivery(row) for row in await self._db.read(f"{query} ORDER BY intended_at", values)]

    async def mark_uploaded(
        self, server_id: ServerId, source_id: SourceId, target: LanguageTag, now: datetime
    ) -> None:
        """The upload was answered."""
        await self._write(
            "UPDATE deliveries SET uploaded_at=?, state='uploaded' WHERE server_id=? AND source_id=? AND target=?",
            (as_ms(now), server_id, source_id, str(target)),
        )

    async def mark_confirmed(
        self,
        server_id: ServerId,
        source_id: SourceId,
        target: LanguageTag,
        track_path: str,
        media_revision: str,
        now: datetime,
    ) -> None:
        """The track was seen where it belongs, for that revision of the media."""
        await self._promise_write(
            "UPDATE deliveries SET confirmed_at=coalesce(confirmed_at, ?), state='confirmed', track_path=?, made_for=?, missing_since=NULL, missing_passes=0,"
            " previous_ref=NULL, previous='' WHERE server_id=? AND source_id=? AND target=?",
            (as_ms(now), track_path, media_revision, server_id, source_id, str(target)),
        )

    async def mark_missing(
        self, server_id: ServerId, tracks: Sequence[tuple[SourceId, LanguageTag]], now: datetime
    ) -> None:
        """Confirmed tracks that a complete pass did not list; the passes are counted."""

        async def body(connection: aiosqlite.Connection) -> None:
            await connection.executemany(
                "UPDATE deliveries SET state='missing', missing_since=coalesce(missing_since, ?), missing_passes=missing_passes+1"
                " WHERE server_id=? AND source_id=? AND target=? AND state IN ('confirmed','missing','edited')",
                [(as_ms(now), server_id, source_id, str(target)) for source_id, target in tracks],
            )

        await self._db.checkpoint(body)

    async def set_delivery_state(
        self, server_id: ServerId, source_id: SourceId, target: LanguageTag, state: DeliveryState
    ) -> None:
        """What became of a track of ours; a promise. Nothing is put back any more."""
        await self._promise_write(
            "UPDATE deliveries SET state=?, missing_since=NULL, missing_passes=0, previous_ref=NULL, previous='' WHERE server_id=? AND source_id=? AND target=?",
            (state.value, server_id, source_id, str(target)),
        )

    async def remember_skip(
        self,
        fingerprint: Fingerprint,
        target: LanguageTag,
        skip_key: str,
        code: str,
        reason: str,
        now: datetime,
    ) -> None:
        """Remember that nothing is to be made; a promise."""
        await self._promise_write(
            "INSERT OR REPLACE INTO settled VALUES (?,?,?,?,?,?)",
            (fingerprint, str(target), skip_key, code, reason, as_ms(now)),
        )

    async def skip_reason(
        self, fingerprint: Fingerprint, target: LanguageTag, skip_key: str
    ) -> tuple[str, str] | None:
        """Code and reason of such a decision."""
        rows = await self._db.read(
            "SELECT code, reason FROM settled WHERE fingerprint=? AND target=? AND settings_hash IN (?, ?)",
            (fingerprint, str(target), skip_key, ANY_SKIP_KEY),
        )
        return (rows[0]["code"], rows[0]["reason"]) if rows else None

    async def forget_skip(self, fingerprint: Fingerprint, target: LanguageTag) -> None:
        """A person asked: forget the decision."""
        await self._write("DELETE FROM settled WHERE fingerprint=? AND target=?", (fingerprint, str(target)))

    async def _write(self, statement: str, values: Sequence[object]) -> int:
        async def body(connection: aiosqlite.Connection) -> int:
            return (await connection.execute(statement, tuple(values))).rowcount

        return await self._db.checkpoint(body)

    async def _promise_write(self, statement: str, values: Sequence[object]) -> int:
        async def body(connection: aiosqlite.Connection) -> int:
            return (await connection.execute(statement, tuple(values))).rowcount

        return await self._db.promise(body)


def _marks(values: Collection[object]) -> str:
    return ",".join("?" * len(values))


def _known(
    facts: Sequence[aiosqlite.Row], ours: frozenset[str], item: Item, source: MediaSource
) -> KnownTracks:
    """What still holds: a language until the media is replaced, a misfit until the item is saved, what is ours until it is read again."""
    of_this_media = [row for row in facts if row["media"] == source.revision or row["revision"] == item.etag]
    return KnownTracks(
        languages={
            row["track"]: tag_of(row["language"]) if row["language"] else None
            for row in of_this_media
            if row["language"] or (row["media"] and not row["is_compared"])
        },
        ours=frozenset(row["track"] for row in facts if row["cues_hash"] in ours),
        unusable={
            row["track"]: row["misfit"]
            for row in of_this_media
            if row["misfit"] and row["revision"] == item.etag
        },
    )


def _track_fact(row: aiosqlite.Row) -> TrackFact:
    language = tag_of(row["language"]) if row["language"] else None
    return TrackFact(
        row["track"],
        row["revision"],
        language,
        ContentHash(row["cues_hash"]),
        row["misfit"],
        bool(row["is_compared"]),
        row["media"],
    )


def _item_record(row: aiosqlite.Row) -> ItemRecord:
    return ItemRecord(
        row=row["row"],
        id=ItemId(row["id"]),
        library=row["library"],
        etag=row["etag"],
        decision_inputs_hash=row["basis"],
        look_again=bool(row["look_again"]),
        missed_since=maybe_time(row["missed_since"]),
        count=None
        if row["ways"] is None
        else ItemCount(row["ways"], row["titles"], row["listen_ms"], as_time(row["added_at"])),
    )


def _columns(delivery: Delivery) -> dict[str, Any]:
    """A delivery as its row; the one it replaces lies in it as JSON."""
    return {
        "server_id": delivery.server_id,
        "source_id": delivery.source_id,
        "target": str(delivery.target),
        "content_hash": delivery.content_hash,
        "file_name": delivery.file_name,
        "provenance": delivery.details,
        "intended_at": as_ms(delivery.intended_at),
        "uploaded_at": _maybe_ms(delivery.uploaded_at),
        "confirmed_at": _maybe_ms(delivery.confirmed_at),
        "item_id": delivery.item_id,
        "title": delivery.title,
        "fingerprint": delivery.fingerprint,
        "made_for": delivery.media_revision,
        "cues_hash": delivery.cues_hash,
        "grade": grade_text(delivery.provenance),
        "track_path": delivery.track_path,
        "previous_ref": delivery.previous_ref,
        "previous": json.dumps(_columns(delivery.previous)) if delivery.previous else "",
        "sent_at": _maybe_ms(delivery.sent_at),
        "state": delivery.state.value,
        "missing_since": _maybe_ms(delivery.missing_since),
        "missing_passes": delivery.missing_passes,
        "is_asked": int(delivery.is_requested),
    }


def _maybe_ms(moment: datetime | None) -> int | None:
    return None if moment is None else as_ms(moment)


def _delivery(row: aiosqlite.Row | Mapping[str, Any]) -> Delivery:
    return Delivery(
        server_id=ServerId(row["server_id"]),
        source_id=SourceId(row["source_id"]),
        target=tag_of(row["target"]),
        content_hash=ContentHash(row["content_hash"]),
        file_name=row["file_name"],
        details=row["provenance"],
        intended_at=as_time(row["intended_at"]),
        uploaded_at=maybe_time(row["uploaded_at"]),
        confirmed_at=maybe_time(row["confirmed_at"]),
        item_id=ItemId(row["item_id"] or row["source_id"]),
        title=row["title"],
        fingerprint=Fingerprint(row["fingerprint"]),
        media_revision=row["made_for"],
        cues_hash=ContentHash(row["cues_hash"]),
        provenance=grade_of(row["grade"]),
        track_path=row["track_path"],
        previous_ref=ContentHash(row["previous_ref"]) if row["previous_ref"] else None,
        previous=_delivery(json.loads(row["previous"])) if row["previous"] else None,
        sent_at=maybe_time(row["sent_at"]),
        state=DeliveryState(row["state"]),
        missing_since=maybe_time(row["missing_since"]),
        missing_passes=row["missing_passes"],
        is_requested=bool(row["is_asked"]),
    )
