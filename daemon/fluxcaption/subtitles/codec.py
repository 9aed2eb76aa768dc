"""Subtitle files in and out; the door of pysubs2.

SubRip, WebVTT and ASS are read and rewritten here, line by line: only the text of the cues is replaced in the original file. The library's
writers lose styles, positions, notes and comments (libraries sheet, surprise 16); it reads the formats that come out as SubRip.
"""

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fluxcaption.domain.cues import Cue, SubtitleText
from fluxcaption.domain.errors import SubtitleUnreadable
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.markup import is_drawing, strip_markup, transfer_markup, without_overrides
from fluxcaption.domain.units import Ms
from fluxcaption.subtitles.encodings import decode

MAX_BYTES = 4 * 2**20
MAX_CUES = 20_000
MAX_LINES = 200_000
MAX_MARKED = 20_000
"""Characters of one cue with its tags; checked before the tags are looked at."""

MAX_CHARACTERS = 2_000
"""Of one cue's words: many times what anybody can read."""

_FORMATS = {
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
_ARROW = re.compile(
    r"^\s*(?:\d{1,3}:)?\d{1,2}:\d{2}[.,]\d{1,3}\s+-->\s+(?:\d{1,3}:)?\d{1,2}:\d{2}[.,]\d{1,3}"
)
_TIMING = re.compile(r"-->|^Dialogue:|^\{\d+\}|<p\b|<sync\b", re.MULTILINE | re.IGNORECASE)
_FRAME_RATE = re.compile(r"\{[01]?\}\{[01]?\}(\d{2,3}(?:\.\d{1,3})?)\s*\n")
_USUAL_FRAME_RATE = 25.0
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_ASS_FIELDS = ["layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text"]


@dataclass(frozen=True, slots=True)
class _Shown:
    """One cue of a file as it is spelled there.

    Attributes:
        first: The line its text begins on.
        stop: The line after its text.
        before: What stands before the text on its first line.
        marked: The text with its tags.
        words: The text without.
    """

    first: int
    stop: int
    start: int
    end: int
    before: str
    marked: str
    words: str
    style: str = ""


class Pysubs2Codec:
    """SubtitleCodec over pysubs2, with caps checked before anything is parsed."""

    def read(self, name: str, content: bytes, language: LanguageTag | None = None) -> SubtitleText:
        """Read a file of any supported format."""
        text = _decoded(name, content, language)
        form = _format_of(name, text)
        shown = _shown(name, form, text)
        cues = tuple(
            Cue(Ms(cue.start), Ms(cue.end), tuple(cue.words.splitlines()), number, cue.style)
            for number, cue in enumerate(shown)
        )
        if not cues:
            raise SubtitleUnreadable(name, "there are no cues in it")
        return SubtitleText(form, cues)

    def write_srt(self, cues: Sequence[Cue]) -> bytes:
        """Write SubRip: UTF-8, line feeds."""
        blocks = []
        for number, cue in enumerate(cues, 1):
            # An empty line inside a cue would end it.
            lines = "\n".join(line for line in cue.lines if line.strip())
            blocks.append(f"{number}\n{_srt_time(cue.start)} --> {_srt_time(cue.end)}\n{lines}\n")
        return "\n".join(blocks).encode()

    def rewrite(
        self, name: str, content: bytes, texts: Sequence[str], language: LanguageTag | None = None
    ) -> bytes:
        """Replace the text of each cue in the original file and keep everything else but the encoding, which becomes UTF-8."""
        text = _decoded(name, content, language)
        form = _format_of(name, text)
        shown = _shown(name, form, text)
        if len(texts) != len(shown):
            raise ValueError(f"{len(texts)} texts for {len(shown)} cues")
        if form not in {"srt", "vtt", "ass", "ssa"}:
            return self.write_srt(
                [
                    Cue(Ms(cue.start), Ms(cue.end), tuple(new.splitlines()))
                    for cue, new in zip(shown, texts, strict=True)
                ]
            )
        lines = text.split("\n")
        for cue, new in sorted(zip(shown, texts, strict=True), key=lambda pair: pair[0].first, reverse=True):
            if new != cue.words:
                lines[cue.first : cue.stop] = _spelled(form, cue, new).split("\n")
        bom = "\ufeff" if content.startswith(_BOMS) else ""
        return (bom + _newline_of(content).join(lines)).encode()


def _format_of(name: str, text: str) -> str:
    extension = name.rsplit(".", 1)[-1].lower()
    form = _FORMATS.get(extension)
    if form is None:
        raise SubtitleUnreadable(
            name, f".{extension} is no text subtitle format (srt, vtt, ass, ssa, ttml, smi, sub are)"
        )
    return "vtt" if form == "srt" and text.startswith("WEBVTT") else form


def _decoded(name: str, content: bytes, language: LanguageTag | None) -> str:
    if not content:
        raise SubtitleUnreadable(name, "it is empty")
    if len(content) > MAX_BYTES:
        raise SubtitleUnreadable(name, "it is larger than 4 MiB")
    if b"\x00" in content[:4096] and not content.startswith(_BOMS):
        raise SubtitleUnreadable(name, "it is not text")
    text = decode(content, language)
    if text is None:
        problem = (
            f"its encoding is none that {language} is usually written in"
            if language
            else "its encoding cannot be told"
        )
        raise SubtitleUnreadable(name, f"{problem}: save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _newline_of(content: bytes) -> str:
    """How the file ends its lines; a NUL of UTF-16 may stand between."""
    ends = content.replace(b"\x00", b"")
    return "\r\n" if b"\r\n" in ends else "\r" if b"\r" in ends and b"\n" not in ends else "\n"


def _shown(name: str, form: str, text: str) -> list[_Shown]:
    """The cues that say something, in the order in which they are read: as they lie in SubRip and WebVTT, by time elsewhere."""
    if text.count("\n") > MAX_LINES:
        raise SubtitleUnreadable(name, f"it has more than {MAX_LINES} lines")
    if sum(1 for _ in _TIMING.finditer(text)) > MAX_CUES:
        raise SubtitleUnreadable(name, f"it has more than {MAX_CUES} cues")
    if "<!ENTITY" in text or "<!DOCTYPE" in text:
        raise SubtitleUnreadable(name, "it declares XML entities, which no honest subtitle does")
    if form in {"srt", "vtt"}:
        return list(_timed_blocks(name, form, text.split("\n")))
    found = _ass_events(name, text.split("\n")) if form in {"ass", "ssa"} else _by_library(name, form, text)
    return sorted(found, key=lambda cue: (cue.start, cue.end))


def _words(name: str, marked: str) -> str:
    """The words of one cue, which are bounded."""
    if len(without_overrides(marked)) > MAX_MARKED or len(words := strip_markup(marked)) > MAX_CHARACTERS:
        raise SubtitleUnreadable(name, f"it has a cue of more than {MAX_CHARACTERS} characters")
    return words


def _timed_blocks(name: str, form: str, lines: Sequence[str]) -> Iterator[_Shown]:
    """Cues of SubRip and WebVTT."""
    arrows = [at for at, line in enumerate(lines) if _ARROW.match(line)]
    for arrow, following in zip(arrows, [*arrows[1:], len(lines)], strict=False):
        first, stop = arrow + 1, following
        if form == "vtt":
            # What comes after an empty line is a note, or the next cue's name.
            stop = next((at for at in range(first, following) if not lines[at].strip()), following)
        # The next cue's number is not text, though the empty line between them may be missing.
        if stop == following < len(lines) and stop > first and lines[stop - 1].strip().isdigit():
            stop -= 1
        while stop > first and not lines[stop - 1].strip():
            stop -= 1
        start, _, rest = lines[arrow].strip().partition("-->")
        start_ms, end_ms = _ms(start), _ms(rest.split()[0])
        marked = "\n".join(line for line in lines[first:stop] if line.strip())
        if end_ms > start_ms and (words := _words(name, marked)):
            yield _Shown(first, stop, start_ms, end_ms, "", marked, words)


def _ass_events(name: str, lines: Sequence[str]) -> Iterator[_Shown]:
    """Dialogue of ASS and SSA, by the fields that the file itself names; drawings say nothing."""
    order = _ASS_FIELDS
    for at, line in enumerate(lines):
        kind, _, rest = line.partition(":")
        if kind == "Format":
            fields = [field.strip().lower() for field in rest.split(",")]
            order = fields if {"start", "end"} <= set(fields) and fields[-1] == "text" else order
        if kind != "Dialogue":
            continue
        values = rest.split(",", len(order) - 1)
        if len(values) < len(order) or is_drawing(values[-1]):
            continue
        named = dict(zip(order, values, strict=True))
        try:
            start_ms, end_ms = _ms(named["start"]), _ms(named["end"])
        except ValueError:
            continue
        if end_ms > start_ms >= 0 and (words := _words(name, values[-1])):
            before = line[: len(line) - len(values[-1])]
            yield _Shown(
                at, at + 1, start_ms, end_ms, before, values[-1], words, named.get("style", "").strip()
            )


def _spelled(form: str, cue: _Shown, new: str) -> str:
    """New words as the format spells them, in the formatting of the old ones."""
    if form == "vtt":
        return transfer_markup(cue.marked, html.escape(new, quote=False))
    return (
        transfer_markup(cue.marked, new)
        if form == "srt"
        else cue.before + transfer_markup(cue.marked, new).replace("\n", "\\N")
    )


def _by_library(name: str, form: str, text: str) -> Iterator[_Shown]:
    import pysubs2

    if form == "microdvd" and any(len(line) > MAX_MARKED for line in text.split("\n")):
        raise SubtitleUnreadable(name, f"it has a cue of more than {MAX_CHARACTERS} characters")
    rate = _FRAME_RATE.match(text) if form == "microdvd" else None
    try:
        if form == "microdvd":
            frames_per_s = float(rate[1]) if rate else _USUAL_FRAME_RATE
            file = pysubs2.SSAFile.from_string(
                text[rate.end() :] if rate else text, format_=form, fps=frames_per_s
            )
        else:
            file = pysubs2.SSAFile.from_string(text, format_=form)
    except Exception as error:
        # Hostile input makes the library's parsers raise almost anything.
        raise SubtitleUnreadable(name, f"its format is damaged ({type(error).__name__})") from error
    for event in file.events:
        if event.end > event.start >= 0 and (words := _words(name, event.text)):
            yield _Shown(0, 0, event.start, event.end, "", event.text, words)


def _ms(stamp: str) -> int:
    clock, _, fraction = stamp.strip().replace(",", ".").partition(".")
    seconds = 0
    for part in clock.split(":"):
        seconds = seconds * 60 + int(part)
    return seconds * 1000 + int((fraction or "0").ljust(3, "0")[:3])


def _srt_time(at: Ms) -> str:
    return f"{at // 3_600_000:02d}:{at // 60_000 % 60:02d}:{at // 1000 % 60:02d},{at % 1000:03d}"
