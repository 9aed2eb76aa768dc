"""Shaping: cues from transcripts, and translations fitted into cues."""

import itertools

import pytest
from fluxcaption.domain.cue_timing import (
    MAX_DURATION_MS,
    MIN_DURATION_MS,
    MIN_PAUSE_MS,
    MIN_VISIBLE_PAUSE_MS,
)
from fluxcaption.domain.cues import Cue, Segment
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.line_breaking import limits_of, width
from fluxcaption.domain.shaping import build_cues, distribute_lines, fit_translation
from fluxcaption.domain.units import Ms
from hypothesis import given
from hypothesis import strategies as st

EN, ES, JA = (LanguageTag(code) for code in ("en", "es", "ja"))
WORDS = st.text("abcdefgh", min_size=1, max_size=12)
TEXTS = st.lists(WORDS, min_size=1, max_size=40).map(lambda words: " ".join(words) + ".")


def spoken(*parts: tuple[int, int, str]) -> list[Segment]:
    return [Segment(Ms(start), Ms(end), text) for start, end, text in parts]


def test_a_short_sentence_is_one_cue_that_starts_with_the_speech() -> None:
    (cue,) = build_cues(spoken((1000, 2500, "The man opens the door.")), EN)
    assert (cue.start, cue.lines) == (1000, ("The man opens the door.",))
    assert cue.end >= 2500


def test_a_long_sentence_is_shown_in_cues_of_two_lines() -> None:
    text = (
        "And so my fellow Americans ask not what your country can do for you, ask what you can do for your"
        " country, and then go home and think about it again tonight."
    )
    cues = build_cues(spoken((0, 12_000, text)), EN)
    assert len(cues) > 1
    assert {cue.sentence for cue in cues} == {0}
    assert all(len(cue.lines) <= 2 and all(len(line) <= 42 for line in cue.lines) for cue in cues)
    assert " ".join(cue.text for cue in cues) == text


SPEECH = st.lists(
    st.tuples(
        st.integers(1, 15_000), st.integers(0, 3000), TEXTS | st.text("abc", min_size=43, max_size=300)
    ),
    min_size=1,
    max_size=8,
)


@given(SPEECH, st.sampled_from([EN, ES, JA]))
def test_cues_keep_every_word_and_the_limits_in_order_of_precedence(
    parts: list[tuple[int, int, str]], language: LanguageTag
) -> None:
    at, segments = 0, []
    for length, pause, text in parts:
        segments.append(Segment(Ms(at + pause), Ms(at + pause + length), text))
        at += pause + length
    cues = build_cues(segments, language)
    assert "".join("".join(cue.lines) for cue in cues).replace(" ", "") == "".join(
        text for _, _, text in parts
    ).replace(" ", "")
    assert all(before.end <= after.start for before, after in itertools.pairwise(cues))
    assert all(width(line, language) <= limits_of(language).line_width for cue in cues for line in cue.lines)
    assert all(len(cue.lines) <= 2 for cue in cues)
    assert all(cue.end - cue.start <= MAX_DURATION_MS for cue in cues)
    for before, after in itertools.pairwise(cues):
        assert after.start - before.end >= MIN_PAUSE_MS or after.start - before.start <= MIN_PAUSE_MS
        if language != JA:
            assert not MIN_PAUSE_MS < after.start - before.end < MIN_VISIBLE_PAUSE_MS
        assert before.end - before.start >= min(MIN_DURATION_MS, after.start - before.start - MIN_PAUSE_MS)


@given(TEXTS, st.integers(1, 4))
def test_a_translation_keeps_the_times_of_its_sentence(text: str, count: int) -> None:
    cues = [Cue(Ms(number * 3000), Ms(number * 3000 + 2500), ("source words",), 0) for number in range(count)]
    fitted = fit_translation(text, cues, ES)
    assert fitted[0].start == cues[0].start
    assert fitted[-1].end == (
        cues[-1].end if len(text.split()) >= count else min(cues[-1].end, cues[0].start + MAX_DURATION_MS)
    )
    assert " ".join(cue.text for cue in fitted).split() == text.split()
    assert all(before.end <= after.start for before, after in itertools.pairwise(fitted))
    if len(text.split()) >= count:
        assert {cue.start for cue in cues} <= {cue.start for cue in fitted}
        assert {cue.end for cue in cues} <= {cue.end for cue in fitted}


@given(TEXTS, st.integers(1, 4))
def test_distribute_lines_returns_one_text_for_each_cue(text: str, count: int) -> None:
    cues = [Cue(Ms(number * 3000), Ms(number * 3000 + 2500), ("source words",), 0) for number in range(count)]
    assert len(distribute_lines(text, cues, ES)) == count


@pytest.mark.parametrize("pause", [40, 300])
def test_a_short_pause_is_closed_to_the_minimum_pause(pause: int) -> None:
    first, second = build_cues(
        spoken((0, 2000, "Good morning to you."), (2000 + pause, 4000, "Where is the horse?")), EN
    )
    assert second.start - first.end <= max(MIN_PAUSE_MS, pause)
    assert first.end - first.start <= MAX_DURATION_MS


def test_a_cue_stays_at_most_seven_seconds_even_for_a_longer_word() -> None:
    (cue,) = build_cues(spoken((0, 12_000, "No")), EN)
    assert (cue.start, cue.end) == (0, MAX_DURATION_MS)


def test_short_pauses_are_kept_in_japanese() -> None:
    first, _ = build_cues(spoken((0, 2000, "これは猫です。"), (2300, 4000, "それは犬です。")), JA)
    assert first.end == 2000


@given(TEXTS | st.text("abc", min_size=43, max_size=300), st.integers(100, 8000))
def test_a_translation_of_more_than_two_lines_is_shown_in_steps(text: str, length: int) -> None:
    steps = fit_translation(text, [Cue(Ms(0), Ms(length), ("x",))], ES)
    assert all(len(step.lines) <= 2 and len(line) <= 42 for step in steps for line in step.lines)
    assert "".join("".join(step.lines) for step in steps).replace(" ", "") == text.replace(" ", "")
    assert (steps[0].start, steps[-1].end) == (0, length)
    assert all(before.end <= after.start for before, after in itertools.pairwise(steps))
