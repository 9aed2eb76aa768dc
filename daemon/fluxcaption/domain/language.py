"""Language tags: one canonical spelling, and the rule by which a track in one language serves another.

Source: notes/jellyfin-server.md J19 to J21 and the measured behavior of
langcodes 3.5. langcodes alone misreads `cht`, `pob`, `tl` and the long names that servers use.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Self

import langcodes
from langcodes.tag_parser import LanguageTagError

MAX_SPELLING_CHARACTERS = 80
"""Longest spelling of a language that is looked at."""

MAX_TAG_CHARACTERS = 35
"""Longest tag that is parsed (length that BCP 47 asks programs to support)."""


def _table(text: str) -> dict[str, str]:
    """Read a table written as `key value; key value`; a value may contain spaces."""
    return dict(entry.strip().split(" ", 1) for entry in text.split(";"))


CODE_ALIASES = _table(
    "pob pt-BR; pop pt-PT; frc fr-CA; chs zh-Hans; zhs zh-Hans; cht zh-Hant; zht zh-Hant; scc sr; scr hr;"
    "jw jv; iw he; in id; ji yi; tl fil; tgl fil; mo ro; cmn zh; arb ar; pes fa; zsm ms"
)
"""Canonical tag by code, for codes that langcodes does not know or reads as another language."""

ENGLISH_NAMES = _table(
    "ar Arabic; bg Bulgarian; bn Bengali; bs Bosnian; ca Catalan; cs Czech; da Danish; de German; "
    "el Greek; en English; es Spanish; et Estonian; eu Basque; fa Persian; fi Finnish; fil Filipino; "
    "fr French; gl Galician; he Hebrew; hi Hindi; hr Croatian; hu Hungarian; id Indonesian; "
    "is Icelandic; it Italian; ja Japanese; ko Korean; lt Lithuanian; lv Latvian; mk Macedonian; "
    "ms Malay; nb Norwegian Bokmål; nl Dutch; nn Norwegian Nynorsk; no Norwegian; pl Polish; "
    "pt Portuguese; ro Romanian; ru Russian; sk Slovak; sl Slovenian; sq Albanian; sr Serbian; "
    "sv Swedish; ta Tamil; te Telugu; th Thai; tr Turkish; uk Ukrainian; ur Urdu; vi Vietnamese; "
    "yue Cantonese; zh Chinese"
)
"""English name by language code, as shown to users."""

_FURTHER_NAMES = {
    "nb": ("bokmal", "bokmål", "norwegian bokmal"),
    "nn": ("nynorsk",),
    "fa": ("farsi",),
    "fil": ("tagalog",),
    "zh": ("mandarin",),
    # Names that newer servers return instead of a code; the hyphen is taken for a region
    # (notes/jellyfin-server.md J20).
    "dum": ("dutch, middle (ca.1050-1350)",),
    "enm": ("english, middle (1100-1500)",),
    "ang": ("english, old (ca.450-1100)",),
    "frm": ("french, middle (ca.1400-1600)",),
    "fro": ("french, old (842-ca.1400)",),
    "gmh": ("german, middle high (ca.1050-1500)",),
    "goh": ("german, old high (ca.750-1050)",),
    "el": ("greek, modern (1453-)",),
    "mga": ("irish, middle (900-1200)",),
    "lu": ("luba-katanga",),
    "lua": ("luba-lulua",),
    "peo": ("persian, old (ca.600-400 b.c.)",),
    "ota": ("turkish, ottoman (1500-1928)",),
}

CODES_BY_NAME = {name.lower(): code for code, name in ENGLISH_NAMES.items()} | {
    name: code for code, names in _FURTHER_NAMES.items() for name in names
}
"""Language code by name, as file names and servers write it; lower case."""

NO_LANGUAGE = frozenset({"", "und", "mis", "mul", "zxx", "unknown", "none", "n/a"})
"""Spellings that stand for no language or an unknown one."""

SCRIPT_BY_REGION = {
    ("zh", "CN"): "Hans",
    ("zh", "SG"): "Hans",
    ("zh", "TW"): "Hant",
    ("zh", "HK"): "Hant",
    ("zh", "MO"): "Hant",
}
"""Script that a language and region imply."""

SELF_CONTAINED_FILE_TAGS = frozenset({"pt-BR", "pt-PT", "fr-CA"})
"""Tags with a region that sidecar names carry without the plain language code."""

TITLE_HINTS = {
    "zh": _table(
        "simplified Hans; chs Hans; 简体 Hans; 简 Hans;"
        "traditional Hant; cht Hant; 繁體 Hant; 繁体 Hant; 繁 Hant"
    ),
    "sr": _table("cyrillic Cyrl; latin Latn"),
    "pt": _table("brazilian BR; brazil BR; brasil BR; portugal PT; european PT"),
    "es": _table(
        "latin 419; latino 419; latinoamérica 419; latinoamericano 419; castilian ES; castellano ES; spain ES"
    ),
    "fr": _table("canadian CA; canada CA"),
}
"""Script or region by a word in the title of a track, for each language."""

_NEUTRAL_TITLE_WORDS = frozenset({"america", "american"})
"""Words beside a hint that name no script or region themselves: `Spanish (Latin America)`."""

_MACROLANGUAGES = {"nb": "no", "nn": "no"}
"""Macrolanguage by written standard; the standard serves the macrolanguage at every strictness."""

_WORD = re.compile(r"[^\W\d_]+")


class Strictness(StrEnum):
    """Parts of a tag that must agree before a track serves a target."""

    LANGUAGE = "language"
    """Language alone; two scripts that are both named must be equal."""
    SCRIPT = "script"
    """Language and script; the track must name the script that the target names."""
    REGION = "region"
    """Language, script and region."""


@dataclass(frozen=True, slots=True, order=True)
class LanguageTag:
    """Language in canonical BCP 47: `de`, `zh-Hans`, `pt-BR`.

    Attributes:
        language: Shortest ISO 639 code, lower case.
        script: ISO 15924 code, or empty.
        region: ISO 3166 code, or empty.
    """

    language: str
    script: str = ""
    region: str = ""

    def __str__(self) -> str:
        """Return the canonical spelling, as stored and shown."""
        return "-".join(part for part in (self.language, self.script, self.region) if part)

    @property
    def english_name(self) -> str:
        """Return the name for sentences: `German`, `Portuguese (pt-BR)`; else the tag."""
        name = ENGLISH_NAMES.get(self.language)
        if name is None or not (self.script or self.region):
            return name or str(self)
        return f"{name} ({self})"

    @property
    def file_suffix(self) -> str:
        """Return the spelling in the file name of a sidecar.

        A script or region is followed by the plain code: `zh-Hans.zh`, `es-MX.es`. A server that cannot read
        the full tag takes it for a title and still reads the language. A few tags stand alone: `pt-BR`
        (notes/jellyfin-server.md J20).
        """
        tag = str(self)
        is_plain = tag == self.language or tag in SELF_CONTAINED_FILE_TAGS
        return tag if is_plain else f"{tag}.{self.language}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the tag for a spelling in a command or a config.

        Raises:
            ValueError: The text names no language.
        """
        tag = normalize(text)
        if tag is None:
            raise ValueError(f"{text!r} names no language; use a code such as de, pt-BR or zh-Hans")
        return cls(tag.language, tag.script, tag.region)


def normalize(text: str | None) -> LanguageTag | None:
    """Return the tag for a spelling of a server, file or recognizer; None if it names no language."""
    return _normalize(text) if text and len(text) <= MAX_SPELLING_CHARACTERS else None


# Cached because a library repeats few spellings many times.
@lru_cache(maxsize=4096)
def _normalize(text: str) -> LanguageTag | None:
    spelling = text.strip().replace("_", "-").lower()
    spelling = CODE_ALIASES.get(spelling) or CODES_BY_NAME.get(spelling) or _tag_by_name(spelling) or spelling
    is_private = len(spelling) == 3 and "qaa" <= spelling <= "qtz"
    if spelling.lower() in NO_LANGUAGE or is_private or not _has_tag_characters(spelling):
        return None
    try:
        parsed = langcodes.Language.get(spelling, normalize=True)
    except (LanguageTagError, ValueError):
        return None
    if not parsed.language or not parsed.is_valid() or parsed.language in NO_LANGUAGE:
        return None
    language = CODE_ALIASES.get(parsed.language, parsed.language)
    script, region = parsed.script or "", parsed.territory or ""
    if not script and (language, region) in SCRIPT_BY_REGION:
        script = SCRIPT_BY_REGION[(language, region)]
        # The script alone is the usual spelling for these two regions.
        region = "" if region in {"CN", "TW"} else region
    return LanguageTag(language, script, region)


def _has_tag_characters(spelling: str) -> bool:
    return len(spelling) <= MAX_TAG_CHARACTERS and spelling.isascii() and spelling.replace("-", "").isalnum()


def _tag_by_name(spelling: str) -> str | None:
    """Return the tag of a name with its script or region.

    Examples: `Portuguese (Brazil)`, `Traditional Chinese`, `Catalan; Valencian`.
    """
    words = _WORD.findall(spelling.split(";")[0])
    if (code := CODES_BY_NAME.get(" ".join(words))) is not None:
        return code
    for name in words:
        code = CODES_BY_NAME.get(name)
        if code is None:
            continue
        hints = TITLE_HINTS.get(code, {})
        if all(word in hints or word in _NEUTRAL_TITLE_WORDS for word in words if word != name):
            return str(refine(LanguageTag(code), " ".join(words)))
    return None


def refine(tag: LanguageTag, title: str) -> LanguageTag:
    """Return the tag with the script or region that the title of its track names.

    A tag that has a script or region is returned unchanged. The tokens of a file name count as a title.
    """
    if tag.script or tag.region:
        return tag
    words = title.lower().replace("(", " ").replace(")", " ").replace(".", " ").split()
    for word in words:
        full_tag = normalize(word) if "-" in word or "_" in word else None
        if full_tag is not None and full_tag.language == tag.language and full_tag != tag:
            return full_tag
    for word, subtag in TITLE_HINTS.get(tag.language, {}).items():
        if word in words:
            is_script = len(subtag) == 4
            return LanguageTag(tag.language, subtag if is_script else "", "" if is_script else subtag)
    return tag


def satisfies(have: LanguageTag, want: LanguageTag, strictness: Strictness = Strictness.LANGUAGE) -> bool:
    """Return True if a track in `have` serves the target `want`."""
    if have.language != want.language and _MACROLANGUAGES.get(have.language) != want.language:
        # Norwegian without a named standard is nearly always Bokmål.
        return strictness is Strictness.LANGUAGE and (have.language, want.language) == ("no", "nb")
    if have.script and want.script and have.script != want.script:
        return False
    if strictness is Strictness.LANGUAGE:
        return True
    if want.script and have.script != want.script:
        return False
    return strictness is Strictness.SCRIPT or not want.region or have.region == want.region
