"""ASS and SSA: one event per line, its fields in the order of the `Format` line."""

from collections.abc import Iterator, Sequence

from fluxcaption.domain.markup import is_drawing, transfer_markup
from fluxcaption.subtitles.file_cue import FileCue, parse_timestamp_ms, plain_text

_DEFAULT_FIELDS = (
    "layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text"
)  # fmt: skip


def read_cues(name: str, lines: Sequence[str]) -> Iterator[FileCue]:
    """Yield the dialogue with text in the order of the file; comments and drawings are left out."""
    fields: Sequence[str] = _DEFAULT_FIELDS
    for index, line in enumerate(lines):
        kind, _, content = line.partition(":")
        if kind == "Format":
            named_fields = [field.strip().lower() for field in content.split(",")]
            # A script has Format lines for its styles, too; those of events end with the text.
            if {"start", "end"} <= set(named_fields) and named_fields[-1] == "text":
                fields = named_fields
        elif kind == "Dialogue" and (cue := _read_event(name, index, line, content, fields)) is not None:
            yield cue


def _read_event(name: str, index: int, line: str, content: str, fields: Sequence[str]) -> FileCue | None:
    """Return one event; None if it is incomplete, a drawing, or without text or duration."""
    values = content.split(",", len(fields) - 1)
    if len(values) < len(fields) or is_drawing(values[-1]):
        return None
    event = dict(zip(fields, values, strict=True))
    try:
        start, end = parse_timestamp_ms(event["start"]), parse_timestamp_ms(event["end"])
    except ValueError:
        return None
    marked_up = values[-1]
    if not end > start >= 0 or not (text := plain_text(name, marked_up)):
        return None
    prefix = line[: len(line) - len(marked_up)]
    return FileCue(index, index + 1, start, end, prefix, marked_up, text, event.get("style", "").strip())


def replace_text(cue: FileCue, text: str) -> str:
    """Return the line of an event with a new text and the markup of the old one."""
    return cue.prefix + transfer_markup(cue.marked_up, text).replace("\n", "\\N")
