"""Facts in the file names of sidecars."""

import pytest
from fluxcaption.domain.sidecars import read_sidecar_name


@pytest.mark.parametrize(
    ("tokens", "language", "title", "flags"),
    [
        ("en", "en", "", ""), ("de.forced", "de", "", "F"), ("de.sdh", "de", "", "HI"),
        ("en.hi", "en", "", "HI"), ("hi.en", "en", "", "HI"), ("en.cc", "en", "", "HI"),
        ("en.hin", "en", "", "HI"), ("hi", "hi", "", ""), ("hi.forced", "hi", "", "F"),
        ("hin.en", "en", "hin", ""), ("en.forced.sdh", "en", "", "F HI"), ("en.0", "en", "0", ""),
        ("fluxcaption.en", "en", "fluxcaption", ""), ("en.fluxcaption", "en", "fluxcaption", ""),
        ("en.asr", "en", "asr", ""), ("ai.en", "en", "ai", ""),
        ("fluxcaption.zh-CN", "zh-Hans", "fluxcaption", ""),
        ("fluxcaption.pt-BR.forced", "pt-BR", "fluxcaption", "F"), ("mt.en", "en", "mt", ""),
        ("en.mt", "mt", "en", ""), ("mt.hi", "mt", "", "HI"), ("de.en", "en", "de", ""),
        ("unforced.en", "en", "", "F"), ("en.default", "en", "", ""),
    ],
)  # fmt: skip
def test_a_sidecar_name_is_read_as_servers_read_it(
    tokens: str, language: str, title: str, flags: str
) -> None:
    facts = read_sidecar_name("Film", f"Film.{tokens}.srt")
    assert facts is not None
    found = " ".join(
        flag for flag, holds in (("F", facts.is_forced), ("HI", facts.is_hearing_impaired)) if holds
    )
    assert (str(facts.language), facts.title, found) == (language, title, flags)
