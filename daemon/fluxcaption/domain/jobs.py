"""Jobs: one wanted language of one media source, and the moves it may make."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, JobId, ServerId, SourceId

ANY_SKIP_KEY = "*"
"""Settings of a decision that no setting changes: a person's no."""


class Stage(StrEnum):
    """What has to be done next for a job; each stage has its own bounded pool."""

    ACQUIRE = "acquire"
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
    SKIPPED = "skipped"
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

    REQUESTED = "requested"
    """By a person."""
    NEXT_EPISODE = "next-episode"
    """The episode after one that was watched."""
    LATER_EPISODE = "later-episode"
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
        description: The same as a sentence.
        recognizer: What heard the words; empty where they were read.
        score: How sure it was on average, 0 to 1.
        translator: What translated them; empty where they stayed as they were.
    """

    description: str = ""
    recognizer: str = ""
    score: float | None = None
    translator: str = ""

    def __str__(self) -> str:
        """Read as the sentence."""
        return self.description


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
