"""What is kept of a recogniser's answer."""

import pytest
from fluxcaption.domain.asr_filter import drop_repetitions
from fluxcaption.domain.cues import Segment
from fluxcaption.domain.units import Ms


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (["No.", "No.", "Yes."], ["No.", "No.", "Yes."]),
        (["Thanks."] * 50, ["Thanks."]),
        (["Hi.", "Thanks.", "Thanks.", "Thanks.", "Bye.", "Thanks."], ["Hi.", "Thanks.", "Bye.", "Thanks."]),
        ([], []),
    ],
)
def test_a_loop_of_one_text_is_kept_once(said: list[str], kept: list[str]) -> None:
    segments = [Segment(Ms(at * 1000), Ms(at * 1000 + 900), text) for at, text in enumerate(said)]
    assert [segment.text for segment in drop_repetitions(segments)] == kept
