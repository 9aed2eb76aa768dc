"""Decisions: the action for each wanted language of an item, with the reason that `why` shows.

`decide` is pure. Scans, jobs and explanations call it with the same arguments and get the same decision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from fluxcaption.domain.deliveries import DeliveryState
from fluxcaption.domain.language import LanguageTag, satisfies
from fluxcaption.domain.media import Item, MediaSource, SubtitleTrack
from fluxcaption.domain.rules import EffectivePolicy, Rule, TargetRule, policy_for
from fluxcaption.domain.sources import (
    NOTHING_KNOWN,
    FromText,
    KnownTracks,
    NoSource,
    PairRank,
    SourceChoice,
    belongs_to_version,
    choose_source,
    is_machine_made,
    is_ours,
    original_audio,
)
from fluxcaption.domain.units import SourceId

REMOVED = "the FluxCaption track was removed by a user; it is made again only on request"
MISSING = "the FluxCaption track is no longer listed by the server; the next scan checks it again"


class Action(StrEnum):
    """Action for one target of one media source."""

    COVERED = "covered"
    NOT_WANTED = "not-wanted"
    SKIPPED = "skipped"
    """An earlier decision to make no track holds until the media, the target or the settings change."""
    MISSING = "missing"
    """The FluxCaption track is no longer listed; a later scan decides whether a user removed it."""
    INSPECT = "inspect"
    """A text track without a language may cover the target; the job reads the track first."""
    TRANSLATE = "translate"
    LISTEN = "listen"
    """Transcribe an audio track, then translate the transcript if needed."""
    YIELD_TO_HUMAN = "yield-to-human"
    """A human-made track exists; the FluxCaption track is removed."""
    REMOVE_STALE = "remove-stale"
    """The media was replaced and no track is made for the new media; the FluxCaption track is removed."""
    CANNOT = "cannot"

    @property
    def is_work(self) -> bool:
        """Return True if the action needs a job."""
        return self.makes_track or self in {Action.YIELD_TO_HUMAN, Action.REMOVE_STALE}

    @property
    def makes_track(self) -> bool:
        """Return True if the action may make a track."""
        return self in {Action.INSPECT, Action.TRANSLATE, Action.LISTEN}


@dataclass(frozen=True, slots=True)
class TargetHistory:
    """Earlier results for one target of one media source.

    Attributes:
        skip_reason: Reason of a decision to make no track that still holds; empty without one.
        delivery: State of the FluxCaption track; None if none was ever made.
        media_revision: Revision of the media that the FluxCaption track was made for; empty if unknown.
        is_requested: True if a user requested the FluxCaption track although another track served the target.
    """

    skip_reason: str = ""
    delivery: DeliveryState | None = None
    media_revision: str = ""
    is_requested: bool = False

    def is_of_other_media(self, source: MediaSource) -> bool:
        """Return True if the FluxCaption track was made for another revision of the media."""
        return self.media_revision not in {"", source.revision}


@dataclass(frozen=True, slots=True)
class SourceHistory:
    """Earlier results for one media source.

    Attributes:
        tracks: Facts about its tracks that earlier jobs read from their content.
        targets: Earlier results by target.
    """

    tracks: KnownTracks = NOTHING_KNOWN
    targets: Mapping[LanguageTag, TargetHistory] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LanguagePolicy:
    """Language settings of the configuration.

    Attributes:
        defaults: Settings for every media source that no rule matches.
        rules: Exceptions in the order of the configuration; the first match applies.
    """

    defaults: EffectivePolicy
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """Action for one target of one media source.

    Attributes:
        reason: Facts behind the action, as shown to users.
        choice: Source of the track; None if no source was chosen.
        rule: Name of the rule that applied; empty for the defaults.
        is_upkeep: True if an existing FluxCaption track is removed or replaced; such work is no backlog.
    """

    item: Item
    source: MediaSource
    target: LanguageTag
    action: Action
    reason: str
    choice: SourceChoice | None = None
    rule: str = ""
    is_upkeep: bool = False


class ServingTracks(NamedTuple):
    """Full text tracks that serve a target, each list in the order of the keys.

    Attributes:
        others: Tracks that FluxCaption did not make.
        own: Tracks that FluxCaption made.
    """

    others: list[SubtitleTrack]
    own: list[SubtitleTrack]


def serving_tracks(
    item: Item, source: MediaSource, target: LanguageTag, policy: EffectivePolicy, known: KnownTracks
) -> ServingTracks:
    """Return the full text tracks of a media source that serve a target."""
    serving = ServingTracks([], [])
    for track in sorted(source.subtitles, key=lambda track: track.key):
        if (
            track.has_full_dialogue
            and track.language is not None
            and satisfies(track.language, target, policy.strictness)
            and (policy.hearing_impaired_covers or not track.is_hearing_impaired)
            and belongs_to_version(track, source, item)
        ):
            (serving.own if is_ours(track, policy.marker, known) else serving.others).append(track)
    return serving


def decide(
    item: Item,
    language_policy: LanguagePolicy,
    rank_pair: PairRank,
    history: Mapping[SourceId, SourceHistory] | None = None,
) -> Sequence[Decision]:
    """Decide every target of every media source of an item.

    Args:
        item: Item with its media sources and tracks.
        language_policy: Language settings of the configuration.
        rank_pair: Rank of the translation backend for a language pair.
        history: Earlier results by media source.
    """
    decisions: list[Decision] = []
    for source in item.sources:
        source_history = (history or {}).get(source.id, SourceHistory())
        known = source_history.tracks
        policy = policy_for(item, source, language_policy.defaults, language_policy.rules)
        read_source = known.applied_to(source)
        for rule in policy.targets:
            target_history = source_history.targets.get(rule.target, TargetHistory())
            serving = serving_tracks(item, read_source, rule.target, policy, known)
            case = _Case(item, read_source, rule, policy, rank_pair, known, target_history, serving)
            decisions.append(case.decide())
    return decisions


@dataclass(frozen=True, slots=True)
class _Case:
    """All facts about one target of one media source; `decide` tries the steps in order."""

    item: Item
    source: MediaSource
    target_rule: TargetRule
    policy: EffectivePolicy
    rank_pair: PairRank
    known: KnownTracks
    history: TargetHistory
    serving: ServingTracks

    def decide(self) -> Decision:
        """Return the decision of the first step that applies."""
        steps = (
            self._exclude,
            self._reject_broken,
            self._yield_to_human,
            self._cover,
            self._reject_unwanted,
            self._keep_skipped,
            self._await_missing,
            self._inspect,
        )
        for step in steps:
            if (decision := step()) is not None:
                return decision
        return self._make()

    @property
    def _target(self) -> LanguageTag:
        return self.target_rule.target

    @property
    def _is_replaced(self) -> bool:
        return self.history.is_of_other_media(self.source)

    @property
    def _is_stale(self) -> bool:
        """Return True if the server lists a FluxCaption track of replaced media that no user edited."""
        is_edited = self.history.delivery is DeliveryState.EDITED
        return bool(self.serving.own) and self._is_replaced and not is_edited

    def _decision(self, action: Action, reason: str, choice: SourceChoice | None = None) -> Decision:
        is_upkeep = action.is_work and (self._is_stale or action is Action.YIELD_TO_HUMAN)
        return Decision(
            self.item, self.source, self._target, action, reason, choice, self.policy.rule, is_upkeep
        )

    def _no_new_track(self, action: Action, reason: str, choice: SourceChoice | None = None) -> Decision:
        """Return `action`, or the removal of a stale FluxCaption track."""
        if not self._is_stale:
            return self._decision(action, reason, choice)
        return self._decision(
            Action.REMOVE_STALE,
            f"the media was replaced after {self.serving.own[0].file_name} was made; the file is removed and"
            f" no new track is made: {reason}",
        )

    def _exclude(self) -> Decision | None:
        reason = ""
        if self.item.skipped:
            reason = self.item.skipped
        elif self.policy.skip:
            reason = f"skipped by the rule for {self.policy.rule}"
        elif self.source.is_remote and not self.policy.allows_remote:
            reason = (
                "the media is not a file of the library (stream address or cloud folder); a rule with"
                " remote: true includes it"
            )
        return self._decision(Action.NOT_WANTED, reason) if reason else None

    def _reject_broken(self) -> Decision | None:
        if not self.item.broken:
            return None
        return self._decision(Action.CANNOT, self.item.broken, NoSource(self.item.broken))

    def _yield_to_human(self) -> Decision | None:
        marker = self.policy.marker
        human = next(
            (track for track in self.serving.others if not is_machine_made(track, marker, self.known)), None
        )
        if (
            human is None
            or not self.serving.own
            or not self.policy.yields_to_human
            or self.history.delivery is not DeliveryState.CONFIRMED
            or self.history.is_requested
        ):
            return None
        return self._decision(
            Action.YIELD_TO_HUMAN,
            f"{_exists(human)}; the FluxCaption track {self.serving.own[0].file_name} is removed",
        )

    def _cover(self) -> Decision | None:
        if self.serving.others:
            return self._no_new_track(Action.COVERED, _exists(self.serving.others[0]))
        if self.serving.own and not self._is_stale:
            return self._decision(Action.COVERED, f"FluxCaption {_exists(self.serving.own[0])}")
        return None

    def _reject_unwanted(self) -> Decision | None:
        reason = _understood_audio(self.source, self.policy) if self.target_rule.only_foreign else ""
        reason = reason or self._spoken_target()
        return self._no_new_track(Action.NOT_WANTED, reason) if reason else None

    def _spoken_target(self) -> str:
        audio = original_audio(self.item, self.source)
        if audio is None or audio.language is None or self.policy.makes_spoken_language:
            return ""
        if not satisfies(audio.language, self._target, self.policy.strictness):
            return ""
        return f"{self._target.english_name} is the spoken language, and when_spoken is skip"

    def _keep_skipped(self) -> Decision | None:
        if self.history.delivery is DeliveryState.REFUSED and not self._is_replaced:
            return self._decision(Action.SKIPPED, REMOVED)
        if self.history.skip_reason:
            return self._no_new_track(Action.SKIPPED, self.history.skip_reason)
        return None

    def _await_missing(self) -> Decision | None:
        # A track that a full scan did not find went with the replaced media: no check is needed.
        is_awaited = self.history.delivery in {DeliveryState.CONFIRMED, DeliveryState.EDITED} or (
            self.history.delivery is DeliveryState.MISSING and not self._is_replaced
        )
        return self._decision(Action.MISSING, MISSING) if is_awaited and not self.serving.own else None

    def _inspect(self) -> Decision | None:
        for track in self.source.subtitles:
            if (
                track.has_full_dialogue
                and track.language is None
                and track.key not in self.known.languages
                and belongs_to_version(track, self.source, self.item)
            ):
                return self._decision(
                    Action.INSPECT,
                    f"text track without a language exists: {track.label}; its language is detected first",
                )
        return None

    def _make(self) -> Decision:
        policy = self.policy
        choice = choose_source(
            self.item, self.source, self._target, self.rank_pair, policy.marker, policy.sources, self.known
        )
        if isinstance(choice, NoSource):
            return self._no_new_track(Action.CANNOT, choice.reason, choice)
        action = Action.TRANSLATE if isinstance(choice, FromText) else Action.LISTEN
        return self._decision(action, f"{self._gap()}; {choice.reason}", choice)

    def _gap(self) -> str:
        if self._is_stale:
            return "the media was replaced after the FluxCaption track was made"
        near_misses = ", ".join(dict.fromkeys(self._near_misses()))
        return f"no full {self._target.english_name} text track" + (
            f" ({near_misses})" if near_misses else ""
        )

    def _near_misses(self) -> Sequence[str]:
        """Return the reasons why the tracks in the target language do not count."""
        tracks = sorted(self.source.subtitles, key=lambda track: track.key)
        return [
            reason
            for track in tracks
            if track.language is not None
            and satisfies(track.language, self._target)
            and (reason := self._why_not_counted(track, track.language.english_name))
        ]

    def _why_not_counted(self, track: SubtitleTrack, language: str) -> str:
        if not track.is_text:
            return f"the {language} {track.codec} track is an image track"
        if track.is_forced:
            return f"the {language} track is forced only"
        if track.is_commentary:
            return f"the {language} track belongs to a commentary"
        if track.is_signs:
            return f"the {language} track has signs and songs only"
        if not belongs_to_version(track, self.source, self.item):
            return f"{track.file_name} belongs to another version"
        if track.is_hearing_impaired and not self.policy.hearing_impaired_covers:
            return f"the {language} track is for the hearing impaired"
        return ""


def _exists(track: SubtitleTrack) -> str:
    language = f"{track.language.english_name} " if track.language else ""
    return f"{language}text track exists: {track.label}"


def _understood_audio(source: MediaSource, policy: EffectivePolicy) -> str:
    """Return the reason why a target for foreign audio is not wanted; empty if all audio is foreign."""
    for audio in source.audio:
        language = audio.language
        if audio.is_commentary or language is None:
            continue
        if any(satisfies(language, understood) for understood in policy.understood):
            return f"{language.english_name} audio is understood (languages.understood)"
    return ""
