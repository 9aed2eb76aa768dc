"""Jobs: the work on one target of one media source, its states and the outcomes of its stages."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, JobId, ServerId, SourceId

ANY_SKIP_KEY = "*"
"""Skip key of a decision that no change of settings reverses: a user removed the track."""


class Stage(StrEnum):
    """Next step of a job; each stage has its own bounded pool."""

    ACQUIRE = "acquire"
    """Get the source text: transcribe an audio track or read a text track."""
    TRANSLATE = "translate"
    UPLOAD = "upload"
    CONFIRM = "confirm"


class JobState(StrEnum):
    """State of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    PARKED = "parked"
    """Waits for a service or resource; the attempt did not count."""
    DONE = "done"
    SKIPPED = "skipped"
    """Decision to make no track; holds until media, target or settings change, or on request."""
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
"""Allowed next states by state; a closed job is queued again only by a user or a new gap."""


class Priority(StrEnum):
    """Priority of a job, highest first; within a priority the newest item goes first."""

    REQUESTED = "requested"
    """Requested by a user."""
    NEXT_EPISODE = "next-episode"
    """Episode after a played one."""
    LATER_EPISODE = "later-episode"
    """Second episode after a played one."""
    NEW = "new"
    """Item that came into the library after the first scan."""
    BACKLOG = "backlog"
    """Item that was in the library before."""

    @property
    def rank(self) -> int:
        """Return the position in the queue order; 0 is the highest priority."""
        return list(Priority).index(self)


@dataclass(frozen=True, slots=True)
class ManualRequest:
    """Options of a user's request that differ from the settings.

    Attributes:
        source: Name of a track file, `text N` or `audio N`; empty: the source is chosen as usual.
        model: Directory or name of another speech model; empty: the configured model.
        redo: True to make the track although one exists.
    """

    source: str = ""
    model: str = ""
    redo: bool = False

    @property
    def is_default(self) -> bool:
        """Return True if the request has no options."""
        return self == ManualRequest()


@dataclass(frozen=True, slots=True)
class NewJob:
    """Gap that is to be queued as a job.

    Attributes:
        title: Name of the item, for messages.
        added_at: Moment the item came into the library.
        reason: Reason of the decision.
        is_held: True if the job waits until its title is released from the backlog.
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
    """Origin of a track, which later decides whether a better track replaces it.

    Attributes:
        description: Origin as a sentence.
        recognizer: Speech backend and model; empty for a source that was a text track.
        score: Mean confidence of the recognizer, 0 to 1; None without a recognizer.
        translator: Translation backend and model; empty without translation.
    """

    description: str = ""
    recognizer: str = ""
    score: float | None = None
    translator: str = ""

    def __str__(self) -> str:
        """Return the sentence."""
        return self.description


@dataclass(frozen=True, slots=True)
class Job:
    """Work on one target of one media source.

    Attributes:
        title: Name of the item, for messages.
        added_at: Moment the item came into the library, UTC.
        attempts: Counted attempts of the present stage.
        next_try_at: Earliest moment of the next attempt, UTC.
        reason: Reason of the gap, the wait, the skip or the failure.
        reason_code: Stable code of the reason, empty while nothing went wrong.
        fingerprint: Identity of the media file; None until it was read.
        source_ref: Hash of the document with the source cues; None until they exist.
        track_ref: Hash of the document with the finished track; None until it exists.
        is_held: True if the job waits until its title is released from the backlog.
        ready_at: Moment the finished track began to wait for delivery; None until then.
        request: Options of the request.
        provenance: Origin of the finished track.
        upload_attempts: Number of uploads of the finished track.
        confirm_attempts: Number of unsuccessful confirm attempts since the last upload.
        claim: Number of the present claim; outcomes of earlier claims are ignored.
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
    request: ManualRequest = ManualRequest()
    provenance: Provenance = Provenance()
    upload_attempts: int = 0
    confirm_attempts: int = 0
    claim: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a stage: the next state of its job. Built by the named constructors.

    Attributes:
        state: Next state.
        stage: Next stage; None keeps the present one.
        wait: Delay before the next attempt.
        reason: Reason for users.
        reason_code: Stable code of the reason.
        keeps_attempts: True if the count of attempts goes on; else it starts at zero.
        gives_back_attempt: True if the present attempt does not count.
    """

    state: JobState
    stage: Stage | None = None
    wait: timedelta = timedelta(0)
    reason: str = ""
    reason_code: str = ""
    keeps_attempts: bool = False
    gives_back_attempt: bool = False

    @classmethod
    def next(cls, stage: Stage, reason: str = "", wait: timedelta = timedelta(0)) -> "Outcome":
        """Continue with `stage` after `wait`."""
        return cls(JobState.QUEUED, stage, wait, reason)

    @classmethod
    def waiting(cls, stage: Stage, wait: timedelta, reason: str, code: str) -> "Outcome":
        """Run `stage` after `wait`; the delay is not a failure."""
        return cls(JobState.QUEUED, stage, wait, reason, code)

    @classmethod
    def again(cls, wait: timedelta, reason: str, code: str = "") -> "Outcome":
        """Run the same stage again after `wait`; earlier attempts stay counted."""
        return cls(JobState.QUEUED, None, wait, reason, code, keeps_attempts=True)

    @classmethod
    def parked(cls, wait: timedelta, reason: str, code: str) -> "Outcome":
        """Wait for a service or resource; this attempt does not count."""
        return cls(JobState.PARKED, None, wait, reason, code, gives_back_attempt=True)

    @classmethod
    def handed_back(cls) -> "Outcome":
        """Requeue the job as if it had not been claimed, after its attempt was interrupted."""
        return cls(JobState.QUEUED, gives_back_attempt=True)

    @classmethod
    def done(cls, reason: str) -> "Outcome":
        """Finish the job: the track is delivered."""
        return cls(JobState.DONE, None, reason=reason)

    @classmethod
    def skipped(cls, reason: str, code: str) -> "Outcome":
        """Make no track and remember the decision."""
        return cls(JobState.SKIPPED, None, reason=reason, reason_code=code)

    @classmethod
    def failed(cls, reason: str, code: str) -> "Outcome":
        """Fail the job until a user or a later scan starts it again."""
        return cls(JobState.FAILED, None, reason=reason, reason_code=code)
