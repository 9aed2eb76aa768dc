"""Facts in the titles of tracks."""

import pytest
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import SubtitleTrack
from fluxcaption.domain.track_titles import apply_title


def titled(title: str) -> SubtitleTrack:
    return apply_title(SubtitleTrack("1", LanguageTag("en"), "subrip", title=title, ordinal=0))


@pytest.mark.parametrize(
    "title",
    [
        "Forced", "English (forced)", "Forzados", "Forzato", "Forcé", "Forçada", "Zwangsuntertitel",
        "Gedwongen", "Tvungen", "Wymuszone", "Форсированные", "Foreign Parts Only",
        "Only for non-English dialogue", "強制",
    ],
)  # fmt: skip
def test_forced_is_read_from_titles_in_many_languages(title: str) -> None:
    assert titled(title).is_forced


@pytest.mark.parametrize(
    "title",
    [
        "Commentary", "Comentário do diretor", "Komentarz reżysera", "Komentář", "Комментарии",
        "コメンタリー", "解说", "Cast & Crew Comments", "Trivia Track", "Kommentar", "Commentaire",
        "Commento", "Audio Description",
    ],
)  # fmt: skip
def test_commentary_is_read_from_titles_in_many_languages(title: str) -> None:
    assert titled(title).is_commentary


@pytest.mark.parametrize(
    "title",
    [
        "Signs", "Signs & Songs", "S&S", "Theme songs", "Karaoke", "Typesetting", "On-screen text",
        "Sing-along", "Letreros",
    ],
)  # fmt: skip
def test_signs_and_songs_are_read_from_titles(title: str) -> None:
    assert titled(title).is_signs


@pytest.mark.parametrize(
    "title",
    [
        "", "English", "Full (non-forced)", "Full, not forced", "Unforced", "Signs (2002)",
        "Signs.2002.1080p", "Full Subtitles + Signs", "Director's cut", "English [CC]",
    ],
)  # fmt: skip
def test_a_title_without_these_words_keeps_the_full_dialogue(title: str) -> None:
    assert titled(title).has_full_dialogue
