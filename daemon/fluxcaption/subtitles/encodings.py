"""Decoding of subtitle files: UTF-8, UTF-16, or a legacy code page of the language."""

from collections.abc import Sequence

from fluxcaption.domain.language import LanguageTag

_CYRILLIC, _CENTRAL_EUROPEAN, _WESTERN = ("cp1251", "koi8-r"), ("cp1250",), ("cp1252",)
_CODE_PAGES_BY_LANGUAGE: dict[str, Sequence[str]] = {
    **dict.fromkeys(("ru", "uk", "be", "bg", "mk"), _CYRILLIC),
    "sr": ("cp1251", "cp1250"),
    **dict.fromkeys(("cs", "sk", "pl", "hu", "sl", "hr", "bs", "ro", "sq"), _CENTRAL_EUROPEAN),
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
_TRADITIONAL_CHINESE = ("big5hkscs", "gb18030")
_SYMBOLS = frozenset("¢£¤¥¦§¨©¬®¯±²³´µ¶¸¹¼½¾×÷¿¡€‚ƒ„…†‡ˆ‰‹›™")
"""Characters above ASCII that are not letters and never lie between two letters of a word."""

MAX_ACCENTED_SHARE = 0.35
"""Share of accented letters in a Latin text; a higher share is the bytes of another script.

Vietnamese comes close to it, and has a code page of its own.
"""

MAX_IMPLAUSIBLE_SHARE = 0.05
"""Share of letters with an implausible neighbor; a few are typing errors."""

MAX_CHECKED_CHARS = 200_000
"""Characters that are checked; more do not change the result."""

LATIN, OTHER_ALPHABET, SYLLABIC = range(3)
"""Classes of scripts: a word never mixes the first two."""


def decode(content: bytes, language: LanguageTag | None) -> str | None:
    """Return the text of a file; None if no encoding of the language gives a plausible text."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _decode_as(content, "utf-16")
    if (text := _decode_as(content, "utf-8-sig")) is not None:
        return text
    for encoding in _code_pages(language):
        text = (
            _decode_by_line(content, encoding) if _is_mostly_utf8(content) else _decode_as(content, encoding)
        )
        if text is not None and _is_plausible(text[:MAX_CHECKED_CHARS]):
            return text
    return None


def _code_pages(language: LanguageTag | None) -> Sequence[str]:
    if language is None:
        return _WESTERN
    if language.language == "zh" and {"Hant", "TW", "HK"} & set(str(language).split("-")):
        return _TRADITIONAL_CHINESE
    return _CODE_PAGES_BY_LANGUAGE.get(language.language, _WESTERN)


def _decode_as(content: bytes, encoding: str) -> str | None:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return None


def _is_mostly_utf8(content: bytes) -> bool:
    """Return True if at least half of the lines beyond ASCII are UTF-8: only some are in a code page."""
    non_ascii_lines = [line for line in content.split(b"\n") if not line.isascii()]
    utf8_lines = sum(_decode_as(line, "utf-8") is not None for line in non_ascii_lines)
    return 2 * utf8_lines >= len(non_ascii_lines)


def _decode_by_line(content: bytes, encoding: str) -> str | None:
    """Decode each line as UTF-8, or with the encoding if it is not UTF-8."""
    lines = [
        _decode_as(line, "utf-8") or _decode_as(line, encoding)
        for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    ]
    return "\n".join(line or "" for line in lines) if None not in lines else None


def _is_plausible(text: str) -> bool:
    """Return False for a text that looks decoded with the wrong code page.

    Signs of that are control and private-use characters, symbols inside words, words in two scripts, capitals
    after small letters, and a Latin text with many accented letters.
    """
    letters = accented = implausible = 0
    previous, is_word_start = " ", True
    for character in text:
        if _is_control_or_private(character):
            return False
        if character.isalpha():
            letters += 1
            accented += not character.isascii()
            implausible += previous.isalpha() and _is_implausible_pair(previous, character)
            implausible += previous in _SYMBOLS and not is_word_start
            is_word_start = False
        elif character not in _SYMBOLS:
            is_word_start = True
        previous = character
    if implausible > max(1, MAX_IMPLAUSIBLE_SHARE * letters):
        return False
    is_latin = all(_script(character) == LATIN for character in text if character.isalpha())
    return not (is_latin and accented > MAX_ACCENTED_SHARE * letters)


def _is_control_or_private(character: str) -> bool:
    return (
        (character < " " and character not in "\t\n\r\f")
        or "\x7f" <= character <= "\x9f"
        or "\ue000" <= character <= "\uf8ff"
    )


def _is_implausible_pair(first: str, second: str) -> bool:
    """Return True if two neighboring letters mix alphabets, or a capital follows a small letter."""
    mixes_alphabets = {_script(first), _script(second)} == {LATIN, OTHER_ALPHABET}
    return mixes_alphabets or (first.islower() and second.isupper())


def _script(letter: str) -> int:
    return LATIN if letter < "\u0250" else OTHER_ALPHABET if letter < "\u0e00" else SYLLABIC
