"""Which wanted languages an item lacks, with the reason; the same objects are acted on and shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from fluxcaption.domain.deliveries import DeliveryState
from fluxcaption.domain.language import LanguageTag, satisfies
from fluxcaption.domain.media import Item, MediaSource, SubtitleTrack
from fluxcaption.domain.rules import EffectivePolicy, Rule, TargetRule, policy_for
from fluxcaption.domain.sources import (
    NOTHING_KNOWN,
    FromText,
    KnownTracks,
    NoSource,
    Reads,
    SourceChoice,
    belongs_to_version,
    choose_source,
    is_machine_made,
    is_ours,
    original_audio,
)
from fluxcaption.domain.units import SourceId

REMOVED = "our track was removed by somebody: it is not made again unless asked for"


class Action(StrEnum):
    """What is to be done about one language of one media source."""

    COVERED = "covered"
    NOT_WANTED = "not-wanted"
    SKIPPED = "skipped"
    """It was tried, or a person said no: nothing is made until media, target or settings change, or somebody asks."""
    MISSING = "missing"
    """Our track was there and is not listed now; looked at again before anything is concluded."""
    INSPECT = "inspect"
    """A text track that says no language could cover: reading it is the first step of the job."""
    TRANSLATE = "translate"
    LISTEN = "listen"
    YIELD_TO_HUMAN = "yield-to-human"
    """A human's track came: ours goes."""
    REMOVE_STALE = "remove-stale"
    """The media was replaced and nothing is made for the new one: ours goes."""
    CANNOT = "cannot"

    @property
    def is_work(self) -> bool:
        """Whether a job is needed."""
        return self in {
            Action.INSPECT,
            Action.TRANSLATE,
            Action.LISTEN,
            Action.YIELD_TO_HUMAN,
            Action.REMOVE_STALE,
        }

    @property
    def makes_track(self) -> bool:
        """Whether a track is made."""
        return self in {Action.INSPECT, Action.TRANSLATE, Action.LISTEN}


@dataclass(frozen=True, slots=True)
class TargetHistory:
    """What is remembered about one target of one media source.

    Attributes:
        settled: The reason of an earlier decision that still holds.
        delivery: How far our track got; None when there never was one.
        made_for: Revision of the media it was made for; empty when not known.
        is_asked: A person wanted our track although another's served.
    """

    skip_reason: str = ""
    delivery: DeliveryState | None = None
    media_revision: str = ""
    is_requested: bool = False

    def is_of_other_media(self, source: MediaSource) -> bool:
        """Whether our track was made for a file that this one has replaced, or that only seems changed."""
        return self.media_revision not in {"", source.revision}


@dataclass(frozen=True, slots=True)
class SourceHistory:
    """What is remembered about one media source."""

    tracks: KnownTracks = NOTHING_KNOWN
    targets: Mapping[LanguageTag, TargetHistory] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LanguagePolicy:
    """What the household wants everywhere, and where it wants something else."""

    defaults: EffectivePolicy
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done about one wanted language of one media source, and why.

    Attributes:
        choice: What it would be made from; None where nothing is made.
        rule: The rule that applied; empty for the defaults.
        is_upkeep: A track of ours lies there and is to go or to be made anew: that is no backlog.
    """

    item: Item
    source: MediaSource
    target: LanguageTag
    action: Action
    reason: str
    choice: SourceChoice | None = None
    rule: str = ""
    is_upkeep: bool = False


def serving_tracks(
    item: Item, source: MediaSource, target: LanguageTag, policy: EffectivePolicy, known: KnownTracks
) -> tuple[list[SubtitleTrack], list[SubtitleTrack]]:
    """The full text tracks that serve a target: those of others, and ours."""
    serving = [
        track
        for track in source.subtitles
        if track.has_full_dialogue
        and track.language is not None
        and satisfies(track.language, target, policy.strictness)
        and (policy.hearing_impaired_covers or not track.is_hearing_impaired)
        and belongs_to_version(track, source, item)
    ]
    ours = [track for track in serving if is_ours(track, policy.marker, known)]
    return sorted((track for track in serving if track not in ours), key=lambda track: track.key), sorted(
        ours, key=lambda track: track.key
    )


def decide(
    item: Item,
    language_policy: LanguagePolicy,
    reads: Reads,
    memory: Mapping[SourceId, SourceHistory] | None = None,
) -> Sequence[Decision]:
    """Decide every wanted language of every media source of an item."""
    decisions: list[Decision] = []
    for source in item.sources:
        remembered = (memory or {}).get(source.id, SourceHistory())
        policy = policy_for(item, source, language_policy.defaults, language_policy.rules)
        read = remembered.tracks.applied_to(source)
        decisions += [
            _decide_one(
                item,
                read,
                wish,
                policy,
                reads,
                remembered.tracks,
                remembered.targets.get(wish.target, TargetHistory()),
            )
            for wish in policy.targets
        ]
    return decisions


def _decide_one(
    item: Item,
    source: MediaSource,
    wish: TargetRule,
    policy: EffectivePolicy,
    reads: Reads,
    known: KnownTracks,
    target_history: TargetHistory,
) -> Decision:
    target = wish.target
    theirs, ours = serving_tracks(item, source, target, policy, known)
    is_replaced = target_history.is_of_other_media(source)
    is_stale = bool(ours) and is_replaced and target_history.delivery is not DeliveryState.EDITED

    def decided(action: Action, reason: str, choice: SourceChoice | None = None) -> Decision:
        is_upkeep = action.is_work and (is_stale or action is Action.YIELD_TO_HUMAN)
        return Decision(item, source, target, action, reason, choice, policy.rule, is_upkeep)

    def not_made(action: Action, reason: str, choice: SourceChoice | None = None) -> Decision:
        if is_stale:
            return decided(
                Action.REMOVE_STALE,
                f"the media was replaced since our track was made, so {ours[0].file_name} goes; no other is made: {reason}",
            )
        return decided(action, reason, choice)

    if why := _why_left_alone(item, source, policy):
        return decided(Action.NOT_WANTED, why)
    if item.broken:
        return decided(Action.CANNOT, item.broken, NoSource(item.broken))
    human = next((track for track in theirs if not is_machine_made(track, policy.marker, known)), None)
    if (
        human is not None
        and ours
        and policy.yields_to_human
        and target_history.delivery is DeliveryState.CONFIRMED
        and not target_history.is_requested
    ):
        return decided(Action.YIELD_TO_HUMAN, f"{_named(human)} came, so ours ({ours[0].file_name}) goes")
    if theirs:
        return not_made(
            Action.COVERED, f"an existing {theirs[0].language} text track serves it ({_named(theirs[0])})"
        )
    if ours and not is_stale:
        return decided(Action.COVERED, f"our own {ours[0].language} text track serves it ({_named(ours[0])})")
    if why := _why_not_wanted(item, source, wish, policy):
        return not_made(Action.NOT_WANTED, why)
    unread = [
        track
        for track in source.subtitles
        if track.has_full_dialogue
        and track.language is None
        and track.key not in known.languages
        and belongs_to_version(track, source, item)
    ]
    if target_history.delivery is DeliveryState.REFUSED and not is_replaced:
        return decided(Action.SKIPPED, REMOVED)
    if target_history.skip_reason:
        return not_made(Action.SKIPPED, target_history.skip_reason)
    # Beside other media its absence is no riddle once a whole pass has looked for it: a new film came without the old one's files.
    is_sought = target_history.delivery in {DeliveryState.CONFIRMED, DeliveryState.EDITED} or (
        target_history.delivery is DeliveryState.MISSING and not is_replaced
    )
    if is_sought and not ours:
        return decided(
            Action.MISSING,
            "our track was there and is not listed now: it is looked for again before anything is concluded",
        )
    if unread:
        return decided(
            Action.INSPECT,
            f"a text track that says no language could cover it ({_named(unread[0])}): it is read first",
        )
    choice = choose_source(item, source, target, reads, policy.marker, policy.sources, known)
    if isinstance(choice, NoSource):
        return not_made(Action.CANNOT, choice.reason, choice)
    action = Action.TRANSLATE if isinstance(choice, FromText) else Action.LISTEN
    gap = (
        "the media was replaced since our track was made"
        if is_stale
        else f"no full text track in {target}{_near_misses(item, source, target, policy)}"
    )
    return decided(action, f"{gap}; {choice.reason}", choice)


def _why_left_alone(item: Item, source: MediaSource, policy: EffectivePolicy) -> str:
    if item.skipped:
        return item.skipped
    if policy.skip:
        return f"the rule for {policy.rule} says skip"
    if source.is_remote and not policy.allows_remote:
        return "its media is not a file of the library (a stream address or a cloud folder): a rule with remote: true allows it"
    return ""


def _why_not_wanted(item: Item, source: MediaSource, wish: TargetRule, policy: EffectivePolicy) -> str:
    spoken = original_audio(item, source)
    if wish.only_foreign:
        for audio in source.audio:
            if (
                not audio.is_commentary
                and audio.language
                and any(satisfies(audio.language, known) for known in policy.understood)
            ):
                return f"the {audio.language} sound track is understood without subtitles"
    if (
        spoken
        and spoken.language
        and not policy.makes_spoken_language
        and satisfies(spoken.language, wish.target, policy.strictness)
    ):
        return f"{wish.target} is spoken in it, and when_spoken is skip"
    return ""


def _near_misses(item: Item, source: MediaSource, target: LanguageTag, policy: EffectivePolicy) -> str:
    """What is there in the language and does not count, so that nobody has to wonder."""
    missed = []
    for track in sorted(source.subtitles, key=lambda track: track.key):
        if track.language is None or not satisfies(track.language, target):
            continue
        if not track.is_text:
            missed.append(f"the {track.language} {track.codec} track is a picture")
        elif track.is_forced:
            missed.append(f"the {track.language} track is forced only")
        elif track.is_commentary:
            missed.append(f"the {track.language} track is of a commentary")
        elif track.is_signs:
            missed.append(f"the {track.language} track has signs and songs only")
        elif not belongs_to_version(track, source, item):
            missed.append(f"{track.file_name} belongs to another version")
        elif track.is_hearing_impaired and not policy.hearing_impaired_covers:
            missed.append(f"the {track.language} track is for the hearing impaired")
    return f" ({', '.join(dict.fromkeys(missed))})" if missed else ""


def _named(track: SubtitleTrack) -> str:
    return f"file {track.file_name}" if track.is_external else f"embedded track {(track.ordinal or 0) + 1}"
