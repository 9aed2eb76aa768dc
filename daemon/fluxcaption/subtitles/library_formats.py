"""TTML, SAMI and MicroDVD, parsed by pysubs2; these formats are read only."""

import re
from collections.abc import Iterator

from fluxcaption.domain.errors import SubtitleUnreadable
from fluxcaption.subtitles.file_cue import MAX_MARKED_UP_CHARS, FileCue, cue_too_long, plain_text

DEFAULT_FRAME_RATE = 25.0
"""Frames per second of a MicroDVD file whose first line does not state them."""

_FRAME_RATE_LINE = re.compile(r"\{[01]?\}\{[01]?\}(\d{2,3}(?:\.\d{1,3})?)\s*\n")


def read_cues(name: str, file_format: str, text: str) -> Iterator[FileCue]:
    """Yield the cues with text of a `ttml`, `sami` or `microdvd` file.

    Raises:
        SubtitleUnreadable: The file is damaged, or a cue is too long.
    """
    import pysubs2

    frames_per_s = None
    if file_format == "microdvd":
        if any(len(line) > MAX_MARKED_UP_CHARS for line in text.split("\n")):
            raise cue_too_long(name)
        frames_per_s = DEFAULT_FRAME_RATE
        if (frame_rate_line := _FRAME_RATE_LINE.match(text)) is not None:
            frames_per_s = float(frame_rate_line[1])
            text = text[frame_rate_line.end() :]
    try:
        parsed = pysubs2.SSAFile.from_string(text, format_=file_format, fps=frames_per_s)
    except Exception as error:
        # The parsers of the library raise errors of many kinds on hostile input.
        raise SubtitleUnreadable(name, f"its format is damaged ({type(error).__name__})") from error
    for event in parsed.events:
        if event.end > event.start >= 0 and (cue_text := plain_text(name, event.text)):
            yield FileCue(0, 0, event.start, event.end, "", event.text, cue_text)
