"""Next action for a track that was sent and is not listed."""

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

CHECKED = ConfirmFacts(
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
    ("facts", "action"),
    [
        (
            replace(CHECKED, confirm_attempts=len(CONFIRM_DELAYS) - 1, file_is_there=False),
            ConfirmAction.CHECK_AGAIN,
        ),
        (CHECKED, ConfirmAction.UPLOAD_AGAIN),
        (replace(CHECKED, was_scanned=False), ConfirmAction.WAIT),
        (replace(CHECKED, was_refreshed=False), ConfirmAction.WAIT),
        (replace(CHECKED, since_sent=SECOND_UPLOAD_DELAY - timedelta(seconds=1)), ConfirmAction.WAIT),
        (replace(CHECKED, scan_is_running=True), ConfirmAction.WAIT),
        (replace(CHECKED, upload_attempts=MAX_UPLOAD_ATTEMPTS), ConfirmAction.WAIT),
        (
            replace(
                CHECKED,
                file_is_there=False,
                since_sent=timedelta(minutes=22),
                was_refreshed=False,
                was_scanned=False,
            ),
            ConfirmAction.WRITE,
        ),
        (replace(CHECKED, file_is_there=True), ConfirmAction.WAIT),
        (replace(CHECKED, replaced_another=True, was_scanned=False), ConfirmAction.RESTORE),
        (replace(CHECKED, replaced_another=True, since_sent=timedelta(minutes=22)), ConfirmAction.WAIT),
        (replace(CHECKED, replaced_another=True, file_is_there=True), ConfirmAction.WAIT),
    ],
)
def test_second_upload_is_made_only_if_nothing_else_can_help(
    facts: ConfirmFacts, action: ConfirmAction
) -> None:
    assert next_confirm_action(facts) is action


def test_pause_after_a_refusal_grows_up_to_a_day() -> None:
    pauses = [refusal_pause(upload_attempts) for upload_attempts in range(8)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == timedelta(hours=24)
