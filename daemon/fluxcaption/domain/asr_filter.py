"""Filters for a recognizer's output: segments outside detected speech and repetition loops are dropped.

Source of the limits: the thresholds of faster-whisper (no-speech probability 0.6 together with mean log
probability -1), and published cases of loops in which one text is returned hundreds of times.
"""

import math
from collections.abc import Sequence
from itertools import groupby

from fluxcaption.domain.cues import RecognizedSegment, Segment, Span
from fluxcaption.domain.units import Ms

MAX_NO_SPEECH = 0.6
"""No-speech probability, 0 to 1, above which a segment of low confidence is dropped."""

MIN_CONFIDENCE = math.exp(-1.0)
"""Confidence, 0 to 1, below which a segment that is probably no speech is dropped."""

MIN_REPETITIONS = 3
"""Number of consecutive segments with the same text that counts as a loop of the recognizer."""


def snap_to_speech(recognized: Sequence[RecognizedSegment], speech: Sequence[Span]) -> tuple[Segment, ...]:
    """Return the segments that overlap speech, each starting no earlier than that speech.

    A window that decodes to one segment starts the segment at the start of the window. The detected speech
    is more precise.
    """
    kept: list[Segment] = []
    for segment in recognized:
        spoken = [span for span in speech if span.start < segment.end and span.end > segment.start]
        if not spoken or not segment.text or _is_probably_silence(segment):
            continue
        start = max(segment.start, spoken[0].start)
        if kept:
            start = max(start, kept[-1].end)
        if start < segment.end:
            kept.append(Segment(Ms(start), segment.end, segment.text, segment.confidence))
    return tuple(kept)


def _is_probably_silence(segment: RecognizedSegment) -> bool:
    return segment.no_speech > MAX_NO_SPEECH and segment.confidence < MIN_CONFIDENCE


def drop_repetitions(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Return the segments with each loop of one text reduced to its first segment."""
    kept: list[Segment] = []
    for _, group in groupby(segments, key=lambda segment: segment.text):
        same_text = list(group)
        kept += same_text if len(same_text) < MIN_REPETITIONS else same_text[:1]
    return tuple(kept)


def mean_confidence(segments: Sequence[Segment]) -> float:
    """Return the mean confidence of the segments weighted by duration, 0 to 1; 0 without segments."""
    total_ms = sum(segment.end - segment.start for segment in segments)
    if not total_ms:
        return 0.0
    return sum(segment.confidence * (segment.end - segment.start) for segment in segments) / total_ms
