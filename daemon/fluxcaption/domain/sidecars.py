"""What a sidecar's file name says, read as media servers read it.

Source: server contract, section 7.6: the dot is the only delimiter, tokens are read right to left.
"""

from dataclasses import dataclass

from fluxcaption.domain.language import LanguageTag, normalise

EXTENSIONS = ("ass", "sami", "smi", "srt", "ssa", "ttml", "vtt")
"""Text subtitles that are looked for beside a media file."""

_HEARING_IMPAIRED = frozenset({"cc", "hi", "sdh"})


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


def read_sidecar_name(stem: str, file_name: str) -> SidecarName | None:
    """Read the name of a file beside a media file with that stem; None when it is not its sidecar."""
    if not file_name.lower().startswith(stem.lower() + "."):
        return None
    *tokens, extension = file_name[len(stem) + 1 :].split(".")
    if extension.lower() not in EXTENSIONS:
        return None
    language: LanguageTag | None = None
    forced = impaired = False
    title: list[str] = []
    for token in reversed(tokens):
        lower = token.lower()
        if "forced" in lower or "foreign" in lower:
            forced = True
        elif language is None and lower in _HEARING_IMPAIRED and len(tokens) > 1:
            impaired = True
        elif language is None and (tag := normalise(token)) is not None:
            language = tag
        elif lower in _HEARING_IMPAIRED:
            impaired = True
        elif lower != "default":
            title.insert(0, token)
    return SidecarName(language, ".".join(title), extension.lower(), forced, impaired)
