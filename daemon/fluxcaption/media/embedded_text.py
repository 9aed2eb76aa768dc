"""Reading of one embedded text track to cues."""

from typing import Any

from fluxcaption.domain.cues import Cue
from fluxcaption.domain.errors import SubtitleUnreadable
from fluxcaption.domain.markup import is_drawing, strip_markup
from fluxcaption.domain.units import Ms
from fluxcaption.media.container import discard_other_streams, start_time_s
from fluxcaption.ports.subtitles import MAX_CUES

ASS_FIELD_COUNT = 9
"""Fields of an ASS packet in Matroska: ReadOrder, Layer, Style, Name, three margins, Effect, Text.

Source: Matroska specification, "Subtitles", section "SSA/ASS Subtitles".
"""

ASS_STYLE_FIELD = 2


def read_cues(container: Any, stream: Any, name: str) -> list[Cue]:
    """Return the cues of a text stream in order of time; empty cues and drawings are left out.

    Raises:
        SubtitleUnreadable: The track has more than `MAX_CUES` cues.
    """
    discard_other_streams(container, stream)
    origin_s = start_time_s(container)
    cues: list[Cue] = []
    for packet in container.demux(stream):
        if packet.pts is None or not packet.size:
            continue
        style, lines = _style_and_lines(stream.codec_context.name, bytes(packet))
        start = Ms(int((float(packet.pts * packet.time_base) - origin_s) * 1000))
        end = Ms(start + int(float((packet.duration or 0) * packet.time_base) * 1000))
        if lines and end > start >= 0:
            cues.append(Cue(start, end, lines, len(cues), style))
        if len(cues) > MAX_CUES:
            raise SubtitleUnreadable(name, f"it has more than {MAX_CUES} cues")
    return sorted(cues, key=lambda cue: cue.start)


def _style_and_lines(codec: str, content: bytes) -> tuple[str, tuple[str, ...]]:
    """Return the ASS style (else empty) and the display lines of one packet."""
    if codec == "mov_text":
        # A packet of 3GPP Timed Text is the length of the text in bytes, the text, and style boxes.
        content = content[2 : 2 + int.from_bytes(content[:2], "big")]
    text = content.decode("utf-8", "replace")
    style = ""
    if codec in {"ass", "ssa"}:
        fields = text.split(",", ASS_FIELD_COUNT - 1)
        text = fields[-1]
        style = fields[ASS_STYLE_FIELD] if len(fields) == ASS_FIELD_COUNT else ""
        if is_drawing(text):
            return style, ()
    return style, tuple(line for line in strip_markup(text).splitlines() if line.strip())
