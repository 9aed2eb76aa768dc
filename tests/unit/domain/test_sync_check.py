"""Check that a subtitle text belongs to the audio."""

import random

from fluxcaption.domain.cues import Cue, Span
from fluxcaption.domain.sync_check import SpeechSample, sample_ranges, sync_problem
from fluxcaption.domain.units import Ms
from hypothesis import given, settings
from hypothesis import strategies as st

DURATION = Ms(90 * 60_000)


def speech(seed: int) -> list[tuple[int, int]]:
    """Return the speech of a film: turns of one to four seconds with pauses between."""
    dice = random.Random(seed)
    at, spans = 20_000, []
    while at < DURATION - 30_000:
        length = dice.randint(1000, 4000)
        spans.append((at, at + length))
        at += length + dice.choice([300, 700, 1500, 4000, 9000])
    return spans


def samples(spans: list[tuple[int, int]]) -> list[SpeechSample]:
    return [
        SpeechSample(
            start,
            stop,
            tuple(Span(Ms(max(a, start)), Ms(min(b, stop))) for a, b in spans if b > start and a < stop),
        )
        for start, stop in sample_ranges(DURATION)
    ]


def text(spans: list[tuple[int, int]], shift: int = 0, rate: float = 1.0) -> list[Cue]:
    return [
        Cue(Ms(max(0, int(a * rate) + shift)), Ms(max(1, int(b * rate) + shift + 400)), ("word",))
        for a, b in spans
        if int(b * rate) + shift + 400 > 0
    ]


@given(st.integers(0, 40), st.integers(-300, 600))
@settings(deadline=None, max_examples=20)
def test_a_synchronous_text_fits(seed: int, shift: int) -> None:
    assert sync_problem(text(speech(seed), shift), samples(speech(seed)), DURATION) == ""


@given(st.integers(0, 40), st.sampled_from([-20_000, -8000, 5000, 12_000, 40_000]))
@settings(deadline=None, max_examples=20)
def test_a_text_with_an_offset_is_reported_with_the_offset(seed: int, shift: int) -> None:
    problem = sync_problem(text(speech(seed), shift), samples(speech(seed)), DURATION)
    assert problem.endswith("s late" if shift > 0 else "s early")
    assert abs(float(problem.split()[2]) * 1000 - abs(shift)) < 1000


def test_the_text_of_another_film_is_reported() -> None:
    for seed in range(20):
        assert "does not follow the speech" in sync_problem(
            text(speech(100 + seed)), samples(speech(seed)), DURATION
        )


@given(st.integers(0, 20))
@settings(deadline=None, max_examples=10)
def test_a_text_at_another_speed_is_reported_as_drifting(seed: int) -> None:
    assert "drifts" in sync_problem(
        text(speech(seed), rate=25 / 23.976 - 0.034), samples(speech(seed)), DURATION
    )


def test_a_text_longer_than_the_film_is_reported() -> None:
    assert "after the end" in sync_problem(text([(DURATION + 600_000, DURATION + 601_000)]), [], DURATION)


def test_a_text_without_cues_is_reported() -> None:
    assert sync_problem([], [], DURATION) == "it has no text"


def test_too_little_speech_or_text_is_not_judged() -> None:
    assert sync_problem(text([(60_000, 61_000)]), samples([(60_000, 62_000)]), DURATION) == ""
