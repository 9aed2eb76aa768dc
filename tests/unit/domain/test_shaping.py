"""From speech to cues that can be read."""

import itertools

import pytest
from fluxcaption.domain.cues import Cue, Segment
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.shaping import GAP_MS, LONGEST_MS, fit, limits_of, sentences, shape, spread, width, wrap
from fluxcaption.domain.units import Ms
from hypothesis import given
from hypothesis import strategies as st

EN, ES, ZH = LanguageTag("en"), LanguageTag("es"), LanguageTag("zh")
WORDS = st.text("abcdefgh", min_size=1, max_size=12)
TEXTS = st.lists(WORDS, min_size=1, max_size=40).map(lambda words: " ".join(words) + ".")


def said(*parts: tuple[int, int, str]) -> list[Segment]:
    return [Segment(Ms(start), Ms(end), text) for start, end, text in parts]


def test_a_short_sentence_is_one_cue_that_starts_with_the_speech() -> None:
    (cue,) = shape(said((1000, 2500, "The man opens the door.")), EN)
    assert (cue.start, cue.lines) == (1000, ("The man opens the door.",))
    assert cue.end >= 2500


def test_a_long_sentence_is_shown_in_cues_of_two_lines() -> None:
    text = "And so my fellow Americans ask not what your country can do for you, ask what you can do for your country, and then go home and think about it again tonight."
    cues = shape(said((0, 12_000, text)), EN)
    assert len(cues) > 1
    assert {cue.sentence for cue in cues} == {0}
    assert all(len(cue.lines) <= 2 and all(len(line) <= 42 for line in cue.lines) for cue in cues)
    assert " ".join(cue.text for cue in cues) == text


def test_a_line_does_not_end_with_an_article() -> None:
    lines = wrap("The old farmer carries the beautiful yellow basket to the market", EN)
    assert len(lines) == 2
    assert lines[0].split()[-1] not in {"the", "to"}


def test_chinese_is_broken_by_signs_and_not_before_a_full_stop() -> None:
    lines = wrap("我们昨天晚上在花园里看见了一只很大的黑色的狗和一只白色的猫。", ZH)
    assert all(width(line, ZH) <= limits_of(ZH).line for line in lines)
    assert not any(line.startswith("。") for line in lines)


@given(st.lists(st.tuples(st.integers(100, 6000), st.integers(0, 3000), TEXTS), min_size=1, max_size=8))
def test_every_word_is_kept_in_order_and_no_cue_overlaps(parts: list[tuple[int, int, str]]) -> None:
    at, segments = 0, []
    for length, pause, text in parts:
        segments.append(Segment(Ms(at + pause), Ms(at + pause + length), text))
        at += pause + length
    cues = shape(segments, EN)
    assert " ".join(cue.text for cue in cues).split() == " ".join(text for _, _, text in parts).split()
    assert all(before.end <= after.start for before, after in itertools.pairwise(cues))
    assert all(len(line) <= 42 for cue in cues for line in cue.lines)


@given(TEXTS, st.integers(1, 4))
def test_a_translation_never_moves_the_times_of_its_sentence(text: str, count: int) -> None:
    cues = [Cue(Ms(number * 3000), Ms(number * 3000 + 2500), ("source words",), 0) for number in range(count)]
    fitted = fit(text, cues, ES)
    assert fitted[0].start == cues[0].start
    assert fitted[-1].end == cues[-1].end
    assert " ".join(cue.text for cue in fitted).split() == text.split()
    assert all(before.end <= after.start for before, after in itertools.pairwise(fitted))
    if len(text.split()) >= count:
        assert {cue.start for cue in cues} <= {cue.start for cue in fitted}
        assert {cue.end for cue in cues} <= {cue.end for cue in fitted}


@given(TEXTS, st.integers(1, 4))
def test_spreading_gives_each_cue_its_text(text: str, count: int) -> None:
    cues = [Cue(Ms(number * 3000), Ms(number * 3000 + 2500), ("source words",), 0) for number in range(count)]
    assert len(spread(text, cues, ES)) == count


def test_cues_are_joined_to_sentences_by_what_ends_them() -> None:
    texts = ["I never", "said that.", "- Really?", "♪ la la", "Go home", "now."]
    cues = [Cue(Ms(number * 1500), Ms(number * 1500 + 1000), (text,), number) for number, text in enumerate(texts)]
    assert [sentence.text for sentence in sentences(cues)] == ["I never said that.", "- Really?", "♪ la la", "Go home now."]


@pytest.mark.parametrize("pause", [40, 300])
def test_a_short_pause_is_closed_to_the_gap(pause: int) -> None:
    first, second = shape(said((0, 2000, "Good morning to you."), (2000 + pause, 4000, "Where is the horse?")), EN)
    assert second.start - first.end <= max(GAP_MS, pause)
    assert first.end - first.start <= LONGEST_MS
