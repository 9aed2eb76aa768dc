"""Line breaking: limits of a line in each language, and where a line or cue may end.

Source of the numbers: notes/subtitle-craft.md C1 to C6 (Netflix general requirements).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from fluxcaption.domain.language import LanguageTag

MAX_LINES = 2
"""Most lines of a cue."""

MAX_DISTANCE_FROM_TARGET = 70
"""Characters by which a share of a text may differ from its target size for a better break."""

SENTENCE_END = ".?!…。？！｡؟।"
CLAUSE_END = ",;:—–，、；："
CLOSING_CHARACTERS = "\"'”’»)]}」』）"
_OPENING_CHARACTERS = "\"'“‘«([{「『（《¿¡"
_NEVER_AT_LINE_START = frozenset(SENTENCE_END + CLAUSE_END + CLOSING_CHARACTERS)
_NEVER_AT_LINE_END = frozenset("「『（《“")
_PAUSES = frozenset(SENTENCE_END + CLAUSE_END)

LANGUAGES_WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "km", "my", "yue"})
"""Languages written without spaces between words; every character is a possible end of a line."""

_LANGUAGES_WITH_WIDE_CHARACTERS = LANGUAGES_WITHOUT_SPACES | {"ko"}
_FIRST_WIDE_CHARACTER = 0x1100
"""Code point from which characters are counted as full width."""

_LONGER_LAST_LINE_COST = 0.5
_LONGER_FIRST_LINE_COST = 0.7
"""Cost of each character by which two lines differ."""

_LINE_PAUSE_BONUS = 12
_SHARE_PAUSE_BONUS = 8
"""Gain of a break at punctuation, in the costs of a line and in characters of a share."""

_SHARE_NEVER_LAST_COST = 20
"""Cost, in characters, of a share that ends with a word of `_NEVER_LAST`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Reading limits of one language.

    Attributes:
        line_width: Most characters on a line. In languages with full-width characters a half-width one
            counts 0.5.
        characters_per_second: Highest reading speed.
        closes_short_pauses: True if a pause between cues that is too short to be seen is closed.
    """

    line_width: int = 42
    characters_per_second: float = 17
    closes_short_pauses: bool = True


_LIMITS = {
    "en": Limits(42, 20),
    "ar": Limits(42, 20),
    "hi": Limits(42, 22),
    "ja": Limits(13, 4, closes_short_pauses=False),
    "ko": Limits(16, 12),
    "zh": Limits(16, 9),
    "yue": Limits(16, 9),
    "th": Limits(35, 17),
}


def _word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NEVER_LAST = {
    "en": _word_set(
        "a an the of to in on at by for with from and or but my your his her its our their is are was "
        "were be been not will would can could has have had i he she we they"
    ),
    "es": _word_set(
        "el la los las un una unos unas de del a al en con por para y o pero mi tu su no me te se lo "
        "le que es son ha he"
    ),
    "de": _word_set(
        "der die das den dem des ein eine einen einem einer von zu in im an am auf mit und oder aber "
        "mein dein sein ihr nicht ich er sie wir ist sind hat"
    ),
    "fr": _word_set(
        "le la les un une des de du à au aux en dans par pour avec et ou mais mon ton son ne pas je "
        "tu il elle nous vous est sont a ai"
    ),
}
"""Articles, prepositions, auxiliaries, negations and pronouns: words that never end a line."""


def limits_of(language: LanguageTag) -> Limits:
    """Return the reading limits of a language."""
    return _LIMITS.get(language.language, Limits())


def width(text: str, language: LanguageTag) -> float:
    """Return the width of a text in the characters that `Limits.line_width` counts."""
    if language.language in _LANGUAGES_WITH_WIDE_CHARACTERS:
        return sum(0.5 if ord(character) < _FIRST_WIDE_CHARACTER else 1.0 for character in text)
    return float(len(text))


def wrap(text: str, language: LanguageTag) -> tuple[str, ...]:
    """Break the text of one cue into lines: one if it fits, else the best two, else as many as needed."""
    words = split_words(text, language)
    if width(text, language) <= limits_of(language).line_width or len(words) < 2:
        return (" ".join(text.split()),)
    space = width(join_words(["", ""], language), language)
    ends = list(accumulate(width(word, language) + space for word in words))
    cuts = _best_cut(words, ends, space, language) or _filled_cuts(ends, space, language)
    return tuple(
        join_words(words[start:end], language)
        for start, end in zip((0, *cuts), (*cuts, len(words)), strict=True)
    )


def _best_cut(
    words: Sequence[str], ends: Sequence[float], space: float, language: LanguageTag
) -> tuple[int, ...]:
    """Return the best place to break into two lines; empty if the text does not fit two lines.

    `ends` has the width of the text up to each word with a space behind it.
    """
    limit = limits_of(language).line_width
    total = ends[-1]
    fitting = [
        cut
        for cut in range(1, len(words))
        if ends[cut - 1] - space <= limit and total - ends[cut - 1] - space <= limit
    ]
    if not fitting:
        return ()
    return (
        min(
            fitting,
            key=lambda cut: _break_cost(words[cut - 1], ends[cut - 1], total - ends[cut - 1], language),
        ),
    )


def _filled_cuts(ends: Sequence[float], space: float, language: LanguageTag) -> tuple[int, ...]:
    """Return the breaks if each line takes as many words as fit."""
    cuts: list[int] = []
    line_start = 0.0
    for number in range(1, len(ends)):
        if ends[number] - line_start - space > limits_of(language).line_width:
            cuts.append(number)
            line_start = ends[number - 1]
    return tuple(cuts)


def _break_cost(last_word: str, first: float, second: float, language: LanguageTag) -> tuple[bool, float]:
    """Return the cost of a break after `last_word`, for the widths of the two lines."""
    # Subtitles look best with the longer line at the bottom.
    cost_per_character = _LONGER_LAST_LINE_COST if second >= first else _LONGER_FIRST_LINE_COST
    cost = abs(second - first) * cost_per_character - _LINE_PAUSE_BONUS * _ends_at_pause(last_word)
    return is_never_last(last_word, language), cost


def distribute_words(words: Sequence[str], weights: Sequence[int], language: LanguageTag) -> list[list[str]]:
    """Distribute words over parts in proportion to the weights, with breaks at pauses if near.

    Each part gets at least one word; there must be at least as many words as weights.
    """
    shares: list[list[str]] = []
    start = 0
    total_weight = sum(weights) or 1
    ends = list(accumulate(len(word) + 1 for word in words))
    for number, weight_so_far in enumerate(accumulate(weights[:-1]), 1):
        target = ends[-1] * weight_so_far / total_weight
        near_start = bisect_left(ends, target - MAX_DISTANCE_FROM_TARGET) + 1
        near_end = bisect_right(ends, target + MAX_DISTANCE_FROM_TARGET)
        first, last = start + 1, len(words) - (len(weights) - number)
        cuts = range(min(max(near_start, first), last), max(min(near_end, last), first) + 1)
        best = min(cuts, key=lambda cut: _cut_cost(words[cut - 1], abs(ends[cut - 1] - target), language))
        shares.append(list(words[start:best]))
        start = best
    return [*shares, list(words[start:])]


def _cut_cost(last_word: str, distance: float, language: LanguageTag) -> float:
    cost = distance - _SHARE_PAUSE_BONUS * _ends_at_pause(last_word)
    return cost + _SHARE_NEVER_LAST_COST * is_never_last(last_word, language)


def _ends_at_pause(word: str) -> bool:
    return word.rstrip(CLOSING_CHARACTERS)[-1:] in _PAUSES


def is_never_last(word: str, language: LanguageTag) -> bool:
    """Return True if a line should not end with the word."""
    return word.lstrip(_OPENING_CHARACTERS).lower() in _NEVER_LAST.get(language.language, ())


def split_words(text: str, language: LanguageTag) -> list[str]:
    """Split a text at the places where a line may end; a word longer than a line is split as well."""
    if language.language in LANGUAGES_WITHOUT_SPACES:
        words = _split_characters(text, language)
    else:
        words = text.split()
    return [piece for word in words for piece in _split_long_word(word, language)]


def join_words(words: Sequence[str], language: LanguageTag) -> str:
    """Join words as the language writes them."""
    return ("" if language.language in LANGUAGES_WITHOUT_SPACES else " ").join(words)


def _split_characters(text: str, language: LanguageTag) -> list[str]:
    words: list[str] = []
    # Thai marks the ends of phrases with spaces.
    for character in (" " if language.language == "th" else "").join(text.split()):
        if words and _belongs_together(words[-1][-1], character):
            words[-1] += character
        else:
            words.append(character)
    return words


def _belongs_together(before: str, character: str) -> bool:
    if character in _NEVER_AT_LINE_START or before in _NEVER_AT_LINE_END:
        return True
    return character.isascii() and character.isalnum() and before.isascii() and before.isalnum()


def _split_long_word(word: str, language: LanguageTag) -> Iterator[str]:
    limit = limits_of(language).line_width
    start, used = 0, 0.0
    for position, character in enumerate(word) if len(word) > limit else ():
        used += width(character, language)
        if used > limit:
            yield word[start:position]
            start, used = position, width(character, language)
    yield word[start:]
