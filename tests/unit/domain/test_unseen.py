"""What is done about a track that was sent and is not seen."""

from dataclasses import replace
from datetime import timedelta

import pytest
from fluxcaption.domain.confirm_policy import (
    LOOKS,
    MOST_SENDS,
    SECOND_UPLOAD_AFTER,
    Unseen,
    UnseenFacts,
    decide_unseen,
    refusal_pause,
)

LOOKED = UnseenFacts(
    looks=len(LOOKS),
    sends=1,
    since_sent=SECOND_UPLOAD_AFTER,
    was_refreshed=True,
    scan_is_running=False,
    was_scanned=True,
    file_is_there=None,
    replaced_another=False,
)


@pytest.mark.parametrize(
    ("facts", "step"),
    [
        (replace(LOOKED, looks=len(LOOKS) - 1, file_is_there=False), Unseen.LOOK),
        (LOOKED, Unseen.SEND_AGAIN),
        (replace(LOOKED, was_scanned=False), Unseen.WAIT),
        (replace(LOOKED, was_refreshed=False), Unseen.WAIT),
        (replace(LOOKED, since_sent=SECOND_UPLOAD_AFTER - timedelta(seconds=1)), Unseen.WAIT),
        (replace(LOOKED, scan_is_running=True), Unseen.WAIT),
        (replace(LOOKED, sends=MOST_SENDS), Unseen.WAIT),
        (
            replace(
                LOOKED,
                file_is_there=False,
                since_sent=timedelta(minutes=22),
                was_refreshed=False,
                was_scanned=False,
            ),
            Unseen.WRITE,
        ),
        (replace(LOOKED, file_is_there=True), Unseen.WAIT),
        (replace(LOOKED, replaced_another=True, was_scanned=False), Unseen.PUT_BACK),
        (replace(LOOKED, replaced_another=True, since_sent=timedelta(minutes=22)), Unseen.WAIT),
        (replace(LOOKED, replaced_another=True, file_is_there=True), Unseen.WAIT),
    ],
)
def test_a_second_file_is_risked_only_when_nothing_else_is_left(facts: UnseenFacts, step: Unseen) -> None:
    assert decide_unseen(facts) is step


def test_a_refused_track_is_left_alone_longer_each_time() -> None:
    pauses = [refusal_pause(sends) for sends in range(8)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == timedelta(hours=24)
