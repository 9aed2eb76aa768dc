"""Markup of subtitle texts: ASS overrides, tags of SubRip and WebVTT, and WebVTT time stamps."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

_OVERRIDE = re.compile(r"\{[^{}]*\}")
_TAG = re.compile(r"</?(?:i|b|u|s|font|c|v|lang|ruby|rt)(?:[ .][^<>]*)?>", re.IGNORECASE)
_TIME_STAMP = re.compile(r"<\d{2,}:\d{2}(?::\d{2})?\.\d{3}>")
_MARK = re.compile(f"{_OVERRIDE.pattern}|{_TAG.pattern}|{_TIME_STAMP.pattern}", re.IGNORECASE)
_DRAWING_SCALE = re.compile(r"\\p(\d+)")
_CLOSED_AND_REOPENED = re.compile(r"</([ibu])>(\s*)<\1>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Mark:
    """Piece of markup with its place in the text.

    Attributes:
        words_before: Number of words that begin before the mark.
        text: Markup.
        is_after_word: True if the mark belongs to the end of the word before it.
    """

    words_before: int
    text: str
    is_after_word: bool


def strip_markup(text: str) -> str:
    """Return the words and line breaks, without overrides, tags and time stamps; entities are resolved."""
    text = _TIME_STAMP.sub("", _TAG.sub("", _OVERRIDE.sub("", _with_line_breaks(text))))
    return "\n".join(" ".join(line.split()) for line in html.unescape(text).splitlines()).strip()


def without_overrides(text: str) -> str:
    """Return an ASS text without overrides, of which a sign may have more than words."""
    return _OVERRIDE.sub("", text)


def is_drawing(text: str) -> bool:
    """Return True if an ASS text draws a shape."""
    scales = (
        int(scale) for override in _OVERRIDE.findall(text) for scale in _DRAWING_SCALE.findall(override)
    )
    return any(scales)


def transfer_markup(old: str, new: str) -> str:
    """Return the words of `new` with the markup of `old`.

    A mark moves to the word at the same relative position. A mark that begins inside a word is dropped.
    """
    words = new.split()
    marks, old_count = _find_marks(_CLOSED_AND_REOPENED.sub(r"\2", _with_line_breaks(old)))
    if not words or not old_count:
        return new
    before, after = _place_marks(marks, old_count, len(words))
    marked_words = iter(
        [f"{start}{word}{end}" for start, word, end in zip(before, words, after, strict=True)]
    )
    return "\n".join(
        " ".join(next(marked_words) for _ in line.split()) for line in new.splitlines() if line.split()
    )


def _place_marks(
    marks: Sequence[_Mark], old_count: int, new_count: int
) -> tuple[Sequence[str], Sequence[str]]:
    """Return the markup before and after each of `new_count` words; a mark spans at least one word."""
    before, after = [""] * new_count, [""] * new_count
    opened_at = closed_at = 0
    for mark in marks:
        # Relative position, rounded to the nearest word.
        position = (2 * mark.words_before * new_count + old_count) // (2 * old_count)
        if mark.is_after_word:
            closed_at = min(max(position, opened_at + 1), new_count)
            after[closed_at - 1] += mark.text
        else:
            opened_at = min(max(position, closed_at), new_count - 1)
            before[opened_at] += mark.text
    return before, after


def _find_marks(text: str) -> tuple[Sequence[_Mark], int]:
    """Return the marks of a text in order, and the number of its words."""
    marks: list[_Mark] = []
    is_open_tag_kept: list[bool] = []
    count, is_in_word, position = 0, False, 0
    for match in _MARK.finditer(text):
        count, is_in_word = _count_words(text[position : match.start()], count, is_in_word=is_in_word)
        position = match.end()
        following = text[position : position + 1]
        ends_word = not following or following.isspace()
        splits_word = is_in_word and not ends_word and following not in "<{"
        if match[0].startswith("</"):
            # A closing tag goes with its opening tag.
            if not is_open_tag_kept or is_open_tag_kept.pop():
                marks.append(_Mark(count, match[0], count > 0))
            continue
        if match[0].startswith("<") and not _TIME_STAMP.match(match[0]):
            is_open_tag_kept.append(not splits_word)
        if not splits_word:
            marks.append(_Mark(count, match[0], is_in_word and ends_word))
    return marks, _count_words(text[position:], count, is_in_word=is_in_word)[0]


def _count_words(text: str, count: int, *, is_in_word: bool) -> tuple[int, bool]:
    """Return the number of words begun so far, and whether the end of the text is inside a word."""
    if not text:
        return count, is_in_word
    goes_on = is_in_word and not text[0].isspace()
    return count + len(text.split()) - goes_on, not text[-1].isspace()


def _with_line_breaks(text: str) -> str:
    return text.replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")
