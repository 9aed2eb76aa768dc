"""What a track's title and a sidecar's name tell."""

import pytest
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import SubtitleTrack, is_picture_codec
from fluxcaption.domain.sidecars import read_sidecar_name
from fluxcaption.domain.sources import is_machine_made
from fluxcaption.domain.track_titles import apply_title


def titled(title: str) -> SubtitleTrack:
    return apply_title(SubtitleTrack("1", LanguageTag("en"), "subrip", title=title, ordinal=0))


@pytest.mark.parametrize(
    "title",
    [
        *(
            "Forced",
            "English (forced)",
            "Forzados",
            "Forzato",
            "Forcé",
            "Forçada",
            "Zwangsuntertitel",
            "Gedwongen",
            "Tvungen",
            "Wymuszone",
            "Форсированные",
        ),
        *("Foreign Parts Only", "Only for non-English dialogue", "強制"),
    ],
)
def test_forced_in_any_language_is_forced(title: str) -> None:
    assert titled(title).is_forced


@pytest.mark.parametrize(
    "title",
    [
        *(
            "Commentary",
            "Comentário do diretor",
            "Komentarz reżysera",
            "Komentář",
            "Комментарии",
            "コメンタリー",
            "解说",
            "Cast & Crew Comments",
            "Trivia Track",
        ),
        *("Kommentar", "Commentaire", "Commento", "Audio Description"),
    ],
)
def test_commentary_in_any_language_is_commentary(title: str) -> None:
    assert titled(title).is_commentary


@pytest.mark.parametrize(
    "title",
    [
        "Signs",
        "Signs & Songs",
        "S&S",
        "Theme songs",
        "Karaoke",
        "Typesetting",
        "On-screen text",
        "Sing-along",
        "Letreros",
    ],
)
def test_what_has_only_signs_or_songs_is_no_full_track(title: str) -> None:
    assert titled(title).is_signs


@pytest.mark.parametrize(
    "title",
    [
        "",
        "English",
        "Full (non-forced)",
        "Full, not forced",
        "Unforced",
        "Signs (2002)",
        "Signs.2002.1080p",
        "Full Subtitles + Signs",
        "Director's cut",
        "English [CC]",
    ],
)
def test_a_full_track_is_full(title: str) -> None:
    assert titled(title).has_full_dialogue


@pytest.mark.parametrize(
    ("codec", "expected"),
    [
        *(
            (name, True)
            for name in (
                "PGSSUB",
                "hdmv_pgs_subtitle",
                "DVDSUB",
                "dvd_subtitle",
                "DVBSUB",
                "dvb_subtitle",
                "xsub",
                "sup",
                "sub",
                "DVBTXT",
                "dvb_teletext",
            )
        ),
        *(
            (name, False)
            for name in (
                "subrip",
                "ass",
                "ssa",
                "mov_text",
                "webvtt",
                "ttml",
                "microdvd",
                "text",
                "eia_608",
                "hdmv_text_subtitle",
            )
        ),
    ],
)
def test_pictures_are_known_by_any_spelling_of_their_codec(codec: str, expected: bool) -> None:
    assert is_picture_codec(codec) is expected


@pytest.mark.parametrize(
    ("tokens", "language", "title", "flags"),
    [
        ("en", "en", "", ""), ("de.forced", "de", "", "F"), ("de.sdh", "de", "", "HI"), ("en.hi", "en", "", "HI"), ("hi.en", "en", "", "HI"), ("en.cc", "en", "", "HI"),
        ("en.hin", "en", "", "HI"), ("hi", "hi", "", ""), ("hi.forced", "hi", "", "F"), ("hin.en", "en", "hin", ""), ("en.forced.sdh", "en", "", "F HI"), ("en.0", "en", "0", ""),
        ("fluxcaption.en", "en", "fluxcaption", ""), ("en.fluxcaption", "en", "fluxcaption", ""), ("en.asr", "en", "asr", ""), ("ai.en", "en", "ai", ""), ("fluxcaption.zh-CN", "zh-Hans", "fluxcaption", ""),
        ("fluxcaption.pt-BR.forced", "pt-BR", "fluxcaption", "F"), ("mt.en", "en", "mt", ""), ("en.mt", "mt", "en", ""), ("mt.hi", "mt", "", "HI"), ("de.en", "en", "de", ""),
        ("unforced.en", "en", "", "F"), ("en.default", "en", "", ""),
    ],
)  # fmt: skip
def test_a_file_name_is_read_as_servers_read_it(tokens: str, language: str, title: str, flags: str) -> None:
    facts = read_sidecar_name("Film", f"Film.{tokens}.srt")
    assert facts is not None
    found = " ".join(
        flag for flag, holds in (("F", facts.is_forced), ("HI", facts.is_hearing_impaired)) if holds
    )
    assert (str(facts.language), facts.title, found) == (language, title, flags)


@pytest.mark.parametrize(
    "title",
    [
        *(
            "Auto-generated",
            "AI-generated",
            "faster-whisper",
            "machine-translated",
            "English (auto)",
            "AI translated",
            "DeepL",
            "ChatGPT",
            "WhisperX",
            "WhisperAI",
        ),
        *("subgen.medium", "automatic captions", "gpt-4o"),
    ],
)
def test_the_marks_of_other_tools_are_known_however_they_are_joined(title: str) -> None:
    assert is_machine_made(titled(title), "fluxcaption")


@pytest.mark.parametrize("title", ["English", "Full", "Translated by Anna", "Machinery", "Aida"])
def test_a_humans_title_is_no_mark(title: str) -> None:
    assert not is_machine_made(titled(title), "fluxcaption")
