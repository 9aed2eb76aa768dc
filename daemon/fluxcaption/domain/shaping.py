"""From what was said to what is read: cues within the limits viewers feel, at the times of the speech.

Source of the numbers: subtitle craft sheet, section 1 (Netflix general requirements and timing; 2 frames at 24 fps are 83 ms).
When rules collide: every word kept, no overlap, lines and characters, start in time, longest, gap, shortest, end of speech, reading speed.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from fluxcaption.domain.cues import Cue, Segment, TextUnit
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import Ms, UnitId

SHORTEST_MS = 833
LONGEST_MS = 7_000
GAP_MS = 83
CHAIN_MS = 500
"""A pause shorter than this is closed to the gap."""

LINGER_MS = 500
"""A cue may stay this long after the speech, for reading speed."""

MAX_LINES = 2
PAUSE_MS = 1_000
MAX_SENTENCE_CUES = 4
MAX_SENTENCE_CHARACTERS = 240
MAX_AWAY = 70
"""Characters by which a share of a sentence may miss its aim for the sake of a better break."""

FINAL = ".?!…。？！｡؟।"
CLAUSE = ",;:—–，、；："
_FINAL_SIGNS = frozenset(FINAL)
_PAUSES = frozenset(FINAL + CLAUSE)
_CLOSING = "\"'”’»)]}」』）"
_OPENING = "\"'“‘«([{「『（《¿¡"
_DASH = re.compile(r"[-–—](?:\s+|(?=\D))(?=\S)")
UNSPACED = frozenset({"zh", "ja", "th", "lo", "km", "my", "yue"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What one language's readers can take.

    Attributes:
        line: Characters on a line; a full-width one counts 1, in those languages a half-width one a half.
        per_second: Characters read in a second.
        chains: Whether pauses too short to be seen as such are closed.
    """

    line: int = 42
    per_second: float = 17
    chains: bool = True


LIMITS = {
    "en": Limits(42, 20),
    "ar": Limits(42, 20),
    "hi": Limits(42, 22),
    "ja": Limits(13, 4, chains=False),
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
            "i",
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
    def units(self) -> tuple[TextUnit, ...]:
        """What a translator sees of it, without times: the sentence, or what each of two people says."""
        turns = _turns(self.cues[0].lines)
        if len(self.cues) > 1 or len(turns) == 1:
            return (TextUnit(self.id, self.text),)
        return tuple(
            TextUnit(UnitId(f"{self.id}.{number}"), words) for number, (_, words) in enumerate(turns, 1)
        )

    def rendered(self, texts: Mapping[UnitId, str]) -> str:
        """The sentence put together from the texts of its units; each speaker begins a line."""
        words = [" ".join(texts[unit.id].split()) for unit in self.units]
        if len(words) == 1:
            return words[0]
        return "\n".join(
            dash + said for (dash, _), said in zip(_turns(self.cues[0].lines), words, strict=True)
        )


@dataclass(frozen=True, slots=True)
class _Word:
    start: int
    end: int
    text: str
    ends_segment: bool


def build_cues(segments: Sequence[Segment], language: LanguageTag) -> tuple[Cue, ...]:
    """Make readable cues of a transcript; cues of one sentence share its number."""
    cues: list[Cue] = []
    for number, words in enumerate(_sentences_of_words(segments, language)):
        for part in _parts(words, language):
            lines = wrap(_joined([word.text for word in part], language), language)
            start, end = part[0].start, max(part[-1].end, part[0].start + 1)
            cues.append(Cue(Ms(start), Ms(end), lines, number))
    return _timed(cues, language)


def group_into_sentences(cues: Sequence[Cue]) -> tuple[Sentence, ...]:
    """Group cues into sentences: by their number, and on while nothing ends the sentence."""
    groups: list[list[Cue]] = []
    for cue in cues:
        if groups and (cue.sentence == groups[-1][-1].sentence or _goes_on(groups[-1], cue)):
            groups[-1].append(cue)
        else:
            groups.append([cue])
    return tuple(
        Sentence(UnitId(str(number)), " ".join(cue.text for cue in group), tuple(group))
        for number, group in enumerate(groups, 1)
    )


def fit_translation(text: str, cues: Sequence[Cue], target: LanguageTag) -> tuple[Cue, ...]:
    """Show a translated sentence in the time of its cues: they never begin or end at other times.

    The words are shared out by the source's characters. Text that needs more than two lines is shown in steps inside the cue's own time.
    """
    if len(cues) == 1:
        turns = [words for turn in text.split("\n") if (words := _split_words(turn, target))]
        return tuple(_in_steps(cues[0], turns, target)) if turns else ()
    words = _split_words(text, target)
    if not words:
        return ()
    if len(words) < len(cues):
        end = min(cues[-1].end, cues[0].start + LONGEST_MS)
        return tuple(_in_steps(replace(cues[0], end=Ms(end)), [words], target))
    shares = _share(words, [len(cue.text) for cue in cues], target)
    return tuple(
        step for cue, share in zip(cues, shares, strict=True) for step in _in_steps(cue, [share], target)
    )


def distribute_lines(text: str, cues: Sequence[Cue], target: LanguageTag) -> tuple[str, ...]:
    """Text with line breaks for each cue of a sentence, one for one; too few words are shown in all of them."""
    if len(cues) == 1:
        return ("\n".join(line for turn in text.split("\n") for line in wrap(turn, target)),)
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
        return (" ".join(text.split()),)
    space = width(_joined(["", ""], language), language)
    ends = list(accumulate(width(word, language) + space for word in words))
    fitting = [
        at
        for at in range(1, len(words))
        if ends[at - 1] - space <= limit and ends[-1] - ends[at - 1] - space <= limit
    ]
    if fitting:
        best = min(
            fitting,
            key=lambda at: _break_cost(words[at - 1], ends[at - 1], ends[-1] - ends[at - 1], language),
        )
        return (_joined(words[:best], language), _joined(words[best:], language))
    lines: list[str] = []
    first = 0
    for at in range(1, len(words) + 1):
        if at == len(words) or ends[at] - (ends[first - 1] if first else 0) - space > limit:
            lines.append(_joined(words[first:at], language))
            first = at
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
    if not is_long and len(wrap(text, language)) <= MAX_LINES:
        yield words
        return
    if len(words) == 1:
        yield words
        return
    middle = len(words) / 2
    near_middle = range(max(1, len(words) // 4), len(words) - len(words) // 4)
    best = min(
        near_middle,
        key=lambda at: (
            _is_never_last(words[at - 1].text, language),
            abs(at - middle) + _split_cost(words[at - 1], words[at]),
        ),
    )
    yield from _parts(words[:best], language)
    yield from _parts(words[best:], language)


def _split_cost(before: _Word, after: _Word) -> float:
    if after.start - before.end > CHAIN_MS:
        return -4
    if before.text.rstrip(_CLOSING)[-1:] in CLAUSE:
        return -3
    return 0


def _timed(cues: list[Cue], language: LanguageTag) -> tuple[Cue, ...]:
    """Let cues linger for readers, close small pauses, keep the gap; starts never move."""
    timed: list[Cue] = []
    for cue, after in pairwise([*cues, None]):
        assert cue is not None
        start = Ms(max(cue.start, timed[-1].end)) if timed else cue.start
        needed = max(SHORTEST_MS, int(width(cue.text, language) / limits_of(language).per_second * 1000))
        end = max(cue.end, min(start + needed, max(cue.end + LINGER_MS, start + SHORTEST_MS)))
        end = min(end, start + LONGEST_MS)
        if after is not None:
            if limits_of(language).chains and GAP_MS < after.start - end < CHAIN_MS:
                end = _without_blink(start, cue.end, after.start)
            # Where there is no room for the gap, there is none for a cue that would keep it.
            end = min(end, after.start - GAP_MS if after.start - GAP_MS > start else after.start)
        timed.append(replace(cue, start=start, end=Ms(max(end, start + 1))))
    return tuple(timed)


def _without_blink(start: int, spoken_until: int, next_start: int) -> int:
    """The end of a cue whose pause is too short to be one: close to the next cue, or early enough that the pause is seen."""
    closed, apart = next_start - GAP_MS, next_start - CHAIN_MS
    if closed - start <= LONGEST_MS and (closed - spoken_until <= LINGER_MS or apart - start < SHORTEST_MS):
        return closed
    return apart


def _goes_on(group: Sequence[Cue], cue: Cue) -> bool:
    last = group[-1]
    return (
        not _ends_sentence(last.text)
        and not _stands_alone(last)
        and not _stands_alone(cue)
        # What is shown at the same time, or in another way, is somebody else's.
        and last.style == cue.style
        and 0 <= cue.start - last.end < PAUSE_MS
        and len(group) < MAX_SENTENCE_CUES
        and sum(len(part.text) for part in group) + len(cue.text) <= MAX_SENTENCE_CHARACTERS
    )


def _stands_alone(cue: Cue) -> bool:
    """Dialogue of two people, songs and sounds are not parts of a sentence."""
    return (
        len(_turns(cue.lines)) > 1
        or cue.text.startswith(("-", "–", "♪", "#", "[", "("))
        or cue.text.endswith(("♪", "]", ")"))
    )


def _turns(lines: Sequence[str]) -> list[tuple[str, str]]:
    """What each speaker of a cue says, with the dash before it."""
    turns: list[tuple[str, str]] = []
    for line in lines:
        dash = _DASH.match(line)
        if dash:
            turns.append((dash[0], line[dash.end() :]))
        elif turns:
            turns[-1] = (turns[-1][0], f"{turns[-1][1]} {line}")
        else:
            turns.append(("", line))
    return turns


def _ends_sentence(text: str) -> bool:
    return text.rstrip(_CLOSING + " ")[-1:] in _FINAL_SIGNS


def _share(words: list[str], weights: Sequence[int], language: LanguageTag) -> list[list[str]]:
    """Share words over cues by weight, breaking where a reader would pause."""
    shares: list[list[str]] = []
    at = 0
    whole = sum(weights) or 1
    ends = list(accumulate(len(word) + 1 for word in words))
    for number, passed in enumerate(accumulate(weights[:-1]), 1):
        aim = ends[-1] * passed / whole
        # Further away than this no pause is worth it.
        near = range(bisect_left(ends, aim - MAX_AWAY) + 1, bisect_right(ends, aim + MAX_AWAY) + 1)
        first, last = at + 1, len(words) - (len(weights) - number)
        choices = range(min(max(near.start, first), last), max(min(near.stop - 1, last), first) + 1)
        best = min(
            choices,
            key=lambda cut: (
                abs(ends[cut - 1] - aim)
                + 4 * _pause_cost(words[cut - 1])
                + 20 * _is_never_last(words[cut - 1], language)
            ),
        )
        shares.append(words[at:best])
        at = best
    return [*shares, words[at:]]


def _pause_cost(word: str) -> int:
    return -2 if word.rstrip(_CLOSING)[-1:] in _PAUSES else 0


def _is_never_last(word: str, language: LanguageTag) -> bool:
    return word.lstrip(_OPENING).lower() in NEVER_LAST.get(language.language, ())


def _in_steps(cue: Cue, turns: list[list[str]], language: LanguageTag) -> list[Cue]:
    """A cue as it is, or its words one part after the other where they need more than two lines."""
    texts = [_joined(words, language) for words in turns]
    lines = tuple(line for text in texts for line in wrap(text, language))
    length_ms = cue.end - cue.start
    if len(lines) <= MAX_LINES or length_ms < len(lines):
        return [replace(cue, lines=lines)]
    parts = [
        [words]
        for words in (
            turns if len(turns) > 1 else _share(turns[0], [1] * ((len(lines) + 1) // MAX_LINES), language)
        )
    ]
    count = len(parts)
    gap_ms = GAP_MS if length_ms > count * (GAP_MS + 1) else 0
    free_ms = length_ms - gap_ms * (count - 1)
    least_ms = min(SHORTEST_MS, free_ms // count)
    sizes = list(accumulate(sum(len(word) + 1 for words in part for word in words) for part in parts))
    steps: list[Cue] = []
    start: int = cue.start
    for number, (part, size) in enumerate(zip(parts, sizes, strict=True)):
        end = (
            cue.start
            + gap_ms * number
            + least_ms * (number + 1)
            + (free_ms - least_ms * count) * size // sizes[-1]
        )
        steps += _in_steps(replace(cue, start=Ms(start), end=Ms(end)), part, language)
        start = end + gap_ms
    return steps


def _break_cost(last_word: str, first: float, second: float, language: LanguageTag) -> tuple[bool, float]:
    # The longer line lies at the bottom.
    return _is_never_last(last_word, language), abs(second - first) * (
        0.5 if second >= first else 0.7
    ) + 6 * _pause_cost(last_word)


def _split_words(text: str, language: LanguageTag) -> list[str]:
    limit = limits_of(language).line
    if language.language not in UNSPACED:
        return [piece for word in text.split() for piece in _chopped(word, limit, language)]
    words: list[str] = []
    for sign in " ".join(text.split()) if language.language == "th" else "".join(text.split()):
        # Closing signs never begin a line, opening ones never end it.
        if words and (
            sign in FINAL + CLAUSE + _CLOSING
            or words[-1][-1:] in "「『（《“"
            or (sign.isascii() and sign.isalnum() and words[-1][-1:].isascii() and words[-1][-1:].isalnum())
        ):
            words[-1] += sign
        else:
            words.append(sign)
    return [piece for word in words for piece in _chopped(word, limit, language)]


def _joined(words: Sequence[str], language: LanguageTag) -> str:
    return ("" if language.language in UNSPACED else " ").join(words)


def _chopped(word: str, limit: int, language: LanguageTag) -> Iterator[str]:
    """A word as it is, or one that is longer than a line in pieces of a line."""
    first, used = 0, 0.0
    for at, sign in enumerate(word) if len(word) > limit else ():
        used += width(sign, language)
        if used > limit:
            yield word[first:at]
            first, used = at, width(sign, language)
    yield word[first:]
