"""One spelling for every language, and when a track in one satisfies a wish for another.

Source: the result tables of the server contract (sections 4.4 and 4.5) and the measured
behaviour of langcodes 3.5; langcodes alone misreads `cht`, `pob`, `tl` and the servers' long names.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import langcodes
from langcodes.tag_parser import LanguageTagError

ALIASES = {
    "pob": "pt-BR",
    "pop": "pt-PT",
    "frc": "fr-CA",
    "chs": "zh-Hans",
    "zhs": "zh-Hans",
    "cht": "zh-Hant",
    "zht": "zh-Hant",
    "scc": "sr",
    "scr": "hr",
    "jw": "jv",
    "iw": "he",
    "in": "id",
    "ji": "yi",
    "tl": "fil",
    "tgl": "fil",
    "mo": "ro",
    "cmn": "zh",
    "greek, modern (1453-)": "el",
    "luba-katanga": "lu",
}
"""Spellings langcodes cannot know, or reads as another language."""

UNKNOWN = frozenset({"", "und", "mis", "mul", "zxx", "unknown", "none", "n/a"})

SCRIPT_BY_REGION = {("zh", "CN"): "Hans", ("zh", "SG"): "Hans", ("zh", "TW"): "Hant", ("zh", "HK"): "Hant", ("zh", "MO"): "Hant"}


class Strictness(StrEnum):
    """How much of a tag must agree before a track counts."""

    LANGUAGE = "language"
    """The language; two scripts that are both named stay apart."""
    SCRIPT = "script"
    """The script must be named and equal where the wish names one."""
    REGION = "region"
    """The region too."""


@dataclass(frozen=True, slots=True, order=True)
class LanguageTag:
    """A language in canonical BCP 47: `de`, `zh-Hans`, `pt-BR`.

    Attributes:
        language: Shortest ISO 639 code, lower case.
        script: ISO 15924 code, or empty.
        region: ISO 3166 code, or empty.
    """

    language: str
    script: str = ""
    region: str = ""

    def __str__(self) -> str:
        """Spell it the one way the daemon stores and shows it."""
        return "-".join(part for part in (self.language, self.script, self.region) if part)

    @property
    def written(self) -> str:
        """The spelling in a file name that most server versions recognise: two letters, a region or Chinese script kept."""
        return str(self)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a tag a person wrote.

        Raises:
            ValueError: It names no language.
        """
        tag = normalise(text)
        if tag is None:
            raise ValueError(f"{text!r} names no language (write a code such as de, pt-BR or zh-Hans)")
        return cls(tag.language, tag.script, tag.region)


def normalise(text: str | None) -> LanguageTag | None:
    """Read any spelling a server, a file or a recogniser uses; None when it names no language."""
    spelling = (text or "").strip().replace("_", "-").lower()
    spelling = ALIASES.get(spelling, spelling)
    if spelling.lower() in UNKNOWN or ("qaa" <= spelling <= "qtz" and len(spelling) == 3):
        return None
    if len(spelling) > 35 or not spelling.replace("-", "").isalnum() or not spelling.isascii():
        return None
    try:
        parsed = langcodes.Language.get(spelling, normalize=True)
    except (LanguageTagError, ValueError):
        return None
    if not parsed.language or not parsed.is_valid() or parsed.language in UNKNOWN:
        return None
    language = ALIASES.get(parsed.language, parsed.language)
    script, region = parsed.script or "", parsed.territory or ""
    if not script and (language, region) in SCRIPT_BY_REGION:
        script, region = SCRIPT_BY_REGION[(language, region)], "" if region in {"CN", "TW"} else region
    return LanguageTag(language, script, region)


def satisfies(have: LanguageTag, want: LanguageTag, strictness: Strictness = Strictness.LANGUAGE) -> bool:
    """Whether somebody who asked for `want` is served by `have`."""
    if have.language != want.language:
        return MACRO.get(have.language) == want.language and strictness is Strictness.LANGUAGE
    if have.script and want.script and have.script != want.script:
        return False
    if strictness is Strictness.LANGUAGE:
        return True
    if want.script and have.script != want.script:
        return False
    return strictness is Strictness.SCRIPT or not want.region or have.region == want.region


MACRO = {"nb": "no", "nn": "no"}
"""A written standard satisfies a wish for its macro-language."""
