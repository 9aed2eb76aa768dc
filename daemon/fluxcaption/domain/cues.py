"""Speech and subtitle text with times: spans, segments, transcripts and cues."""

import hashlib
from dataclasses import dataclass

from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import ContentHash, Ms, UnitId


@dataclass(frozen=True, slots=True)
class Span:
    """Interval of time, in ms; `end` lies after `start`."""

    start: Ms
    end: Ms

    def __post_init__(self) -> None:
        """Reject a span without a duration."""
        if self.end <= self.start:
            raise ValueError(f"span from {self.start} ms to {self.end} ms has no duration")


@dataclass(frozen=True, slots=True)
class Segment:
    """One recognized piece of speech.

    Attributes:
        start: First moment, ms from the start of the media source.
        end: Last moment, ms; always after `start`.
        text: Spoken words on one line, stripped.
        confidence: Mean probability of the words, 0 to 1.
    """

    start: Ms
    end: Ms
    text: str
    confidence: float = 1.0

    def __post_init__(self) -> None:
        """Reject a segment without a duration."""
        if self.end <= self.start:
            raise ValueError(f"segment from {self.start} ms to {self.end} ms has no duration")


@dataclass(frozen=True, slots=True)
class Cue:
    """One timed block of subtitle text, as the viewer sees it.

    Attributes:
        start: First visible moment, ms from the start of the media source.
        end: First moment after the cue has disappeared, ms; always after `start`.
        lines: Display lines in reading order, plain text without markup.
        sentence: Number of the sentence; cues with the same number are translated together.
        style: Style name in the subtitle format, empty without one; it tells signs from dialogue.
    """

    start: Ms
    end: Ms
    lines: tuple[str, ...]
    sentence: int = 0
    style: str = ""

    def __post_init__(self) -> None:
        """Reject a cue without a duration."""
        if self.end <= self.start:
            raise ValueError(f"cue from {self.start} ms to {self.end} ms has no duration")

    @property
    def text(self) -> str:
        """Return the lines joined by spaces."""
        return " ".join(self.lines)


@dataclass(frozen=True, slots=True)
class Transcript:
    """Recognized speech of one audio track.

    Attributes:
        language: Spoken language.
        segments: Segments in order of time, without overlaps.
        windows_transcribed: Number of windows recognized in this run; windows from storage do not count.
    """

    language: LanguageTag
    segments: tuple[Segment, ...]
    windows_transcribed: int = 0


@dataclass(frozen=True, slots=True)
class SubtitleText:
    """Parsed subtitle file.

    Attributes:
        format: Format of the file, for example `srt`, `vtt` or `ass`.
        cues: Dialogue in order of time.
    """

    format: str
    cues: tuple[Cue, ...]


@dataclass(frozen=True, slots=True)
class TextUnit:
    """Text to translate: one sentence, or the words of one speaker in a cue of two.

    Attributes:
        id: Key under which the translator returns the translation.
        text: Plain text on one line.
    """

    id: UnitId
    text: str


@dataclass(frozen=True, slots=True)
class RecognizedSegment:
    """One segment of a transcribed window, before filtering.

    Attributes:
        start: First moment, ms from the start of the media source.
        end: Last moment, ms.
        text: Recognized words.
        confidence: Mean probability of the words, 0 to 1.
        no_speech: Probability that the segment is not speech, 0 to 1.
    """

    start: Ms
    end: Ms
    text: str
    confidence: float
    no_speech: float


def hash_cues(text: SubtitleText) -> ContentHash:
    """Return a hash over the times and lines of the cues, independent of how a server rewrites the file."""
    content = [(cue.start, cue.end, cue.lines) for cue in text.cues]
    return ContentHash(hashlib.sha256(repr(content).encode()).hexdigest())
