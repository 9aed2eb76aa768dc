"""Languages and sidecar names as a server reads them, by version (notes/jellyfin-server.md J20, J34)."""

from typing import Any

LANGUAGES = {
    "en": ("eng", "eng", "English"),
    "de": ("ger", "deu", "German"),
    "fr": ("fre", "fra", "French"),
    "es": ("spa", "spa", "Spanish"),
    "it": ("ita", "ita", "Italian"),
    "nl": ("dut", "nld", "Dutch"),
    "cs": ("cze", "ces", "Czech"),
    "ro": ("rum", "ron", "Romanian"),
    "fa": ("per", "fas", "Persian"),
    "ms": ("may", "msa", "Malay"),
    "zh": ("chi", "zho", "Chinese"),
    "pt": ("por", "por", "Portuguese"),
    "el": ("gre", "ell", "Greek"),
    "sr": ("srp", "srp", "Serbian"),
    "nb": ("nob", "nob", "Norwegian"),
    "no": ("nor", "nor", "Norwegian"),
    "nn": ("nno", "nno", "Norwegian"),
    "he": ("heb", "heb", "Hebrew"),
    "ja": ("jpn", "jpn", "Japanese"),
    "ko": ("kor", "kor", "Korean"),
    "id": ("ind", "ind", "Indonesian"),
    "hr": ("hrv", "hrv", "Croatian"),
    "uk": ("ukr", "ukr", "Ukrainian"),
    "vi": ("vie", "vie", "Vietnamese"),
    "th": ("tha", "tha", "Thai"),
    "tr": ("tur", "tur", "Turkish"),
    "pl": ("pol", "pol", "Polish"),
    "ru": ("rus", "rus", "Russian"),
    "sv": ("swe", "swe", "Swedish"),
    "da": ("dan", "dan", "Danish"),
    "fi": ("fin", "fin", "Finnish"),
    "hu": ("hun", "hun", "Hungarian"),
    "ar": ("ara", "ara", "Arabic"),
    "hi": ("hin", "hin", "Hindi"),
    "mt": ("mlt", "mlt", "Maltese"),
    "bg": ("bul", "bul", "Bulgarian"),
    "lu": ("lub", "lub", "Luba-Katanga"),
}
"""Bibliographic code, terminology code and name, by two-letter code."""

B_TO_T = {b: t for b, t, _ in LANGUAGES.values() if b != t}
"""Terminology code by bibliographic code, where they differ."""

HYPHENATED = {"zh-cn", "zh-hans", "zh-hant", "zh-tw", "zh-hk", "pt-br", "pt-pt", "es-419", "fr-ca"}
CODES_10_10 = {
    "scc": "srp",
    "pt-br": "pob",
    "pob": "pob",
    "pt-pt": "pop",
    "zh-tw": "chi",
    "zh-hk": "chi",
    "es-mx": "spa",
    "fr-ca": "frc",
}
"""Tokens that only 10.10 reads in this way."""

NAMES_WITH_HYPHEN = {"el": "Greek, Modern (1453-)", "lu": "Luba-Katanga"}
"""Languages whose name is used instead of a code from 10.11 on, because the name has a hyphen."""

CODES_12 = {"fil", "ceb", "haw", "ast", "und", "mul", "mis", "zxx", "new", "car"}
"""Codes that only 12 reads."""

FORMATS = {"ass", "mks", "sami", "smi", "srt", "ssa", "sub", "sup", "vtt"}

Version = tuple[int, int, int]


def language_of(token: str, version: Version) -> str | None:
    """Return the language of a token of a file name; None if the token is no language."""
    lower = token.lower()
    is_10_10 = version < (10, 11, 0)
    if is_10_10 and lower in CODES_10_10:
        return CODES_10_10[lower]
    if lower in HYPHENATED:
        return None if is_10_10 else lower
    if lower == "pob" and (10, 11, 4) <= version < (12, 0, 0):
        return "pt-br"
    for two_letters, (bibliographic, terminology, name) in LANGUAGES.items():
        if lower in {two_letters, bibliographic, terminology, name.lower()}:
            if not is_10_10 and two_letters in NAMES_WITH_HYPHEN:
                return NAMES_WITH_HYPHEN[two_letters]
            return bibliographic if is_10_10 else terminology
    if version >= (12, 0, 0) and lower in CODES_12:
        return lower
    return None


def code_on_read(language: str | None, version: Version) -> str | None:
    """Return the code that the server answers for a stored code: from 10.11 on the terminology code."""
    return language if language is None or version < (10, 11, 0) else B_TO_T.get(language, language)


def read_name(stem: str, name: str, version: Version) -> dict[str, Any] | None:
    """Return the stream fields that a sidecar's name gives; None if it is no sidecar of the stem."""
    if not name.lower().startswith(stem.lower()) or name[len(stem) : len(stem) + 1] != ".":
        return None
    *tokens, extension = name[len(stem) + 1 :].split(".")
    if extension.lower() not in FORMATS:
        return None
    facts: dict[str, Any] = {
        "Language": None,
        "IsForced": False,
        "IsHearingImpaired": False,
        "IsDefault": False,
        "Codec": "subrip" if extension.lower() == "srt" else extension.lower(),
    }
    title: list[str] = []
    for token in reversed(tokens):
        lower = token.lower()
        language = language_of(token, version)
        if "default" in lower:
            facts["IsDefault"] = True
        elif "forced" in lower or "foreign" in lower:
            facts["IsForced"] = True
        elif language and facts["Language"] is None:
            facts["Language"] = language
        elif language and facts["Language"] == "hin":
            facts["IsHearingImpaired"], facts["Language"] = True, language
        elif lower in {"cc", "hi", "sdh"}:
            facts["IsHearingImpaired"] = True
        elif token:
            title.insert(0, token)
    if title:
        facts["Title"] = ".".join(title)
    return facts
