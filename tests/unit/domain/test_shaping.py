"""From speech to cues that can be read."""

import itertools

import pytest
from fluxcaption.domain.cues import Cue, Segment
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.shaping import (
    CHAIN_MS,
    GAP_MS,
    LONGEST_MS,
    SHORTEST_MS,
    build_cues,
    distribute_lines,
    fit_translation,
    group_into_sentences,
    limits_of,
    width,
    wrap,
)
from fluxcaption.domain.units import Ms, UnitId
from hypothesis import given
from hypothesis import strategies as st

EN, ES, JA, ZH = (LanguageTag(code) for code in ("en", "es", "ja", "zh"))
WORDS = st.text("abcdefgh", min_size=1, max_size=12)
TEXTS = st.lists(WORDS, min_size=1, max_size=40).map(lambda words: " ".join(words) + ".")


def said(*parts: tuple[int, int, str]) -> list[Segment]:
    return [Segment(Ms(start), Ms(end), text) for start, end, text in parts]


def test_a_short_sentence_is_one_cue_that_starts_with_the_speech() -> None:
    (cue,) = build_cues(said((1000, 2500, "The man opens the door.")), EN)
    assert (cue.start, cue.lines) == (1000, ("The man opens the door.",))
    assert cue.end >= 2500


def test_a_long_sentence_is_shown_in_cues_of_two_lines() -> None:
    text = "And so my fellow Americans ask not what your country can do for you, ask what you can do for your country, and then go home and think about it again tonight."
    cues = build_cues(said((0, 12_000, text)), EN)
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


SPEECH = st.lists(
    st.tuples(
        st.integers(1, 15_000), st.integers(0, 3000), TEXTS | st.text("abc", min_size=43, max_size=300)
    ),
    min_size=1,
    max_size=8,
)


@given(SPEECH, st.sampled_from([EN, ES, JA]))
def test_every_word_is_kept_in_order_within_the_limits_in_their_order_of_rank(
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
    assert all(width(line, language) <= limits_of(language).line for cue in cues for line in cue.lines)
    assert all(len(cue.lines) <= 2 for cue in cues)
    assert all(cue.end - cue.start <= LONGEST_MS for cue in cues)
    for before, after in itertools.pairwise(cues):
        assert after.start - before.end >= GAP_MS or after.start - before.start <= GAP_MS
        if language != JA:
            assert not GAP_MS < after.start - before.end < CHAIN_MS
        assert before.end - before.start >= min(SHORTEST_MS, after.start - before.start - GAP_MS)


@given(TEXTS, st.integers(1, 4))
def test_a_translation_never_moves_the_times_of_its_sentence(text: str, count: int) -> None:
    cues = [Cue(Ms(number * 3000), Ms(number * 3000 + 2500), ("source words",), 0) for number in range(count)]
    fitted = fit_translation(text, cues, ES)
    assert fitted[0].start == cues[0].start
    assert fitted[-1].end == (
        cues[-1].end if len(text.split()) >= count else min(cues[-1].end, cues[0].start + LONGEST_MS)
    )
    assert " ".join(cue.text for cue in fitted).split() == text.split()
    assert all(before.end <= after.start for before, after in itertools.pairwise(fitted))
    if len(text.split()) >= count:
        assert {cue.start for cue in cues} <= {cue.start for cue in fitted}
        assert {cue.end for cue in cues} <= {cue.end for cue in fitted}


@given(TEXTS, st.integers(1, 4))
def test_spreading_gives_each_cue_its_text(text: str, count: int) -> None:
    cues = [Cue(Ms(number * 3000), Ms(number * 3000 + 2500), ("source words",), 0) for number in range(count)]
    assert len(distribute_lines(text, cues, ES)) == count


def test_cues_are_joined_to_sentences_by_what_ends_them() -> None:
    texts = ["I never", "said that.", "- Really?", "♪ la la", "Go home", "now."]
    cues = [
        Cue(Ms(number * 1500), Ms(number * 1500 + 1000), (text,), number) for number, text in enumerate(texts)
    ]
    assert [sentence.text for sentence in group_into_sentences(cues)] == [
        "I never said that.",
        "- Really?",
        "♪ la la",
        "Go home now.",
    ]


@pytest.mark.parametrize("pause", [40, 300])
def test_a_short_pause_is_closed_to_the_gap(pause: int) -> None:
    first, second = build_cues(
        said((0, 2000, "Good morning to you."), (2000 + pause, 4000, "Where is the horse?")), EN
    )
    assert second.start - first.end <= max(GAP_MS, pause)
    assert first.end - first.start <= LONGEST_MS


def test_a_cue_never_stays_longer_than_seven_seconds_though_the_word_does() -> None:
    (cue,) = build_cues(said((0, 12_000, "No")), EN)
    assert (cue.start, cue.end) == (0, LONGEST_MS)


def test_short_pauses_stay_where_readers_are_used_to_them() -> None:
    first, _ = build_cues(said((0, 2000, "これは猫です。"), (2300, 4000, "それは犬です。")), JA)
    assert first.end == 2000


@given(TEXTS | st.text("abc", min_size=43, max_size=300), st.integers(100, 8000))
def test_a_translation_too_long_for_two_lines_is_shown_in_steps_however_short_the_time(
    text: str, length: int
) -> None:
    steps = fit_translation(text, [Cue(Ms(0), Ms(length), ("x",))], ES)
    assert all(len(step.lines) <= 2 and len(line) <= 42 for step in steps for line in step.lines)
    assert "".join("".join(step.lines) for step in steps).replace(" ", "") == text.replace(" ", "")
    assert (steps[0].start, steps[-1].end) == (0, length)
    assert all(before.end <= after.start for before, after in itertools.pairwise(steps))


ARTICLES = st.lists(
    st.sampled_from(["the", "I", "of", "house", "sister", "garden", "runs", '"the']), min_size=9, max_size=20
).map(" ".join)


@given(ARTICLES)
def test_a_line_ends_with_a_word_that_belongs_to_the_next_only_where_there_is_no_other_way(text: str) -> None:
    lines = wrap(text, EN)
    words = text.split()
    actions = [(" ".join(words[:at]), " ".join(words[at:]), words[at - 1]) for at in range(1, len(words))]
    if len(lines) == 2 and any(
        len(first) <= 42 and len(second) <= 42 and last in {"house", "sister", "garden", "runs"}
        for first, second, last in actions
    ):
        assert lines[0].split()[-1] in {"house", "sister", "garden", "runs"}


def test_what_is_shown_at_the_same_time_or_in_another_style_is_no_part_of_the_sentence() -> None:
    sign = Cue(Ms(5000), Ms(9000), ("THE HOUSE",), 0)
    dialogue = Cue(Ms(5500), Ms(7000), ("The man opens",), 1)
    caption = Cue(Ms(7100), Ms(8000), ("MADRID",), 2, "Sign")
    assert [sentence.text for sentence in group_into_sentences([sign, dialogue, caption])] == [
        "THE HOUSE",
        "The man opens",
        "MADRID",
    ]


def test_two_people_are_translated_each_by_themselves_and_keep_their_lines() -> None:
    (sentence,) = group_into_sentences([Cue(Ms(0), Ms(2000), ("- Are you", "coming?", "-No."), 0)])
    assert [unit.text for unit in sentence.units] == ["Are you coming?", "No."]
    told = sentence.rendered({UnitId("1.1"): "¿Vienes?", UnitId("1.2"): "No, no."})
    assert distribute_lines(told, sentence.cues, ES) == ("- ¿Vienes?\n-No, no.",)
    assert [cue.lines for cue in fit_translation(told, sentence.cues, ES)] == [("- ¿Vienes?", "-No, no.")]
