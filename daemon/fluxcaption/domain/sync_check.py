"""Check that a subtitle text belongs to the audio: a text of another film or cut is not used as a source.

The times of the cues are compared with detected speech in a few samples of the audio, at the present offset
and at every offset of up to `MAX_SHIFT_MS`. The measure is the lift: the share of the visible text that
coincides with speech, above the share that chance would give, where 1 is a perfect match and 0 is chance. The
correction for chance makes films with constant speech comparable with quiet ones.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fluxcaption.domain.cues import Cue, Span
from fluxcaption.domain.units import Ms

SAMPLE_COUNT = 3
SAMPLE_MS = 4 * 60 * 1000
"""Number and length of the samples, spread over the film."""

FRAME_MS = 100
"""Resolution of the comparison."""

MAX_SHIFT_MS = 60_000
"""Largest offset that is tried, in both directions."""

MAX_LENGTH_RATIO = 1.05
"""Length of a text relative to the media above which the text belongs to another film."""

MIN_SPEECH_MS = 15_000
MIN_TEXT_MS = 10_000
"""Speech and visible text below which a sample is not judged."""

GOOD_LIFT = 0.35
"""Lift from which a text matches the speech."""

BAD_LIFT = 0.15
"""Lift below which a text belongs to another film."""

MIN_IMPROVEMENT = 0.25
"""Gain in lift from which another offset counts as better."""

MAX_CHANCE = 0.95
"""Upper limit of the share that chance gives, so that constant speech leaves room for a lift."""

MAX_ACCEPTED_OFFSET_MS = 1500
"""Largest offset that viewers accept as synchronous (BBC guide: at most 1.5 s before or after speech).
Offsets in several samples that differ by more are a drift."""


@dataclass(frozen=True, slots=True)
class SpeechSample:
    """Sample of the audio with the speech detected in it.

    Attributes:
        start: First moment of the sample, ms from the start of the media source.
        stop: Last moment of the sample, ms.
        speech: Speech in order of time.
    """

    start: Ms
    stop: Ms
    speech: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class _Fit:
    """Match of a text with the speech of one sample.

    Attributes:
        lift: Lift at the present offset.
        best_lift: Lift at the best offset.
        early_ms: Time by which the text is too early according to the best offset; negative if it is late.
    """

    lift: float
    best_lift: float
    early_ms: int


def sample_ranges(duration_ms: Ms) -> Sequence[tuple[Ms, Ms]]:
    """Return start and end of each sample: three of four minutes, or all of a short film."""
    if duration_ms <= SAMPLE_COUNT * SAMPLE_MS:
        return [(Ms(0), duration_ms)]
    centers = [duration_ms * (2 * number + 1) // (2 * SAMPLE_COUNT) for number in range(SAMPLE_COUNT)]
    return [(Ms(center - SAMPLE_MS // 2), Ms(center + SAMPLE_MS // 2)) for center in centers]


def sync_problem(cues: Sequence[Cue], samples: Sequence[SpeechSample], duration_ms: Ms) -> str:
    """Return the reason why a text clearly does not fit the audio.

    Args:
        cues: Cues of the text in order of time.
        samples: Samples of the audio with the detected speech.
        duration_ms: Duration of the media; 0 if unknown.

    Returns:
        The reason as a clause, for example `it is 5.0 s late`; empty if the text fits or cannot be judged.
    """
    if not cues:
        return "it has no text"
    if duration_ms and cues[-1].start > duration_ms * MAX_LENGTH_RATIO:
        return f"its last cue is {(cues[-1].start - duration_ms) // 1000} s after the end of the media"
    fits: list[_Fit] = []
    samples_without_text = 0
    for sample in samples:
        if sum(span.end - span.start for span in sample.speech) < MIN_SPEECH_MS:
            continue
        fit = _fit(cues, sample)
        if fit is None:
            samples_without_text += 1
        else:
            fits.append(fit)
    if samples_without_text > 1 and not fits:
        return "it has no text where speech was detected"
    return _offset_problem(fits) if fits else ""


def _offset_problem(fits: Sequence[_Fit]) -> str:
    lift = sum(fit.lift for fit in fits) / len(fits)
    best_lift = sum(fit.best_lift for fit in fits) / len(fits)
    if best_lift - lift >= MIN_IMPROVEMENT and best_lift >= GOOD_LIFT:
        offsets = sorted(fit.early_ms for fit in fits)
        if offsets[-1] - offsets[0] > MAX_ACCEPTED_OFFSET_MS:
            return f"it drifts from {_offset_text(offsets[0])} to {_offset_text(offsets[-1])}"
        median = offsets[len(offsets) // 2]
        return f"it is {_offset_text(median)}" if abs(median) > MAX_ACCEPTED_OFFSET_MS else ""
    if lift < BAD_LIFT and len(fits) > 1:
        return "it does not follow the speech: cues are as frequent in pauses as in speech"
    return ""


def _offset_text(early_ms: int) -> str:
    return f"{abs(early_ms) / 1000:.1f} s {'early' if early_ms > 0 else 'late'}"


def _fit(cues: Sequence[Cue], sample: SpeechSample) -> _Fit | None:
    """Return the match of the text with the speech of a sample; None if the sample has too little text."""
    speech = _frames(sample.speech, sample.start, sample.stop)
    # The text is read beyond both ends of the sample, so that an offset moves text in, not only out.
    text = _frames(cues, Ms(sample.start - MAX_SHIFT_MS), Ms(sample.stop + MAX_SHIFT_MS))
    margin = MAX_SHIFT_MS // FRAME_MS
    if sum(text[margin : margin + len(speech)]) * FRAME_MS < MIN_TEXT_MS:
        return None
    lifts = _lifts(speech, text, margin)
    best = max(lifts, key=lambda shift: (round(lifts[shift], 3), -abs(shift)))
    return _Fit(lifts[0], lifts[best], best * FRAME_MS)


def _frames(blocks: Iterable[Cue | Span], start: Ms, stop: Ms) -> list[int]:
    """Return 1 for each frame of the range that a block touches, else 0."""
    frames = [0] * max(1, (stop - start) // FRAME_MS)
    for block in blocks:
        first = max(0, (block.start - start) // FRAME_MS)
        last = min(len(frames), (block.end - start) // FRAME_MS + 1)
        for number in range(first, last):
            frames[number] = 1
    return frames


def _lifts(speech: Sequence[int], text: Sequence[int], margin: int) -> dict[int, float]:
    """Return the lift for each shift of the text, in frames; a positive shift moves the text later."""
    # Frames as bits of one integer each: an overlap is one operation.
    speech_bits = int("".join(map(str, speech)), 2)
    text_bits = int("".join(map(str, text)), 2)
    size = len(speech)
    mask = (1 << size) - 1
    chance = min(MAX_CHANCE, speech_bits.bit_count() / size)
    lifts: dict[int, float] = {}
    for shift in range(-margin, margin + 1):
        position = len(text) - size - margin + shift
        window = (text_bits >> position) & mask if position >= 0 else 0
        visible = window.bit_count()
        share = (window & speech_bits).bit_count() / visible if visible else chance
        lifts[shift] = (share - chance) / (1 - chance)
    return lifts
