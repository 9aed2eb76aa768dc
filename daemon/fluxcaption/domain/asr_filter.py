"""What is kept of a recogniser's answer: speech where there is speech, and nothing invented.

Source of the limits: faster-whisper's own thresholds (no-speech 0.6 with mean log probability -1) and the field's loop cases,
where one text came back hundreds of times.
"""

import math
from collections.abc import Sequence
from itertools import groupby

from fluxcaption.domain.cues import RecognizedSegment, Segment, Span
from fluxcaption.domain.units import Ms

MAX_NO_SPEECH = 0.6
MIN_CONFIDENCE = math.exp(-1.0)
MIN_REPETITIONS = 3
"""From this many times on, one text straight after itself is a loop of the recogniser and is kept once."""


def snap_to_speech(heard: Sequence[RecognizedSegment], speech: Sequence[Span]) -> tuple[Segment, ...]:
    """Keep the segments that lie on speech, each starting no earlier than its first spoken moment.

    A decode that yields one segment starts it at the window's start; the speech map knows better.
    """
    kept: list[Segment] = []
    for segment in heard:
        spoken = [span for span in speech if span.start < segment.end and span.end > segment.start]
        if (
            not spoken
            or not segment.text
            or (segment.no_speech > MAX_NO_SPEECH and segment.confidence < MIN_CONFIDENCE)
        ):
            continue
        start = max(segment.start, spoken[0].start)
        if kept:
            start = max(start, kept[-1].end)
        if start < segment.end:
            kept.append(Segment(Ms(start), segment.end, segment.text, segment.confidence))
    return tuple(kept)


def drop_repetitions(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Drop what a recogniser invents over a whole film: loops of one text."""
    kept: list[Segment] = []
    for _, group in groupby(segments, key=lambda segment: segment.text):
        alike = list(group)
        kept += alike if len(alike) < MIN_REPETITIONS else alike[:1]
    return tuple(kept)


def mean_confidence(segments: Sequence[Segment]) -> float:
    """How sure the recogniser was on the whole: mean confidence weighted by time, 0 to 1."""
    total = sum(segment.end - segment.start for segment in segments)
    return (
        sum(segment.confidence * (segment.end - segment.start) for segment in segments) / total
        if total
        else 0.0
    )
