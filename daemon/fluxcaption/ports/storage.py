"""Persistent state of the daemon."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from fluxcaption.domain.backlog import BacklogStanding
from fluxcaption.domain.forecast import ItemCount
from fluxcaption.domain.gaps import DeliveryState, SourceHistory
from fluxcaption.domain.jobs import (
    Delivery,
    Event,
    HeardWindow,
    Job,
    JobState,
    NewJob,
    Outcome,
    Priority,
    Provenance,
    SavedTranscript,
    Stage,
    TranscriptKey,
    TranslationKey,
)
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import Item, MediaIdentity, MediaSource
from fluxcaption.domain.sync_check import SpeechSample
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


class Store(Protocol):
    """The daemon's memory; one writer, several readers.

    Methods named as promises return only once the fact is on disk for good. Every method may raise DiskLow.
    """

    # -- jobs -------------------------------------------------------------------------------------------------------

    async def add_jobs(self, new: Sequence[NewJob], now: datetime) -> int:
        """Queue gaps and say how many were new.

        One job for each (server, media source, target). A gap that has an open job moves it up if its tier goes first, and one that a person asks
        for makes it due now, in the way that is asked for; one whose job is done or settled starts it again at LISTEN, since it would not be a
        gap if that still held; a failed one after growing pauses; one that a person cancelled, or that ended the process too often, only when
        asked for.
        """

    async def claim(self, stage: Stage, now: datetime, lowest: Priority | None = None) -> Job | None:
        """Take the first due job of a stage and count the attempt, in one transaction: by tier, newest first; with `lowest`, none of a later tier."""

    async def record(self, job: Job, outcome: Outcome, now: datetime) -> Job | None:
        """Write what became of a claimed job; done and settled are promises. One that ends with nothing made has its item read again by the next complete pass.

        Returns:
            The job as it stands; one that was cancelled meanwhile stays so. None where this claim holds no longer: nothing is written.

        Raises:
            ValueError: The move is not legal.
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

    async def job(self, job_id: JobId) -> Job | None:
        """One job."""

    async def jobs(
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

    async def jobs_of_source(self, server_id: ServerId, source_id: SourceId) -> Sequence[Job]:
        """All jobs of one media source."""

    async def release_waiting_uploads(self, server_id: ServerId, source_id: SourceId, now: datetime) -> int:
        """Finished tracks of a media source that wait for each other look again now."""

    async def place_in_queue(self, job: Job) -> int:
        """How many jobs of its stage go before it."""

    async def count_jobs(self) -> Mapping[tuple[Stage, JobState], int]:
        """How many jobs stand where."""

    async def next_due(self, after: datetime | None = None) -> datetime | None:
        """When the first waiting job is due; with `after`, of those that are due later than that."""

    async def requeue_interrupted(self, now: datetime, *, by_crash: bool = True) -> int:
        """Stages that were running are due again; after a crash each is counted that got no further since the last one, and the third ends the job."""

    async def clamp_future_times(self, now: datetime) -> None:
        """What was written by a clock that went ahead counts as written now; cheap where there is nothing of that kind."""

    async def unpark(self, code: str, now: datetime) -> int:
        """Jobs parked for that reason are due now."""

    async def backlog_standing(self, now: datetime) -> BacklogStanding:
        """Whether titles (media sources) of the backlog were ever begun and finished, and how many were begun today."""

    async def release_backlog(self, titles: int, newest_first: bool, now: datetime) -> int:
        """Make all held jobs of the next titles due, and say how many titles that were."""

    async def release_all(self, now: datetime) -> int:
        """Make every held job due now, whatever the day's share."""

    async def prune(self, now: datetime) -> None:
        """Let go of what can never be used again: old events, what was watched long ago, texts of jobs that ended; transcripts and translations stay."""

    # -- events -----------------------------------------------------------------------------------------------------

    async def add_event(self, server_id: ServerId, kind: str, item_id: ItemId, now: datetime) -> int:
        """Store an event as a promise; a repeat of one not handled yet, or only lately, is the same event, open again."""

    async def open_events(self, now: datetime, limit: int = 100) -> Sequence[Event]:
        """Events that are due and not handled yet, oldest first."""

    async def reschedule_event(self, event_id: int, until: datetime) -> None:
        """Look at an event again later; the looks are counted."""

    async def close_events(self, event_ids: Sequence[int], now: datetime) -> None:
        """Events were handled."""

    # -- items and what was watched -----------------------------------------------------------------------------------

    async def item_records(self, server_id: ServerId, ids: Sequence[ItemId]) -> Mapping[ItemId, ItemRecord]:
        """What is known of some items, by id."""

    async def save_items(
        self, items: Sequence[tuple[Item, bool, ItemCount]], decision_inputs_hash: str
    ) -> None:
        """Remember items as they were read on that basis, each with whether it is looked at again however unchanged; equal rows are left alone."""

    async def look_again_at_failed(self, now: datetime) -> int:
        """Items whose job failed long enough ago are read in full by the next pass, however unchanged."""

    async def item_rows(
        self, server_id: ServerId, after_row: int, limit: int
    ) -> Sequence[tuple[int, datetime | None]]:
        """A page of the rows of a server's items, in order, each with when a complete pass first did not see it."""

    async def mark_missed(self, rows: Sequence[int], now: datetime) -> None:
        """Items that a complete pass did not see, for the first time."""

    async def mark_seen(self, rows: Sequence[int]) -> None:
        """Items that were missed by an earlier pass and are there after all."""

    async def forget_items(self, rows: Sequence[int]) -> None:
        """Items that are gone for good; what was made for them stays known by the media."""

    async def next_episodes(self, server_id: ServerId, item_id: ItemId, count: int) -> Sequence[ItemId]:
        """The episodes that follow one in its series, in order."""

    async def find_items(self, text: str, limit: int = 20) -> Sequence[tuple[ItemId, str]]:
        """Items whose name has a text in it: id and name."""

    async def save_watched(
        self, server_id: ServerId, seen: Sequence[tuple[ItemId, SourceId, datetime]]
    ) -> None:
        """Remember what was played, and when last."""

    async def watched_since(
        self, server_id: ServerId, since: datetime
    ) -> Sequence[tuple[ItemId, SourceId, datetime]]:
        """What was played since then, latest first."""

    async def rebind_moved_media(self, items: Sequence[Item]) -> int:
        """Where a file that was known by path and size has a new id, everything about it moves there; returns how many moved."""

    async def load_history(self, items: Sequence[Item], skip_key: str) -> Mapping[SourceId, SourceHistory]:
        """What is remembered about every media source of some items of one server; one that nothing is known of is left out."""

    async def track_facts(self, server_id: ServerId, source_id: SourceId) -> Sequence[TrackFact]:
        """What reading the tracks of a media source has told."""

    async def speech_map(
        self, server_id: ServerId, source_id: SourceId, revision: str, ordinal: int
    ) -> Sequence[SpeechSample] | None:
        """Where somebody speaks in some stretches of a sound track of that file, if they were listened to."""

    async def save_speech_map(
        self,
        server_id: ServerId,
        source_id: SourceId,
        revision: str,
        ordinal: int,
        heard: Sequence[SpeechSample],
    ) -> None:
        """Remember it, in the place of an older one."""

    async def save_track_fact(self, server_id: ServerId, source_id: SourceId, fact: TrackFact) -> None:
        """Remember what reading a track told."""

    # -- sound ------------------------------------------------------------------------------------------------------

    async def identity(self, server_id: ServerId, source_id: SourceId, revision: str) -> MediaIdentity | None:
        """What was read of that file at that revision."""

    async def save_identity(self, server_id: ServerId, source: MediaSource, identity: MediaIdentity) -> None:
        """Remember it, with where the file lies."""

    async def transcript(self, key: TranscriptKey) -> SavedTranscript | None:
        """What was heard of a sound so far, following renamed fingerprints."""

    async def open_transcript(self, key: TranscriptKey, duration_ms: Ms) -> SavedTranscript:
        """The same, made if there is none."""

    async def save_window(
        self, transcript_id: int, window: HeardWindow, language: LanguageTag | None
    ) -> None:
        """Checkpoint one heard window; the same start again replaces it."""

    async def finish_transcript(self, transcript_id: int, language: LanguageTag) -> None:
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

    # -- text -------------------------------------------------------------------------------------------------------

    async def translations(self, key: TranslationKey, texts: Collection[str]) -> Mapping[str, str]:
        """Earlier translations by source text."""

    async def save_translations(self, key: TranslationKey, texts: Mapping[str, str]) -> None:
        """Checkpoint one batch."""

    async def put_document(self, content: bytes) -> ContentHash:
        """Keep bytes by their hash."""

    async def document(self, ref: ContentHash) -> bytes | None:
        """Bytes by their hash."""

    # -- deliveries and decisions -----------------------------------------------------------------------------------

    async def record_intent(self, delivery: Delivery) -> None:
        """Promise what is about to be done, before it is done; the delivery is then as given."""

    async def delivery(
        self, server_id: ServerId, source_id: SourceId, target: LanguageTag
    ) -> Delivery | None:
        """The latest intent for a target."""

    async def deliveries(
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

    async def set_delivery_state(
        self, server_id: ServerId, source_id: SourceId, target: LanguageTag, state: DeliveryState
    ) -> None:
        """What became of a track of ours; a promise. Nothing is put back any more."""

    async def remember_skip(
        self,
        fingerprint: Fingerprint,
        target: LanguageTag,
        skip_key: str,
        code: str,
        reason: str,
        now: datetime,
    ) -> None:
        """Remember that nothing is to be made of this media in this language with these settings; a promise."""

    async def skip_reason(
        self, fingerprint: Fingerprint, target: LanguageTag, skip_key: str
    ) -> tuple[str, str] | None:
        """Code and reason of such a decision."""

    async def forget_skip(self, fingerprint: Fingerprint, target: LanguageTag) -> None:
        """A person asked: forget the decision."""

    # -- the rest ---------------------------------------------------------------------------------------------------

    async def state_value(self, name: str) -> str | None:
        """A small fact about the daemon itself, such as a scan cursor."""

    async def set_state_value(self, name: str, value: str) -> None:
        """Remember it."""

    async def record_speed(self, activity: str, media_ms: Ms, took_ms: Ms) -> None:
        """Add a measurement: so much media took so long."""

    async def speed(self, activity: str) -> float | None:
        """Seconds of media done in a second, over the recent measurements."""
