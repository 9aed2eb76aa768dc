"""One spelling for every language."""

import pytest
from fluxcaption.domain.language import LanguageTag, Strictness, normalise, satisfies


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("ger", "de"), ("deu", "de"), ("DE", "de"), ("fre", "fr"), ("chi", "zh"), ("zho", "zh"), ("cmn", "zh"), ("zh-CN", "zh-Hans"), ("zh_cn", "zh-Hans"),
        ("zh-tw", "zh-Hant"), ("zh-hant", "zh-Hant"), ("chs", "zh-Hans"), ("cht", "zh-Hant"), ("pob", "pt-BR"), ("pt-br", "pt-BR"), ("pop", "pt-PT"),
        ("Greek, Modern (1453-)", "el"), ("gre", "el"), ("iw", "he"), ("in", "id"), ("jw", "jv"), ("tl", "fil"), ("scc", "sr"), ("nob", "nb"), ("es-419", "es-419"),
    ],
)  # fmt: skip
def test_every_spelling_of_a_language_is_one_tag(spelling: str, expected: str) -> None:
    assert str(normalise(spelling)) == expected


@pytest.mark.parametrize("spelling", ["", None, "und", "mul", "zxx", "mis", "qaa", "español", "x" * 100, "../etc", "e\x00n", "unknown"])
def test_what_names_no_language_is_none(spelling: str | None) -> None:
    assert normalise(spelling) is None


@pytest.mark.parametrize(
    ("have", "want", "strictness", "expected"),
    [
        ("de", "de", "language", True),
        ("pt", "pt-BR", "language", True),
        ("pt-PT", "pt-BR", "language", True),
        ("zh-Hans", "zh-Hant", "language", False),
        ("zh", "zh-Hant", "language", True),
        ("zh", "zh-Hant", "script", False),
        ("zh-Hant", "zh-Hant", "script", True),
        ("pt-PT", "pt-BR", "region", False),
        ("pt-BR", "pt-BR", "region", True),
        ("nb", "no", "language", True),
        ("de", "en", "language", False),
    ],
)
def test_a_track_serves_a_wish_as_strictly_as_asked(have: str, want: str, strictness: str, expected: bool) -> None:
    assert satisfies(LanguageTag.parse(have), LanguageTag.parse(want), Strictness(strictness)) is expected
