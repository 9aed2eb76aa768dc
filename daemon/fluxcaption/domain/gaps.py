"""Which wanted languages an item lacks, with the reason; the same objects are acted on and shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from fluxcaption.domain.language import LanguageTag, Strictness, satisfies
from fluxcaption.domain.media import Item, MediaSource, SubtitleTrack
from fluxcaption.domain.sources import CanTranslate, FromText, NoSource, SourceChoice, choose_source, is_ours, spoken_track


class Way(StrEnum):
    """What is to be done about one language of one media source."""

    COVERED = "covered"
    NOT_WANTED = "not-wanted"
    TRANSLATE = "translate"
    LISTEN = "listen"
    CANNOT = "cannot"

    @property
    def is_work(self) -> bool:
        """Whether something is to be made."""
        return self in {Way.TRANSLATE, Way.LISTEN}


@dataclass(frozen=True, slots=True)
class Wish:
    """A language the household reads.

    Attributes:
        only_foreign: Only where no sound track is understood.
    """

    target: LanguageTag
    only_foreign: bool = False


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the household wants, as the decisions need it.

    Attributes:
        makes_spoken: Whether a target that equals the spoken language is made.
        marker: How our own tracks are named.
    """

    targets: tuple[Wish, ...]
    understood: tuple[LanguageTag, ...]
    makes_spoken: bool
    strictness: Strictness
    marker: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done about one wanted language of one media source, and why.

    Attributes:
        choice: What it would be made from; None where nothing is made.
    """

    item: Item
    source: MediaSource
    target: LanguageTag
    way: Way
    reason: str
    choice: SourceChoice | None = None


def covering_track(source: MediaSource, target: LanguageTag, strictness: Strictness, marker: str) -> SubtitleTrack | None:
    """The full text track that already serves a target, a human's before ours."""
    serving = [
        track
        for track in source.subtitles
        if track.is_text and not track.is_forced and not track.is_commentary and track.language is not None and satisfies(track.language, target, strictness)
    ]
    return min(serving, key=lambda track: is_ours(track, marker), default=None)


def decide(item: Item, wishes: Wishes, can_translate: CanTranslate) -> Sequence[Decision]:
    """Decide every wanted language of every media source of an item."""
    return [_decide_one(item, source, wish, wishes, can_translate) for source in item.sources for wish in wishes.targets]


def _decide_one(item: Item, source: MediaSource, wish: Wish, wishes: Wishes, can_translate: CanTranslate) -> Decision:
    def decided(way: Way, reason: str, choice: SourceChoice | None = None) -> Decision:
        return Decision(item, source, wish.target, way, reason, choice)

    if item.skipped:
        return decided(Way.NOT_WANTED, item.skipped)
    if track := covering_track(source, wish.target, wishes.strictness, wishes.marker):
        whose = "our own" if is_ours(track, wishes.marker) else "an existing"
        where = f"file {track.file_name}" if track.is_external else f"embedded track {(track.ordinal or 0) + 1}"
        return decided(Way.COVERED, f"{whose} {track.language} text track serves it ({where})")
    spoken = spoken_track(item, source)
    if wish.only_foreign:
        for audio in source.audio:
            if not audio.is_commentary and audio.language and any(satisfies(audio.language, known) for known in wishes.understood):
                return decided(Way.NOT_WANTED, f"the {audio.language} sound track is understood without subtitles")
    if spoken and spoken.language and not wishes.makes_spoken and satisfies(spoken.language, wish.target, wishes.strictness):
        return decided(Way.NOT_WANTED, f"{wish.target} is spoken in it, and when_spoken is skip")
    choice = choose_source(item, source, wish.target, can_translate, wishes.marker)
    if isinstance(choice, NoSource):
        return decided(Way.CANNOT, choice.reason, choice)
    way = Way.TRANSLATE if isinstance(choice, FromText) else Way.LISTEN
    return decided(way, f"no full text track in {wish.target}; {choice.reason}", choice)
