"""Executor: units of speech recognition as plain data, and the port that runs them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from fluxcaption.domain.cues import RecognizedSegment
from fluxcaption.domain.units import ContentHash, Ms, UnitId
from fluxcaption.ports.media import Samples

FORMAT_VERSION = 1
"""Raised when the meaning of a field changes; a result of another version does not answer a unit."""


class WorkKind(StrEnum):
    """Operation of the recognizer that a unit requests."""

    TRANSCRIBE = "transcribe"
    DETECT_LANGUAGE = "detect-language"


@dataclass(frozen=True, slots=True)
class Sound:
    """A range of samples in the block store.

    Attributes:
        block: Content hash of the block.
        first_sample: Index in the block, inclusive.
        last_sample: Index in the block, exclusive.
        starts_at: Position of `first_sample`, ms from the start of the media source.
    """

    block: ContentHash
    first_sample: int
    last_sample: int
    starts_at: Ms


@dataclass(frozen=True, slots=True)
class WorkUnit:
    """One window of audio to transcribe or to detect the language of.

    Attributes:
        attempt: Number of the claim of the job; results of an older attempt are ignored.
        language: Spoken language; empty if the recognizer is to detect it.
        model_revision: Hash of the model files.
        asr_settings_key: Hash of every setting that changes the result.
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
    """Result of a unit; the first six fields repeat those of the unit.

    Attributes:
        language: The detected language, as the code that the model uses; the requested one if it was given.
        segments: Recognized segments in order of time, none overlapping the next.
        language_probability: Probability of the detected language, 0 to 1.
        took_ms: Wall time of the recognition.
    """

    id: UnitId
    kind: WorkKind
    attempt: int
    language: str
    model_revision: str
    asr_settings_key: str
    segments: tuple[RecognizedSegment, ...] = ()
    language_probability: float = 1.0
    took_ms: Ms = Ms(0)
    version: int = FORMAT_VERSION

    def answers(self, unit: WorkUnit) -> bool:
        """Return True if this is the result of the given attempt at the given unit."""
        return self._identity(self) == self._identity(unit)

    @staticmethod
    def _identity(value: "WorkUnit | UnitResult") -> tuple[object, ...]:
        return (
            value.id,
            value.kind,
            value.attempt,
            value.version,
            value.asr_settings_key,
            value.model_revision,
        )


class BlockStore(Protocol):
    """Storage of audio blocks for executors, by content hash."""

    def put(self, samples: Samples) -> ContentHash:
        """Store a block until it is dropped as often as it was put, and return its hash."""

    def get(self, block: ContentHash) -> Samples:
        """Return a stored block.

        Raises:
            KeyError: The block is not stored.
        """

    def drop(self, block: ContentHash) -> None:
        """Release a block that `put` stored."""


class Executor(Protocol):
    """Runner of units, at most a fixed number at a time."""

    async def run(self, unit: WorkUnit) -> UnitResult:
        """Run one unit and return its result; errors of the recognizer are raised unchanged."""

    async def close(self) -> None:
        """Start no further units and release the threads."""
