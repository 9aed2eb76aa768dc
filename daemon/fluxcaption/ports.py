"""What the flow needs from the world, stated once; every adapter keeps these promises."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fluxcaption.domain.cues import Span, SubtitleText
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.media import AudioTrack, FinishedTrack, Item, Library, MediaIdentity, MediaLocation, MediaSource, ServerIdentity, SubtitleTrack
from fluxcaption.domain.units import ContentHash, ItemId, Ms, UnitId
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


class MediaServer(Protocol):
    """A library of films and episodes that subtitles can be put into.

    Every method may raise ServiceUnreachable or KeyRejected.
    """

    async def connect(self) -> ServerIdentity:
        """Make sure the right kind of server answers and takes our key."""

    async def libraries(self) -> Sequence[Library]:
        """List the libraries that can hold films or episodes."""

    def items(self, library: Library, since: datetime | None = None) -> AsyncIterator[Sequence[Item]]:
        """Read a library page by page, each item once; with `since`, only what was saved after it."""

    async def fetch_item(self, item_id: ItemId) -> Item:
        """Read one item afresh.

        Raises:
            ItemGone: The server does not know it.
        """

    async def read_text_track(self, source: MediaSource, track: SubtitleTrack) -> bytes:
        """Fetch a text track in its own format.

        Raises:
            SubtitleUnreadable: It is not there, empty or larger than 4 MiB.
        """

    def locate(self, source: MediaSource) -> MediaLocation:
        """Say where the bytes of the media can be read: a mapped local path, else a URL."""

    async def upload(self, source: MediaSource, track: FinishedTrack) -> None:
        """Put a finished track beside the media, once; an answer is no proof that it arrived.

        Raises:
            WriteRefused: The folder cannot be written.
            ServerRefusesUploads: This server cannot take it.
            DiskLow: There is no room.
        """

    async def refresh(self, item_id: ItemId) -> None:
        """Ask the library, in the lightest way, to look at the item's files again."""

    async def delete(self, source: MediaSource, track: SubtitleTrack) -> None:
        """Remove one external track."""

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

    def hear(self, unit: WorkUnit, samples: Samples) -> UnitResult:
        """Recognise one window; times are on the film's clock.

        Raises:
            ModelMissing: The model is not on this machine.
            OutOfMemory: The window did not fit.
        """

    def detect_language(self, samples: Samples) -> tuple[LanguageTag, float]:
        """What is spoken, and how sure."""

    def unload(self) -> None:
        """Give the memory of the model back; the next window loads it again."""


class Translator(Protocol):
    """Puts sentences into another language."""

    @property
    def name(self) -> str:
        """Backend and model, for keys and provenance."""

    @property
    def revision(self) -> str:
        """Names the exact model where that can be known."""

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

    async def unload(self) -> None:
        """Give the memory of the model back."""

    async def close(self) -> None:
        """Let go of connections."""


class SubtitleCodec(Protocol):
    """Reads and writes subtitle files."""

    def read(self, name: str, content: bytes) -> SubtitleText:
        """Read a file of any supported format.

        Raises:
            SubtitleUnreadable: It is no text subtitle, or over 4 MiB or 20,000 cues.
        """

    def write_srt(self, cues: Sequence[object]) -> bytes:
        """Write SubRip, UTF-8, `\\n`."""


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


class StateFiles(Protocol):
    """Where the state lies on disk."""

    path: Path
