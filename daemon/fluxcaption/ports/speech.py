"""Speech: voice detection, windows and recognition."""

from collections.abc import Sequence
from typing import Protocol

from fluxcaption.domain.cues import Span
from fluxcaption.domain.units import Ms
from fluxcaption.ports.executor import UnitResult, WorkUnit
from fluxcaption.ports.media import Samples


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
    def asr_settings_key(self) -> str:
        """Names every setting that changes what is heard."""

    def transcribe(self, unit: WorkUnit) -> UnitResult:
        """Recognise one window, whose sound lies in the block store; times are on the film's clock.

        Raises:
            ModelMissing: The model is not on this machine.
            OutOfMemory: The window did not fit.
        """

    def detect_language(self, unit: WorkUnit) -> UnitResult:
        """What is spoken in a window, and how sure that is; raises as `transcribe` does."""

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory."""

    def unload(self) -> None:
        """Give the memory of the model back once the windows in hand are heard; the next window loads it again. Blocking."""
