"""Formatting that a reader does not read and a translator must not touch."""

import html
import re

_OVERRIDE = re.compile(r"\{[^{}]{0,500}\}")
_TAG = re.compile(r"</?(?:i|b|u|s|font|c|v|lang|ruby|rt)(?:[ .][^<>]{0,200})?>", re.IGNORECASE)
_STAMP = re.compile(r"<\d{2,}:\d{2}(?::\d{2})?\.\d{3}>")


def plain(text: str) -> str:
    """The words alone: without ASS overrides, tags of SubRip and WebVTT, and entities; line breaks stay."""
    text = text.replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")
    text = _STAMP.sub("", _TAG.sub("", _OVERRIDE.sub("", text)))
    return "\n".join(" ".join(line.split()) for line in html.unescape(text).splitlines()).strip()
