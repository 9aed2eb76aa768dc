"""What a sidecar's file name says, read as media servers read it.

Source: server contract, section 7.6: the dot is the only delimiter, tokens are read right to left.
"""

from dataclasses import dataclass

from fluxcaption.domain.language import LanguageTag, normalize
from fluxcaption.domain.sources import MACHINE_MARKS

EXTENSIONS = ("ass", "sami", "smi", "srt", "ssa", "ttml", "vtt")
"""Text subtitles that are looked for beside a media file."""

_HEARING_IMPAIRED = frozenset({"cc", "hi", "sdh"})
_NO_LANGUAGES = MACHINE_MARKS | {"cc", "sdh"}
"""Codes of rare languages among them that no server knows."""

_HINDI = LanguageTag("hi")
"""Its code stands for the hearing impaired, too: where another language lies to the left."""


@dataclass(frozen=True, slots=True)
class SidecarName:
    """The facts in one file name.

    Attributes:
        title: The tokens that mean nothing to a server, in order.
    """

    language: LanguageTag | None
    title: str
    extension: str
    is_forced: bool
    is_hearing_impaired: bool


def suffix_of(stem: str, file_name: str) -> str:
    """What the name of a file says right of a media file's stem, without the dot; empty when it is not called after it."""
    return file_name[len(stem) + 1 :] if file_name.lower().startswith(stem.lower() + ".") else ""


def read_sidecar_name(stem: str, file_name: str) -> SidecarName | None:
    """Read the name of a file beside a media file with that stem; None when it is not its sidecar."""
    *tokens, extension = suffix_of(stem, file_name).split(".")
    if extension.lower() not in EXTENSIONS:
        return None
    language: LanguageTag | None = None
    forced = impaired = False
    title: list[str] = []
    for token in reversed(tokens):
        lower = token.lower()
        tag = normalize(token) if lower not in _NO_LANGUAGES else None
        if "default" in lower:
            continue
        if "forced" in lower or "foreign" in lower:
            forced = True
        elif tag is not None and (language is None or language == _HINDI):
            impaired = impaired or language is not None
            language = tag
        elif lower in _HEARING_IMPAIRED:
            impaired = True
        else:
            title.insert(0, token)
    return SidecarName(language, ".".join(title), extension.lower(), forced, impaired)
