"""How a server reads file names and languages, by version (notes/jellyfin-server.md J20, J34)."""

from typing import Any

TWO = {
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
B_TO_T = {b: t for b, t, _ in TWO.values() if b != t}
HYPHENATED = {"zh-cn", "zh-hans", "zh-hant", "zh-tw", "zh-hk", "pt-br", "pt-pt", "es-419", "fr-ca"}
OF_10_10 = {
    "scc": "srp",
    "pt-br": "pob",
    "pob": "pob",
    "pt-pt": "pop",
    "zh-tw": "chi",
    "zh-hk": "chi",
    "es-mx": "spa",
    "fr-ca": "frc",
}
WITH_A_HYPHEN = {"el": "Greek, Modern (1453-)", "lu": "Luba-Katanga"}
"""From 10.11 on a name with a hyphen in it is taken for a code."""

OF_12 = {"fil", "ceb", "haw", "ast", "und", "mul", "mis", "zxx", "new", "car"}
FORMATS = {"ass", "mks", "sami", "smi", "srt", "ssa", "sub", "sup", "vtt"}

Version = tuple[int, int, int]


def language_of(token: str, version: Version) -> str | None:
    """What a file-name token means to a server of that version; None when it means no language."""
    lower = token.lower()
    old = version < (10, 11, 0)
    if old and lower in OF_10_10:
        return OF_10_10[lower]
    if lower in HYPHENATED:
        return None if old else lower
    if lower == "pob" and (10, 11, 4) <= version < (12, 0, 0):
        return "pt-br"
    for two, (b, t, name) in TWO.items():
        if lower in {two, b, t, name.lower()}:
            if not old and two in WITH_A_HYPHEN:
                return WITH_A_HYPHEN[two]
            return b if old else t
    if version >= (12, 0, 0) and lower in OF_12:
        return lower
    return None


def on_read(language: str | None, version: Version) -> str | None:
    """What a stored code reads as: from 10.11 on the terminology code."""
    return language if language is None or version < (10, 11, 0) else B_TO_T.get(language, language)


def read_name(stem: str, name: str, version: Version) -> dict[str, Any] | None:
    """Facts of a sidecar's name, as fields of its stream; None when it is no sidecar of that stem."""
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
        found = language_of(token, version)
        if "default" in lower:
            facts["IsDefault"] = True
        elif "forced" in lower or "foreign" in lower:
            facts["IsForced"] = True
        elif found and facts["Language"] is None:
            facts["Language"] = found
        elif found and facts["Language"] == "hin":
            facts["IsHearingImpaired"], facts["Language"] = True, found
        elif lower in {"cc", "hi", "sdh"}:
            facts["IsHearingImpaired"] = True
        elif token:
            title.insert(0, token)
    if title:
        facts["Title"] = ".".join(title)
    return facts
