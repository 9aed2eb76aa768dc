"""Shaping: cues from a transcript, and translated text fitted into the cues of its source.

If rules conflict, the earlier one wins: every word kept, no overlap, lines and line width, start on time,
longest duration, minimum pause, shortest duration, end of speech, reading speed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fluxcaption.domain.cue_timing import (
    MAX_DURATION_MS,
    MIN_VISIBLE_PAUSE_MS,
    split_time,
    time_cues,
)
from fluxcaption.domain.cues import Cue, Segment
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.line_breaking import (
    CLAUSE_END,
    CLOSING_CHARACTERS,
    MAX_LINES,
    distribute_words,
    is_never_last,
    join_words,
    split_words,
    wrap,
)
from fluxcaption.domain.sentences import SENTENCE_PAUSE_MS, ends_sentence
from fluxcaption.domain.units import Ms

_SPLIT_AT_PAUSE_BONUS = 4
_SPLIT_AT_CLAUSE_BONUS = 3
"""Words by which a split may be further from the middle of the sentence for a better place."""


@dataclass(frozen=True, slots=True)
class _Word:
    """Word with its time within a segment, in ms."""

    start: int
    end: int
    text: str


def build_cues(segments: Sequence[Segment], language: LanguageTag) -> tuple[Cue, ...]:
    """Build cues from the segments of a transcript; cues of one sentence share its number."""
    cues: list[Cue] = []
    for number, words in enumerate(_sentences(segments, language)):
        for part in _split_sentence(words, language):
            lines = wrap(_text_of(part, language), language)
            start, end = part[0].start, max(part[-1].end, part[0].start + 1)
            cues.append(Cue(Ms(start), Ms(end), lines, number))
    return time_cues(cues, language)


def fit_translation(text: str, cues: Sequence[Cue], target: LanguageTag) -> tuple[Cue, ...]:
    """Return the cues of a sentence with its translation; no start or end lies outside their times.

    The words are distributed in proportion to the characters of the source. Text that needs more than two
    lines is shown in steps within the time of its cue.
    """
    if len(cues) == 1:
        turns = [words for turn in text.split("\n") if (words := split_words(turn, target))]
        return tuple(_in_steps(cues[0], turns, target)) if turns else ()
    words = split_words(text, target)
    if not words:
        return ()
    if len(words) < len(cues):
        end = min(cues[-1].end, cues[0].start + MAX_DURATION_MS)
        return tuple(_in_steps(replace(cues[0], end=Ms(end)), [words], target))
    shares = distribute_words(words, [len(cue.text) for cue in cues], target)
    return tuple(
        step for cue, share in zip(cues, shares, strict=True) for step in _in_steps(cue, [share], target)
    )


def distribute_lines(text: str, cues: Sequence[Cue], target: LanguageTag) -> tuple[str, ...]:
    """Return the text with line breaks for each cue of a sentence; a text of too few words is repeated."""
    if len(cues) == 1:
        return ("\n".join(line for turn in text.split("\n") for line in wrap(turn, target)),)
    words = split_words(text, target)
    if len(words) < len(cues):
        return tuple("\n".join(wrap(text, target)) for _ in cues)
    shares = distribute_words(words, [len(cue.text) for cue in cues], target)
    return tuple("\n".join(wrap(join_words(share, target), target)) for share in shares)


def _sentences(segments: Sequence[Segment], language: LanguageTag) -> Iterator[list[_Word]]:
    """Yield the words of each sentence; a sentence ends with its punctuation or at a pause."""
    words: list[_Word] = []
    for segment in segments:
        for word in _timed_words(segment, language):
            if words and word.start - words[-1].end >= SENTENCE_PAUSE_MS:
                yield words
                words = []
            words.append(word)
            if ends_sentence(word.text):
                yield words
                words = []
    if words:
        yield words


def _timed_words(segment: Segment, language: LanguageTag) -> Iterator[_Word]:
    """Yield the words of a segment, each with a share of its time in proportion to its characters."""
    texts = split_words(segment.text, language)
    total = sum(len(text) + 1 for text in texts)
    duration_ms = segment.end - segment.start
    position = 0
    for text in texts:
        start = segment.start + duration_ms * position // total
        position += len(text) + 1
        end = segment.start + duration_ms * position // total
        yield _Word(start, max(end, start + 1), text)


def _split_sentence(words: list[_Word], language: LanguageTag) -> Iterator[list[_Word]]:
    """Yield the parts of a sentence that each fit into a cue."""
    is_too_long = words[-1].end - words[0].start > MAX_DURATION_MS
    is_too_wide = len(wrap(_text_of(words, language), language)) > MAX_LINES
    if len(words) == 1 or not (is_too_long or is_too_wide):
        yield words
        return
    middle = len(words) / 2
    near_middle = range(max(1, len(words) // 4), len(words) - len(words) // 4)
    best = min(
        near_middle,
        key=lambda cut: (
            is_never_last(words[cut - 1].text, language),
            abs(cut - middle) - _split_bonus(words[cut - 1], words[cut]),
        ),
    )
    yield from _split_sentence(words[:best], language)
    yield from _split_sentence(words[best:], language)


def _split_bonus(before: _Word, after: _Word) -> int:
    if after.start - before.end > MIN_VISIBLE_PAUSE_MS:
        return _SPLIT_AT_PAUSE_BONUS
    if before.text.rstrip(CLOSING_CHARACTERS)[-1:] in CLAUSE_END:
        return _SPLIT_AT_CLAUSE_BONUS
    return 0


def _text_of(words: Sequence[_Word], language: LanguageTag) -> str:
    return join_words([word.text for word in words], language)


def _in_steps(cue: Cue, turns: list[list[str]], language: LanguageTag) -> list[Cue]:
    """Return the cue with the words of its turns, or several cues in its time if two lines are not enough."""
    lines = tuple(line for words in turns for line in wrap(join_words(words, language), language))
    has_time_for_steps = cue.end - cue.start >= len(lines)
    if len(lines) <= MAX_LINES or not has_time_for_steps:
        return [replace(cue, lines=lines)]
    step_count = (len(lines) + 1) // MAX_LINES
    parts = turns if len(turns) > 1 else distribute_words(turns[0], [1] * step_count, language)
    spans = split_time(cue, [sum(len(word) + 1 for word in part) for part in parts])
    return [
        step
        for part, span in zip(parts, spans, strict=True)
        for step in _in_steps(replace(cue, start=span.start, end=span.end), [part], language)
    ]
