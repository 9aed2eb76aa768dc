"""Persistent state of the daemon."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from fluxcaption.domain.backlog import BacklogProgress
from fluxcaption.domain.deliveries import Delivery, DeliveryState
from fluxcaption.domain.events import Event
from fluxcaption.domain.forecast import ItemCount
from fluxcaption.domain.gaps import SourceHistory
from fluxcaption.domain.jobs import Job, JobState, NewJob, Outcome, Priority, Provenance, Stage
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import Item, MediaIdentity, MediaSource
from fluxcaption.domain.sync_check import SpeechSample
from fluxcaption.domain.transcripts import SavedTranscript, TranscribedWindow, TranscriptKey, TranslationKey
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, JobId, Ms, ServerId, SourceId


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """What is remembered of an item between passes.

    Attributes:
        row: Small number of its own, for compact sets.
        basis: Names what its decisions rested on when it was read.
        look_again: It is read in full however unchanged it seems.
        missed_since: When a complete pass first did not see it.
        count: What it added to the tally when it was read; None where that was not remembered yet.
    """

    row: int
    id: ItemId
    library: str
    etag: str
    decision_inputs_hash: str
    look_again: bool
    missed_since: datetime | None
    count: ItemCount | None


@dataclass(frozen=True, slots=True)
class TrackFact:
    """What reading one track told, at one state of its item.

    Attributes:
        track: The track's key.
        revision: Etag of the item it was read at.
        media: Revision of the media its language was told or its times were compared at; empty while neither was done.
        language: Of its text; None when that could not be told.
        misfit: Why it is no source; empty when it fits.
        is_compared: Whether it was laid beside the sound.
    """

    track: str
    revision: str
    language: LanguageTag | None = None
    cues_hash: ContentHash = ContentHash("")
    unusable_reason: str = ""
    is_compared: bool = False
    media: str = ""


class Jobs(Protocol):
    """Jobs by id, item and media source."""

    async def add(self, new: Sequence[NewJob], now: datetime) -> int:
        """Queue gaps and say how many were new.

        One job for each (server, media source, target). A gap that has an open job moves it up if its tier goes first, and one that a person asks
        for makes it due now, in the way that is asked for; one whose job is done or settled starts it again at LISTEN, since it would not be a
        gap if that still held; a failed one after growing pauses; one that a person cancelled, or that ended the process too often, only when
        asked for.
        """

    async def update_progress(
        self,
        job_id: JobId,
        *,
        fingerprint: Fingerprint | None = None,
        source_ref: ContentHash | None = None,
        track_ref: ContentHash | None = None,
        provenance: Provenance | None = None,
        upload_attempts: int | None = None,
        confirm_attempts: int | None = None,
    ) -> None:
        """Remember what a stage found, before it ends; what is not named stays."""

    async def get(self, job_id: JobId) -> Job | None:
        """One job."""

    async def page(
        self,
        *,
        states: Collection[JobState] = (),
        item_id: ItemId | None = None,
        limit: int = 100,
        before: JobId | None = None,
    ) -> Sequence[Job]:
        """Jobs, newest id first, one page."""

    async def retry(self, job_id: JobId, now: datetime) -> Job | None:
        """Queue a job that ended or waits, as asked for; None when there is none."""

    async def cancel(self, job_id: JobId, now: datetime) -> Job | None:
        """Cancel an open job; a running one ends as cancelled when its stage reports."""

    async def of_source(self, server_id: ServerId, source_id: SourceId) -> Sequence[Job]:
        """All jobs of one media source."""

    async def release_waiting_uploads(self, server_id: ServerId, source_id: SourceId, now: datetime) -> int:
        """Finished tracks of a media source that wait for each other look again now."""

    async def position(self, job: Job) -> int:
        """How many jobs of its stage go before it."""


class JobQueue(Protocol):
    """The queue as the worker pool sees it."""

    async def claim(self, stage: Stage, now: datetime, lowest: Priority | None = None) -> Job | None:
        """Take the first due job of a stage and count the attempt, in one transaction: by tier, newest first; with `lowest`, none of a later tier."""

    async def record(self, job: Job, outcome: Outcome, now: datetime) -> Job | None:
        """Write what became of a claimed job; done and settled are promises. One that ends with nothing made has its item read again by the next complete pass.

        Returns:
            The job as it stands; one that was cancelled meanwhile stays so. None where this claim holds no longer: nothing is written.

        Raises:
            ValueError: The move is not legal.
        """

    async def counts(self) -> Mapping[tuple[Stage, JobState], int]:
        """How many jobs stand where."""

    async def next_due(self, after: datetime | None = None) -> datetime | None:
        """When the first waiting job is due; with `after`, of those that are due later than that."""

    async def requeue_interrupted(self, now: datetime, *, by_crash: bool = True) -> int:
        """Stages that were running are due again; after a crash each is counted that got no further since the last one, and the third ends the job."""

    async def unpark(self, code: str, now: datetime) -> int:
        """Jobs parked for that reason are due now."""


class Backlog(Protocol):
    """Held jobs of the existing library."""

    async def progress(self, now: datetime) -> BacklogProgress:
        """Whether titles (media sources) of the backlog were ever begun and finished, and how many were begun today."""

    async def release(self, titles: int, newest_first: bool, now: datetime) -> int:
        """Make all held jobs of the next titles due, and say how many titles that were."""

    async def release_all(self, now: datetime) -> int:
        """Make every held job due now, whatever the day's share."""


class EventInbox(Protocol):
    """Webhook events that are not processed yet."""

    async def add(self, server_id: ServerId, kind: str, item_id: ItemId, now: datetime) -> int:
        """Storage an event as a promise; a repeat of one not handled yet, or only lately, is the same event, open again."""

    async def due(self, now: datetime, limit: int = 100) -> Sequence[Event]:
        """Events that are due and not handled yet, oldest first."""

    async def reschedule(self, event_id: int, until: datetime) -> None:
        """Look at an event again later; the looks are counted."""

    async def close(self, event_ids: Sequence[int], now: datetime) -> None:
        """Events were handled."""


class ItemIndex(Protocol):
    """Items as the last scan read them."""

    async def records(self, server_id: ServerId, ids: Sequence[ItemId]) -> Mapping[ItemId, ItemRecord]:
        """What is known of some items, by id."""

    async def save(self, items: Sequence[tuple[Item, bool, ItemCount]], decision_inputs_hash: str) -> None:
        """Remember items as they were read on that basis, each with whether it is looked at again however unchanged; equal rows are left alone."""

    async def recheck_failed(self, now: datetime) -> int:
        """Items whose job failed long enough ago are read in full by the next pass, however unchanged."""

    async def rows(
        self, server_id: ServerId, after_row: int, limit: int
    ) -> Sequence[tuple[int, datetime | None]]:
        """A page of the rows of a server's items, in order, each with when a complete pass first did not see it."""

    async def mark_missed(self, rows: Sequence[int], now: datetime) -> None:
        """Items that a complete pass did not see, for the first time."""

    async def mark_seen(self, rows: Sequence[int]) -> None:
        """Items that were missed by an earlier pass and are there after all."""

    async def forget(self, rows: Sequence[int]) -> None:
        """Items that are gone for good; what was made for them stays known by the media."""

    async def next_episodes(self, server_id: ServerId, item_id: ItemId, count: int) -> Sequence[ItemId]:
        """The episodes that follow one in its series, in order."""

    async def find(self, text: str, limit: int = 20) -> Sequence[tuple[ItemId, str]]:
        """Items whose name has a text in it: id and name."""


class PlaybackLog(Protocol):
    """Playback times of items."""

    async def save(self, server_id: ServerId, seen: Sequence[tuple[ItemId, SourceId, datetime]]) -> None:
        """Remember what was played, and when last."""

    async def since(
        self, server_id: ServerId, since: datetime
    ) -> Sequence[tuple[ItemId, SourceId, datetime]]:
        """What was played since then, latest first."""


class TrackFacts(Protocol):
    """Facts read from subtitle and audio tracks."""

    async def facts(self, server_id: ServerId, source_id: SourceId) -> Sequence[TrackFact]:
        """What reading the tracks of a media source has told."""

    async def save_fact(self, server_id: ServerId, source_id: SourceId, fact: TrackFact) -> None:
        """Remember what reading a track told."""

    async def speech_samples(
        self, server_id: ServerId, source_id: SourceId, revision: str, ordinal: int
    ) -> Sequence[SpeechSample] | None:
        """Where somebody speaks in some stretches of a sound track of that file, if they were listened to."""

    async def save_speech_samples(
        self,
        server_id: ServerId,
        source_id: SourceId,
        revision: str,
        ordinal: int,
        heard: Sequence[SpeechSample],
    ) -> None:
        """Remember it, in the place of an older one."""


class MediaIdentities(Protocol):
    """Fingerprints of media files."""

    async def get(self, server_id: ServerId, source_id: SourceId, revision: str) -> MediaIdentity | None:
        """What was read of that file at that revision."""

    async def save(self, server_id: ServerId, source: MediaSource, identity: MediaIdentity) -> None:
        """Remember it, with where the file lies."""


class Transcripts(Protocol):
    """Transcripts and the sketches that find them again."""

    async def get(self, key: TranscriptKey) -> SavedTranscript | None:
        """What was heard of a sound so far, following renamed fingerprints."""

    async def open(self, key: TranscriptKey, duration_ms: Ms) -> SavedTranscript:
        """The same, made if there is none."""

    async def save_window(
        self, transcript_id: int, window: TranscribedWindow, language: LanguageTag | None
    ) -> None:
        """Checkpoint one heard window; the same start again replaces it."""

    async def finish(self, transcript_id: int, language: LanguageTag) -> None:
        """Everything was heard."""

    async def save_sketch(
        self, fingerprint: Fingerprint, ordinal: int, duration_ms: Ms, sketch: bytes
    ) -> None:
        """Remember what six stretches of a sound look like."""

    async def sketches(self, duration_ms: Ms, tolerance_ms: int) -> Sequence[tuple[Fingerprint, int, bytes]]:
        """Sketches of sounds of about that length: fingerprint, audio ordinal, sketch."""

    async def alias_sound(
        self, fingerprint: Fingerprint, ordinal: int, known: Fingerprint, known_ordinal: int
    ) -> None:
        """From now on the first is looked up as the second."""


class Translations(Protocol):
    """Translations by source text."""

    async def find(self, key: TranslationKey, texts: Collection[str]) -> Mapping[str, str]:
        """Earlier translations by source text."""

    async def save(self, key: TranslationKey, texts: Mapping[str, str]) -> None:
        """Checkpoint one batch."""


class Documents(Protocol):
    """Documents by content hash."""

    async def put(self, content: bytes) -> ContentHash:
        """Keep bytes by their hash."""

    async def get(self, ref: ContentHash) -> bytes | None:
        """Bytes by their hash."""


class Deliveries(Protocol):
    """Deliveries: one row for each media source and target."""

    async def record_intent(self, delivery: Delivery) -> None:
        """Promise what is about to be done, before it is done; the delivery is then as given."""

    async def get(self, server_id: ServerId, source_id: SourceId, target: LanguageTag) -> Delivery | None:
        """The latest intent for a target."""

    async def find(
        self,
        server_id: ServerId,
        *,
        item_id: ItemId | None = None,
        states: Collection[DeliveryState] = (),
        uploaded_since: datetime | None = None,
    ) -> Sequence[Delivery]:
        """Deliveries, oldest first; of one item by its id or that of a version."""

    async def mark_uploaded(
        self, server_id: ServerId, source_id: SourceId, target: LanguageTag, now: datetime
    ) -> None:
        """The upload was answered."""

    async def mark_confirmed(
        self,
        server_id: ServerId,
        source_id: SourceId,
        target: LanguageTag,
        track_path: str,
        media_revision: str,
        now: datetime,
    ) -> None:
        """The track was seen where it belongs, for that revision of the media; a promise."""

    async def mark_missing(
        self, server_id: ServerId, tracks: Sequence[tuple[SourceId, LanguageTag]], now: datetime
    ) -> None:
        """Confirmed tracks that a complete pass did not list; the passes are counted."""

    async def set_state(
        self, server_id: ServerId, source_id: SourceId, target: LanguageTag, state: DeliveryState
    ) -> None:
        """What became of a track of ours; a promise. Nothing is put back any more."""


class Skips(Protocol):
    """Decisions that nothing is to be made."""

    async def remember(
        self,
        fingerprint: Fingerprint,
        target: LanguageTag,
        skip_key: str,
        code: str,
        reason: str,
        now: datetime,
    ) -> None:
        """Remember that nothing is to be made of this media in this language with these settings; a promise."""

    async def reason(
        self, fingerprint: Fingerprint, target: LanguageTag, skip_key: str
    ) -> tuple[str, str] | None:
        """Code and reason of such a decision."""

    async def forget(self, fingerprint: Fingerprint, target: LanguageTag) -> None:
        """A person asked: forget the decision."""


class History(Protocol):
    """Queries and updates over several tables."""

    async def load(self, items: Sequence[Item], skip_key: str) -> Mapping[SourceId, SourceHistory]:
        """What is remembered about every media source of some items of one server; one that nothing is known of is left out."""

    async def rebind_moved_media(self, items: Sequence[Item]) -> int:
        """Where a file that was known by path and size has a new id, everything about it moves there; returns how many moved."""


class StateValues(Protocol):
    """Small named values of the daemon itself."""

    async def get(self, name: str) -> str | None:
        """A small fact about the daemon itself, such as a scan cursor."""

    async def set(self, name: str, value: str) -> None:
        """Remember it."""


class Speeds(Protocol):
    """Measured processing speeds."""

    async def record(self, activity: str, media_ms: Ms, took_ms: Ms) -> None:
        """Add a measurement: so much media took so long."""

    async def get(self, activity: str) -> float | None:
        """Seconds of media done in a second, over the recent measurements."""


class Maintenance(Protocol):
    """Clean-up over several tables."""

    async def clamp_future_times(self, now: datetime) -> None:
        """What was written by a clock that went ahead counts as written now; cheap where there is nothing of that kind."""

    async def prune(self, now: datetime) -> None:
        """Let go of what can never be used again: old events, what was watched long ago, texts of jobs that ended; transcripts and translations stay."""


class Storage(Protocol):
    """The state of the daemon, by subject. Every method of every subject may raise DiskLow."""

    @property
    def jobs(self) -> Jobs:
        """Jobs by id, item and media source."""

    @property
    def queue(self) -> JobQueue:
        """The queue as the worker pool sees it."""

    @property
    def backlog(self) -> Backlog:
        """Held jobs of the existing library."""

    @property
    def events(self) -> EventInbox:
        """Webhook events that are not processed yet."""

    @property
    def items(self) -> ItemIndex:
        """Items as the last scan read them."""

    @property
    def playback(self) -> PlaybackLog:
        """Playback times of items."""

    @property
    def tracks(self) -> TrackFacts:
        """Facts read from subtitle and audio tracks."""

    @property
    def identities(self) -> MediaIdentities:
        """Fingerprints of media files."""

    @property
    def transcripts(self) -> Transcripts:
        """Transcripts and the sketches that find them again."""

    @property
    def translations(self) -> Translations:
        """Translations by source text."""

    @property
    def documents(self) -> Documents:
        """Documents by content hash."""

    @property
    def deliveries(self) -> Deliveries:
        """Deliveries: one row for each media source and target."""

    @property
    def skips(self) -> Skips:
        """Decisions that nothing is to be made."""

    @property
    def history(self) -> History:
        """Queries and updates over several tables."""

    @property
    def state_values(self) -> StateValues:
        """Small named values of the daemon itself."""

    @property
    def speeds(self) -> Speeds:
        """Measured processing speeds."""

    @property
    def maintenance(self) -> Maintenance:
        """Clean-up over several tables."""
