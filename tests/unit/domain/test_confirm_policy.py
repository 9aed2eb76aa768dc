"""What is done about a track that was sent and is not seen."""

from dataclasses import replace
from datetime import timedelta

import pytest
from fluxcaption.domain.confirm_policy import (
    CONFIRM_DELAYS,
    MAX_UPLOAD_ATTEMPTS,
    SECOND_UPLOAD_DELAY,
    ConfirmAction,
    ConfirmFacts,
    next_confirm_action,
    refusal_pause,
)

LOOKED = ConfirmFacts(
    confirm_attempts=len(CONFIRM_DELAYS),
    upload_attempts=1,
    since_sent=SECOND_UPLOAD_DELAY,
    was_refreshed=True,
    scan_is_running=False,
    was_scanned=True,
    file_is_there=None,
    replaced_another=False,
)


@pytest.mark.parametrize(
    ("facts", "step"),
    [
        (
            replace(LOOKED, confirm_attempts=len(CONFIRM_DELAYS) - 1, file_is_there=False),
            ConfirmAction.CHECK_AGAIN,
        ),
        (LOOKED, ConfirmAction.UPLOAD_AGAIN),
        (replace(LOOKED, was_scanned=False), ConfirmAction.WAIT),
        (replace(LOOKED, was_refreshed=False), ConfirmAction.WAIT),
        (replace(LOOKED, since_sent=SECOND_UPLOAD_DELAY - timedelta(seconds=1)), ConfirmAction.WAIT),
        (replace(LOOKED, scan_is_running=True), ConfirmAction.WAIT),
        (replace(LOOKED, upload_attempts=MAX_UPLOAD_ATTEMPTS), ConfirmAction.WAIT),
        (
            replace(
                LOOKED,
                file_is_there=False,
                since_sent=timedelta(minutes=22),
                was_refreshed=False,
                was_scanned=False,
            ),
            ConfirmAction.WRITE,
        ),
        (replace(LOOKED, file_is_there=True), ConfirmAction.WAIT),
        (replace(LOOKED, replaced_another=True, was_scanned=False), ConfirmAction.RESTORE),
        (replace(LOOKED, replaced_another=True, since_sent=timedelta(minutes=22)), ConfirmAction.WAIT),
        (replace(LOOKED, replaced_another=True, file_is_there=True), ConfirmAction.WAIT),
    ],
)
def test_a_second_file_is_risked_only_when_nothing_else_is_left(
    facts: ConfirmFacts, step: ConfirmAction
) -> None:
    assert next_confirm_action(facts) is step


def test_a_refused_track_is_left_alone_longer_each_time() -> None:
    pauses = [refusal_pause(upload_attempts) for upload_attempts in range(8)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == timedelta(hours=24)
