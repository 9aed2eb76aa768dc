"""Formatting that a reader does not read and a translator must not touch."""

import html
import re

_OVERRIDE = re.compile(r"\{[^{}]*\}")
_TAG = re.compile(r"</?(?:i|b|u|s|font|c|v|lang|ruby|rt)(?:[ .][^<>]*)?>", re.IGNORECASE)
_STAMP = re.compile(r"<\d{2,}:\d{2}(?::\d{2})?\.\d{3}>")
_MARK = re.compile(f"{_OVERRIDE.pattern}|{_TAG.pattern}|{_STAMP.pattern}", re.IGNORECASE)
_SCALE = re.compile(r"\\p(\d+)")
_NEEDLESS = re.compile(r"</([ibu])>(\s*)<\1>", re.IGNORECASE)


def strip_markup(text: str) -> str:
    """The words alone: without ASS overrides, tags of SubRip and WebVTT, and entities; line breaks stay."""
    text = _STAMP.sub("", _TAG.sub("", _OVERRIDE.sub("", _with_breaks(text))))
    return "\n".join(" ".join(line.split()) for line in html.unescape(text).splitlines()).strip()


def without_overrides(text: str) -> str:
    """The text of an ASS line, in which a sign may have more formatting than words."""
    return _OVERRIDE.sub("", text)


def is_drawing(text: str) -> bool:
    """Whether an ASS line draws a shape instead of saying something."""
    return any(int(scale) for override in _OVERRIDE.findall(text) for scale in _SCALE.findall(override))


def transfer_markup(old: str, new: str) -> str:
    """New words in the formatting of the old ones: what stood around a word stands around the one at the same part of the text.

    A mark that begins inside a word is lost.
    """
    words = new.split()
    marks, count = _placed(_NEEDLESS.sub(r"\2", _with_breaks(old)))
    if not words or not count:
        return new
    before: list[str] = [""] * len(words)
    after: list[str] = [""] * len(words)
    opened = closed = 0
    for place, mark, is_after in marks:
        at = (2 * place * len(words) + count) // (2 * count)
        if is_after:
            closed = min(max(at, opened + 1), len(words))
            after[closed - 1] += mark
        else:
            opened = min(max(at, closed), len(words) - 1)
            before[opened] += mark
    lines = iter(zip(before, words, after, strict=True))
    return "\n".join(
        " ".join("".join(next(lines)) for _ in line.split()) for line in new.splitlines() if line.split()
    )


def _placed(text: str) -> tuple[list[tuple[int, str, bool]], int]:
    """Each mark with the number of words before it and whether it belongs to the word before; and how many words there are."""
    marks: list[tuple[int, str, bool]] = []
    is_kept: list[bool] = []
    count, is_inside, at = 0, False, 0
    for match in _MARK.finditer(text):
        count, is_inside = _passed(text[at : match.start()], count, is_inside=is_inside)
        at = match.end()
        following = text[at : at + 1]
        goes_on = is_inside and bool(following) and not following.isspace() and following not in "<{"
        if match[0].startswith("</"):
            if is_kept.pop() if is_kept else True:
                marks.append((count, match[0], count > 0))
        else:
            if match[0].startswith("<") and not _STAMP.match(match[0]):
                is_kept.append(not goes_on)
            if not goes_on:
                marks.append((count, match[0], is_inside and (not following or following.isspace())))
    return marks, _passed(text[at:], count, is_inside=is_inside)[0]


def _passed(text: str, count: int, *, is_inside: bool) -> tuple[int, bool]:
    """How many words have begun after a stretch of text, and whether its end is inside one."""
    if not text:
        return count, is_inside
    return count + len(text.split()) - (is_inside and not text[0].isspace()), not text[-1].isspace()


def _with_breaks(text: str) -> str:
    return text.replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")
