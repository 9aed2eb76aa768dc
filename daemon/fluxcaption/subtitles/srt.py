"""SubRip and WebVTT: both are blocks of a timing line and the text below it."""

import html
import re
from collections.abc import Iterator, Sequence

from fluxcaption.domain.cues import Cue
from fluxcaption.domain.markup import transfer_markup
from fluxcaption.domain.units import Ms
from fluxcaption.subtitles.file_cue import FileCue, parse_timestamp_ms, plain_text

_TIMING_LINE = re.compile(
    r"^\s*(?:\d{1,3}:)?\d{1,2}:\d{2}[.,]\d{1,3}\s+-->\s+(?:\d{1,3}:)?\d{1,2}:\d{2}[.,]\d{1,3}"
)


def read_cues(name: str, lines: Sequence[str], *, is_webvtt: bool) -> Iterator[FileCue]:
    """Yield the cues with text in the order of the file; cues without a duration are left out."""
    timing_lines = [index for index, line in enumerate(lines) if _TIMING_LINE.match(line)]
    next_timing_lines = [*timing_lines[1:], len(lines)]
    for timing_line, next_timing_line in zip(timing_lines, next_timing_lines, strict=False):
        first_line = timing_line + 1
        end_line = _text_end(lines, first_line, next_timing_line, is_webvtt=is_webvtt)
        start_text, _, end_and_settings = lines[timing_line].strip().partition("-->")
        start, end = parse_timestamp_ms(start_text), parse_timestamp_ms(end_and_settings.split()[0])
        marked_up = "\n".join(line for line in lines[first_line:end_line] if line.strip())
        if end > start and (text := plain_text(name, marked_up)):
            yield FileCue(first_line, end_line, start, end, "", marked_up, text)


def _text_end(lines: Sequence[str], first_line: int, next_timing_line: int, *, is_webvtt: bool) -> int:
    """Return the index of the line after the text of a cue.

    In WebVTT an empty line ends the text; a note or the identifier of the next cue may follow. In SubRip the
    text ends before the number of the next cue, since files in use have empty lines inside the text.
    """
    end_line = next_timing_line
    if is_webvtt:
        empty_lines = (index for index in range(first_line, next_timing_line) if not lines[index].strip())
        end_line = next(empty_lines, next_timing_line)
    # The empty line before the number of the next cue may be missing.
    is_before_next_cue = end_line == next_timing_line < len(lines)
    if is_before_next_cue and end_line > first_line and lines[end_line - 1].strip().isdigit():
        end_line -= 1
    while end_line > first_line and not lines[end_line - 1].strip():
        end_line -= 1
    return end_line


def replace_text(cue: FileCue, text: str, *, is_webvtt: bool) -> str:
    """Return the lines of a cue with a new text and the markup of the old one."""
    return transfer_markup(cue.marked_up, html.escape(text, quote=False) if is_webvtt else text)


def write_srt(cues: Sequence[Cue]) -> bytes:
    """Return the cues as SubRip: UTF-8 without byte order mark, line feeds."""
    blocks = []
    for number, cue in enumerate(cues, 1):
        # An empty line inside a cue would end it.
        lines = "\n".join(line for line in cue.lines if line.strip())
        blocks.append(f"{number}\n{_format_timestamp(cue.start)} --> {_format_timestamp(cue.end)}\n{lines}\n")
    return "\n".join(blocks).encode()


def _format_timestamp(at: Ms) -> str:
    return f"{at // 3_600_000:02d}:{at // 60_000 % 60:02d}:{at // 1000 % 60:02d},{at % 1000:03d}"
