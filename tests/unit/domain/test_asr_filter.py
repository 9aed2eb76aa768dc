"""Filters for the output of a recognizer."""

import pytest
from fluxcaption.domain.asr_filter import drop_repetitions
from fluxcaption.domain.cues import Segment
from fluxcaption.domain.units import Ms


@pytest.mark.parametrize(
    ("texts", "kept"),
    [
        (["No.", "No.", "Yes."], ["No.", "No.", "Yes."]),
        (["Thanks."] * 50, ["Thanks."]),
        (["Hi.", "Thanks.", "Thanks.", "Thanks.", "Bye.", "Thanks."], ["Hi.", "Thanks.", "Bye.", "Thanks."]),
        ([], []),
    ],
)
def test_a_loop_of_one_text_is_reduced_to_its_first_segment(texts: list[str], kept: list[str]) -> None:
    segments = [Segment(Ms(at * 1000), Ms(at * 1000 + 900), text) for at, text in enumerate(texts)]
    assert [segment.text for segment in drop_repetitions(segments)] == kept
