"""Decisions for one target; each row is a situation with its action and a part of the reason."""

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


def audio_track(language: str | None = "en", **fields: Any) -> AudioTrack:
    return AudioTrack(fields.pop("ordinal", 0), LanguageTag.parse(language) if language else None, **fields)


def embedded(language: str | None = "en", **fields: Any) -> SubtitleTrack:
    return SubtitleTrack(
        "1",
        LanguageTag.parse(language) if language else None,
        fields.pop("codec", "subrip"),
        ordinal=0,
        **fields,
    )


def external(name: str, language: str | None, **fields: Any) -> SubtitleTrack:
    return SubtitleTrack(
        "1",
        LanguageTag.parse(language) if language else None,
        "subrip",
        path=f"/m/{name}",
        suffix=name.removeprefix("Film."),
        **fields,
    )


def item(audio: tuple[AudioTrack, ...], *subtitles: SubtitleTrack, **fields: Any) -> Item:
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
        **fields,
    )


def policy(
    target: str = "de",
    *,
    foreign: bool = False,
    understood: tuple[str, ...] = (),
    spoken: bool = False,
    strictness: str = "language",
) -> LanguagePolicy:
    understood_tags = tuple(LanguageTag.parse(text) for text in understood)
    return LanguagePolicy(
        EffectivePolicy(
            (TargetRule(LanguageTag.parse(target), foreign),),
            understood_tags,
            spoken,
            Strictness(strictness),
            "fluxcaption",
        )
    )


def any_pair(source: LanguageTag, target: LanguageTag) -> int | None:
    return 0


def no_pair(source: LanguageTag, target: LanguageTag) -> int | None:
    return None


SITUATIONS = [
    ("English audio alone", item((audio_track(),)), policy(), Action.LISTEN, "is transcribed"),
    ("an embedded text track in the target", item((audio_track(),), embedded("de")), policy(), Action.COVERED, "embedded track 1"),
    ("a text file in the target", item((audio_track(),), external("Film.de.srt", "de")), policy(), Action.COVERED, "exists: Film.de.srt"),
    ("a FluxCaption track", item((audio_track(),), external("Film.fluxcaption.de.srt", "de")), policy(), Action.COVERED, "FluxCaption German text track exists"),
    ("a forced track does not cover", item((audio_track(),), embedded("de", is_forced=True)), policy(), Action.LISTEN, "is transcribed"),
    ("an image track does not cover", item((audio_track(),), embedded("de", codec="pgssub", is_text=False)), policy(), Action.LISTEN, "is transcribed"),
    ("a commentary track does not cover", item((audio_track(),), embedded("de", is_commentary=True)), policy(), Action.LISTEN, "is transcribed"),
    ("a track for the hearing impaired covers", item((audio_track(),), embedded("de", is_hearing_impaired=True)), policy(), Action.COVERED, "text track exists"),
    ("the language of a track without a language is detected first", item((audio_track(),), embedded(None)), policy(), Action.INSPECT, "its language is detected first"),
    ("text in the spoken language is translated", item((audio_track(),), embedded("en")), policy(), Action.TRANSLATE, "in the spoken language"),
    ("text in another language is translated", item((audio_track("ja"),), embedded("en")), policy(), Action.TRANSLATE, "English text track is translated"),
    ("a machine-made track is no source", item((audio_track(),), external("Film.ai.en.srt", "en")), policy(), Action.LISTEN, "is transcribed"),
    ("a FluxCaption track is no source", item((audio_track(),), external("Film.fluxcaption.en.srt", "en")), policy(), Action.LISTEN, "is transcribed"),
    ("a forced track is no source", item((audio_track(),), embedded("en", is_forced=True)), policy(), Action.LISTEN, "is transcribed"),
    ("the target is spoken", item((audio_track("de"),)), policy(), Action.NOT_WANTED, "German is the spoken language"),
    ("the target is spoken and made", item((audio_track("de"),)), policy(spoken=True), Action.LISTEN, "is transcribed"),
    ("audio without a language is transcribed", item((audio_track(None),)), policy(), Action.LISTEN, "language unknown"),
    ("only foreign, and the audio is understood", item((audio_track("en"),)), policy(foreign=True, understood=("en",)), Action.NOT_WANTED, "understood"),
    ("only foreign, and the audio is foreign", item((audio_track("ja"),)), policy(foreign=True, understood=("en",)), Action.LISTEN, "is transcribed"),
    ("neither text nor audio", item(()), policy(), Action.CANNOT, "no audio track"),
    ("only commentary", item((audio_track(is_commentary=True),)), policy(), Action.CANNOT, "commentary"),
    ("unreadable media", item((audio_track(),), broken="a.mkv is empty: copy it again"), policy(), Action.CANNOT, "a.mkv is empty: copy it again"),
    ("an item that its library excludes", item((audio_track(),), skipped="it is an extra"), policy(), Action.NOT_WANTED, "it is an extra"),
    ("simplified for traditional Chinese", item((audio_track(),), embedded("zh-Hans")), policy("zh-Hant"), Action.TRANSLATE, "Chinese (zh-Hans) text track"),
    ("no script, with strictness script", item((audio_track(),), embedded("zh")), policy("zh-Hant", strictness="script"), Action.TRANSLATE, "Chinese text track"),
    ("Portuguese for Brazilian Portuguese", item((audio_track(),), embedded("pt")), policy("pt-BR"), Action.COVERED, "text track exists"),
    ("Norwegian for Bokmål", item((audio_track(),), embedded("no")), policy("nb"), Action.COVERED, "Norwegian text track exists"),
    ("Norwegian for Bokmål, with strictness script", item((audio_track(),), embedded("no")), policy("nb", strictness="script"), Action.TRANSLATE, "Norwegian text track is translated"),
    ("Nynorsk for Norwegian, with strictness script", item((audio_track(),), embedded("nn")), policy("no", strictness="script"), Action.COVERED, "Norwegian Nynorsk text track exists"),
    ("Norwegian audio for Bokmål", item((audio_track("no"),)), policy("nb"), Action.NOT_WANTED, "Norwegian Bokmål is the spoken language"),
    ("European for Brazilian Portuguese, with strictness region", item((audio_track(),), embedded("pt-PT")), policy("pt-BR", strictness="region"), Action.TRANSLATE, "Portuguese (pt-PT) text track"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "film", "language_policy", "action", "reason"), SITUATIONS, ids=[row[0] for row in SITUATIONS]
)
def test_each_situation_has_its_action_and_reason(
    name: str, film: Item, language_policy: LanguagePolicy, action: Action, reason: str
) -> None:
    (decision,) = decide(film, language_policy, any_pair)
    assert decision.action is action
    assert reason in decision.reason


def test_without_a_translator_a_foreign_film_cannot_be_captioned() -> None:
    (decision,) = decide(item((audio_track("en"),), embedded("en")), policy("de"), no_pair)
    assert decision.action is Action.CANNOT
    assert "no translation backend translates English to German" in decision.reason


def test_without_a_translator_the_spoken_language_is_transcribed() -> None:
    (decision,) = decide(item((audio_track("en"),)), policy("en", spoken=True), no_pair)
    assert decision.action is Action.LISTEN


def test_original_audio_is_preferred_to_default_audio() -> None:
    dub, original = audio_track("en", is_default=True), audio_track("ja", ordinal=1)
    (decision,) = decide(item((dub, original), original_language=LanguageTag("ja")), policy(), any_pair)
    assert "audio track 2 (Japanese)" in decision.reason


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
    (decision,) = decide(item((audio_track(),), *tracks, embedded("de")), policy(), any_pair)
    assert decision.action is Action.COVERED


@given(st.lists(TRACKS, max_size=5), st.randoms())
def test_the_order_of_tracks_never_changes_a_decision(tracks: list[SubtitleTrack], order: Any) -> None:
    shuffled = list(tracks)
    order.shuffle(shuffled)
    (one,), (other,) = (
        decide(item((audio_track(),), *tracks), policy(), any_pair),
        decide(item((audio_track(),), *shuffled), policy(), any_pair),
    )
    assert one.action is other.action
