"""Executor: plain-data units of speech recognition and the port that runs them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from fluxcaption.domain.cues import RecognizedSegment
from fluxcaption.domain.units import ContentHash, Ms, UnitId
from fluxcaption.ports.media import Samples

FORMAT_VERSION = 1
"""Raised when the meaning of a field changes; a result of another version is refused."""


class WorkKind(StrEnum):
    """What a unit asks for."""

    TRANSCRIBE = "hear"
    DETECT_LANGUAGE = "tell-language"
    """Which language is spoken in a window, and how sure that is."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A stretch of 16 kHz mono float32 sound in the block store.

    Attributes:
        block: Content hash of the block.
        first_sample: Inside the block, inclusive.
        last_sample: Inside the block, exclusive.
        starts_at: Where `first_sample` lies on the film's clock.
    """

    block: ContentHash
    first_sample: int
    last_sample: int
    starts_at: Ms


@dataclass(frozen=True, slots=True)
class WorkUnit:
    """One window to transcribe or to detect the language of.

    Attributes:
        attempt: Results of an older attempt are ignored.
        language: Source language; empty asks the recogniser to find out.
        settings_hash: Names every setting that changes the result.
    """

    id: UnitId
    kind: WorkKind
    attempt: int
    language: str
    model_revision: str
    asr_settings_key: str
    sound: Sound | None = None
    version: int = FORMAT_VERSION


@dataclass(frozen=True, slots=True)
class UnitResult:
    """What became of a unit.

    Attributes:
        sureness: Of the language, for that kind of unit; 0 to 1.
        took_ms: Wall time of the work itself.
    """

    id: UnitId
    kind: WorkKind
    attempt: int
    language: str
    model_revision: str
    asr_settings_key: str
    segments: tuple[RecognizedSegment, ...] = ()
    sureness: float = 1.0
    took_ms: Ms = Ms(0)
    version: int = FORMAT_VERSION

    def answers(self, unit: WorkUnit) -> bool:
        """Whether this is the result of exactly that attempt at that unit."""
        request = (unit.id, unit.kind, unit.attempt, unit.version, unit.asr_settings_key, unit.model_revision)
        return (
            self.id,
            self.kind,
            self.attempt,
            self.version,
            self.asr_settings_key,
            self.model_revision,
        ) == request


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
