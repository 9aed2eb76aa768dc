"""Whether a subtitle file belongs to the sound it lies beside: a text that is another film's, or another cut's, is no source."""

from collections.abc import Sequence
from dataclasses import dataclass

from fluxcaption.domain.cues import Cue, Span
from fluxcaption.domain.units import Ms

SAMPLE_COUNT, SAMPLE_MS = 3, 4 * 60 * 1000
"""So much sound is listened to, spread over the film."""

FRAME_MS = 100
MAX_SHIFT_MS = 60_000
MAX_LENGTH_RATIO = 1.05
MIN_SPEECH_MS, MIN_TEXT_MS = 15_000, 10_000
"""A stretch with less tells nothing."""

GOOD_LIFT, BAD_LIFT, MIN_IMPROVEMENT = 0.35, 0.15, 0.25
"""How much more of a text's time lies on speech than chance would put there, 0 to 1: of one that fits, of one that is another film's, and by
how much another place must be better. Chance is the share of the stretch in which somebody speaks: films in which people never stop differ
from quiet ones by that alone."""

MIN_NOTICEABLE_MS = 1500
"""What viewers still take for in time (BBC guide: at most 1.5 s before or after speech)."""


@dataclass(frozen=True, slots=True)
class SpeechSample:
    """A piece of the film, with where somebody speaks in it."""

    start: Ms
    stop: Ms
    speech: tuple[Span, ...]


def sample_ranges(duration_ms: Ms) -> Sequence[tuple[Ms, Ms]]:
    """Which pieces to listen to: three of four minutes, or all of a short film."""
    if duration_ms <= SAMPLE_COUNT * SAMPLE_MS:
        return [(Ms(0), duration_ms)]
    middle = [duration_ms * (2 * number + 1) // (2 * SAMPLE_COUNT) for number in range(SAMPLE_COUNT)]
    return [(Ms(centre - SAMPLE_MS // 2), Ms(centre + SAMPLE_MS // 2)) for centre in middle]


def sync_problem(cues: Sequence[Cue], heard: Sequence[SpeechSample], duration_ms: Ms) -> str:
    """Why a text is clearly not this sound's; empty where it fits or nothing can be said."""
    if not cues:
        return "it has no text"
    if duration_ms and cues[-1].start > duration_ms * MAX_LENGTH_RATIO:
        return f"it goes on for {(cues[-1].start - duration_ms) // 1000} s after the end of the film"
    judged: list[tuple[float, float, int]] = []
    silent = 0
    for sample in heard:
        if sum(span.end - span.start for span in sample.speech) < MIN_SPEECH_MS:
            continue
        spoken = _frames(((span.start, span.end) for span in sample.speech), sample.start, sample.stop)
        # As if the stretch were longer, so that a shifted text is not cut off.
        wide_start, wide_stop = Ms(sample.start - MAX_SHIFT_MS), Ms(sample.stop + MAX_SHIFT_MS)
        shown = _frames(((cue.start, cue.end) for cue in cues), wide_start, wide_stop)
        margin = MAX_SHIFT_MS // FRAME_MS
        if sum(shown[margin : margin + len(spoken)]) * FRAME_MS < MIN_TEXT_MS:
            silent += 1
            continue
        judged.append(_best(spoken, shown, margin))
    if silent and silent >= len(judged) + silent and silent > 1:
        return "it says nothing where people speak"
    if not judged:
        return ""
    here = sum(lift for lift, _, _ in judged) / len(judged)
    best = sum(lift for _, lift, _ in judged) / len(judged)
    shifts = [shift for _, _, shift in judged]
    if best - here >= MIN_IMPROVEMENT and best >= GOOD_LIFT:
        if max(shifts) - min(shifts) > MIN_NOTICEABLE_MS:
            return f"it drifts: {_shift_text(min(shifts))} in one place and {_shift_text(max(shifts))} in another"
        middle = sorted(shifts)[len(shifts) // 2]
        return f"it is {_shift_text(middle)}" if abs(middle) > MIN_NOTICEABLE_MS else ""
    if here < BAD_LIFT and len(judged) > 1:
        return "it does not follow the speech: it is shown as much in the pauses as where somebody speaks"
    return ""


def _shift_text(shift_ms: int) -> str:
    return f"{abs(shift_ms) / 1000:.1f} s {'early' if shift_ms > 0 else 'late'}"


def _frames(spans: object, start: Ms, stop: Ms) -> list[int]:
    frames = [0] * max(1, (stop - start) // FRAME_MS)
    for begin, end in spans:  # type: ignore[attr-defined]
        for number in range(
            max(0, (begin - start) // FRAME_MS), min(len(frames), (end - start) // FRAME_MS + 1)
        ):
            frames[number] = 1
    return frames


def _best(spoken: list[int], shown: list[int], margin: int) -> tuple[float, float, int]:
    """How well it fits as it stands, how well at the best shift, and that shift in ms: how much too early the text is."""
    talk = int("".join(map(str, spoken)), 2)
    size = len(spoken)
    text = int("".join(map(str, shown)), 2)
    mask = (1 << size) - 1
    chance = min(0.95, talk.bit_count() / size)
    shares: dict[int, float] = {}
    for shift in range(-margin, margin + 1):
        # The text at `shift` frames earlier, laid over the stretch.
        window = (
            (text >> (len(shown) - size - margin + shift)) & mask
            if len(shown) - size - margin + shift >= 0
            else 0
        )
        visible = window.bit_count()
        shares[shift] = ((window & talk).bit_count() / visible - chance) / (1 - chance) if visible else 0.0
    here = shares[0]
    best = max(shares, key=lambda shift: (round(shares[shift], 3), -abs(shift)))
    return here, shares[best], best * FRAME_MS
