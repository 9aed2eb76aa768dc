"""What the flow needs from the world, stated once; every adapter keeps these promises."""

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fluxcaption.domain.backlog import BacklogStanding
from fluxcaption.domain.cues import Cue, Span, SubtitleText
from fluxcaption.domain.fitting import Stretch
from fluxcaption.domain.forecast import ItemCount
from fluxcaption.domain.gaps import DeliveryState, Memory
from fluxcaption.domain.jobs import (
    Delivery,
    Event,
    Grade,
    HeardWindow,
    Job,
    JobState,
    NewJob,
    Outcome,
    SavedTranscript,
    Stage,
    Tier,
    TranscriptKey,
    TranslationKey,
)
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import AudioTrack, FinishedTrack, Item, Library, MediaIdentity, MediaLocation, MediaSource, ServerIdentity, SubtitleTrack
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, JobId, Ms, ServerId, SourceId, UnitId
from fluxcaption.domain.watching import Playing
from fluxcaption.domain.work import TextUnit, UnitResult, WorkUnit

Samples = npt.NDArray[np.float32]
"""Mono sound at 16 kHz, -1 to 1."""


class Clock(Protocol):
    """Where time comes from; tests hand in their own."""

    def now(self) -> datetime:
        """The time of day, UTC, with zone."""

    def monotonic(self) -> float:
        """Seconds that never jump."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


@dataclass(frozen=True, slots=True)
class Glance:
    """An item as a lean look shows it."""

    id: ItemId
    etag: str


@dataclass(frozen=True, slots=True)
class LibraryScan:
    """How the server's own pass over its folders stands.

    Attributes:
        ended_at: End of the last one that is known.
        now: The server's own clock; None where it does not say.
    """

    is_running: bool = False
    started_at: datetime | None = None
    ended_at: datetime | None = None
    now: datetime | None = None


class MediaServer(Protocol):
    """A library of films and episodes that subtitles can be put into.

    Every method may raise ServiceUnreachable or KeyRejected.
    """

    async def connect(self) -> ServerIdentity:
        """Make sure the right kind of server answers and takes our key."""

    async def path_problem(self) -> str:
        """What is wrong with the way from the library's paths to ours; empty where nothing is."""

    async def libraries(self) -> Sequence[Library]:
        """List the libraries that can hold films or episodes."""

    def items(self, library: Library, since: datetime | None = None) -> AsyncIterator[Sequence[Item]]:
        """Read a library page by page, each item once; with `since`, only what was saved after it."""

    def glances(self, library: Library) -> AsyncIterator[Sequence[Glance]]:
        """Read only the ids of a library and what tells whether an item changed, page by page; much cheaper than `items`."""

    async def fetch_items(self, ids: Sequence[ItemId], library: Library | None = None) -> Sequence[Item]:
        """Read some items in full; those that are gone are left out. Whoever walks a library says which one that is."""

    async def expand(self, item_id: ItemId) -> Sequence[ItemId]:
        """The episodes of a series or season; the id itself for anything else."""

    async def library_scan(self) -> LibraryScan:
        """How the server's own pass over its folders stands."""

    async def hurry_news(self) -> None:
        """Have the server send what it knows to be new, where it has something that does."""

    async def playing(self) -> Sequence[Playing]:
        """What is being watched at this moment."""

    async def played_since(self, since: datetime) -> Sequence[Playing]:
        """What was watched since then, as the server has written down."""

    async def is_there(self, source: MediaSource) -> bool:
        """Whether the media itself can be seen now: nothing is written beside a file whose disk is away."""

    async def track_file(self, source: MediaSource, name: str) -> Path | None:
        """Where a track of that name lies on this machine; None when its folder cannot be seen from here."""

    async def fetch_item(self, item_id: ItemId) -> Item:
        """Read one item afresh.

        Raises:
            ItemGone: The server does not know it.
        """

    async def read_text_track(self, item_id: ItemId, source: MediaSource, track: SubtitleTrack) -> bytes:
        """Fetch a text track in its own format, or as SubRip; found again where its library may have renumbered it.

        Raises:
            SubtitleUnreadable: It is not there, empty or larger than 4 MiB.
            ReplyUnusable: The server stumbled over it.
        """

    async def locate(self, source: MediaSource) -> MediaLocation:
        """Say where the bytes of the media can be read: a mapped local path, else a URL."""

    async def upload(self, source: MediaSource, track: FinishedTrack) -> None:
        """Put a finished track beside the media, once; an answer is no proof that it arrived.

        Raises:
            WriteRefused: The folder cannot be written.
            ServerRefusesUploads: This server cannot take it.
            DiskLow: There is no room.
        """

    async def write_beside(self, source: MediaSource, name: str, content: bytes) -> bool:
        """Write a file beside the media, over one of that name; False where its folder cannot be reached from here, or may not be written.

        Raises:
            WriteRefused: It may not be written, and there is no other way.
            DiskLow: There is no room.
        """

    async def refresh(self, item_id: ItemId) -> None:
        """Ask the library, in the lightest way, to look at the item's files again."""

    async def delete(self, item_id: ItemId, source: MediaSource, track: SubtitleTrack) -> None:
        """Remove one external track and nothing else; one that is not there is no error.

        Raises:
            WriteRefused: It is still there afterwards.
        """

    @property
    def overwrites(self) -> bool:
        """Whether an upload replaces our earlier file of that name; else it is deleted first."""

    async def close(self) -> None:
        """Let go of connections and threads."""


class MediaReader(Protocol):
    """Opens media files; blocking, called from worker threads only."""

    def probe(self, location: MediaLocation) -> tuple[Ms, tuple[AudioTrack, ...], tuple[SubtitleTrack, ...]]:
        """Duration and tracks of a file.

        Raises:
            MediaUnreadable: It is not media.
        """

    def identify(self, location: MediaLocation, duration_ms: Ms) -> MediaIdentity:
        """Name the file by size, duration and three ranged reads."""

    def blocks(self, location: MediaLocation, ordinal: int, start: Ms, stop: Ms | None = None) -> Iterator[tuple[Ms, Samples]]:
        """Decode one audio track from `start` to `stop` as blocks of at most 10 s, each with its time on the film's clock.

        The whole film is never in memory. Closing the iterator closes the file.

        Raises:
            MediaUnreadable: There is no such track, or nothing in it can be decoded.
        """

    def text_track(self, location: MediaLocation, ordinal: int) -> SubtitleText:
        """Cut one embedded text track out of the media.

        Raises:
            SubtitleUnreadable: There is no text in it.
        """


class SoundSketcher(Protocol):
    """Tells a sound from another by how loud six stretches of it are; blocking."""

    def sketch(self, location: MediaLocation, ordinal: int, duration_ms: Ms) -> bytes:
        """What six stretches of 10 s look like."""

    def is_same(self, first: bytes, second: bytes) -> bool:
        """Whether two sketches are of one sound, however it is packed."""


class Window(Protocol):
    """A stretch of sound that is heard in one go, cut in silence."""

    @property
    def start(self) -> Ms:
        """On the film's clock."""

    @property
    def end(self) -> Ms:
        """On the film's clock."""

    @property
    def samples(self) -> Samples:
        """The sound between."""

    @property
    def speech(self) -> Sequence[Span]:
        """Where somebody speaks in it, on the film's clock."""


class WindowCutter(Protocol):
    """Cuts a stream of sound into windows."""

    def feed(self, start: Ms, samples: Samples) -> Sequence[Window]:
        """Take the next block and give the windows that are complete with it."""

    def finish(self) -> Sequence[Window]:
        """Give what is left."""


class VoiceDetector(Protocol):
    """Finds where somebody speaks; blocking."""

    def speech(self, samples: Samples) -> Sequence[Span]:
        """Speech spans in ms from the start of `samples`, in order, not overlapping."""


class Recognizer(Protocol):
    """Turns one window of sound into segments; blocking, called from executor threads only."""

    @property
    def name(self) -> str:
        """Which recogniser this is, for keys and provenance."""

    @property
    def revision(self) -> str:
        """Names the exact model; another revision never shares a transcript.

        Raises:
            ModelMissing: The model is not on this machine.
        """

    @property
    def settings_hash(self) -> str:
        """Names every setting that changes what is heard."""

    def hear(self, unit: WorkUnit) -> UnitResult:
        """Recognise one window, whose sound lies in the block store; times are on the film's clock.

        Raises:
            ModelMissing: The model is not on this machine.
            OutOfMemory: The window did not fit.
        """

    def tell_language(self, unit: WorkUnit) -> UnitResult:
        """What is spoken in a window, and how sure that is; raises as `hear` does."""

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory."""

    def unload(self) -> None:
        """Give the memory of the model back once the windows in hand are heard; the next window loads it again. Blocking."""


class Translator(Protocol):
    """Puts sentences into another language."""

    @property
    def name(self) -> str:
        """Backend and model, for keys and provenance."""

    @property
    def revision(self) -> str:
        """Names the exact model where that can be known."""

    @property
    def settings_hash(self) -> str:
        """Names this backend among all: every setting of it, and so where it is."""

    def knows(self, source: LanguageTag, target: LanguageTag) -> bool:
        """Whether this pair is worth asking; an answer may still be refused."""

    async def translate(self, units: Sequence[TextUnit], source: LanguageTag, target: LanguageTag) -> Mapping[UnitId, str]:
        """Translate units, each on its own terms; an id that is missing was not answered.

        Raises:
            UnsupportedLanguagePair: There is no model for the pair.
            ServiceUnreachable: The backend gave no answer.
            ReplyUnusable: Nothing in the answer could be used.
            ModelMissing: The model is not there.
        """

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in our memory."""

    async def unload(self) -> None:
        """Give the memory of the model back."""

    async def close(self) -> None:
        """Let go of connections."""


class SubtitleCodec(Protocol):
    """Reads and writes subtitle files."""

    def read(self, name: str, content: bytes, language: LanguageTag | None = None) -> SubtitleText:
        """Read a file of any supported format; its language, where it is told, tells its encoding.

        Raises:
            SubtitleUnreadable: It is no text subtitle, or over 4 MiB or 20,000 cues.
        """

    def write_srt(self, cues: Sequence[Cue]) -> bytes:
        """Write SubRip: UTF-8, line feeds."""

    def rewrite(self, name: str, content: bytes, texts: Sequence[str], language: LanguageTag | None = None) -> bytes:
        """Replace the text of each dialogue cue in the original file, in the order `read` gave, and keep everything else.

        Formats that cannot be written (ttml, sami, MicroDVD) come out as SubRip.
        """


class TextLanguage(Protocol):
    """Tells what language a text is in; blocking."""

    def tell(self, text: str) -> LanguageTag | None:
        """The language; None where it cannot be told."""


class FileWriter(Protocol):
    """Writes a file so that nobody ever sees half of it."""

    def __call__(self, target: Path, content: bytes, /) -> None:
        """Write or replace it; blocking.

        Raises:
            WriteRefused: The folder cannot be written.
            DiskLow: There is no room.
        """


class SidecarWriter(Protocol):
    """Writes a file beside a media file."""

    def __call__(self, media: Path, name: str, content: bytes, /) -> None:
        """Write or replace it, with the media's owner and rights; blocking, raises as a FileWriter does."""


class BlockStore(Protocol):
    """Keeps sound for executors, by content hash."""

    def put(self, samples: Samples) -> ContentHash:
        """Keep a block until it is dropped."""

    def get(self, block: ContentHash) -> Samples:
        """The block of that hash."""

    def drop(self, block: ContentHash) -> None:
        """Forget a block."""


class Executor(Protocol):
    """Runs units of work by the handlers it was given, a bounded number at a time."""

    async def run(self, unit: WorkUnit) -> UnitResult:
        """Run one unit to its end; errors of the handler come out as they are."""

    async def close(self) -> None:
        """Finish what runs and let the threads go."""


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
    basis: str
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
    misfit: str = ""
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

    async def claim(self, stage: Stage, now: datetime, limit_to: Tier | None = None) -> Job | None:
        """Take the first due job of a stage and count the attempt, in one transaction: by tier, newest first; with `limit_to`, none of a later tier."""

    async def record(self, job: Job, outcome: Outcome, now: datetime) -> Job | None:
        """Write what became of a claimed job; done and settled are promises. One that ends with nothing made has its item read again by the next complete pass.

        Returns:
            The job as it stands; one that was cancelled meanwhile stays so. None where this claim holds no longer: nothing is written.

        Raises:
            ValueError: The move is not legal.
        """

    async def note(
        self,
        job_id: JobId,
        *,
        fingerprint: Fingerprint | None = None,
        source_ref: ContentHash | None = None,
        track_ref: ContentHash | None = None,
        grade: Grade | None = None,
        sends: int | None = None,
        looks: int | None = None,
    ) -> None:
        """Remember what a stage found, before it ends; what is not named stays."""

    async def job(self, job_id: JobId) -> Job | None:
        """One job."""

    async def jobs(self, *, states: Collection[JobState] = (), item_id: ItemId | None = None, limit: int = 100, before: JobId | None = None) -> Sequence[Job]:
        """Jobs, newest id first, one page."""

    async def ask_again(self, job_id: JobId, now: datetime) -> Job | None:
        """Queue a job that ended or waits, as asked for; None when there is none."""

    async def cancel(self, job_id: JobId, now: datetime) -> Job | None:
        """Cancel an open job; a running one ends as cancelled when its stage reports."""

    async def jobs_of_source(self, server_id: ServerId, source_id: SourceId) -> Sequence[Job]:
        """All jobs of one media source."""

    async def hurry_uploads(self, server_id: ServerId, source_id: SourceId, now: datetime) -> int:
        """Finished tracks of a media source that wait for each other look again now."""

    async def place_in_queue(self, job: Job) -> int:
        """How many jobs of its stage go before it."""

    async def count_jobs(self) -> Mapping[tuple[Stage, JobState], int]:
        """How many jobs stand where."""

    async def next_due(self, after: datetime | None = None) -> datetime | None:
        """When the first waiting job is due; with `after`, of those that are due later than that."""

    async def requeue_interrupted(self, now: datetime, *, by_crash: bool = True) -> int:
        """Stages that were running are due again; after a crash each is counted that got no further since the last one, and the third ends the job."""

    async def mend_times(self, now: datetime) -> None:
        """What was written by a clock that went ahead counts as written now; cheap where there is nothing of that kind."""

    async def unpark(self, code: str, now: datetime) -> int:
        """Jobs parked for that reason are due now."""

    async def backlog_standing(self, now: datetime) -> BacklogStanding:
        """Whether titles (media sources) of the backlog were ever begun and finished, and how many were begun today."""

    async def release_backlog(self, titles: int, newest_first: bool, now: datetime) -> int:
        """Make all held jobs of the next titles due, and say how many titles that were."""

    async def hold_none(self, now: datetime) -> int:
        """Make every held job due now, whatever the day's share."""

    async def prune(self, now: datetime) -> None:
        """Let go of what can never be used again: old events, what was watched long ago, texts of jobs that ended; transcripts and translations stay."""

    # -- events -----------------------------------------------------------------------------------------------------

    async def add_event(self, server_id: ServerId, kind: str, item_id: ItemId, now: datetime) -> int:
        """Store an event as a promise; a repeat of one not handled yet, or only lately, is the same event, open again."""

    async def open_events(self, now: datetime, limit: int = 100) -> Sequence[Event]:
        """Events that are due and not handled yet, oldest first."""

    async def put_off_event(self, event_id: int, until: datetime) -> None:
        """Look at an event again later; the looks are counted."""

    async def close_events(self, event_ids: Sequence[int], now: datetime) -> None:
        """Events were handled."""

    # -- items and what was watched -----------------------------------------------------------------------------------

    async def item_records(self, server_id: ServerId, ids: Sequence[ItemId]) -> Mapping[ItemId, ItemRecord]:
        """What is known of some items, by id."""

    async def save_items(self, items: Sequence[tuple[Item, bool, ItemCount]], basis: str) -> None:
        """Remember items as they were read on that basis, each with whether it is looked at again however unchanged; equal rows are left alone."""

    async def look_again_at_failed(self, now: datetime) -> int:
        """Items whose job failed long enough ago are read in full by the next pass, however unchanged."""

    async def item_rows(self, server_id: ServerId, after_row: int, limit: int) -> Sequence[tuple[int, datetime | None]]:
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

    async def save_watched(self, server_id: ServerId, seen: Sequence[tuple[ItemId, SourceId, datetime]]) -> None:
        """Remember what was played, and when last."""

    async def watched_since(self, server_id: ServerId, since: datetime) -> Sequence[tuple[ItemId, SourceId, datetime]]:
        """What was played since then, latest first."""

    async def follow_new_ids(self, items: Sequence[Item]) -> int:
        """Where a file that was known by path and size has a new id, everything about it moves there; returns how many moved."""

    async def recall(self, items: Sequence[Item], settings_hash: str) -> Mapping[SourceId, Memory]:
        """What is remembered about every media source of some items of one server; one that nothing is known of is left out."""

    async def track_facts(self, server_id: ServerId, source_id: SourceId) -> Sequence[TrackFact]:
        """What reading the tracks of a media source has told."""

    async def speech_map(self, server_id: ServerId, source_id: SourceId, revision: str, ordinal: int) -> Sequence[Stretch] | None:
        """Where somebody speaks in some stretches of a sound track of that file, if they were listened to."""

    async def save_speech_map(self, server_id: ServerId, source_id: SourceId, revision: str, ordinal: int, heard: Sequence[Stretch]) -> None:
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

    async def save_window(self, transcript_id: int, window: HeardWindow, language: LanguageTag | None) -> None:
        """Checkpoint one heard window; the same start again replaces it."""

    async def finish_transcript(self, transcript_id: int, language: LanguageTag) -> None:
        """Everything was heard."""

    async def save_sketch(self, fingerprint: Fingerprint, ordinal: int, duration_ms: Ms, sketch: bytes) -> None:
        """Remember what six stretches of a sound look like."""

    async def sketches(self, duration_ms: Ms, tolerance_ms: int) -> Sequence[tuple[Fingerprint, int, bytes]]:
        """Sketches of sounds of about that length: fingerprint, audio ordinal, sketch."""

    async def same_sound(self, fingerprint: Fingerprint, ordinal: int, known: Fingerprint, known_ordinal: int) -> None:
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

    async def delivery(self, server_id: ServerId, source_id: SourceId, target: LanguageTag) -> Delivery | None:
        """The latest intent for a target."""

    async def deliveries(
        self, server_id: ServerId, *, item_id: ItemId | None = None, states: Collection[DeliveryState] = (), uploaded_since: datetime | None = None
    ) -> Sequence[Delivery]:
        """Deliveries, oldest first; of one item by its id or that of a version."""

    async def mark_uploaded(self, server_id: ServerId, source_id: SourceId, target: LanguageTag, now: datetime) -> None:
        """The upload was answered."""

    async def mark_confirmed(self, server_id: ServerId, source_id: SourceId, target: LanguageTag, track_path: str, made_for: str, now: datetime) -> None:
        """The track was seen where it belongs, for that revision of the media; a promise."""

    async def mark_missing(self, server_id: ServerId, tracks: Sequence[tuple[SourceId, LanguageTag]], now: datetime) -> None:
        """Confirmed tracks that a complete pass did not list; the passes are counted."""

    async def mark_delivery(self, server_id: ServerId, source_id: SourceId, target: LanguageTag, state: DeliveryState) -> None:
        """What became of a track of ours; a promise. Nothing is put back any more."""

    async def settle(self, fingerprint: Fingerprint, target: LanguageTag, settings_hash: str, code: str, reason: str, now: datetime) -> None:
        """Remember that nothing is to be made of this media in this language with these settings; a promise."""

    async def settled(self, fingerprint: Fingerprint, target: LanguageTag, settings_hash: str) -> tuple[str, str] | None:
        """Code and reason of such a decision."""

    async def unsettle(self, fingerprint: Fingerprint, target: LanguageTag) -> None:
        """A person asked: forget the decision."""

    # -- the rest ---------------------------------------------------------------------------------------------------

    async def flag(self, name: str) -> str | None:
        """A small fact about the daemon itself, such as a scan cursor."""

    async def set_flag(self, name: str, value: str) -> None:
        """Remember it."""

    async def record_speed(self, way: str, media_ms: Ms, took_ms: Ms) -> None:
        """Add a measurement: so much media took so long."""

    async def speed(self, way: str) -> float | None:
        """Seconds of media done in a second, over the recent measurements."""
