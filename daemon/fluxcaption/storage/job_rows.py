"""Rows of the table of jobs."""

import json

from fluxcaption.domain.jobs import Job, JobState, ManualRequest, Priority, Stage
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, JobId, ServerId, SourceId
from fluxcaption.storage.database import Row
from fluxcaption.storage.rows import (
    as_json_list,
    as_time,
    optional_time,
    parse_tag,
    provenance_from_json,
)
from fluxcaption.storage.transitions import states_before

STATE_VALUES = {
    **{state.value: state for state in JobState},
    "open_states": as_json_list(sorted(states_before(JobState.CANCELLED))),
}
"""Parameters for states: each by its own name, and those of jobs that are not finished."""


def job_from_row(row: Row) -> Job:
    """Return the job of a row with all columns."""
    return Job(
        id=JobId(row["id"]),
        server_id=ServerId(row["server_id"]),
        item_id=ItemId(row["item_id"]),
        source_id=SourceId(row["source_id"]),
        target=parse_tag(row["target"]),
        title=row["title"],
        priority=Priority(row["priority"]),
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
        ready_at=optional_time(row["ready_at"]),
        request=_request_from_json(row["request"]),
        provenance=provenance_from_json(row["provenance"]),
        upload_attempts=row["upload_attempts"],
        confirm_attempts=row["confirm_attempts"],
        claim=row["claims"],
    )


def request_to_json(request: ManualRequest) -> str:
    """Return a request as JSON, empty for the default one."""
    if request.is_default:
        return ""
    return json.dumps({"source": request.source, "model": request.model, "redo": request.redo})


def _request_from_json(text: str) -> ManualRequest:
    return ManualRequest(**json.loads(text)) if text else ManualRequest()
