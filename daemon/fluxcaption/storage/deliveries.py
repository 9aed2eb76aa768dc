"""Deliveries: one row for each server, media source and target language."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from fluxcaption.domain.deliveries import Delivery, DeliveryState, DeliveryStep
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, ServerId, SourceId
from fluxcaption.storage.database import Connection, Database, Row, fetch_all
from fluxcaption.storage.rows import (
    as_json_list,
    as_ms,
    as_time,
    optional_ms,
    optional_time,
    parse_tag,
    provenance_from_json,
    provenance_to_json,
)
from fluxcaption.storage.transitions import check_delivery_move

_RECORD = """
    INSERT OR REPLACE INTO deliveries (
        server_id, source_id, target, content_hash, file_name, details,
        intended_at, uploaded_at, confirmed_at, item_id, title, fingerprint, media_revision,
        cues_hash, provenance, track_path,
        previous_ref, previous, sent_at, state, step, missing_since, missing_scans, is_requested)
    VALUES (
        :server_id, :source_id, :target, :content_hash, :file_name, :details,
        :intended_at, :uploaded_at, :confirmed_at, :item_id, :title, :fingerprint, :media_revision,
        :cues_hash, :provenance, :track_path,
        :previous_ref, :previous, :sent_at, :state, :step, :missing_since, :missing_scans, :is_requested)
"""

_ONE = "server_id = :server_id AND source_id = :source_id AND target = :target"

_GET = f"SELECT * FROM deliveries WHERE {_ONE}"

_GET_STATE = f"SELECT state FROM deliveries WHERE {_ONE}"

_FIND = """
    SELECT * FROM deliveries
    WHERE server_id = :server_id
        AND state IN (SELECT value FROM json_each(:states))
        AND coalesce(uploaded_at, intended_at) >= :uploaded_since
    ORDER BY intended_at
"""

# With `item_id = :item_id OR source_id = :item_id` SQLite would read all deliveries of the server.
_FIND_OF_ITEM = """
    SELECT * FROM deliveries
    WHERE rowid IN (
            SELECT rowid FROM deliveries WHERE server_id = :server_id AND item_id = :item_id
            UNION SELECT rowid FROM deliveries WHERE server_id = :server_id AND source_id = :item_id)
        AND state IN (SELECT value FROM json_each(:states))
        AND coalesce(uploaded_at, intended_at) >= :uploaded_since
    ORDER BY intended_at
"""

_MARK_UPLOADED = f"UPDATE deliveries SET uploaded_at = :now, state = :state WHERE {_ONE}"

_MARK_CONFIRMED = f"""
    UPDATE deliveries SET
        confirmed_at = coalesce(confirmed_at, :now), state = :state, step = '',
        track_path = :track_path, media_revision = :media_revision,
        missing_since = NULL, missing_scans = 0, previous_ref = NULL, previous = ''
    WHERE {_ONE}
"""

_MARK_MISSING = f"""
    UPDATE deliveries SET
        state = :missing, missing_since = coalesce(missing_since, :now), missing_scans = missing_scans + 1
    WHERE {_ONE} AND state IN (:confirmed, :missing, :edited)
"""

_SET_STATE = f"""
    UPDATE deliveries SET
        state = :state, step = '', missing_since = NULL, missing_scans = 0, previous_ref = NULL, previous = ''
    WHERE {_ONE}
"""


_BEFORE_ALL_TIMES = -(2**62)


def _key(server_id: ServerId, source_id: SourceId, target: LanguageTag) -> dict[str, object]:
    return {"server_id": server_id, "source_id": source_id, "target": str(target)}


def _columns(delivery: Delivery) -> dict[str, Any]:
    """Return a delivery as its row; the replaced delivery is a JSON column with the same names as keys."""
    return {
        "server_id": delivery.server_id,
        "source_id": delivery.source_id,
        "target": str(delivery.target),
        "content_hash": delivery.content_hash,
        "file_name": delivery.file_name,
        "details": delivery.details,
        "intended_at": as_ms(delivery.intended_at),
        "uploaded_at": optional_ms(delivery.uploaded_at),
        "confirmed_at": optional_ms(delivery.confirmed_at),
        "item_id": delivery.item_id,
        "title": delivery.title,
        "fingerprint": delivery.fingerprint,
        "media_revision": delivery.media_revision,
        "cues_hash": delivery.cues_hash,
        "provenance": provenance_to_json(delivery.provenance),
        "track_path": delivery.track_path,
        "previous_ref": delivery.previous_ref,
        "previous": json.dumps(_columns(delivery.previous)) if delivery.previous else "",
        "sent_at": optional_ms(delivery.sent_at),
        "state": delivery.state.value,
        "step": delivery.step.value,
        "missing_since": optional_ms(delivery.missing_since),
        "missing_scans": delivery.missing_scans,
        "is_requested": int(delivery.is_requested),
    }


def _delivery(row: Row | Mapping[str, Any]) -> Delivery:
    return Delivery(
        server_id=ServerId(row["server_id"]),
        source_id=SourceId(row["source_id"]),
        target=parse_tag(row["target"]),
        content_hash=ContentHash(row["content_hash"]),
        file_name=row["file_name"],
        details=row["details"],
        intended_at=as_time(row["intended_at"]),
        uploaded_at=optional_time(row["uploaded_at"]),
        confirmed_at=optional_time(row["confirmed_at"]),
        item_id=ItemId(row["item_id"] or row["source_id"]),
        title=row["title"],
        fingerprint=Fingerprint(row["fingerprint"]),
        media_revision=row["media_revision"],
        cues_hash=ContentHash(row["cues_hash"]),
        provenance=provenance_from_json(row["provenance"]),
        track_path=row["track_path"],
        previous_ref=ContentHash(row["previous_ref"]) if row["previous_ref"] else None,
        previous=_delivery(json.loads(row["previous"])) if row["previous"] else None,
        sent_at=optional_time(row["sent_at"]),
        state=DeliveryState(row["state"]),
        step=DeliveryStep(row["step"]),
        missing_since=optional_time(row["missing_since"]),
        missing_scans=row["missing_scans"],
        is_requested=bool(row["is_requested"]),
    )


class DeliveryTable:
    """Deliveries and how far each of them got."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record_intent(self, delivery: Delivery) -> None:
        """Store a delivery as given, in place of an earlier one. Durable: returns after fsync."""
        values = _columns(delivery)

        async def body(connection: Connection) -> None:
            await _check_move(connection, values, delivery.state)
            await connection.execute(_RECORD, values)

        await self._database.durable_transaction(body)

    async def get(self, server_id: ServerId, source_id: SourceId, target: LanguageTag) -> Delivery | None:
        """Return the delivery of a target, None if there never was one."""
        rows = await self._database.read(_GET, _key(server_id, source_id, target))
        return _delivery(rows[0]) if rows else None

    async def find(
        self,
        server_id: ServerId,
        *,
        item_id: ItemId | None = None,
        states: Collection[DeliveryState] = (),
        uploaded_since: datetime | None = None,
    ) -> Sequence[Delivery]:
        """Return deliveries, oldest intent first."""
        values = {
            "server_id": server_id,
            "item_id": item_id,
            "states": as_json_list(states or list(DeliveryState)),
            "uploaded_since": as_ms(uploaded_since) if uploaded_since else _BEFORE_ALL_TIMES,
        }
        rows = await self._database.read(_FIND if item_id is None else _FIND_OF_ITEM, values)
        return [_delivery(row) for row in rows]

    async def mark_uploaded(
        self, server_id: ServerId, source_id: SourceId, target: LanguageTag, now: datetime
    ) -> None:
        """Store that the server answered the upload."""
        await self._database.transaction(
            _moving(
                _MARK_UPLOADED,
                {**_key(server_id, source_id, target), "now": as_ms(now)},
                DeliveryState.UPLOADED,
            )
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
        """Store that the server lists the track; forget the replaced one. Durable: returns after fsync."""
        values = {
            **_key(server_id, source_id, target),
            "track_path": track_path,
            "media_revision": media_revision,
            "now": as_ms(now),
        }
        await self._database.durable_transaction(_moving(_MARK_CONFIRMED, values, DeliveryState.CONFIRMED))

    async def mark_missing(
        self, server_id: ServerId, tracks: Sequence[tuple[SourceId, LanguageTag]], now: datetime
    ) -> None:
        """Store that a complete scan did not list tracks, and count the scan."""
        states = {
            state.value: state
            for state in (DeliveryState.CONFIRMED, DeliveryState.MISSING, DeliveryState.EDITED)
        }
        await self._database.write_many(
            _MARK_MISSING,
            [
                {**_key(server_id, source_id, target), "now": as_ms(now), **states}
                for source_id, target in tracks
            ],
        )

    async def set_state(
        self, server_id: ServerId, source_id: SourceId, target: LanguageTag, state: DeliveryState
    ) -> None:
        """Store the end of a delivery; forget its step and the replaced one. Durable: returns after fsync."""
        await self._database.durable_transaction(
            _moving(_SET_STATE, _key(server_id, source_id, target), state)
        )


def _moving(statement: str, values: dict[str, object], state: DeliveryState) -> Any:
    """Return a transaction that moves one delivery to a state; without such a delivery it changes nothing."""

    async def body(connection: Connection) -> None:
        if await _check_move(connection, values, state, may_begin=False):
            await connection.execute(statement, {**values, "state": state})

    return body


async def _check_move(
    connection: Connection, key: Mapping[str, object], state: DeliveryState, *, may_begin: bool = True
) -> bool:
    """Return whether the delivery exists.

    Raises:
        ValueError: The delivery cannot go to that state.
    """
    rows = await fetch_all(connection, _GET_STATE, key)
    if rows or may_begin:
        before = DeliveryState(rows[0]["state"]) if rows else None
        check_delivery_move(f"{key['source_id']} in {key['target']}", before, state)
    return bool(rows)
