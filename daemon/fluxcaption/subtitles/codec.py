"""Reading and writing of subtitle files; all limits are checked before a file is parsed.

SubRip, WebVTT and ASS are read and rewritten line by line, so that only the texts of the cues change. The
writers of pysubs2 lose styles, positions, notes and comments (notes/libraries.md L20). The library
reads the other formats, which are written as SubRip.
"""

import re
from collections.abc import Sequence

from fluxcaption.domain.cues import Cue, SubtitleText
from fluxcaption.domain.errors import SubtitleUnreadable
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import Ms
from fluxcaption.ports.subtitles import MAX_CUES, MAX_SUBTITLE_BYTES
from fluxcaption.subtitles import ass, library_formats, srt
from fluxcaption.subtitles.encodings import decode
from fluxcaption.subtitles.file_cue import FileCue

MAX_LINES = 200_000
BINARY_CHECK_BYTES = 4096
"""A NUL in this much of a file without byte order mark means that it is not text."""

FORMAT_BY_EXTENSION = {
    "srt": "srt",
    "vtt": "vtt",
    "ass": "ass",
    "ssa": "ssa",
    "ttml": "ttml",
    "xml": "ttml",
    "smi": "sami",
    "sami": "sami",
    "sub": "microdvd",
}
REWRITABLE_FORMATS = frozenset({"srt", "vtt", "ass", "ssa"})

_CUE_START = re.compile(r"-->|^Dialogue:|^\{\d+\}|<p\b|<sync\b", re.MULTILINE | re.IGNORECASE)
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


class Pysubs2Codec:
    """SubtitleCodec for SubRip, WebVTT, ASS and SSA, and over pysubs2 for TTML, SAMI and MicroDVD."""

    def read(self, name: str, content: bytes, language: LanguageTag | None = None) -> SubtitleText:
        """Read a file whose extension names a supported format."""
        text = _decode_file(name, content, language)
        file_format = _format_of(name, text)
        cues = tuple(
            Cue(Ms(cue.start), Ms(cue.end), tuple(cue.text.splitlines()), number, cue.style)
            for number, cue in enumerate(_parse_cues(name, file_format, text))
        )
        if not cues:
            raise SubtitleUnreadable(name, "it has no cues")
        return SubtitleText(file_format, cues)

    def write_srt(self, cues: Sequence[Cue]) -> bytes:
        """Return the cues as SubRip: UTF-8 without byte order mark, line feeds."""
        return srt.write_srt(cues)

    def rewrite(
        self, name: str, content: bytes, texts: Sequence[str], language: LanguageTag | None = None
    ) -> bytes:
        """Replace the texts of the cues and keep the rest of the file; the encoding becomes UTF-8."""
        file_text = _decode_file(name, content, language)
        file_format = _format_of(name, file_text)
        cues = _parse_cues(name, file_format, file_text)
        if len(texts) != len(cues):
            raise ValueError(f"{len(texts)} texts for {len(cues)} cues")
        replacements = list(zip(cues, texts, strict=True))
        if file_format not in REWRITABLE_FORMATS:
            return srt.write_srt(
                [Cue(Ms(cue.start), Ms(cue.end), tuple(text.splitlines())) for cue, text in replacements]
            )
        lines = file_text.split("\n")
        # From the end of the file, so that the line numbers of the cues before stay valid.
        for cue, text in sorted(replacements, key=lambda pair: pair[0].first_line, reverse=True):
            if text != cue.text:
                lines[cue.first_line : cue.end_line] = _replace_text(file_format, cue, text).split("\n")
        byte_order_mark = "\ufeff" if content.startswith(_BYTE_ORDER_MARKS) else ""
        return (byte_order_mark + _line_end_of(content).join(lines)).encode()


def _decode_file(name: str, content: bytes, language: LanguageTag | None) -> str:
    """Return the text of a file with line feeds as line ends."""
    if not content:
        raise SubtitleUnreadable(name, "it is empty")
    if len(content) > MAX_SUBTITLE_BYTES:
        raise SubtitleUnreadable(name, f"it is larger than {MAX_SUBTITLE_BYTES // 2**20} MiB")
    if b"\x00" in content[:BINARY_CHECK_BYTES] and not content.startswith(_BYTE_ORDER_MARKS):
        raise SubtitleUnreadable(name, "it is not text")
    text = decode(content, language)
    if text is None:
        problem = (
            f"its encoding is none that is usual for {language}"
            if language
            else "its encoding cannot be determined"
        )
        raise SubtitleUnreadable(name, f"{problem}. Save it as UTF-8.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _format_of(name: str, text: str) -> str:
    """Return the format by the extension; WebVTT files are often named .srt."""
    extension = name.rsplit(".", 1)[-1].lower()
    file_format = FORMAT_BY_EXTENSION.get(extension)
    if file_format is None:
        raise SubtitleUnreadable(
            name, f".{extension} is not a text subtitle format; srt, vtt, ass, ssa, ttml, smi and sub are"
        )
    return "vtt" if file_format == "srt" and text.startswith("WEBVTT") else file_format


def _parse_cues(name: str, file_format: str, text: str) -> list[FileCue]:
    """Return the cues with text: in the order of the file for SubRip and WebVTT, else in order of time."""
    _check_limits(name, text)
    if file_format in {"srt", "vtt"}:
        return list(srt.read_cues(name, text.split("\n"), is_webvtt=file_format == "vtt"))
    cues = (
        ass.read_cues(name, text.split("\n"))
        if file_format in {"ass", "ssa"}
        else library_formats.read_cues(name, file_format, text)
    )
    return sorted(cues, key=lambda cue: (cue.start, cue.end))


def _check_limits(name: str, text: str) -> None:
    if text.count("\n") > MAX_LINES:
        raise SubtitleUnreadable(name, f"it has more than {MAX_LINES} lines")
    if sum(1 for _ in _CUE_START.finditer(text)) > MAX_CUES:
        raise SubtitleUnreadable(name, f"it has more than {MAX_CUES} cues")
    if "<!ENTITY" in text or "<!DOCTYPE" in text:
        raise SubtitleUnreadable(name, "it declares XML entities, which subtitles do not need")


def _replace_text(file_format: str, cue: FileCue, text: str) -> str:
    """Return the lines of a cue with a new text and the markup of the old one."""
    if file_format in {"ass", "ssa"}:
        return ass.replace_text(cue, text)
    return srt.replace_text(cue, text, is_webvtt=file_format == "vtt")


def _line_end_of(content: bytes) -> str:
    """Return the line end that a file uses."""
    # In UTF-16 a NUL lies between the bytes of \r\n.
    content = content.replace(b"\x00", b"")
    if b"\r\n" in content:
        return "\r\n"
    return "\r" if b"\r" in content and b"\n" not in content else "\n"
