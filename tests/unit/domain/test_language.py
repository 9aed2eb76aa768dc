"""Language tags: spellings, names, and which track serves which target."""

import pytest
from fluxcaption.domain.language import LanguageTag, Strictness, normalize, refine, satisfies


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("ger", "de"), ("deu", "de"), ("DE", "de"), ("fre", "fr"), ("chi", "zh"), ("zho", "zh"),
        ("cmn", "zh"), ("zh-CN", "zh-Hans"), ("zh_cn", "zh-Hans"), ("zh-tw", "zh-Hant"),
        ("zh-hant", "zh-Hant"), ("chs", "zh-Hans"), ("cht", "zh-Hant"), ("pob", "pt-BR"),
        ("pt-br", "pt-BR"), ("pop", "pt-PT"), ("dut", "nl"), ("cze", "cs"), ("rum", "ro"), ("per", "fa"),
        ("may", "ms"), ("gre", "el"), ("alb", "sq"), ("arm", "hy"), ("baq", "eu"), ("bur", "my"),
        ("geo", "ka"), ("ice", "is"), ("mac", "mk"), ("mao", "mi"), ("slo", "sk"), ("tib", "bo"),
        ("wel", "cy"), ("yue", "yue"), ("zh-HK", "zh-Hant-HK"), ("zho-Hans", "zh-Hans"),
        ("zh-cmn-Hant", "zh-Hant"), ("German", "de"), ("english", "en"), ("Chinese Simplified", "zh-Hans"),
        ("pt_BR", "pt-BR"), ("frc", "fr-CA"), ("fr-ca", "fr-CA"), ("Luba-Katanga", "lu"),
        ("French, Old (842-ca.1400)", "fro"), ("hbs", "sr-Latn"), ("tgl", "fil"), ("en-GB", "en-GB"),
        ("Greek, Modern (1453-)", "el"), ("iw", "he"), ("in", "id"), ("jw", "jv"), ("tl", "fil"),
        ("scc", "sr"), ("nob", "nb"), ("es-419", "es-419"), ("Norwegian Bokmål", "nb"),
        ("Norwegian Nynorsk", "nn"), ("Portuguese (Brazil)", "pt-BR"), ("Brazilian Portuguese", "pt-BR"),
        ("Chinese (Simplified)", "zh-Hans"), ("Traditional Chinese", "zh-Hant"),
        ("Spanish (Latin America)", "es-419"), ("Spanish; Castilian", "es"), ("Catalan; Valencian", "ca"),
        ("Tagalog", "fil"), ("pes", "fa"), ("zsm", "ms"), ("arb", "ar"),
    ],
)  # fmt: skip
def test_each_spelling_of_a_language_gives_its_tag(spelling: str, expected: str) -> None:
    assert str(normalize(spelling)) == expected


@pytest.mark.parametrize(
    "spelling",
    [
        "", None, "und", "mul", "zxx", "mis", "qaa", "español", "x" * 100, "../etc", "e\x00n", "unknown",
        "The English", "English Patient",
    ],
)  # fmt: skip
def test_a_spelling_that_names_no_language_gives_none(spelling: str | None) -> None:
    assert normalize(spelling) is None


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
        ("nn", "no", "script", True),
        ("nb", "no", "script", True),
        ("no", "nb", "language", True),
        ("no", "nb", "script", False),
        ("no", "nn", "language", False),
        ("nn", "nb", "language", False),
        ("de", "en", "language", False),
    ],
)
def test_a_track_serves_a_target_by_strictness(have: str, want: str, strictness: str, expected: bool) -> None:
    assert satisfies(LanguageTag.parse(have), LanguageTag.parse(want), Strictness(strictness)) is expected


@pytest.mark.parametrize(
    "target",
    [
        "de",
        "zh-Hans",
        "zh-Hant",
        "pt-BR",
        "pt-PT",
        "es-419",
        "es-MX",
        "el",
        "he",
        "id",
        "fil",
        "sr-Latn",
        "nb",
        "fr-CA",
        "en-GB",
    ],
)
@pytest.mark.parametrize("version", [(10, 10, 7), (10, 11, 11), (12, 0, 0)])
def test_every_server_version_reads_the_language_from_the_file_suffix(
    target: str, version: tuple[int, int, int]
) -> None:
    from fluxcaption.jellyfin.parse import read_source

    from tests.fakes.jellyfin import Source

    tag = LanguageTag.parse(target)
    name = f"Film.fluxcaption.{tag.file_suffix.lower()}.srt"
    source = Source("5" * 32, "/m/Film.mkv", [], sidecars={name: b"1\n00:00:01,000 --> 00:00:02,000\nword\n"})
    (stream,) = source.all_streams(version)
    (track,) = read_source({"Id": source.id, "Path": source.path, "MediaStreams": [stream]}).subtitles
    assert track.language == tag
    if tag.language not in {"fil"}:
        assert stream.get("Language"), "the server does not know the language"


@pytest.mark.parametrize(
    ("code", "title", "expected"),
    [
        ("chi", "Simplified", "zh-Hans"), ("zho", "繁體", "zh-Hant"), ("por", "Brazilian", "pt-BR"),
        ("spa", "Latino", "es-419"), ("eng", "Simplified", "en"), ("zh-CN", "Traditional", "zh-Hans"),
    ],
)  # fmt: skip
def test_a_title_adds_the_script_or_region_to_its_tag(code: str, title: str, expected: str) -> None:
    tag = normalize(code)
    assert tag is not None
    assert str(refine(tag, title)) == expected


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("de", "German"), ("pt-BR", "Portuguese (pt-BR)"), ("zh-Hans", "Chinese (zh-Hans)"),
        ("fro", "fro"), ("sw-KE", "sw-KE"),
    ],
)  # fmt: skip
def test_a_tag_is_shown_by_its_english_name(tag: str, name: str) -> None:
    assert LanguageTag.parse(tag).english_name == name
