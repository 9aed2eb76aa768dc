"""What a language model may answer, and what of it is believed: each unit by itself.

Source of the faults: translation sheet, fault menu.
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

MAX_RATIO = 4
MAX_EXTRA = 40
CLEARLY_MORE_ALIKE = 1.6
"""By so much a reply must suit the neighbours better than its own sentences; a number counts two, a name or a question one."""

_NAME = re.compile(r"(?<=[^.?!…] )[A-Z][a-z]{2,}")
_CLOSING = "\"'”’»)] "
_ASKS = frozenset("?？؟")
_THINK = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_MARKS = "\u200e\u200f\u202a\u202b\u202c\ufeff"


def schema_for(units: Sequence[TextUnit]) -> dict[str, Any]:
    """The JSON Schema of an answer: every id required, each with the source echoed."""
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
    """The translations in a reply that can be believed; an id that is missing was refused, and all of them where they are out of step."""
    found = _object_in(_THINK.sub("", reply))
    accepted: dict[UnitId, str] = {}
    for unit in units:
        entry = found.get(unit.id)
        if not isinstance(entry, dict):
            continue
        echo, text = entry.get("source"), entry.get("text")
        if (
            isinstance(echo, str)
            and isinstance(text, str)
            and refusal(unit.text, echo, text, source, target) is None
        ):
            accepted[unit.id] = _tidy(text)
    pairs = [(unit.text, accepted[unit.id]) for unit in units if unit.id in accepted]
    return {} if is_out_of_step([text for text, _ in pairs], [text for _, text in pairs]) else accepted


def is_out_of_step(sources: Sequence[str], texts: Sequence[str]) -> bool:
    """Whether the translations, or a run of them, clearly answer the sentence before or after their own, or come in reverse order."""
    count = len(sources)
    if count < 2:
        return False
    # Some languages need fewer signs than others.
    usual = (
        median(_length_ratio(source, text) for source, text in zip(sources, texts, strict=True))
        if count > 2
        else 0.0
    )
    own = [_likeness(source, text, usual) for source, text in zip(sources, texts, strict=True)]
    for step in (1, -1):
        best = run = 0.0
        for at, source in enumerate(sources):
            run = max(0.0, run + _likeness(source, texts[(at + step) % count], usual) - own[at])
            best = max(best, run)
        if best > CLEARLY_MORE_ALIKE:
            return True
    backwards = sum(
        _likeness(source, text, usual) for source, text in zip(sources, reversed(texts), strict=True)
    )
    return backwards - sum(own) > CLEARLY_MORE_ALIKE


def _likeness(source: str, text: str, usual_ratio: float) -> float:
    """What speaks for a text being a sentence's translation, in any two languages: numbers and names, whether it asks, and its length."""
    alike = 2.0 if (digits := _digits(source)) and digits == _digits(text) else 0.0
    alike += sum(1.0 for name in _NAME.findall(source) if name in text)
    alike += (source.rstrip(_CLOSING)[-1:] in _ASKS) == (text.rstrip(_CLOSING)[-1:] in _ASKS)
    return alike - abs(_length_ratio(source, text) - usual_ratio)


def _length_ratio(source: str, text: str) -> float:
    return math.log((len(text) + 2) / (len(source) + 2))


def _digits(text: str) -> list[str]:
    return sorted(sign for sign in text if sign.isdigit())


def refusal(text: str, echo: str, translated: str, source: LanguageTag, target: LanguageTag) -> str | None:
    """Why one answer is not believed; None when it is."""
    words = _tidy(translated)
    if not words:
        return "it is empty"
    if _CONTROL.search(translated) or any("\ud800" <= sign <= "\udfff" for sign in translated):
        return "it holds signs that are no text"
    if _letters(echo) != _letters(text):
        return "it answers another sentence"
    if len(words) > MAX_RATIO * len(text) + MAX_EXTRA:
        return "it is far too long"
    if source.language != target.language and _letters(words) == _letters(text) and len(text.split()) > 2:
        return "it is the source again"
    return None


def _tidy(text: str) -> str:
    return " ".join(text.strip(_MARKS + " \n\t").split())


def _letters(text: str) -> str:
    return "".join(sign for sign in text.lower() if sign.isalnum())


def _object_in(reply: str) -> dict[str, Any]:
    """The JSON object in a reply, with prose or a fence around it; a key that comes twice is believed neither time."""
    decoder = json.JSONDecoder(object_pairs_hook=_without_doubles)
    at = reply.find("{")
    while at != -1:
        try:
            value, _ = decoder.raw_decode(reply, at)
        except (ValueError, RecursionError):
            at = reply.find("{", at + 1) if at < 200 else -1
            continue
        return value if isinstance(value, dict) else {}
    return {}


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    return {name: value for name, value in pairs if names.count(name) == 1}
