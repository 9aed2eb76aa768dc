"""Parsing of replies of language models; each translation is accepted or rejected on its own.

Source of the faults that are checked for: notes/faults.md F23.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from fluxcaption.domain.cues import TextUnit
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import UnitId

MAX_LENGTH_RATIO = 4
MAX_EXTRA_CHARS = 40
"""A translation longer than `MAX_LENGTH_RATIO` times the source plus this is rejected."""

MIN_WORDS_TO_COMPARE = 3
"""A translation equal to the source is rejected from this length on; names and interjections may be equal."""

SHIFT_MARGIN = 1.6
"""Excess of similarity from which a reply is taken to be shifted; see `_similarity` for the scale."""

MAX_PREAMBLE_CHARS = 200
"""Text before the JSON object in which another opening brace is tried."""

_NAME = re.compile(r"(?<=[^.?!…] )[A-Z][a-z]{2,}")
"""A capitalized word that does not begin a sentence."""

_CLOSING_PUNCTUATION = "\"'”’»)] "
_QUESTION_MARKS = frozenset("?？؟")
_REASONING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_DIRECTION_MARKS = "\u200e\u200f\u202a\u202b\u202c\ufeff"


def schema_for(units: Sequence[TextUnit]) -> dict[str, Any]:
    """Return the JSON Schema of a reply: for each id an object with the source and its translation."""
    entry = {
        "type": "object",
        "properties": {"source": {"type": "string"}, "text": {"type": "string"}},
        "required": ["source", "text"],
    }
    return {
        "type": "object",
        "properties": {unit.id: entry for unit in units},
        "required": [unit.id for unit in units],
    }


def read_reply(
    reply: str, units: Sequence[TextUnit], source: LanguageTag, target: LanguageTag
) -> Mapping[UnitId, str]:
    """Return the accepted translations by unit id; none at all if the reply is shifted."""
    entries = _parse_object(_REASONING.sub("", reply))
    accepted: dict[UnitId, str] = {}
    for unit in units:
        entry = entries.get(unit.id)
        if not isinstance(entry, dict):
            continue
        echo, text = entry.get("source"), entry.get("text")
        if not isinstance(echo, str) or not isinstance(text, str):
            continue
        if reject_reason(unit.text, echo, text, source, target) is None:
            accepted[unit.id] = _normalize_space(text)
    answered = [unit for unit in units if unit.id in accepted]
    if is_shifted([unit.text for unit in answered], [accepted[unit.id] for unit in answered]):
        return {}
    return accepted


def reject_reason(
    text: str, echo: str, translation: str, source: LanguageTag, target: LanguageTag
) -> str | None:
    """Return the reason why a translation is rejected; None if it is accepted.

    `echo` is the source sentence as the model repeats it.
    """
    words = _normalize_space(translation)
    if not words:
        return "it is empty"
    if _CONTROL_CHARACTER.search(translation):
        return "it contains control characters"
    if _letters_and_digits(echo) != _letters_and_digits(text):
        return "it belongs to another sentence"
    if len(words) > MAX_LENGTH_RATIO * len(text) + MAX_EXTRA_CHARS:
        return "it is too long"
    is_same_text = _letters_and_digits(words) == _letters_and_digits(text)
    if source.language != target.language and is_same_text and len(text.split()) >= MIN_WORDS_TO_COMPARE:
        return "it repeats the source"
    return None


def is_shifted(sources: Sequence[str], translations: Sequence[str]) -> bool:
    """Return True if translations belong to the sentence before or after, or come in reverse order.

    For each shift by one, the run of sentences with the largest total excess of similarity over the own
    translation is found (maximum subarray sum, Kadane's algorithm). Above `SHIFT_MARGIN` it is a shift.
    """
    count = len(sources)
    if count < 2:
        return False
    # Languages differ in length; two sentences are too few for an estimate.
    ratios = [_length_ratio(*pair) for pair in zip(sources, translations, strict=True)]
    usual_ratio = median(ratios) if count > 2 else 0.0
    own = [_similarity(*pair, usual_ratio) for pair in zip(sources, translations, strict=True)]
    for shift in (1, -1):
        largest_excess = run_excess = 0.0
        for index, source in enumerate(sources):
            shifted = _similarity(source, translations[(index + shift) % count], usual_ratio)
            run_excess = max(0.0, run_excess + shifted - own[index])
            largest_excess = max(largest_excess, run_excess)
        if largest_excess > SHIFT_MARGIN:
            return True
    in_reverse = sum(
        _similarity(*pair, usual_ratio) for pair in zip(sources, reversed(translations), strict=True)
    )
    return in_reverse - sum(own) > SHIFT_MARGIN


def _similarity(source: str, translation: str, usual_ratio: float) -> float:
    """Return a score for a translation belonging to a sentence, independent of the languages.

    Equal digits count 2, each name in both 1, and agreement about being a question 1. The deviation of the
    length ratio from the usual one, as a natural logarithm, is subtracted.
    """
    digits = _digits(source)
    score = 2.0 if digits and digits == _digits(translation) else 0.0
    score += sum(1.0 for name in _NAME.findall(source) if name in translation)
    score += _is_question(source) == _is_question(translation)
    return score - abs(_length_ratio(source, translation) - usual_ratio)


def _length_ratio(source: str, translation: str) -> float:
    """Return the natural logarithm of the ratio of the lengths, damped for short sentences."""
    return math.log((len(translation) + 2) / (len(source) + 2))


def _is_question(text: str) -> bool:
    return text.rstrip(_CLOSING_PUNCTUATION)[-1:] in _QUESTION_MARKS


def _digits(text: str) -> list[str]:
    return sorted(character for character in text if character.isdigit())


def _normalize_space(text: str) -> str:
    return " ".join(text.strip(_DIRECTION_MARKS + " \n\t").split())


def _letters_and_digits(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())


def _parse_object(reply: str) -> dict[str, Any]:
    """Return the JSON object in a reply, which prose or a code fence may surround; empty if there is none."""
    decoder = json.JSONDecoder(object_pairs_hook=_drop_repeated_keys)
    start = reply.find("{")
    while start != -1:
        try:
            value, _ = decoder.raw_decode(reply, start)
        except (ValueError, RecursionError):
            start = reply.find("{", start + 1) if start < MAX_PREAMBLE_CHARS else -1
            continue
        return value if isinstance(value, dict) else {}
    return {}


def _drop_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs without the keys that occur twice: neither value can be trusted."""
    keys = [key for key, _ in pairs]
    return {key: value for key, value in pairs if keys.count(key) == 1}
