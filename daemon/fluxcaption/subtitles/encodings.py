"""From a subtitle file's bytes to text: UTF-8, or what its language was written in before."""

from collections.abc import Sequence

from fluxcaption.domain.language import LanguageTag

_CYRILLIC, _CENTRAL, _WESTERN = ("cp1251", "koi8-r"), ("cp1250",), ("cp1252",)
_CODE_PAGES: dict[str, Sequence[str]] = {
    **dict.fromkeys(("ru", "uk", "be", "bg", "mk"), _CYRILLIC),
    "sr": ("cp1251", "cp1250"),
    **dict.fromkeys(("cs", "sk", "pl", "hu", "sl", "hr", "bs", "ro", "sq"), _CENTRAL),
    "el": ("cp1253",),
    **dict.fromkeys(("tr", "az"), ("cp1254",)),
    "he": ("cp1255",),
    **dict.fromkeys(("ar", "fa", "ur"), ("cp1256",)),
    **dict.fromkeys(("lt", "lv", "et"), ("cp1257", "cp1252")),
    "vi": ("cp1258",),
    "th": ("cp874",),
    "ja": ("euc_jp", "cp932"),
    "ko": ("cp949",),
    "zh": ("gb18030", "big5hkscs"),
    "yue": ("big5hkscs", "gb18030"),
}
_TRADITIONAL = ("big5hkscs", "gb18030")
_ODD_SIGNS = frozenset("¢£¤¥¦§¨©¬®¯±²³´µ¶¸¹¼½¾×÷¿¡€‚ƒ„…†‡ˆ‰‹›™")
MAX_ACCENTED = 0.35
"""Of a Latin text's letters; more are another script's bytes. Vietnamese alone comes near, and has a code page of its own."""

MAX_ODD = 0.05
LATIN, OTHER_ALPHABET, SYLLABLES = range(3)
"""Scripts as far as it matters: nobody mixes the first two in a word."""

MAX_LOOKED_AT = 200_000
"""Characters; more tell no more."""


def decode(content: bytes, language: LanguageTag | None) -> str | None:
    """The text; None where nothing plausible comes of it."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _tried(content, "utf-16")
    if (text := _tried(content, "utf-8-sig")) is not None:
        return text
    for encoding in _code_pages(language):
        text = _by_line(content, encoding) if _is_mostly_utf8(content) else _tried(content, encoding)
        if text is not None and _is_plausible(text[:MAX_LOOKED_AT]):
            return text
    return None


def _code_pages(language: LanguageTag | None) -> Sequence[str]:
    if language is None:
        return _WESTERN
    if language.language == "zh" and {"Hant", "TW", "HK"} & set(str(language).split("-")):
        return _TRADITIONAL
    return _CODE_PAGES.get(language.language, _WESTERN)


def _tried(content: bytes, encoding: str) -> str | None:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return None


def _is_mostly_utf8(content: bytes) -> bool:
    """Whether single lines of another encoding got into a file of UTF-8."""
    telling = [line for line in content.split(b"\n") if not line.isascii()]
    return 2 * sum(_tried(line, "utf-8") is not None for line in telling) >= len(telling)


def _by_line(content: bytes, encoding: str) -> str | None:
    lines = [
        _tried(line, "utf-8") or _tried(line, encoding)
        for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    ]
    return "\n".join(line or "" for line in lines) if None not in lines else None


def _is_plausible(text: str) -> bool:
    """Whether people write so: no control or private signs, no signs inside words, few accents on Latin, one script and one case in a word."""
    letters = foreign = odd = 0
    before, is_start = " ", True
    for sign in text:
        if (
            (sign < " " and sign not in "\t\n\r\f")
            or "\x7f" <= sign <= "\x9f"
            or "\ue000" <= sign <= "\uf8ff"
        ):
            return False
        if sign.isalpha():
            letters += 1
            foreign += not sign.isascii()
            odd += before.isalpha() and (
                {_script(before), _script(sign)} == {LATIN, OTHER_ALPHABET}
                or (before.islower() and sign.isupper())
            )
            odd += before in _ODD_SIGNS and not is_start
            is_start = False
        elif sign not in _ODD_SIGNS:
            is_start = True
        before = sign
    is_latin = all(_script(sign) == LATIN for sign in text if sign.isalpha())
    return odd <= max(1, MAX_ODD * letters) and not (is_latin and foreign > MAX_ACCENTED * letters)


def _script(letter: str) -> int:
    return LATIN if letter < "\u0250" else OTHER_ALPHABET if letter < "\u0e00" else SYLLABLES
