"""What is done about a track that was sent and is not seen: the rule of fault matrix row 9 as one decision."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

CONFIRM_DELAYS = tuple(timedelta(seconds=seconds) for seconds in (2, 5, 10, 30, 60, 300, 900))
"""When a track that is not visible yet is looked for again (server contract 7.5: usually within a second, later on slow disks)."""

SECOND_UPLOAD_DELAY = timedelta(minutes=30)
"""And only after a finished library scan and a refresh: a second upload lies beside the first one as `.0`."""

MAX_UPLOAD_ATTEMPTS = 5
"""Then a person has to look: what cannot be seen would pile up."""

REFUSAL_PAUSES = (timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6), timedelta(hours=24))
"""After the first, second … time the server refused a track; the last one repeats."""


def refusal_pause(upload_attempts: int) -> timedelta:
    """How long a refused track is left alone."""
    return REFUSAL_PAUSES[min(max(upload_attempts, 1), len(REFUSAL_PAUSES)) - 1]


class ConfirmAction(StrEnum):
    """What is done."""

    CHECK_AGAIN = "check-again"
    """It may still appear."""
    WAIT = "wait"
    """All looks were in vain: the server is asked to look at the folder, and a person is told."""
    WRITE = "write"
    """The file is not in its folder, which we can reach: we lay it there ourselves."""
    RESTORE = "put-back"
    """What it replaced comes back, so that viewers have a track again."""
    UPLOAD_AGAIN = "send-again"


@dataclass(frozen=True, slots=True)
class ConfirmFacts:
    """What is known after a look in vain.

    Attributes:
        looks: In vain so far, this one included.
        sends: How often it was sent.
        since_sent: How long ago sending began.
        was_refreshed: The server was asked to look after the last of the looks.
        scan_is_running: The server is walking its folders right now.
        was_scanned: It has finished such a walk that began after the sending.
        file_is_there: Whether the file is in its folder; None where we cannot look.
        replaced_another: A track of ours was taken away for it and can be put back.
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
    """Decide what becomes of a track that a look did not see."""
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
