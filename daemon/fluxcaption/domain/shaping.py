"""From what was said to what is read: cues within the limits viewers feel, at the times of the speech.

Source of the numbers: subtitle craft sheet, section 1 (Netflix general requirements and timing; 2 frames at 24 fps are 83 ms).
When rules collide: every word kept, no overlap, lines and characters, start in time, longest, gap, shortest, end of speech, reading speed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from fluxcaption.domain.cues import Cue, Segment
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import Ms, UnitId
from fluxcaption.domain.work import TextUnit

SHORTEST_MS = 833
LONGEST_MS = 7_000
GAP_MS = 83
CHAIN_MS = 500
"""A pause shorter than this is closed to the gap."""

LINGER_MS = 500
"""A cue may stay this long after the speech, for reading speed."""

MOST_LINES = 2
PAUSE_MS = 1_000
MOST_SENTENCE_CUES = 4
MOST_SENTENCE_CHARACTERS = 240

FINAL = ".?!…。？！｡؟।"
CLAUSE = ",;:—–，、；："
_CLOSING = "\"'”’»)]}」』）"
UNSPACED = frozenset({"zh", "ja", "th", "lo", "km", "my", "yue"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What one language's readers can take.

    Attributes:
        line: Characters on a line; a full-width one counts 1, in those languages a half-width one a half.
        per_second: Characters read in a second.
    """

    line: int = 42
    per_second: float = 17


LIMITS = {
    "en": Limits(42, 20),
    "ar": Limits(42, 20),
    "hi": Limits(42, 22),
    "ja": Limits(13, 4),
    "ko": Limits(16, 12),
    "zh": Limits(16, 9),
    "yue": Limits(16, 9),
    "th": Limits(35, 17),
}

NEVER_LAST = {
    "en": frozenset(
        [
            "a",
            "an",
            "the",
            "of",
            "to",
            "in",
            "on",
            "at",
            "by",
            "for",
            "with",
            "from",
            "and",
            "or",
            "but",
            "my",
            "your",
            "his",
            "her",
            "its",
            "our",
            "their",
            "is",
            "are",
            "was",
            "were",
            "be",
            "been",
            "not",
            "will",
            "would",
            "can",
            "could",
            "has",
            "have",
            "had",
            "I",
            "he",
            "she",
            "we",
            "they",
        ]
    ),
    "es": frozenset(
        [
            "el",
            "la",
            "los",
            "las",
            "un",
            "una",
            "unos",
            "unas",
            "de",
            "del",
            "a",
            "al",
            "en",
            "con",
            "por",
            "para",
            "y",
            "o",
            "pero",
            "mi",
            "tu",
            "su",
            "no",
            "me",
            "te",
            "se",
            "lo",
            "le",
            "que",
            "es",
            "son",
            "ha",
            "he",
        ]
    ),
    "de": frozenset(
        [
            "der",
            "die",
            "das",
            "den",
            "dem",
            "des",
            "ein",
            "eine",
            "einen",
            "einem",
            "einer",
            "von",
            "zu",
            "in",
            "im",
            "an",
            "am",
            "auf",
            "mit",
            "und",
            "oder",
            "aber",
            "mein",
            "dein",
            "sein",
            "ihr",
            "nicht",
            "ich",
            "er",
            "sie",
            "wir",
            "ist",
            "sind",
            "hat",
        ]
    ),
    "fr": frozenset(
        [
            "le",
            "la",
            "les",
            "un",
            "une",
            "des",
            "de",
            "du",
            "à",
            "au",
            "aux",
            "en",
            "dans",
            "par",
            "pour",
            "avec",
            "et",
            "ou",
            "mais",
            "mon",
            "ton",
            "son",
            "ne",
            "pas",
            "je",
            "tu",
            "il",
            "elle",
            "nous",
            "vous",
            "est",
            "sont",
            "a",
            "ai",
        ]
    ),
}
"""Articles, prepositions, auxiliaries, negations and pronouns: never the last word of a line."""


def limits_of(language: LanguageTag) -> Limits:
    """The limits of a language."""
    return LIMITS.get(language.language, Limits())


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence with the cues it is shown in; the unit of translation."""

    id: UnitId
    text: str
    cues: tuple[Cue, ...]

    @property
    def unit(self) -> TextUnit:
        """What a translator sees of it: no times."""
        return TextUnit(self.id, self.text)


@dataclass(frozen=True, slots=True)
class _Word:
    start: int
    end: int
    text: str
    ends_segment: bool


def shape(segments: Sequence[Segment], language: LanguageTag) -> tuple[Cue, ...]:
    """Make readable cues of a transcript; cues of one sentence share its number."""
    cues: list[Cue] = []
    for number, words in enumerate(_sentences_of_words(segments, language)):
        for part in _parts(words, language):
            lines = wrap(_joined([word.text for word in part], language), language)
            start, end = part[0].start, max(part[-1].end, part[0].start + 1)
            cues.append(Cue(Ms(start), Ms(end), lines, number))
    return _timed(cues, language)


def sentences(cues: Sequence[Cue]) -> tuple[Sentence, ...]:
    """Group cues into sentences: by their number, and on while nothing ends the sentence."""
    groups: list[list[Cue]] = []
    for cue in cues:
        if groups and (cue.sentence == groups[-1][-1].sentence or _goes_on(groups[-1], cue)):
            groups[-1].append(cue)
        else:
            groups.append([cue])
    return tuple(Sentence(UnitId(str(number)), " ".join(cue.text for cue in group), tuple(group)) for number, group in enumerate(groups, 1))


def fit(text: str, cues: Sequence[Cue], target: LanguageTag) -> tuple[Cue, ...]:
    """Show a translated sentence in the time of its cues: their outer times never move.

    The words are shared out by the source's characters. Text too long for its cue is shown in two steps inside the cue's own time.
    """
    words = _split_words(text, target)
    if not words:
        return ()
    if len(words) < len(cues):
        cues = [Cue(cues[0].start, cues[-1].end, cues[0].lines, cues[0].sentence)]
    shares = _share(words, [len(cue.text) for cue in cues], target)
    fitted: list[Cue] = []
    for cue, share in zip(cues, shares, strict=True):
        fitted += _in_steps(cue, share, target)
    return tuple(fitted)


def spread(text: str, cues: Sequence[Cue], target: LanguageTag) -> tuple[str, ...]:
    """Text with line breaks for each cue of a sentence, one for one; too few words are shown in all of them."""
    words = _split_words(text, target)
    if len(words) < len(cues):
        return tuple("\n".join(wrap(text, target)) for _ in cues)
    shares = _share(words, [len(cue.text) for cue in cues], target)
    return tuple("\n".join(wrap(_joined(share, target), target)) for share in shares)


def wrap(text: str, language: LanguageTag) -> tuple[str, ...]:
    """Break one cue's text into lines: one while it fits, else the best two, else as many as it needs."""
    words = _split_words(text, language)
    limit = limits_of(language).line
    if width(text, language) <= limit or len(words) < 2:
        return tuple(_chopped(text, limit, language))
    best = min(range(1, len(words)), key=lambda at: _break_cost(words, at, limit, language))
    first, second = _joined(words[:best], language), _joined(words[best:], language)
    if max(width(first, language), width(second, language)) <= limit:
        return (first, second)
    lines: list[str] = []
    for word in words:
        joined = _joined([lines[-1], word], language) if lines else word
        if lines and width(joined, language) <= limit:
            lines[-1] = joined
        else:
            lines += _chopped(word, limit, language)
    return tuple(lines)


def width(text: str, language: LanguageTag) -> float:
    """Characters as the limits count them."""
    if language.language in UNSPACED or language.language == "ko":
        return sum(0.5 if ord(sign) < 0x1100 else 1.0 for sign in text)
    return float(len(text))


def _sentences_of_words(segments: Sequence[Segment], language: LanguageTag) -> Iterator[list[_Word]]:
    words: list[_Word] = []
    for word in (word for segment in segments for word in _words(segment, language)):
        if words and word.start - words[-1].end >= PAUSE_MS:
            yield words
            words = []
        words.append(word)
        if _ends_sentence(word.text):
            yield words
            words = []
    if words:
        yield words


def _words(segment: Segment, language: LanguageTag) -> Iterator[_Word]:
    """A segment's words, its time shared by characters."""
    texts = _split_words(segment.text, language)
    whole = sum(len(text) + 1 for text in texts)
    at = 0
    for text in texts:
        start = segment.start + (segment.end - segment.start) * at // whole
        at += len(text) + 1
        end = segment.start + (segment.end - segment.start) * at // whole
        yield _Word(start, max(end, start + 1), text, at == whole)


def _parts(words: list[_Word], language: LanguageTag) -> Iterator[list[_Word]]:
    """A sentence in pieces that each fit a cue."""
    text = _joined([word.text for word in words], language)
    is_long = words[-1].end - words[0].start > LONGEST_MS and len(words) > 1
    if not is_long and len(wrap(text, language)) <= MOST_LINES:
        yield words
        return
    if len(words) == 1:
        yield words
        return
    middle = len(words) / 2
    best = min(range(1, len(words)), key=lambda at: abs(at - middle) + _split_cost(words[at - 1], words[at], language))
    yield from _parts(words[:best], language)
    yield from _parts(words[best:], language)


def _split_cost(before: _Word, after: _Word, language: LanguageTag) -> float:
    if after.start - before.end > CHAIN_MS:
        return -4
    if before.text.rstrip(_CLOSING)[-1:] in CLAUSE:
        return -3
    return 3 if before.text.lower() in NEVER_LAST.get(language.language, ()) else 0


def _timed(cues: list[Cue], language: LanguageTag) -> tuple[Cue, ...]:
    """Let cues linger for readers, close small pauses, keep the gap; starts never move."""
    timed: list[Cue] = []
    for cue, after in pairwise([*cues, None]):
        assert cue is not None
        needed = max(SHORTEST_MS, int(width(cue.text, language) / limits_of(language).per_second * 1000))
        end = max(cue.end, min(cue.start + needed, max(cue.end + LINGER_MS, cue.start + SHORTEST_MS)))
        end = min(end, cue.start + LONGEST_MS) if cue.end - cue.start <= LONGEST_MS else cue.end
        if after is not None:
            if after.start - end < CHAIN_MS and after.start - GAP_MS - cue.end <= LINGER_MS and after.start - GAP_MS - cue.start <= LONGEST_MS:
                end = max(end, after.start - GAP_MS)
            end = min(end, max(after.start - GAP_MS, cue.start + 1), after.start)
        timed.append(replace(cue, end=Ms(max(end, cue.start + 1))))
    return tuple(timed)


def _goes_on(group: Sequence[Cue], cue: Cue) -> bool:
    last = group[-1]
    return (
        not _ends_sentence(last.text)
        and not _stands_alone(last.text)
        and not _stands_alone(cue.text)
        and cue.start - last.end < PAUSE_MS
        and len(group) < MOST_SENTENCE_CUES
        and sum(len(part.text) for part in group) + len(cue.text) <= MOST_SENTENCE_CHARACTERS
    )


def _stands_alone(text: str) -> bool:
    """Dialogue of two people, songs and sounds are not parts of a sentence."""
    return text.startswith(("-", "–", "♪", "#", "[", "(")) or text.endswith(("♪", "]", ")"))


def _ends_sentence(text: str) -> bool:
    return text.rstrip(_CLOSING + " ")[-1:] in set(FINAL)


def _share(words: list[str], weights: Sequence[int], language: LanguageTag) -> list[list[str]]:
    """Share words over cues by weight, breaking where a reader would pause."""
    shares: list[list[str]] = []
    at = 0
    whole = sum(weights) or 1
    lengths = [len(word) + 1 for word in words]
    total = sum(lengths)
    passed = 0
    for number, weight in enumerate(weights):
        left = len(weights) - number - 1
        if left == 0:
            shares.append(words[at:])
            break
        passed += weight
        aim = total * passed / whole
        choices = range(at + 1, len(words) - left + 1)
        best = min(choices, key=lambda cut: abs(sum(lengths[:cut]) - aim) + 4 * _end_cost(words[cut - 1], language))
        shares.append(words[at:best])
        at = best
    return shares


def _end_cost(word: str, language: LanguageTag) -> int:
    if word.rstrip(_CLOSING)[-1:] in set(FINAL + CLAUSE):
        return -2
    return 2 if word.lower() in NEVER_LAST.get(language.language, ()) else 0


def _in_steps(cue: Cue, words: list[str], language: LanguageTag) -> list[Cue]:
    lines = wrap(_joined(words, language), language)
    if len(lines) <= MOST_LINES or len(words) < 2 or cue.end - cue.start < 2 * SHORTEST_MS + GAP_MS:
        return [replace(cue, lines=lines)]
    first, second = _share(words, [1, 1], language)
    part = len(_joined(first, language)) / max(1, len(_joined(words, language)))
    middle = cue.start + int((cue.end - cue.start) * part)
    middle = min(max(middle, cue.start + SHORTEST_MS), cue.end - SHORTEST_MS - GAP_MS)
    return [*_in_steps(replace(cue, end=Ms(middle)), first, language), *_in_steps(replace(cue, start=Ms(middle + GAP_MS)), second, language)]


def _break_cost(words: list[str], at: int, limit: int, language: LanguageTag) -> float:
    first, second = width(_joined(words[:at], language), language), width(_joined(words[at:], language), language)
    over = max(0.0, first - limit) + max(0.0, second - limit)
    # The longer line lies at the bottom.
    return over * 100 + abs(second - first) * (0.5 if second >= first else 0.7) + 6 * _end_cost(words[at - 1], language)


def _split_words(text: str, language: LanguageTag) -> list[str]:
    if language.language not in UNSPACED:
        return text.split()
    words: list[str] = []
    for sign in "".join(text.split(" ")) if language.language != "th" else text:
        # Closing signs never begin a line, opening ones never end it.
        if words and (
            sign in FINAL + CLAUSE + _CLOSING
            or words[-1][-1:] in "「『（《“"
            or (sign.isascii() and sign.isalnum() and words[-1][-1:].isascii() and words[-1][-1:].isalnum())
        ):
            words[-1] += sign
        else:
            words.append(sign)
    return words


def _joined(words: Sequence[str], language: LanguageTag) -> str:
    return ("" if language.language in UNSPACED else " ").join(words)


def _chopped(word: str, limit: int, language: LanguageTag) -> list[str]:
    """A single word longer than a line, broken; anything else as it is."""
    if width(word, language) <= limit:
        return [word]
    return [word[at : at + limit] for at in range(0, len(word), limit)] if " " not in word else [word]
