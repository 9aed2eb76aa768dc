"""Protocols of the stored state, one for each subject.

Every writing method is a transaction of its own, and its change survives the end of the process. The change
of a method marked "Durable: returns after fsync" also survives a loss of power; changes of other methods in
the last seconds before it may be lost. A cancelled caller does not interrupt its transaction.

Every writing method may raise DiskLow, and every method StateError if the database is damaged or unreadable.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from fluxcaption.domain.backlog import BacklogProgress
from fluxcaption.domain.deliveries import Delivery, DeliveryState, DeliveryStep
from fluxcaption.domain.events import Event, EventKind
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
    """An item as the last scan stored it.

    Attributes:
        row: Small number of the item, for compact sets.
        etag: Etag of the item when it was read.
        decision_inputs_hash: Hash of everything else that its decisions rested on.
        needs_reread: True if the item is read in full by the next scan even though it is unchanged.
        missed_since: Time of the first complete scan that missed it; None while it is listed.
        count: Share of the item in the tally of the library; None if it was stored without one.
    """

    row: int
    id: ItemId
    library: str
    etag: str
    decision_inputs_hash: str
    needs_reread: bool
    missed_since: datetime | None
    count: ItemCount | None


@dataclass(frozen=True, slots=True)
class TrackFact:
    """Facts read from one text track.

    Attributes:
        track: Key of the track.
        revision: Etag of the item when the track was read.
        language: Language of the text; None if it was not detected.
        cues_hash: Hash of the cues; empty if they were not read.
        unusable_reason: Reason why the track cannot be a source; empty if it can.
        is_compared: True if its times were compared with the audio.
        media: Revision of the media at which the language was detected or the times were compared; else
            empty.
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
        """Queue jobs for gaps. Return the number of jobs that are new or were started again.

        There is one job for each server, media source and target. For a gap that has a job already:

        - An open job takes the priority of the gap if that is higher. A gap requested by a user makes the job
          due now; if it is requested in another way than before, the job starts again at its first stage.
        - A job that is done, skipped or cancelled by the program starts again.
        - A failed job starts again after growing pauses. One that was cancelled by a user or crashed the
          process too often starts again only if a user requests it.
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
        """Store facts that a stage found before it ends; facts that are None stay as they are."""

    async def get(self, job_id: JobId) -> Job | None:
        """Return a job, None if there is none with this id."""

    async def page(
        self,
        *,
        states: Collection[JobState] = (),
        item_id: ItemId | None = None,
        limit: int = 100,
        before: JobId | None = None,
    ) -> Sequence[Job]:
        """Return one page of jobs, highest id first.

        Args:
            states: States of the jobs; empty: all.
            item_id: Item of the jobs; None: all.
            limit: Largest number of jobs on the page.
            before: Only jobs with a lower id.
        """

    async def of_source(self, server_id: ServerId, source_id: SourceId) -> Sequence[Job]:
        """Return all jobs of one media source, lowest id first."""

    async def position(self, job: Job) -> int:
        """Return the number of jobs of the same stage that are claimed before a job."""

    async def retry(self, job_id: JobId, now: datetime) -> Job | None:
        """Queue a job that ended or waits as requested by a user, and forget an earlier skip of its media.

        A failed or waiting job goes on with its stage, any other starts again at the first one. A running job
        is not changed.

        Returns:
            The job afterwards; None if there is none with this id.
        """

    async def cancel(self, job_id: JobId, now: datetime) -> Job | None:
        """Cancel an open job; the outcome of one that is running is then not stored.

        Returns:
            The job afterwards, unchanged if it had ended before; None if there is none with this id.
        """

    async def release_waiting_uploads(self, server_id: ServerId, source_id: SourceId, now: datetime) -> int:
        """Make uploads of a media source due now that wait for another language. Return their number."""


class JobQueue(Protocol):
    """Jobs as the worker pool claims and ends them."""

    async def claim(self, stage: Stage, now: datetime, lowest: Priority | None = None) -> Job | None:
        """Mark the first due job of a stage as running and count the attempt. Return None if nothing is due.

        The order is priority, then newest item. Each job goes to one claimer only.

        Args:
            stage: Stage of the job.
            now: Present time.
            lowest: Lowest priority to claim; None: all.
        """

    async def record(self, job: Job, outcome: Outcome, now: datetime) -> Job | None:
        """Store the outcome of a claimed job. Durable if the job is done or skipped: returns after fsync.

        A job that ends without a track has its item read again by the next complete scan. A job that was
        requested in another way while it ran starts again at its first stage, whatever the outcome.

        Returns:
            The job afterwards, still cancelled if it was cancelled meanwhile. None if this claim no longer
            holds; nothing was stored then.

        Raises:
            ValueError: A running job cannot go to the state of the outcome.
        """

    async def counts(self) -> Mapping[tuple[Stage, JobState], int]:
        """Return the number of jobs by stage and state, without zeros."""

    async def next_due(self, after: datetime | None = None) -> datetime | None:
        """Return when the first waiting job is due, of those due later than `after`; None if none waits."""

    async def requeue_interrupted(self, now: datetime, *, by_crash: bool = True) -> int:
        """Queue the jobs that were running when the process ended. Return their number.

        Args:
            now: Present time.
            by_crash: True if the process did not stop by itself. Each job without progress since its last
                crash then counts one more crash; after the third the job fails.
        """

    async def unpark(self, code: str, now: datetime) -> int:
        """Make jobs due now that are parked for a reason code. Return their number."""


class Backlog(Protocol):
    """Held jobs of the existing library, released title (media source) by title."""

    async def progress(self, now: datetime) -> BacklogProgress:
        """Return how much of the backlog was started and finished."""

    async def release(self, titles: int, newest_first: bool, now: datetime) -> int:
        """Make all held jobs of the next titles due. Return the number of titles."""

    async def release_all(self, now: datetime) -> int:
        """Make every held job due now. Return the number of jobs."""


class EventInbox(Protocol):
    """Webhook events that are not processed yet."""

    async def add(self, server_id: ServerId, kind: EventKind, item_id: ItemId, now: datetime) -> int:
        """Store an event. Durable: returns after fsync.

        Returns:
            Id of the open event. A repeat of an open event, or of one handled within the last ten minutes,
            has the id of the earlier one, which is open again.
        """

    async def due(self, now: datetime, limit: int = 100) -> Sequence[Event]:
        """Return open events that are due, oldest first."""

    async def reschedule(self, event_id: int, until: datetime) -> None:
        """Make an event due again at a later moment, and count the attempt."""

    async def close(self, event_ids: Sequence[int], now: datetime) -> None:
        """Mark events as handled."""


class ItemIndex(Protocol):
    """Items as the last scan read them."""

    async def records(self, server_id: ServerId, ids: Sequence[ItemId]) -> Mapping[ItemId, ItemRecord]:
        """Return the records of items by id; unknown ids are left out."""

    async def save(self, items: Sequence[tuple[Item, bool, ItemCount]], decision_inputs_hash: str) -> None:
        """Store items as they were read; rows without a change are not written.

        Args:
            items: Each item with True if the next scan needs to read it again, and its share in the tally.
            decision_inputs_hash: Hash of everything else that the decisions rest on.
        """

    async def recheck_failed(self, now: datetime) -> int:
        """Mark items for a full read whose job failed long enough ago. Return their number."""

    async def rows(
        self, server_id: ServerId, after_row: int, limit: int
    ) -> Sequence[tuple[int, datetime | None]]:
        """Return one page of rows, lowest first: number, and time since which scans miss the item."""

    async def mark_missed(self, rows: Sequence[int], now: datetime) -> None:
        """Store that a complete scan missed items; an earlier time stays."""

    async def mark_seen(self, rows: Sequence[int]) -> None:
        """Store that items are no longer missed."""

    async def forget(self, rows: Sequence[int]) -> None:
        """Delete the records of items; deliveries and transcripts of their media stay."""

    async def next_episodes(self, server_id: ServerId, item_id: ItemId, count: int) -> Sequence[ItemId]:
        """Return the episodes that follow an episode in its series, in order."""

    async def find(self, text: str, limit: int = 20) -> Sequence[tuple[ItemId, str]]:
        """Return id and name of items whose name contains a text, in order of their names."""


class PlaybackLog(Protocol):
    """Latest playback time of each item."""

    async def save(self, server_id: ServerId, seen: Sequence[tuple[ItemId, SourceId, datetime]]) -> None:
        """Store playback times; an earlier time does not replace a later one."""

    async def since(
        self, server_id: ServerId, since: datetime
    ) -> Sequence[tuple[ItemId, SourceId, datetime]]:
        """Return the items played since a moment, latest first, at most 200."""


class TrackFacts(Protocol):
    """Facts read from text tracks, and samples of speech in audio tracks."""

    async def facts(self, server_id: ServerId, source_id: SourceId) -> Sequence[TrackFact]:
        """Return the facts about the text tracks of a media source."""

    async def save_fact(self, server_id: ServerId, source_id: SourceId, fact: TrackFact) -> None:
        """Store the fact about a track in place of an earlier one."""

    async def speech_samples(
        self, server_id: ServerId, source_id: SourceId, revision: str, ordinal: int
    ) -> Sequence[SpeechSample] | None:
        """Return the speech samples of an audio track at this media revision, None if none were taken."""

    async def save_speech_samples(
        self,
        server_id: ServerId,
        source_id: SourceId,
        revision: str,
        ordinal: int,
        heard: Sequence[SpeechSample],
    ) -> None:
        """Store the speech samples of an audio track in place of earlier ones."""


class MediaIdentities(Protocol):
    """Fingerprints of media files."""

    async def get(self, server_id: ServerId, source_id: SourceId, revision: str) -> MediaIdentity | None:
        """Return the identity that was read at this revision of the media, None if it was not."""

    async def save(self, server_id: ServerId, source: MediaSource, identity: MediaIdentity) -> None:
        """Store the identity of a media source at its present revision and path."""


class Transcripts(Protocol):
    """Transcripts, and the sketches by which a sound is found again in another file."""

    async def get(self, key: TranscriptKey) -> SavedTranscript | None:
        """Return the transcript of a sound or its alias as far as it was saved, None if there is none."""

    async def open(self, key: TranscriptKey, duration_ms: Ms) -> SavedTranscript:
        """Return the transcript of a sound or its alias; create it if there is none."""

    async def save_window(
        self, transcript_id: int, window: TranscribedWindow, language: LanguageTag | None
    ) -> None:
        """Store one window, in place of one with the same start, and the language if it is known."""

    async def finish(self, transcript_id: int, language: LanguageTag) -> None:
        """Mark a transcript as complete."""

    async def save_sketch(
        self, fingerprint: Fingerprint, ordinal: int, duration_ms: Ms, sketch: bytes
    ) -> None:
        """Store the sketch of a sound, in place of an earlier one."""

    async def sketches(self, duration_ms: Ms, tolerance_ms: int) -> Sequence[tuple[Fingerprint, int, bytes]]:
        """Return fingerprint, audio ordinal and sketch of each sound of about this length."""

    async def alias_sound(
        self, fingerprint: Fingerprint, ordinal: int, known: Fingerprint, known_ordinal: int
    ) -> None:
        """Make one sound stand for another: its transcripts are looked up there from now on."""


class Translations(Protocol):
    """Translations by source text, language pair, model and glossary."""

    async def find(self, key: TranslationKey, texts: Collection[str]) -> Mapping[str, str]:
        """Return earlier translations by source text; texts without one are left out."""

    async def save(self, key: TranslationKey, texts: Mapping[str, str]) -> None:
        """Store translations by source text, in one transaction."""


class Documents(Protocol):
    """Documents (source cues, finished tracks, replaced tracks) by the hash of their bytes."""

    async def put(self, content: bytes) -> ContentHash:
        """Store a document. Return its reference."""

    async def get(self, ref: ContentHash) -> bytes | None:
        """Return a document, None if it is not kept any more."""


class Deliveries(Protocol):
    """Deliveries: one for each server, media source and target."""

    async def record_intent(self, delivery: Delivery) -> None:
        """Store a delivery as given, in place of an earlier one. Durable: returns after fsync.

        Raises:
            ValueError: The delivery cannot go to that state (`LEGAL_DELIVERY_MOVES`).
        """

    async def get(self, server_id: ServerId, source_id: SourceId, target: LanguageTag) -> Delivery | None:
        """Return the delivery of a target, None if there never was one."""

    async def find(
        self,
        server_id: ServerId,
        *,
        item_id: ItemId | None = None,
        states: Collection[DeliveryState] = (),
        uploaded_since: datetime | None = None,
    ) -> Sequence[Delivery]:
        """Return deliveries, oldest intent first.

        Args:
            server_id: Server of the deliveries.
            item_id: Id of their item or of their media source; None: all.
            states: Their states; empty: all.
            uploaded_since: Earliest time of the upload, or of the intent if its answer was lost; None: any.
        """

    async def mark_uploaded(
        self, server_id: ServerId, source_id: SourceId, target: LanguageTag, now: datetime
    ) -> None:
        """Store that the server answered the upload.

        Raises:
            ValueError: The delivery cannot go to that state.
        """

    async def mark_confirmed(
        self,
        server_id: ServerId,
        source_id: SourceId,
        target: LanguageTag,
        track_path: str,
        media_revision: str,
        now: datetime,
    ) -> None:
        """Store that the server lists the track; forget the replaced one. Durable: returns after fsync.

        Raises:
            ValueError: The delivery cannot go to that state.
        """

    async def mark_missing(
        self, server_id: ServerId, tracks: Sequence[tuple[SourceId, LanguageTag]], now: datetime
    ) -> None:
        """Store that a complete scan did not list tracks, and count the scan.

        Deliveries that are neither confirmed nor edited nor missing already stay as they are.
        """

    async def set_state(
        self, server_id: ServerId, source_id: SourceId, target: LanguageTag, state: DeliveryState
    ) -> None:
        """Store the end of a delivery; forget its step and the replaced one. Durable: returns after fsync.

        Raises:
            ValueError: The delivery cannot go to that state.
        """

    async def set_step(
        self, server_id: ServerId, source_id: SourceId, target: LanguageTag, step: DeliveryStep
    ) -> None:
        """Store the step of a delivery."""


class Skips(Protocol):
    """Decisions to make nothing, by media, target language and settings."""

    async def remember(
        self,
        fingerprint: Fingerprint,
        target: LanguageTag,
        skip_key: str,
        code: str,
        reason: str,
        now: datetime,
    ) -> None:
        """Store a decision to make nothing. Durable: returns after fsync.

        Args:
            fingerprint: Media of the decision.
            target: Target language of the decision.
            skip_key: Key of the settings under which the decision holds; `ANY_SKIP_KEY`: all.
            code: Stable word for the reason.
            reason: Sentence for the user.
            now: Present time.
        """

    async def reason(
        self, fingerprint: Fingerprint, target: LanguageTag, skip_key: str
    ) -> tuple[str, str] | None:
        """Return code and reason of a decision that holds under these settings, None if there is none."""

    async def forget(self, fingerprint: Fingerprint, target: LanguageTag) -> None:
        """Delete the decisions about a target, whatever their settings."""


class History(Protocol):
    """History of media sources over several subjects."""

    async def load(self, items: Sequence[Item], skip_key: str) -> Mapping[SourceId, SourceHistory]:
        """Return the history of the media sources of one server's items; sources without any are left out."""

    async def rebind_moved_media(self, items: Sequence[Item]) -> int:
        """Move everything stored about a media source to its new id. Return the number of moved sources.

        A media source has moved if another id is stored for its path and size.
        """


class StateValues(Protocol):
    """Small named values of the daemon, such as the cursor of scans."""

    async def get(self, name: str) -> str | None:
        """Return a value, None if it was never set."""

    async def set(self, name: str, value: str) -> None:
        """Store a value; an equal one is not written again."""


class Speeds(Protocol):
    """Measured processing speeds by activity."""

    async def record(self, activity: str, media_ms: Ms, took_ms: Ms) -> None:
        """Add a measurement to the sums of an activity; old measurements lose weight."""

    async def get(self, activity: str) -> float | None:
        """Return seconds of media per second of work, None if nothing was measured."""


class Maintenance(Protocol):
    """Clean-up over several subjects."""

    async def clamp_future_times(self, now: datetime) -> None:
        """Replace times that lie further ahead than any delay by the present time.

        Such times were written before the clock of the machine was set back.
        """

    async def prune(self, now: datetime) -> None:
        """Delete old events, old playback times and documents of finished jobs; keep transcripts."""


class Storage(Protocol):
    """The state of the daemon, by subject; for composition roots only."""

    @property
    def jobs(self) -> Jobs:
        """Jobs by id, item and media source."""

    @property
    def queue(self) -> JobQueue:
        """Jobs as the worker pool claims and ends them."""

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
        """Latest playback time of each item."""

    @property
    def tracks(self) -> TrackFacts:
        """Facts read from text tracks, and samples of speech in audio tracks."""

    @property
    def identities(self) -> MediaIdentities:
        """Fingerprints of media files."""

    @property
    def transcripts(self) -> Transcripts:
        """Transcripts and sketches of sounds."""

    @property
    def translations(self) -> Translations:
        """Translations by source text."""

    @property
    def documents(self) -> Documents:
        """Documents by the hash of their bytes."""

    @property
    def deliveries(self) -> Deliveries:
        """Deliveries: one for each server, media source and target."""

    @property
    def skips(self) -> Skips:
        """Decisions to make nothing."""

    @property
    def history(self) -> History:
        """History of media sources over several subjects."""

    @property
    def state_values(self) -> StateValues:
        """Small named values of the daemon."""

    @property
    def speeds(self) -> Speeds:
        """Measured processing speeds by activity."""

    @property
    def maintenance(self) -> Maintenance:
        """Clean-up over several subjects."""
