"""Subtitle files in and out; the door of pysubs2.

Reading goes through the library. Where the format stays the same only the text of the cues is replaced in the original file:
the library's writers lose styles, positions, notes and comments (libraries sheet, surprise 16).
"""

import re
from collections.abc import Sequence

from fluxcaption.domain.cues import Cue, SubtitleText
from fluxcaption.domain.errors import SubtitleUnreadable
from fluxcaption.domain.marks import plain
from fluxcaption.domain.units import Ms

MOST_BYTES = 4 * 2**20
MOST_CUES = 20_000
MOST_LINE = 20_000
_FORMATS = {"srt": "srt", "vtt": "vtt", "ass": "ass", "ssa": "ssa", "ttml": "ttml", "xml": "ttml", "smi": "sami", "sami": "sami", "sub": "microdvd"}
_KEPT = frozenset({"srt", "vtt", "ass", "ssa"})
_ARROW = re.compile(r"^\s*(?:\d{1,3}:)?\d{1,2}:\d{2}[.,]\d{1,3}\s+-->\s+(?:\d{1,3}:)?\d{1,2}:\d{2}[.,]\d{1,3}")
_TIMING = re.compile(r"-->|^Dialogue:|^\{\d+\}|<p\b|<sync\b", re.MULTILINE | re.IGNORECASE)


class Pysubs2Codec:
    """SubtitleCodec over pysubs2, with caps checked before anything is parsed."""

    def read(self, name: str, content: bytes) -> SubtitleText:
        """Read a file of any supported format."""
        form = _format_of(name)
        text = _decoded(name, content)
        _check_bounds(name, text)
        if form in {"srt", "vtt"}:
            found = [(start, end, "\n".join(lines)) for _, _, start, end, lines in _timed_blocks(text)]
        else:
            found = list(_by_library(name, form, text))
        cues = [Cue(Ms(start), Ms(end), tuple(plain(words).splitlines()), 0) for start, end, words in found if end > start >= 0 and plain(words)]
        if not cues:
            raise SubtitleUnreadable(name, "there are no cues in it")
        if form in {"srt", "vtt"}:
            return SubtitleText(form, tuple(_numbered(cues)))
        return SubtitleText(form, tuple(_numbered(sorted(cues, key=lambda cue: (cue.start, cue.end)))))

    def write_srt(self, cues: Sequence[Cue]) -> bytes:
        """Write SubRip: UTF-8, line feeds."""
        blocks = []
        for number, cue in enumerate(cues, 1):
            # An empty line inside a cue would end it.
            lines = "\n".join(line for line in cue.lines if line.strip())
            blocks.append(f"{number}\n{_srt_time(cue.start)} --> {_srt_time(cue.end)}\n{lines}\n")
        return "\n".join(blocks).encode()

    def rewrite(self, name: str, content: bytes, texts: Sequence[str]) -> bytes:
        """Replace the text of each cue in the original file and keep everything else."""
        form = _format_of(name)
        read = self.read(name, content)
        if len(texts) != len(read.cues):
            raise ValueError(f"{len(texts)} texts for {len(read.cues)} cues")
        text = _decoded(name, content)
        if form in {"srt", "vtt"}:
            return _rewrite_timed(text, texts).encode()
        if form in {"ass", "ssa"}:
            return _rewrite_ass(text, read.cues, texts).encode()
        return self.write_srt([Cue(cue.start, cue.end, tuple(new.splitlines()), cue.sentence) for cue, new in zip(read.cues, texts, strict=True)])


def _format_of(name: str) -> str:
    extension = name.rsplit(".", 1)[-1].lower()
    form = _FORMATS.get(extension)
    if form is None:
        raise SubtitleUnreadable(name, f".{extension} is no text subtitle format (srt, vtt, ass, ssa, ttml, smi, sub are)")
    return form


def is_kept(name: str) -> bool:
    """Whether a file of that name comes out in its own format."""
    return _FORMATS.get(name.rsplit(".", 1)[-1].lower()) in _KEPT


def _decoded(name: str, content: bytes) -> str:
    if not content:
        raise SubtitleUnreadable(name, "it is empty")
    if len(content) > MOST_BYTES:
        raise SubtitleUnreadable(name, "it is larger than 4 MiB")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif b"\x00" in content[:4096]:
        raise SubtitleUnreadable(name, "it is not text")
    else:
        encodings = ["utf-8-sig", "cp1252", "latin-1"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise SubtitleUnreadable(name, "its encoding is unknown: save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _check_bounds(name: str, text: str) -> None:
    if any(len(line) > MOST_LINE for line in text.split("\n")):
        raise SubtitleUnreadable(name, f"it has a line of more than {MOST_LINE} characters")
    if sum(1 for _ in _TIMING.finditer(text)) > MOST_CUES:
        raise SubtitleUnreadable(name, f"it has more than {MOST_CUES} cues")
    if "<!ENTITY" in text or "<!DOCTYPE" in text:
        raise SubtitleUnreadable(name, "it declares XML entities, which no honest subtitle does")


def _timed_blocks(text: str) -> list[tuple[int, int, int, int, list[str]]]:
    """Cues of SubRip and WebVTT: first and last text line (for rewriting), start, end, text lines."""
    lines = text.split("\n")
    arrows = [at for at, line in enumerate(lines) if _ARROW.match(line)]
    blocks = []
    for arrow, following in zip(arrows, [*arrows[1:], len(lines)], strict=False):
        stop = arrow + 1
        while stop < following and lines[stop].strip():
            stop += 1
        # The next cue's number is not text where the empty line between them is missing.
        if stop == following and following < len(lines) and lines[stop - 1].strip().isdigit() and stop - 1 > arrow:
            stop -= 1
        start, _, rest = lines[arrow].strip().partition("-->")
        end = rest.split()[0] if rest.split() else ""
        try:
            blocks.append((arrow + 1, stop, _ms(start), _ms(end), lines[arrow + 1 : stop]))
        except ValueError:
            continue
    return blocks


def _rewrite_timed(text: str, texts: Sequence[str]) -> str:
    lines = text.split("\n")
    shown = [block for block in _timed_blocks(text) if block[3] > block[2] >= 0 and plain("\n".join(block[4]))]
    for (first, stop, _, _, old), new in reversed(list(zip(shown, texts, strict=True))):
        if plain("\n".join(old)) != new:
            lines[first:stop] = _with_frame("\n".join(old), new).split("\n")
    return "\n".join(lines)


def _rewrite_ass(text: str, cues: Sequence[Cue], texts: Sequence[str]) -> str:
    """Replace the last field of each dialogue line that is shown; equal times and words take the same new text."""
    new_of: dict[tuple[int, int, str], str] = {(cue.start, cue.end, "\n".join(cue.lines)): new for cue, new in zip(cues, texts, strict=True)}
    lines = text.split("\n")
    for at, line in enumerate(lines):
        if not line.startswith("Dialogue:"):
            continue
        fields = line.split(",", 9)
        if len(fields) < 10:
            continue
        try:
            key = (_ms(fields[1]), _ms(fields[2]), plain(fields[9]))
        except ValueError:
            continue
        if (new := new_of.get(key)) is not None and new != key[2]:
            lines[at] = ",".join([*fields[:9], _with_frame(fields[9], new).replace("\n", "\\N")])
    return "\n".join(lines)


_FRAME = re.compile(r"^((?:\{[^{}]{0,500}\}|<[^<>]{1,200}>|- )*)(.*?)((?:</[^<>]{1,50}>|\{[^{}]{0,500}\})*)$", re.DOTALL)


def _with_frame(old: str, new: str) -> str:
    """New words inside the formatting that stood around all of the old ones."""
    match = _FRAME.match(old)
    if match is None:
        return new
    opening, _, closing = match.groups()
    return f"{opening.removesuffix('- ')}{new}{closing}"


def _by_library(name: str, form: str, text: str) -> list[tuple[int, int, str]]:
    import pysubs2

    try:
        if form == "microdvd":
            file = pysubs2.SSAFile.from_string(text, format_=form, fps=25.0)
        else:
            file = pysubs2.SSAFile.from_string(text, format_="ass" if form == "ssa" and "[V4+" in text else form)
    except Exception as error:
        # Hostile input makes the library's parsers raise almost anything.
        raise SubtitleUnreadable(name, f"its format is damaged ({type(error).__name__})") from error
    return [(event.start, event.end, event.text) for event in file.events if not event.is_comment and not getattr(event, "is_drawing", False)]


def _numbered(cues: Sequence[Cue]) -> list[Cue]:
    return [Cue(cue.start, cue.end, cue.lines, number) for number, cue in enumerate(cues)]


def _ms(stamp: str) -> int:
    clock, _, fraction = stamp.strip().replace(",", ".").partition(".")
    seconds = 0
    for part in clock.split(":"):
        seconds = seconds * 60 + int(part)
    return seconds * 1000 + int((fraction or "0").ljust(3, "0")[:3])


def _srt_time(at: Ms) -> str:
    return f"{at // 3_600_000:02d}:{at // 60_000 % 60:02d}:{at // 1000 % 60:02d},{at % 1000:03d}"
