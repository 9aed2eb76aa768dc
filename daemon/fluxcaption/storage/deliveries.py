"""Deliveries: one row for each media source and target."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import aiosqlite

from fluxcaption.domain.deliveries import Delivery, DeliveryState, DeliveryStep
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, ServerId, SourceId
from fluxcaption.storage.database import Database
from fluxcaption.storage.rows import (
    as_ms,
    as_time,
    marks,
    maybe_ms,
    maybe_time,
    provenance_of,
    provenance_text,
    tag_of,
)


class DeliveryTable:
    """Deliveries: one row for each media source and target."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def record_intent(self, delivery: Delivery) -> None:
        """Promise what is about to be done, before it is done; the row is then as given."""
        columns = _columns(delivery)
        await self._db.write_durably(
            f"INSERT OR REPLACE INTO deliveries ({','.join(columns)}) VALUES ({marks(columns)})",
            tuple(columns.values()),
        )

    async def get(self, server_id: ServerId, source_id: SourceId, target: LanguageTag) -> Delivery | None:
        """The latest intent for a target."""
        rows = await self._db.read(
            "SELECT * FROM deliveries WHERE server_id=? AND source_id=? AND target=?",
            (server_id, source_id, str(target)),
        )
        return _delivery(rows[0]) if rows else None

    async def find(
        self,
        server_id: ServerId,
        *,
        item_id: ItemId | None = None,
        states: Collection[DeliveryState] = (),
        uploaded_since: datetime | None = None,
    ) -> Sequence[Delivery]:
        """Deliveries, oldest first; where the answer to an upload was lost, it counts from when it was meant."""
        wanted = [state.value for state in states] or [state.value for state in DeliveryState]
        query = f"SELECT * FROM deliveries WHERE state IN ({marks(wanted)})"
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
        await self._db.write(
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
        await self._db.write_durably(
            "UPDATE deliveries SET confirmed_at=coalesce(confirmed_at, ?), state='confirmed', track_path=?, made_for=?, missing_since=NULL, missing_passes=0,"
            " previous_ref=NULL, previous='', step='' WHERE server_id=? AND source_id=? AND target=?",
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

    async def set_state(
        self, server_id: ServerId, source_id: SourceId, target: LanguageTag, state: DeliveryState
    ) -> None:
        """What became of a track of ours; a promise. Nothing is put back any more."""
        await self._db.write_durably(
            "UPDATE deliveries SET state=?, missing_since=NULL, missing_passes=0, previous_ref=NULL, previous='', step='' WHERE server_id=? AND source_id=? AND target=?",
            (state.value, server_id, source_id, str(target)),
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
        "uploaded_at": maybe_ms(delivery.uploaded_at),
        "confirmed_at": maybe_ms(delivery.confirmed_at),
        "item_id": delivery.item_id,
        "title": delivery.title,
        "fingerprint": delivery.fingerprint,
        "made_for": delivery.media_revision,
        "cues_hash": delivery.cues_hash,
        "grade": provenance_text(delivery.provenance),
        "track_path": delivery.track_path,
        "previous_ref": delivery.previous_ref,
        "previous": json.dumps(_columns(delivery.previous)) if delivery.previous else "",
        "sent_at": maybe_ms(delivery.sent_at),
        "state": delivery.state.value,
        "missing_since": maybe_ms(delivery.missing_since),
        "missing_passes": delivery.missing_scans,
        "is_asked": int(delivery.is_requested),
        "step": delivery.step.value,
    }


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
        provenance=provenance_of(row["grade"]),
        track_path=row["track_path"],
        previous_ref=ContentHash(row["previous_ref"]) if row["previous_ref"] else None,
        # A delivery that was kept by an earlier version has no step.
        previous=_delivery({"step": "", **json.loads(row["previous"])}) if row["previous"] else None,
        sent_at=maybe_time(row["sent_at"]),
        state=DeliveryState(row["state"]),
        missing_since=maybe_time(row["missing_since"]),
        missing_scans=row["missing_passes"],
        is_requested=bool(row["is_asked"]),
        step=DeliveryStep(row["step"]),
    )
