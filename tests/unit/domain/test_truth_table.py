"""The truth table: every situation with its decisions and reasons, and facts that never change a decision."""

import dataclasses
from typing import Any

import pytest
from fluxcaption.domain.gaps import Action, Decision, LanguagePolicy, decide
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import Item
from fluxcaption.jellyfin.parse import read_item
from fluxcaption.pipeline.planner import language_policy_of
from fluxcaption.settings import Settings
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.situations import SITUATIONS, TARGETS, Situation, fake_item

VERSIONS = [(10, 10, 7), (10, 11, 11), (12, 0, 0)]


def any_pair(source: LanguageTag, target: LanguageTag) -> int | None:
    return 0


def language_policy(situation: Situation) -> LanguagePolicy:
    config: dict[str, Any] = {
        "server": {"type": "folder", "path": "/media"},
        "languages": {"targets": list(TARGETS)},
        **situation.policy,
    }
    return language_policy_of(Settings.model_validate(config))


def read_by(situation: Situation, version: tuple[int, int, int]) -> Item:
    return read_item(
        fake_item(situation).dto({"MediaSources", "Path", "Etag", "Tags", "DateCreated"}, version), "Movies"
    )


def decisions(situation: Situation, item: Item) -> dict[str, Decision]:
    found = decide(item, language_policy(situation), any_pair)
    return {str(decision.target): decision for decision in found if decision.source.id == item.sources[0].id}


def test_the_table_has_at_least_80_distinct_situations() -> None:
    assert len(SITUATIONS) >= 80
    assert len({situation.name for situation in SITUATIONS}) == len(SITUATIONS)


@pytest.mark.parametrize("version", VERSIONS, ids=["10.10", "10.11", "12.0"])
@pytest.mark.parametrize("situation", SITUATIONS, ids=[situation.name for situation in SITUATIONS])
def test_each_situation_has_its_decision_on_every_server_version(
    situation: Situation, version: tuple[int, int, int]
) -> None:
    found = decisions(situation, read_by(situation, version))
    assert list(found) == list(TARGETS)
    for target, (action, sentence) in situation.expected.items():
        assert (found[target].action.value, sentence in found[target].reason) == (action, True), (
            f"{target}: {found[target].action}: {found[target].reason}"
        )


@given(st.sampled_from(SITUATIONS), st.sampled_from(TARGETS))
@settings(deadline=None, max_examples=150)
def test_another_full_text_track_in_the_target_never_makes_a_gap(situation: Situation, target: str) -> None:
    code = {"de": "ger", "en": "eng", "zh-Hans": "zh-Hans"}[target]
    track = {
        "Type": "Subtitle",
        "Codec": "subrip",
        "Language": code,
        "IsExternal": False,
        "IsForced": False,
        "IsDefault": False,
        "IsHearingImpaired": False,
    }
    with_track = dataclasses.replace(situation, streams=(*situation.streams, track))
    found = decisions(with_track, read_by(with_track, (10, 11, 11)))
    assert found[target].action in {Action.COVERED, Action.NOT_WANTED}


@given(st.sampled_from(SITUATIONS), st.randoms())
@settings(deadline=None, max_examples=150)
def test_the_order_of_subtitle_tracks_never_changes_a_decision(situation: Situation, order: Any) -> None:
    others = [stream for stream in situation.streams if stream["Type"] != "Subtitle"]
    subtitles = [stream for stream in situation.streams if stream["Type"] == "Subtitle"]
    order.shuffle(subtitles)
    other = dataclasses.replace(situation, streams=(*others, *subtitles))
    first, second = (decisions(one, read_by(one, (10, 11, 11))) for one in (situation, other))
    assert {target: decision.action for target, decision in first.items()} == {
        target: decision.action for target, decision in second.items()
    }


SPELLINGS = {
    "eng": ["eng", "en"],
    "ger": ["ger", "deu", "de"],
    "jpn": ["jpn", "ja"],
    "chi": ["chi", "zho", "zh"],
    "fre": ["fre", "fra", "fr"],
}


@given(st.sampled_from(SITUATIONS), st.data())
@settings(deadline=None, max_examples=150)
def test_the_spelling_of_a_language_code_never_changes_a_decision(
    situation: Situation, data: st.DataObject
) -> None:
    streams = tuple(
        {
            **stream,
            "Language": data.draw(st.sampled_from(SPELLINGS.get(stream["Language"], [stream["Language"]]))),
        }
        if "Language" in stream
        else stream
        for stream in situation.streams
    )
    other = dataclasses.replace(situation, streams=streams)
    first, second = (decisions(one, read_by(one, (10, 10, 7))) for one in (situation, other))
    assert {target: (found.action, found.reason) for target, found in first.items()} == {
        target: (found.action, found.reason) for target, found in second.items()
    }


@given(st.sampled_from(SITUATIONS), st.integers(1, 50))
@settings(deadline=None, max_examples=100)
def test_track_index_numbers_never_change_a_decision(situation: Situation, shift: int) -> None:
    item = read_by(situation, (10, 11, 11))
    (first, *others) = item.sources
    renumbered = dataclasses.replace(
        first,
        subtitles=tuple(
            dataclasses.replace(track, handle=str(int(track.handle or 0) + shift))
            for track in first.subtitles
        ),
    )
    shifted = dataclasses.replace(item, sources=(renumbered, *others))
    before, after = decisions(situation, item), decisions(situation, shifted)
    assert {target: (found.action, found.reason) for target, found in before.items()} == {
        target: (found.action, found.reason) for target, found in after.items()
    }
