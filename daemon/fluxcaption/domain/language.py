"""One spelling for every language, and when a track in one satisfies a wish for another.

Source: the result tables of the server contract (sections 4.4 and 4.5) and the measured
behaviour of langcodes 3.5; langcodes alone misreads `cht`, `pob`, `tl` and the servers' long names.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
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
    "arb": "ar",
    "pes": "fa",
    "zsm": "ms",
}
"""Codes langcodes cannot know, or reads as another language."""

NAMES = {
    "albanian": "sq",
    "arabic": "ar",
    "basque": "eu",
    "bengali": "bn",
    "bokmal": "nb",
    "bokmål": "nb",
    "bosnian": "bs",
    "bulgarian": "bg",
    "cantonese": "yue",
    "catalan": "ca",
    "chinese": "zh",
    "croatian": "hr",
    "czech": "cs",
    "danish": "da",
    "dutch": "nl",
    "english": "en",
    "estonian": "et",
    "farsi": "fa",
    "filipino": "fil",
    "finnish": "fi",
    "french": "fr",
    "galician": "gl",
    "german": "de",
    "greek": "el",
    "hebrew": "he",
    "hindi": "hi",
    "hungarian": "hu",
    "icelandic": "is",
    "indonesian": "id",
    "italian": "it",
    "japanese": "ja",
    "korean": "ko",
    "latvian": "lv",
    "lithuanian": "lt",
    "macedonian": "mk",
    "malay": "ms",
    "mandarin": "zh",
    "norwegian": "no",
    "norwegian bokmal": "nb",
    "norwegian bokmål": "nb",
    "norwegian nynorsk": "nn",
    "nynorsk": "nn",
    "persian": "fa",
    "polish": "pl",
    "portuguese": "pt",
    "romanian": "ro",
    "russian": "ru",
    "serbian": "sr",
    "slovak": "sk",
    "slovenian": "sl",
    "spanish": "es",
    "swedish": "sv",
    "tagalog": "fil",
    "tamil": "ta",
    "telugu": "te",
    "thai": "th",
    "turkish": "tr",
    "ukrainian": "uk",
    "urdu": "ur",
    "vietnamese": "vi",
    # What newer servers answer instead of a code, since they mistake the hyphen in the name for a region (contract 4.5).
    "dutch, middle (ca.1050-1350)": "dum",
    "english, middle (1100-1500)": "enm",
    "english, old (ca.450-1100)": "ang",
    "french, middle (ca.1400-1600)": "frm",
    "french, old (842-ca.1400)": "fro",
    "german, middle high (ca.1050-1500)": "gmh",
    "german, old high (ca.750-1050)": "goh",
    "greek, modern (1453-)": "el",
    "irish, middle (900-1200)": "mga",
    "luba-katanga": "lu",
    "luba-lulua": "lua",
    "persian, old (ca.600-400 b.c.)": "peo",
    "turkish, ottoman (1500-1928)": "ota",
}
"""Names as file names and servers write them."""

UNKNOWN = frozenset({"", "und", "mis", "mul", "zxx", "unknown", "none", "n/a"})

SCRIPT_BY_REGION = {
    ("zh", "CN"): "Hans",
    ("zh", "SG"): "Hans",
    ("zh", "TW"): "Hant",
    ("zh", "HK"): "Hant",
    ("zh", "MO"): "Hant",
}


READ_EVERYWHERE = frozenset({"pt-BR", "pt-PT", "fr-CA"})
"""Tags with a region that every server version from 10.10 on recognises in a file name."""

HINTS = {
    "zh": {
        "simplified": "Hans",
        "chs": "Hans",
        "简体": "Hans",
        "简": "Hans",
        "traditional": "Hant",
        "cht": "Hant",
        "繁體": "Hant",
        "繁体": "Hant",
        "繁": "Hant",
    },
    "sr": {"cyrillic": "Cyrl", "latin": "Latn"},
    "pt": {"brazilian": "BR", "brazil": "BR", "brasil": "BR", "portugal": "PT", "european": "PT"},
    "es": {
        "latin": "419",
        "latino": "419",
        "latinoamérica": "419",
        "latinoamericano": "419",
        "castilian": "ES",
        "castellano": "ES",
        "spain": "ES",
    },
    "fr": {"canadian": "CA", "canada": "CA"},
}
"""Words in a track's title that name its script or region."""

_FILLERS = frozenset({"america", "american"})
"""Words beside those that name nothing of themselves: `Spanish (Latin America)`."""

_WORDS = re.compile(r"[^\W\d_]+")


MAX_SIGNS = 80
"""No spelling of a language is longer."""


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
    def file_suffix(self) -> str:
        """The spelling in a file name that every server version recognises as the language.

        A region or script that some version cannot read stands left of the plain code, where servers take it for a title
        and we read it back: `zh-Hans.zh`, `es-MX.es`, but `pt-BR` (contract 4.5).
        """
        whole = str(self)
        return whole if whole == self.language or whole in READ_EVERYWHERE else f"{whole}.{self.language}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a tag a person wrote.

        Raises:
            ValueError: It names no language.
        """
        tag = normalize(text)
        if tag is None:
            raise ValueError(f"{text!r} names no language (write a code such as de, pt-BR or zh-Hans)")
        return cls(tag.language, tag.script, tag.region)


def normalize(text: str | None) -> LanguageTag | None:
    """Read any spelling a server, a file or a recogniser uses; None when it names no language."""
    return _normalized(text) if text and len(text) <= MAX_SIGNS else None


@lru_cache(maxsize=4096)
def _normalized(text: str) -> LanguageTag | None:
    """A library spells few languages many times over."""
    spelling = text.strip().replace("_", "-").lower()
    spelling = ALIASES.get(spelling) or NAMES.get(spelling) or _by_name(spelling) or spelling
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


def _by_name(spelling: str) -> str | None:
    """A language by its name and what tells its script or region: `Portuguese (Brazil)`, `Traditional Chinese`, `Catalan; Valencian`."""
    words = _WORDS.findall(spelling.split(";")[0])
    if (whole := NAMES.get(" ".join(words))) is not None:
        return whole
    for word in words:
        code = NAMES.get(word)
        if code is not None and all(
            other in HINTS.get(code, {}) or other in _FILLERS for other in words if other != word
        ):
            return str(refine(LanguageTag(code), " ".join(words)))
    return None


def refine(tag: LanguageTag, title: str) -> LanguageTag:
    """The tag with the script or region that a track's title tells and its code does not; tokens of a file name are a title, too."""
    if tag.script or tag.region:
        return tag
    words = title.lower().replace("(", " ").replace(")", " ").replace(".", " ").split()
    for word in words:
        found = normalize(word) if "-" in word or "_" in word else None
        if found is not None and found.language == tag.language and found != tag:
            return found
    for word, part in HINTS.get(tag.language, {}).items():
        if word in words:
            return (
                LanguageTag(tag.language, part, "") if len(part) == 4 else LanguageTag(tag.language, "", part)
            )
    return tag


def satisfies(have: LanguageTag, want: LanguageTag, strictness: Strictness = Strictness.LANGUAGE) -> bool:
    """Whether somebody who asked for `want` is served by `have`."""
    if have.language != want.language and MACRO.get(have.language) != want.language:
        # Norwegian of no named standard is nearly always Bokmål; it is not named, though.
        return strictness is Strictness.LANGUAGE and (have.language, want.language) == ("no", "nb")
    if have.script and want.script and have.script != want.script:
        return False
    if strictness is Strictness.LANGUAGE:
        return True
    if want.script and have.script != want.script:
        return False
    return strictness is Strictness.SCRIPT or not want.region or have.region == want.region


MACRO = {"nb": "no", "nn": "no"}
"""A written standard satisfies a wish for its macro-language, however strict."""
