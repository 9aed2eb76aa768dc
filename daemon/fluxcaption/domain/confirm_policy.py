"""Next action for a track that was sent and is not listed (notes/faults.md F9)."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

CONFIRM_DELAYS = tuple(timedelta(seconds=seconds) for seconds in (2, 5, 10, 30, 60, 300, 900))
"""Delays before each check (notes/jellyfin-server.md J33: listed within a second, later on slow disks)."""

SECOND_UPLOAD_DELAY = timedelta(minutes=30)
"""Minimum time between two uploads of a track; the second one may create a file with `.0` in its name."""

MAX_UPLOAD_ATTEMPTS = 5
"""Uploads of one track, after which a user has to act: tracks that never become visible would accumulate."""

REFUSAL_PAUSES = (timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6), timedelta(hours=24))
"""Pauses after the first, second, … refusal by the server; the last one repeats."""


def refusal_pause(upload_attempts: int) -> timedelta:
    """Return the pause before a refused track is sent again."""
    return REFUSAL_PAUSES[min(max(upload_attempts, 1), len(REFUSAL_PAUSES)) - 1]


class ConfirmAction(StrEnum):
    """Action after a failed check."""

    CHECK_AGAIN = "check-again"
    """The track may still appear."""
    WAIT = "wait"
    """All checks failed: the server is asked to refresh the item, and the job shows the problem."""
    WRITE = "write"
    """The file is missing in a folder that the daemon can reach: the sidecar is written directly."""
    RESTORE = "restore"
    """The replaced track is restored, so that viewers have one again."""
    UPLOAD_AGAIN = "upload-again"


@dataclass(frozen=True, slots=True)
class ConfirmFacts:
    """Facts after a failed check.

    Attributes:
        confirm_attempts: Failed checks since the last upload, this one included.
        upload_attempts: Uploads so far.
        since_sent: Time since the last upload began.
        was_refreshed: True if the server was asked to refresh the item after all quick checks had failed.
        scan_is_running: True while the server scans its folders.
        was_scanned: True if a library scan began after the upload and has ended.
        file_is_there: True if the file exists in its folder; None if the folder is not reachable.
        replaced_another: True if the upload replaced a track of ours that can be restored.
    """

    confirm_attempts: int
    upload_attempts: int
    since_sent: timedelta
    was_refreshed: bool
    scan_is_running: bool
    was_scanned: bool
    file_is_there: bool | None
    replaced_another: bool


def next_confirm_action(facts: ConfirmFacts) -> ConfirmAction:
    """Return the action for a track that was not listed at a check.

    A second upload needs all of: no file in a reachable folder, a refresh, a finished library scan, and
    `SECOND_UPLOAD_DELAY`.
    """
    if facts.confirm_attempts < len(CONFIRM_DELAYS):
        return ConfirmAction.CHECK_AGAIN
    if facts.file_is_there is False:
        return ConfirmAction.WRITE
    if (
        facts.file_is_there
        or not facts.was_refreshed
        or facts.scan_is_running
        or facts.since_sent < SECOND_UPLOAD_DELAY
    ):
        return ConfirmAction.WAIT
    if facts.replaced_another:
        return ConfirmAction.RESTORE
    return (
        ConfirmAction.UPLOAD_AGAIN
        if facts.was_scanned and facts.upload_attempts < MAX_UPLOAD_ATTEMPTS
        else ConfirmAction.WAIT
    )
