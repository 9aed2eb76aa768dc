"""What was said and what is read: words, segments, transcripts and cues."""

import hashlib
from dataclasses import dataclass

from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import ContentHash, Ms, UnitId


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, start before end."""

    start: Ms
    end: Ms

    def __post_init__(self) -> None:
        """Refuse a stretch that is none."""
        if self.end <= self.start:
            raise ValueError(f"span from {self.start} ms to {self.end} ms has no duration")


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of speech as the recogniser heard it.

    Attributes:
        start: First moment, ms on the film's clock.
        end: Last moment; always after `start`.
        text: What was said, one line, stripped.
        confidence: Mean probability of the words, 0 to 1.
    """

    start: Ms
    end: Ms
    text: str
    confidence: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a segment nobody could have said."""
        if self.end <= self.start:
            raise ValueError(f"segment from {self.start} ms to {self.end} ms has no duration")


@dataclass(frozen=True, slots=True)
class Cue:
    """One timed block of subtitle text, as the viewer sees it.

    Attributes:
        start: First visible moment, ms from the start of the media source.
        end: First moment it is gone again; always after `start`.
        lines: Display lines in reading order, plain text without markup.
        sentence: Cues of one sentence share this number; they are translated together.
        style: The format's own name for how it is shown, where it has one: a sign and what is said differ in it.
    """

    start: Ms
    end: Ms
    lines: tuple[str, ...]
    sentence: int = 0
    style: str = ""

    def __post_init__(self) -> None:
        """Refuse a cue nobody could see."""
        if self.end <= self.start:
            raise ValueError(f"cue from {self.start} ms to {self.end} ms has no duration")

    @property
    def text(self) -> str:
        """The lines as one."""
        return " ".join(self.lines)


@dataclass(frozen=True, slots=True)
class Transcript:
    """Everything that was heard in one sound.

    Attributes:
        language: What was spoken.
        segments: In order of time, none overlapping the next.
        windows_heard: Windows recognised now, not taken from memory.
    """

    language: LanguageTag
    segments: tuple[Segment, ...]
    windows_transcribed: int = 0


@dataclass(frozen=True, slots=True)
class SubtitleText:
    """A subtitle file as it was read.

    Attributes:
        format: `srt`, `vtt` or `ass`: how it was written.
        cues: The dialogue, in order of time.
    """

    format: str
    cues: tuple[Cue, ...]


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
class RecognizedSegment:
    """One segment of a heard window; times on the film's clock."""

    start: Ms
    end: Ms
    text: str
    confidence: float
    no_speech: float


def hash_cues(text: SubtitleText) -> ContentHash:
    """Names what is said and when; the same however a server spells the file."""
    told = [(cue.start, cue.end, cue.lines) for cue in text.cues]
    return ContentHash(hashlib.sha256(repr(told).encode()).hexdigest())
