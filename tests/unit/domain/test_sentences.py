"""Sentences: cues that are translated together."""

from fluxcaption.domain.cues import Cue
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.sentences import group_into_sentences
from fluxcaption.domain.shaping import distribute_lines, fit_translation
from fluxcaption.domain.units import Ms, UnitId

ES = LanguageTag("es")


def test_cues_are_grouped_into_sentences_by_punctuation() -> None:
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


def test_overlapping_cues_and_other_styles_are_separate_sentences() -> None:
    other_style = Cue(Ms(5000), Ms(9000), ("THE HOUSE",), 0)
    dialogue = Cue(Ms(5500), Ms(7000), ("The man opens",), 1)
    caption = Cue(Ms(7100), Ms(8000), ("MADRID",), 2, "Sign")
    assert [sentence.text for sentence in group_into_sentences([other_style, dialogue, caption])] == [
        "THE HOUSE",
        "The man opens",
        "MADRID",
    ]


def test_two_speakers_are_translated_separately_and_keep_their_lines() -> None:
    (sentence,) = group_into_sentences([Cue(Ms(0), Ms(2000), ("- Are you", "coming?", "-No."), 0)])
    assert [unit.text for unit in sentence.units] == ["Are you coming?", "No."]
    translation = sentence.rendered({UnitId("1.1"): "¿Vienes?", UnitId("1.2"): "No, no."})
    assert distribute_lines(translation, sentence.cues, ES) == ("- ¿Vienes?\n-No, no.",)
    assert [cue.lines for cue in fit_translation(translation, sentence.cues, ES)] == [
        ("- ¿Vienes?", "-No, no.")
    ]
