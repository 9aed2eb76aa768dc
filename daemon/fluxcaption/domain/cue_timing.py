"""Cue timing: how long a cue stays visible, and the pause before the next one.

Source of the numbers: notes/subtitle-craft.md C1 to C6 (Netflix timing; 2 frames at 24 fps are 83 ms).
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

from fluxcaption.domain.cues import Cue, Span
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.line_breaking import limits_of, width
from fluxcaption.domain.units import Ms

MIN_DURATION_MS = 833
MAX_DURATION_MS = 7_000

MIN_PAUSE_MS = 83
"""Pause between cues that follow each other closely."""

MIN_VISIBLE_PAUSE_MS = 500
"""Pause below which viewers see a flicker; a shorter pause is closed to `MIN_PAUSE_MS`."""

MAX_LINGER_MS = 500
"""Time a cue may stay after the speech, for the sake of reading speed."""


def time_cues(cues: Sequence[Cue], language: LanguageTag) -> tuple[Cue, ...]:
    """Return the cues with time for reading and regular pauses.

    A start moves only if cues overlap.
    """
    timed: list[Cue] = []
    for cue, following in pairwise([*cues, None]):
        assert cue is not None
        start = Ms(max(cue.start, timed[-1].end)) if timed else cue.start
        end = _readable_end(cue, start, language)
        if following is not None:
            end = _end_before(following.start, cue, start, end, language)
        timed.append(replace(cue, start=start, end=Ms(max(end, start + 1))))
    return tuple(timed)


def _readable_end(cue: Cue, start: int, language: LanguageTag) -> int:
    """Return the end of a cue that leaves enough time for reading, within the limits."""
    reading_ms = int(width(cue.text, language) / limits_of(language).characters_per_second * 1000)
    wanted_end = start + max(MIN_DURATION_MS, reading_ms)
    latest_end = max(cue.end + MAX_LINGER_MS, start + MIN_DURATION_MS)
    return min(max(cue.end, min(wanted_end, latest_end)), start + MAX_DURATION_MS)


def _end_before(next_start: int, cue: Cue, start: int, end: int, language: LanguageTag) -> int:
    """Return the end of a cue with regard to the start of the next one."""
    is_flicker = MIN_PAUSE_MS < next_start - end < MIN_VISIBLE_PAUSE_MS
    if is_flicker and limits_of(language).closes_short_pauses:
        end = _without_flicker(start, cue.end, next_start)
    # A cue too short for the pause fills the time up to the next cue.
    latest_end = next_start - MIN_PAUSE_MS
    return min(end, latest_end if latest_end > start else next_start)


def _without_flicker(start: int, speech_end: int, next_start: int) -> int:
    """Return an end close to the next cue, or early enough for a visible pause."""
    close_end, apart_end = next_start - MIN_PAUSE_MS, next_start - MIN_VISIBLE_PAUSE_MS
    is_close_allowed = close_end - start <= MAX_DURATION_MS
    is_apart_too_short = apart_end - start < MIN_DURATION_MS
    if is_close_allowed and (close_end - speech_end <= MAX_LINGER_MS or is_apart_too_short):
        return close_end
    return apart_end


def split_time(cue: Cue, weights: Sequence[int]) -> Sequence[Span]:
    """Divide the time of a cue into consecutive spans in proportion to the weights.

    The spans begin and end with the cue. Minimum duration and minimum pause are kept if the time allows.
    """
    count = len(weights)
    duration_ms = cue.end - cue.start
    pause_ms = MIN_PAUSE_MS if duration_ms > count * (MIN_PAUSE_MS + 1) else 0
    visible_ms = duration_ms - pause_ms * (count - 1)
    min_span_ms = min(MIN_DURATION_MS, visible_ms // count)
    weighted_ms = visible_ms - min_span_ms * count
    total_weight = sum(weights)
    spans: list[Span] = []
    start: int = cue.start
    for number, weight_so_far in enumerate(accumulate(weights)):
        fixed_ms = pause_ms * number + min_span_ms * (number + 1)
        end = cue.start + fixed_ms + weighted_ms * weight_so_far // total_weight
        spans.append(Span(Ms(start), Ms(end)))
        start = end + pause_ms
    return spans
