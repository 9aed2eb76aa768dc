"""Facts in the file names of sidecars, read the way media servers read them.

Source: notes/jellyfin-server.md J34: the dot is the only delimiter; tokens are read from right to left.
"""

from dataclasses import dataclass

from fluxcaption.domain.language import LanguageTag, normalize
from fluxcaption.domain.sources import MACHINE_MARKS

EXTENSIONS = ("ass", "sami", "smi", "srt", "ssa", "ttml", "vtt")
"""Extensions of the text subtitles that are looked for beside a media file."""

_HEARING_IMPAIRED = frozenset({"cc", "hi", "sdh"})
_NO_LANGUAGE_TOKENS = MACHINE_MARKS | {"cc", "sdh"}
"""Tokens that are never a language, although some are codes of rare languages that no server knows."""

_HINDI = LanguageTag("hi")
"""Language whose code also means hearing impaired, if another language stands left of it."""


@dataclass(frozen=True, slots=True)
class SidecarName:
    """Facts in one file name.

    Attributes:
        language: Language; None if the name has none.
        title: Tokens without a meaning for servers, in order, joined by dots.
        extension: Extension without the dot, lower case.
    """

    language: LanguageTag | None
    title: str
    extension: str
    is_forced: bool
    is_hearing_impaired: bool


def suffix_of(stem: str, file_name: str) -> str:
    """Return the part of a file name after the stem of a media file and a dot; empty for another stem."""
    return file_name[len(stem) + 1 :] if file_name.lower().startswith(stem.lower() + ".") else ""


def read_sidecar_name(stem: str, file_name: str) -> SidecarName | None:
    """Return the facts in the name of a sidecar of the media file `stem`; None for any other file."""
    *tokens, extension = suffix_of(stem, file_name).split(".")
    if extension.lower() not in EXTENSIONS:
        return None
    language: LanguageTag | None = None
    is_forced = is_hearing_impaired = False
    title: list[str] = []
    for token in reversed(tokens):
        lower = token.lower()
        tag = normalize(token) if lower not in _NO_LANGUAGE_TOKENS else None
        if "default" in lower:
            continue
        if "forced" in lower or "foreign" in lower:
            is_forced = True
        elif tag is not None and (language is None or language == _HINDI):
            is_hearing_impaired = is_hearing_impaired or language is not None
            language = tag
        elif lower in _HEARING_IMPAIRED:
            is_hearing_impaired = True
        else:
            title.insert(0, token)
    return SidecarName(language, ".".join(title), extension.lower(), is_forced, is_hearing_impaired)
