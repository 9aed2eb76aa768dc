"""Speech: voice activity detection, windows and recognition."""

from collections.abc import Sequence
from typing import Protocol

from fluxcaption.domain.cues import Span
from fluxcaption.domain.units import Ms
from fluxcaption.ports.executor import UnitResult, WorkUnit
from fluxcaption.ports.media import Samples


class Window(Protocol):
    """Audio that is recognized as a whole; times in ms from the start of the media source."""

    @property
    def start(self) -> Ms:
        """Return the position of the first sample."""

    @property
    def end(self) -> Ms:
        """Return the position after the last sample."""

    @property
    def samples(self) -> Samples:
        """Return the audio from `start` to `end`."""

    @property
    def speech(self) -> Sequence[Span]:
        """Return the spans with speech."""


class WindowCutter(Protocol):
    """Segmenter of an audio stream into windows."""

    def feed(self, start: Ms, samples: Samples) -> Sequence[Window]:
        """Add the block that begins at `start` and return the windows that are complete."""

    def finish(self) -> Sequence[Window]:
        """Return the remaining windows at the end of the stream."""


class VoiceDetector(Protocol):
    """Voice activity detector; blocking."""

    def speech(self, samples: Samples) -> Sequence[Span]:
        """Return the spans with speech in ms from the start of `samples`, in order, not overlapping."""


class Recognizer(Protocol):
    """Speech recognition of single windows; blocking, called from executor threads only."""

    @property
    def name(self) -> str:
        """Return the backend and the model, for keys of transcripts and for provenance."""

    @property
    def revision(self) -> str:
        """Return a hash of the model files; transcripts of another revision are not reused.

        Raises:
            ModelMissing: The model is not on this machine.
        """

    @property
    def asr_settings_key(self) -> str:
        """Return a hash of every setting that changes the result."""

    def transcribe(self, unit: WorkUnit) -> UnitResult:
        """Recognize one window from the block store; times are ms from the start of the media source.

        Raises:
            ModelMissing: The model is not on this machine or cannot be loaded.
            OutOfMemory: The window needs more memory than there is.
            MediaUnreadable: The model failed on the window.
        """

    def detect_language(self, unit: WorkUnit) -> UnitResult:
        """Detect the spoken language of one window and its probability; raise as `transcribe` does."""

    @property
    def is_loaded(self) -> bool:
        """Return True if the model is in memory."""

    def unload(self) -> None:
        """Free the memory of the model; the next window loads it again.

        Block until the windows that are being recognized are finished.
        """
