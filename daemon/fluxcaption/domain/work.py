"""Units of work: plain data that any executor can run, here or elsewhere, and answer by id.

A unit refers to sound by content hash and sample borders, never by a live object, so that another
executor (a helper process, another machine) is one adapter and changes nothing in the daemon.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from fluxcaption.domain.units import ContentHash, Ms, UnitId

FORMAT_VERSION = 1
"""Raised when the meaning of a field changes; a result of another version is refused."""


class WorkKind(StrEnum):
    """What a unit asks for."""

    HEAR = "hear"
    TELL_LANGUAGE = "tell-language"
    """Which language is spoken in a window, and how sure that is."""
    TRANSLATE = "translate"


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
class TextUnit:
    """One sentence to translate: its cues, in order.

    Attributes:
        id: Named in the reply.
        text: Plain text, one line.
    """

    id: UnitId
    text: str


@dataclass(frozen=True, slots=True)
class WorkUnit:
    """One window to hear, or one batch to translate.

    Attributes:
        attempt: Results of an older attempt are ignored.
        language: Source language; empty asks the recogniser to find out.
        target_language: For translation only.
        settings_hash: Names every setting that changes the result.
    """

    id: UnitId
    kind: WorkKind
    attempt: int
    language: str
    model_revision: str
    settings_hash: str
    sound: Sound | None = None
    texts: tuple[TextUnit, ...] = ()
    target_language: str = ""
    version: int = FORMAT_VERSION


@dataclass(frozen=True, slots=True)
class HeardSegment:
    """One segment of a heard window; times on the film's clock."""

    start: Ms
    end: Ms
    text: str
    confidence: float
    no_speech: float


@dataclass(frozen=True, slots=True)
class UnitResult:
    """What became of a unit.

    Attributes:
        texts: Accepted translations by unit id; an id that is missing was refused or not answered.
        refusals: Why, by unit id.
        sureness: Of the language, for that kind of unit; 0 to 1.
        took_ms: Wall time of the work itself.
    """

    id: UnitId
    kind: WorkKind
    attempt: int
    language: str
    model_revision: str
    settings_hash: str
    segments: tuple[HeardSegment, ...] = ()
    texts: dict[UnitId, str] = field(default_factory=dict)
    refusals: dict[UnitId, str] = field(default_factory=dict)
    sureness: float = 1.0
    took_ms: Ms = Ms(0)
    version: int = FORMAT_VERSION

    def answers(self, unit: WorkUnit) -> bool:
        """Whether this is the result of exactly that attempt at that unit."""
        asked = (unit.id, unit.kind, unit.attempt, unit.version, unit.settings_hash, unit.model_revision)
        return (self.id, self.kind, self.attempt, self.version, self.settings_hash, self.model_revision) == asked
