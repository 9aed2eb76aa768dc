"""Which wanted languages an item lacks, and what they are made from; each row is a situation and its sentence."""

from datetime import UTC, datetime
from typing import Any

import pytest
from fluxcaption.domain.gaps import Action, LanguagePolicy, decide
from fluxcaption.domain.language import LanguageTag, Strictness
from fluxcaption.domain.media import AudioTrack, Item, ItemKind, MediaSource, SubtitleTrack
from fluxcaption.domain.rules import EffectivePolicy, TargetRule
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


def policy(
    target: str = "de",
    *,
    foreign: bool = False,
    understood: tuple[str, ...] = (),
    spoken: bool = False,
    strictness: str = "language",
) -> LanguagePolicy:
    known = tuple(LanguageTag.parse(text) for text in understood)
    return LanguagePolicy(
        EffectivePolicy(
            (TargetRule(LanguageTag.parse(target), foreign),),
            known,
            spoken,
            Strictness(strictness),
            "fluxcaption",
        )
    )


def anything(source: LanguageTag, target: LanguageTag) -> int | None:
    return 0


def nothing(source: LanguageTag, target: LanguageTag) -> int | None:
    return None


SITUATIONS = [
    ("nothing but English sound", item((sound(),)), policy(), Action.LISTEN, "is listened to"),
    ("an embedded text track in the target", item((sound(),), embedded("de")), policy(), Action.COVERED, "embedded track 1"),
    ("a text file in the target", item((sound(),), beside("Film.de.srt", "de")), policy(), Action.COVERED, "file Film.de.srt"),
    ("our own track", item((sound(),), beside("Film.fluxcaption.de.srt", "de")), policy(), Action.COVERED, "our own"),
    ("a forced track does not cover", item((sound(),), embedded("de", is_forced=True)), policy(), Action.LISTEN, "is listened to"),
    ("a picture track does not cover", item((sound(),), embedded("de", codec="pgssub", is_text=False)), policy(), Action.LISTEN, "is listened to"),
    ("a commentary track does not cover", item((sound(),), embedded("de", is_commentary=True)), policy(), Action.LISTEN, "is listened to"),
    ("a track for the hearing impaired covers", item((sound(),), embedded("de", is_hearing_impaired=True)), policy(), Action.COVERED, "serves it"),
    ("a track of no language is read first", item((sound(),), embedded(None)), policy(), Action.INSPECT, "it is read first"),
    ("text in the spoken language is translated", item((sound(),), embedded("en")), policy(), Action.TRANSLATE, "in the spoken language"),
    ("text in another language is translated", item((sound("ja"),), embedded("en")), policy(), Action.TRANSLATE, "which a translator reads"),
    ("a machine's track is no source", item((sound(),), beside("Film.ai.en.srt", "en")), policy(), Action.LISTEN, "is listened to"),
    ("our own track is no source", item((sound(),), beside("Film.fluxcaption.en.srt", "en")), policy(), Action.LISTEN, "is listened to"),
    ("a forced track is no source", item((sound(),), embedded("en", is_forced=True)), policy(), Action.LISTEN, "is listened to"),
    ("the target is spoken", item((sound("de"),)), policy(), Action.NOT_WANTED, "is spoken in it"),
    ("the target is spoken and made", item((sound("de"),)), policy(spoken=True), Action.LISTEN, "is listened to"),
    ("sound of no language is listened to", item((sound(None),)), policy(), Action.LISTEN, "language unknown"),
    ("only for foreign films, and this one is understood", item((sound("en"),)), policy(foreign=True, understood=("en",)), Action.NOT_WANTED, "understood"),
    ("only for foreign films, and this is one", item((sound("ja"),)), policy(foreign=True, understood=("en",)), Action.LISTEN, "is listened to"),
    ("neither text nor sound", item(()), policy(), Action.CANNOT, "no sound track"),
    ("only commentary", item((sound(is_commentary=True),)), policy(), Action.CANNOT, "commentary"),
    ("media nobody can read", item((sound(),), broken="a.mkv is empty: copy it again"), policy(), Action.CANNOT, "a.mkv is empty: copy it again"),
    ("skipped by its library", item((sound(),), skipped="it is an extra"), policy(), Action.NOT_WANTED, "it is an extra"),
    ("simplified for traditional", item((sound(),), embedded("zh-Hans")), policy("zh-Hant"), Action.TRANSLATE, "zh-Hans text track"),
    ("unnamed script where a named one is asked for", item((sound(),), embedded("zh")), policy("zh-Hant", strictness="script"), Action.TRANSLATE, "zh text track"),
    ("Portuguese for Brazilian", item((sound(),), embedded("pt")), policy("pt-BR"), Action.COVERED, "serves it"),
    ("Norwegian of no standard for Bokmål", item((sound(),), embedded("no")), policy("nb"), Action.COVERED, "an existing no text track serves it"),
    ("Norwegian of no standard where a script is asked for", item((sound(),), embedded("no")), policy("nb", strictness="script"), Action.TRANSLATE, "no text track"),
    ("Nynorsk for Norwegian by script", item((sound(),), embedded("nn")), policy("no", strictness="script"), Action.COVERED, "an existing nn text track"),
    ("Norwegian is spoken, Bokmål is wished", item((sound("no"),)), policy("nb"), Action.NOT_WANTED, "nb is spoken in it"),
    ("European for Brazilian by region", item((sound(),), embedded("pt-PT")), policy("pt-BR", strictness="region"), Action.TRANSLATE, "pt-PT text track"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "film", "wish", "action", "sentence"), SITUATIONS, ids=[row[0] for row in SITUATIONS]
)
def test_each_situation_has_its_decision_and_sentence(
    name: str, film: Item, wish: LanguagePolicy, action: Action, sentence: str
) -> None:
    (decision,) = decide(film, wish, anything)
    assert decision.action is action
    assert sentence in decision.reason


def test_without_a_translator_a_foreign_film_cannot_be_made() -> None:
    (decision,) = decide(item((sound("en"),), embedded("en")), policy("de"), nothing)
    assert decision.action is Action.CANNOT
    assert "no translation backend knows en to de" in decision.reason


def test_without_a_translator_the_spoken_language_can_be_heard() -> None:
    (decision,) = decide(item((sound("en"),)), policy("en", spoken=True), nothing)
    assert decision.action is Action.LISTEN


def test_the_original_sound_is_listened_to_before_the_default() -> None:
    dub, original = sound("en", is_default=True), sound("ja", ordinal=1)
    (decision,) = decide(item((dub, original), original_language=LanguageTag("ja")), policy(), anything)
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
    (decision,) = decide(item((sound(),), *tracks, embedded("de")), policy(), anything)
    assert decision.action is Action.COVERED


@given(st.lists(TRACKS, max_size=5), st.randoms())
def test_the_order_of_tracks_never_changes_a_decision(tracks: list[SubtitleTrack], order: Any) -> None:
    shuffled = list(tracks)
    order.shuffle(shuffled)
    (one,), (other,) = (
        decide(item((sound(),), *tracks), policy(), anything),
        decide(item((sound(),), *shuffled), policy(), anything),
    )
    assert one.action is other.action
