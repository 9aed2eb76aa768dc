"""Which wanted languages an item lacks, and what they are made from; each row is a situation and its sentence."""

from datetime import UTC, datetime
from typing import Any

import pytest
from fluxcaption.domain.gaps import Household, Way, decide
from fluxcaption.domain.language import LanguageTag, Strictness
from fluxcaption.domain.media import AudioTrack, Item, ItemKind, MediaSource, SubtitleTrack
from fluxcaption.domain.rules import Wish, Wishes
from fluxcaption.domain.units import ItemId, Ms, ServerId, SourceId
from hypothesis import given
from hypothesis import strategies as st


def sound(language: str | None = "en", **more: Any) -> AudioTrack:
    return AudioTrack(more.pop("ordinal", 0), LanguageTag.parse(language) if language else None, **more)


def embedded(language: str | None = "en", **more: Any) -> SubtitleTrack:
    return SubtitleTrack(
        "1", LanguageTag.parse(language) if language else None, more.pop("codec", "subrip"), ordinal=0, **more
    )


def beside(name: str, language: str | None, **more: Any) -> SubtitleTrack:
    return SubtitleTrack(
        "1",
        LanguageTag.parse(language) if language else None,
        "subrip",
        path=f"/m/{name}",
        suffix=name.removeprefix("Film."),
        **more,
    )


def item(audio: tuple[AudioTrack, ...], *subtitles: SubtitleTrack, **more: Any) -> Item:
    source = MediaSource(SourceId("s"), "/m/Film.mkv", 1, Ms(60_000), "r", audio, tuple(subtitles))
    return Item(
        ServerId("v"),
        ItemId("i"),
        "Film",
        ItemKind.MOVIE,
        "Movies",
        "e",
        datetime(2026, 1, 1, tzinfo=UTC),
        (source,),
        **more,
    )


def wishes(
    target: str = "de",
    *,
    foreign: bool = False,
    understood: tuple[str, ...] = (),
    spoken: bool = False,
    strictness: str = "language",
) -> Household:
    known = tuple(LanguageTag.parse(text) for text in understood)
    return Household(
        Wishes(
            (Wish(LanguageTag.parse(target), foreign),), known, spoken, Strictness(strictness), "fluxcaption"
        )
    )


def anything(source: LanguageTag, target: LanguageTag) -> int | None:
    return 0


def nothing(source: LanguageTag, target: LanguageTag) -> int | None:
    return None


SITUATIONS = [
    ("nothing but English sound", item((sound(),)), wishes(), Way.LISTEN, "is listened to"),
    ("an embedded text track in the target", item((sound(),), embedded("de")), wishes(), Way.COVERED, "embedded track 1"),
    ("a text file in the target", item((sound(),), beside("Film.de.srt", "de")), wishes(), Way.COVERED, "file Film.de.srt"),
    ("our own track", item((sound(),), beside("Film.fluxcaption.de.srt", "de")), wishes(), Way.COVERED, "our own"),
    ("a forced track does not cover", item((sound(),), embedded("de", is_forced=True)), wishes(), Way.LISTEN, "is listened to"),
    ("a picture track does not cover", item((sound(),), embedded("de", codec="pgssub", is_text=False)), wishes(), Way.LISTEN, "is listened to"),
    ("a commentary track does not cover", item((sound(),), embedded("de", is_commentary=True)), wishes(), Way.LISTEN, "is listened to"),
    ("a track for the hearing impaired covers", item((sound(),), embedded("de", is_hearing_impaired=True)), wishes(), Way.COVERED, "serves it"),
    ("a track of no language is read first", item((sound(),), embedded(None)), wishes(), Way.LOOK, "it is read first"),
    ("text in the spoken language is translated", item((sound(),), embedded("en")), wishes(), Way.TRANSLATE, "in the spoken language"),
    ("text in another language is translated", item((sound("ja"),), embedded("en")), wishes(), Way.TRANSLATE, "which a translator reads"),
    ("a machine's track is no source", item((sound(),), beside("Film.ai.en.srt", "en")), wishes(), Way.LISTEN, "is listened to"),
    ("our own track is no source", item((sound(),), beside("Film.fluxcaption.en.srt", "en")), wishes(), Way.LISTEN, "is listened to"),
    ("a forced track is no source", item((sound(),), embedded("en", is_forced=True)), wishes(), Way.LISTEN, "is listened to"),
    ("the target is spoken", item((sound("de"),)), wishes(), Way.NOT_WANTED, "is spoken in it"),
    ("the target is spoken and made", item((sound("de"),)), wishes(spoken=True), Way.LISTEN, "is listened to"),
    ("sound of no language is listened to", item((sound(None),)), wishes(), Way.LISTEN, "language unknown"),
    ("only for foreign films, and this one is understood", item((sound("en"),)), wishes(foreign=True, understood=("en",)), Way.NOT_WANTED, "understood"),
    ("only for foreign films, and this is one", item((sound("ja"),)), wishes(foreign=True, understood=("en",)), Way.LISTEN, "is listened to"),
    ("neither text nor sound", item(()), wishes(), Way.CANNOT, "no sound track"),
    ("only commentary", item((sound(is_commentary=True),)), wishes(), Way.CANNOT, "commentary"),
    ("media nobody can read", item((sound(),), broken="a.mkv is empty: copy it again"), wishes(), Way.CANNOT, "a.mkv is empty: copy it again"),
    ("skipped by its library", item((sound(),), skipped="it is an extra"), wishes(), Way.NOT_WANTED, "it is an extra"),
    ("simplified for traditional", item((sound(),), embedded("zh-Hans")), wishes("zh-Hant"), Way.TRANSLATE, "zh-Hans text track"),
    ("unnamed script where a named one is asked for", item((sound(),), embedded("zh")), wishes("zh-Hant", strictness="script"), Way.TRANSLATE, "zh text track"),
    ("Portuguese for Brazilian", item((sound(),), embedded("pt")), wishes("pt-BR"), Way.COVERED, "serves it"),
    ("Norwegian of no standard for Bokmål", item((sound(),), embedded("no")), wishes("nb"), Way.COVERED, "an existing no text track serves it"),
    ("Norwegian of no standard where a script is asked for", item((sound(),), embedded("no")), wishes("nb", strictness="script"), Way.TRANSLATE, "no text track"),
    ("Nynorsk for Norwegian by script", item((sound(),), embedded("nn")), wishes("no", strictness="script"), Way.COVERED, "an existing nn text track"),
    ("Norwegian is spoken, Bokmål is wished", item((sound("no"),)), wishes("nb"), Way.NOT_WANTED, "nb is spoken in it"),
    ("European for Brazilian by region", item((sound(),), embedded("pt-PT")), wishes("pt-BR", strictness="region"), Way.TRANSLATE, "pt-PT text track"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "film", "wish", "way", "sentence"), SITUATIONS, ids=[row[0] for row in SITUATIONS]
)
def test_each_situation_has_its_decision_and_sentence(
    name: str, film: Item, wish: Household, way: Way, sentence: str
) -> None:
    (decision,) = decide(film, wish, anything)
    assert decision.way is way
    assert sentence in decision.reason


def test_without_a_translator_a_foreign_film_cannot_be_made() -> None:
    (decision,) = decide(item((sound("en"),), embedded("en")), wishes("de"), nothing)
    assert decision.way is Way.CANNOT
    assert "no translation backend knows en to de" in decision.reason


def test_without_a_translator_the_spoken_language_can_be_heard() -> None:
    (decision,) = decide(item((sound("en"),)), wishes("en", spoken=True), nothing)
    assert decision.way is Way.LISTEN


def test_the_original_sound_is_listened_to_before_the_default() -> None:
    dub, original = sound("en", is_default=True), sound("ja", ordinal=1)
    (decision,) = decide(item((dub, original), original_language=LanguageTag("ja")), wishes(), anything)
    assert "sound track 2 (ja)" in decision.reason


TRACKS = st.builds(
    embedded,
    st.sampled_from(["de", "en", "fr", None]),
    is_forced=st.booleans(),
    is_text=st.booleans(),
    is_commentary=st.booleans(),
    is_hearing_impaired=st.booleans(),
)


@given(st.lists(TRACKS, max_size=5))
def test_a_full_text_track_in_the_target_always_covers(tracks: list[SubtitleTrack]) -> None:
    (decision,) = decide(item((sound(),), *tracks, embedded("de")), wishes(), anything)
    assert decision.way is Way.COVERED


@given(st.lists(TRACKS, max_size=5), st.randoms())
def test_the_order_of_tracks_never_changes_a_decision(tracks: list[SubtitleTrack], order: Any) -> None:
    shuffled = list(tracks)
    order.shuffle(shuffled)
    (one,), (other,) = (
        decide(item((sound(),), *tracks), wishes(), anything),
        decide(item((sound(),), *shuffled), wishes(), anything),
    )
    assert one.way is other.way
