"""A cue as it is written in a subtitle file, and the limits that every format shares."""

from dataclasses import dataclass

from fluxcaption.domain.errors import SubtitleUnreadable
from fluxcaption.domain.markup import strip_markup, without_overrides

MAX_MARKED_UP_CHARS = 20_000
"""Characters of one cue with its markup, ASS overrides excepted; checked before the markup is parsed."""

MAX_TEXT_CHARS = 2_000
"""Characters of one cue without markup; far more than can be read while it is shown."""


@dataclass(frozen=True, slots=True)
class FileCue:
    """One cue of a file; `first_line` to `end_line` are the lines that hold its text.

    Attributes:
        first_line: Index of the first line of the text.
        end_line: Index of the line after the text.
        start: Ms from the start of the media source.
        end: Ms from the start of the media source; always after `start`.
        prefix: Fields before the text on its first line.
        marked_up: The text with its markup.
        text: The text without markup.
        style: Name of the ASS style; else empty.
    """

    first_line: int
    end_line: int
    start: int
    end: int
    prefix: str
    marked_up: str
    text: str
    style: str = ""


def plain_text(name: str, marked_up: str) -> str:
    """Return the text of one cue without markup.

    Raises:
        SubtitleUnreadable: The cue is longer than `MAX_MARKED_UP_CHARS` or `MAX_TEXT_CHARS`.
    """
    if len(without_overrides(marked_up)) > MAX_MARKED_UP_CHARS:
        raise cue_too_long(name)
    text = strip_markup(marked_up)
    if len(text) > MAX_TEXT_CHARS:
        raise cue_too_long(name)
    return text


def cue_too_long(name: str) -> SubtitleUnreadable:
    """Return the error for a cue above the limits."""
    return SubtitleUnreadable(name, f"it has a cue of more than {MAX_TEXT_CHARS} characters")


def parse_timestamp_ms(timestamp: str) -> int:
    """Return the ms of a time such as `1:02:03,456` or `02:03.45`.

    Raises:
        ValueError: It is not a time.
    """
    clock, _, fraction = timestamp.strip().replace(",", ".").partition(".")
    seconds = 0
    for part in clock.split(":"):
        seconds = seconds * 60 + int(part)
    return seconds * 1000 + int((fraction or "0").ljust(3, "0")[:3])
