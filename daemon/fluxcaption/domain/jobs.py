"""Jobs: one wanted language of one media source, and the moves it may make."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from fluxcaption.domain.cues import Segment
from fluxcaption.domain.gaps import DeliveryState
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, JobId, Ms, ServerId, SourceId

ANY_SKIP_KEY = "*"
"""Settings of a decision that no setting changes: a person's no."""


class Stage(StrEnum):
    """What has to be done next for a job; each stage has its own bounded pool."""

    ACQUIRE = "listen"
    """Get the words of the source: hear the sound, or read the text track."""
    TRANSLATE = "translate"
    UPLOAD = "upload"
    CONFIRM = "confirm"


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PARKED = "parked"
    """Waits for a neighbour; the attempt was not counted."""
    DONE = "done"
    SKIPPED = "settled"
    """A decision that nothing is to be made; no gap until media, target or settings change, or a person asks."""
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN_STATES = frozenset({JobState.QUEUED, JobState.RUNNING, JobState.PARKED})

LEGAL_MOVES: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.PARKED}),
    JobState.RUNNING: frozenset(
        {
            JobState.QUEUED,
            JobState.PARKED,
            JobState.DONE,
            JobState.SKIPPED,
            JobState.FAILED,
            JobState.CANCELLED,
        }
    ),
    JobState.PARKED: frozenset({JobState.RUNNING, JobState.QUEUED, JobState.CANCELLED}),
    JobState.DONE: frozenset({JobState.QUEUED}),
    JobState.SKIPPED: frozenset({JobState.QUEUED}),
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.CANCELLED: frozenset({JobState.QUEUED}),
}
"""A finished job goes back to the queue only when a person or a new gap asks."""


class Priority(StrEnum):
    """Who waits for a job; in this order, newest first within a tier."""

    REQUESTED = "asked"
    """By a person."""
    NEXT_EPISODE = "next"
    """The episode after one that was watched."""
    LATER_EPISODE = "soon"
    """The one after that."""
    NEW = "new"
    BACKLOG = "backlog"

    @property
    def rank(self) -> int:
        """Lower goes first."""
        return list(Priority).index(self)


@dataclass(frozen=True, slots=True)
class ManualRequest:
    """How a person wants it made, where that differs from the settings.

    Attributes:
        source: Key of a track, or `audio N`; empty: as decided.
        model: Directory or name of another speech model.
        redo: Make it although there is a track already.
    """

    source: str = ""
    model: str = ""
    redo: bool = False

    @property
    def is_default(self) -> bool:
        """Whether nothing special is asked."""
        return self == ManualRequest()


@dataclass(frozen=True, slots=True)
class NewJob:
    """A gap on its way into the queue.

    Attributes:
        added_at: When the item came into the library; newest goes first.
        reason: The sentence that says why this is a gap.
        is_held: Waits for its title to be released from the backlog.
    """

    server_id: ServerId
    item_id: ItemId
    source_id: SourceId
    target: LanguageTag
    title: str
    priority: Priority
    added_at: datetime
    reason: str
    is_held: bool = False
    request: ManualRequest = ManualRequest()


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a track was made, so that a better one may take its place.

    Attributes:
        how: The same as a sentence.
        recognizer: What heard the words; empty where they were read.
        score: How sure it was on average, 0 to 1.
        translator: What translated them; empty where they stayed as they were.
    """

    how: str = ""
    recognizer: str = ""
    score: float | None = None
    translator: str = ""

    def __str__(self) -> str:
        """Read as the sentence."""
        return self.how


@dataclass(frozen=True, slots=True)
class Job:
    """One wanted language of one media source.

    Attributes:
        attempts: Attempts of the present stage that were started and counted.
        next_try_at: Not before this moment, UTC.
        reason: Why it waits, failed, was settled, or is a gap.
        reason_code: Stable word for the same, empty while nothing went wrong.
        fingerprint: Of the media, once it was read.
        source_ref: Document with the source cues, once they are known.
        track_ref: Document with the finished track, once it is made.
        grade: How the finished track was made.
        sends: How often its track was sent.
        looks: How often it was looked for in vain since it was sent last.
    """

    id: JobId
    server_id: ServerId
    item_id: ItemId
    source_id: SourceId
    target: LanguageTag
    title: str
    priority: Priority
    added_at: datetime
    stage: Stage
    state: JobState
    attempts: int
    next_try_at: datetime
    reason: str
    reason_code: str
    fingerprint: Fingerprint | None = None
    source_ref: ContentHash | None = None
    track_ref: ContentHash | None = None
    is_held: bool = False
    ready_at: datetime | None = None
    """When its track was finished and began to wait for delivery."""
    request: ManualRequest = ManualRequest()
    provenance: Provenance = Provenance()
    upload_attempts: int = 0
    confirm_attempts: int = 0
    claim: int = 0
    """Which claim of it this is: what an earlier one reports changes nothing."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What we meant to put on the server, and how far that got.

    Attributes:
        file_name: The sidecar's name.
        provenance: JSON: source, models, settings, times.
        made_for: Revision of the media it was made for.
        cues_hash: Over the cues alone: the same wherever the file lies and however a server spells it.
        grade: How it was made: from what, by which backends, with which score.
        track_path: Where the server lists it.
        previous_ref: Bytes to be put back should this come to nothing; kept until it is confirmed.
        previous: The delivery those bytes were; None with bytes: this one is being put back itself.
        sent_at: When sending began; None: nothing was sent.
        is_asked: A person asked for it beside a human's track: it does not yield to that.
        missing_since: When a complete pass first did not list it.
    """

    server_id: ServerId
    source_id: SourceId
    target: LanguageTag
    content_hash: ContentHash
    file_name: str
    details: str
    intended_at: datetime
    uploaded_at: datetime | None = None
    confirmed_at: datetime | None = None
    item_id: ItemId = ItemId("")
    title: str = ""
    fingerprint: Fingerprint = Fingerprint("")
    media_revision: str = ""
    cues_hash: ContentHash = ContentHash("")
    provenance: Provenance = Provenance()
    track_path: str = ""
    previous_ref: ContentHash | None = None
    previous: "Delivery | None" = None
    sent_at: datetime | None = None
    state: DeliveryState = DeliveryState.INTENDED
    missing_since: datetime | None = None
    missing_passes: int = 0
    is_requested: bool = False

    @property
    def is_unconfirmed(self) -> bool:
        """Whether it was sent, perhaps arrived, and was not seen yet."""
        return self.sent_at is not None and self.state in {DeliveryState.INTENDED, DeliveryState.UPLOADED}

    @property
    def is_expected(self) -> bool:
        """Whether a file of it should lie there."""
        return self.is_unconfirmed or self.state in {
            DeliveryState.CONFIRMED,
            DeliveryState.MISSING,
            DeliveryState.EDITED,
        }


PLAYBACK = frozenset({"PlaybackStart", "PlaybackStop"})
"""Kinds of events that tell of viewers, not of the library."""


@dataclass(frozen=True, slots=True)
class Event:
    """A hint from outside that something changed."""

    id: int
    server_id: ServerId
    kind: str
    item_id: ItemId
    received_at: datetime
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class TranscriptKey:
    """Names one sound heard in one way; nothing about jobs, ids or paths.

    Attributes:
        ordinal: Of the audio track.
        settings_hash: Of everything that changes what is heard.
    """

    fingerprint: Fingerprint
    ordinal: int
    recognizer: str
    model_revision: str
    asr_settings_key: str


@dataclass(frozen=True, slots=True)
class HeardWindow:
    """One window of a transcript that was heard and saved.

    Attributes:
        start: Where the window begins; sound before the end of it need not be heard again.
    """

    start: Ms
    end: Ms
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class SavedTranscript:
    """A transcript as far as it was heard.

    Attributes:
        language: Empty until it is known.
        heard_until: Everything before is heard.
    """

    id: int
    language: LanguageTag | None
    is_complete: bool
    heard_until: Ms
    windows: tuple[HeardWindow, ...]


@dataclass(frozen=True, slots=True)
class TranslationKey:
    """Names one way to translate; with the source text it finds an earlier translation."""

    source: LanguageTag
    target: LanguageTag
    backend: str
    model_revision: str
    glossary: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a stage decided about its job; made by the named constructors."""

    state: JobState
    stage: Stage | None = None
    wait: timedelta = timedelta(0)
    reason: str = ""
    reason_code: str = ""
    keeps_attempts: bool = False
    gives_back_attempt: bool = False

    @classmethod
    def next(cls, stage: Stage, reason: str = "", wait: timedelta = timedelta(0)) -> "Outcome":
        """Go on with `stage`, not before `wait` has passed."""
        return cls(JobState.QUEUED, stage, wait, reason)

    @classmethod
    def waiting(cls, stage: Stage, wait: timedelta, reason: str, code: str) -> "Outcome":
        """Nothing is wrong: the stage waits for a better moment."""
        return cls(JobState.QUEUED, stage, wait, reason, code)

    @classmethod
    def again(cls, wait: timedelta, reason: str, code: str = "") -> "Outcome":
        """Run the same stage again later; the attempts so far stay counted."""
        return cls(JobState.QUEUED, None, wait, reason, code, keeps_attempts=True)

    @classmethod
    def parked(cls, wait: timedelta, reason: str, code: str) -> "Outcome":
        """Wait for a neighbour; this attempt does not count."""
        return cls(JobState.PARKED, None, wait, reason, code, gives_back_attempt=True)

    @classmethod
    def handed_back(cls) -> "Outcome":
        """Be due again as if it had not been claimed: the attempt was ended from outside."""
        return cls(JobState.QUEUED, gives_back_attempt=True)

    @classmethod
    def done(cls, reason: str) -> "Outcome":
        """The track is where viewers find it."""
        return cls(JobState.DONE, None, reason=reason)

    @classmethod
    def skipped(cls, reason: str, code: str) -> "Outcome":
        """Nothing is to be made, and that is remembered."""
        return cls(JobState.SKIPPED, None, reason=reason, reason_code=code)

    @classmethod
    def failed(cls, reason: str, code: str) -> "Outcome":
        """Give up until a person asks again."""
        return cls(JobState.FAILED, None, reason=reason, reason_code=code)
