"""Cuts a stream of sound into windows that begin and end in silence."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fluxcaption.domain.cues import Span
from fluxcaption.domain.units import Ms
from fluxcaption.ports.media import SAMPLE_RATE_HZ, Samples

PER_MS = SAMPLE_RATE_HZ // 1000
MAX_WINDOW_MS = 28_000
"""The recogniser hears 30 s at a time; a window leaves it room to see the end."""

LOOK_MS = 60_000
"""Sound gathered before it is looked at for speech; never much more is in memory."""

LEAD_MS = 200
TRAIL_MS = 300
QUIET_MS = 100
SEARCH_MS = 8_000
"""A stretch of speech longer than a window is cut at its quietest `QUIET_MS` in the last `SEARCH_MS`."""

FindSpeech = Callable[[Samples], Sequence[Span]]
_Piece = tuple[int, int, Sequence[Span]]


@dataclass(frozen=True, slots=True)
class SoundWindow:
    """A stretch of sound that is heard in one go.

    Attributes:
        speech: Where somebody speaks in it, on the film's clock.
    """

    start: Ms
    end: Ms
    samples: Samples
    speech: tuple[Span, ...]


class SilenceCutter:
    """Gathers blocks, finds speech in them and gives windows out; what may go on in the next block is held back."""

    def __init__(self, find_speech: FindSpeech) -> None:
        self._find_speech = find_speech
        self._blocks: list[Samples] = []
        self._start = Ms(0)
        self._length = 0

    def feed(self, start: Ms, samples: Samples) -> Sequence[SoundWindow]:
        """Take the next block and give the windows that are complete with it."""
        if not self._blocks:
            self._start = start
        self._blocks.append(samples)
        self._length += len(samples)
        return self._cut(is_last=False) if self._length >= LOOK_MS * PER_MS else ()

    def finish(self) -> Sequence[SoundWindow]:
        """Give what is left."""
        return self._cut(is_last=True) if self._length else ()

    def _cut(self, *, is_last: bool) -> Sequence[SoundWindow]:
        sound = np.concatenate(self._blocks) if len(self._blocks) > 1 else self._blocks[0]
        length_ms = len(sound) // PER_MS
        pieces = [
            piece for group in _grouped(list(self._find_speech(sound))) for piece in _split(group, sound)
        ]
        windows: list[SoundWindow] = []
        done_ms = 0
        for number, (first, last, spans) in enumerate(pieces, 1):
            start, end = max(done_ms, first - LEAD_MS), min(length_ms, last + TRAIL_MS)
            if number < len(pieces):
                # A pause may be shorter than lead and trail: its middle belongs to nobody's word.
                end = min(end, (last + pieces[number][0]) // 2)
            elif not is_last and (last + TRAIL_MS >= length_ms or length_ms - first < MAX_WINDOW_MS):
                # It may go on, or have company, in what comes; being shorter than a window it is never held for long.
                return self._keep(sound, windows, start)
            windows.append(self._window(sound, start, end, spans))
            done_ms = end
        # A second of silence stays: speech that begins at the very end must not lose its first sound.
        keep_from = length_ms if is_last else max(done_ms, length_ms - 1000)
        return self._keep(sound, windows, keep_from)

    def _keep(self, sound: Samples, windows: Sequence[SoundWindow], from_ms: int) -> Sequence[SoundWindow]:
        rest = sound[from_ms * PER_MS :]
        self._blocks = [rest.copy()] if len(rest) else []
        self._start = Ms(self._start + from_ms)
        self._length = len(rest)
        return windows

    def _window(self, sound: Samples, start: int, end: int, spans: Sequence[Span]) -> SoundWindow:
        offset = self._start
        speech = tuple(Span(Ms(offset + span.start), Ms(offset + span.end)) for span in spans)
        return SoundWindow(
            Ms(offset + start), Ms(offset + end), sound[start * PER_MS : end * PER_MS].copy(), speech
        )


def _grouped(speech: Sequence[Span]) -> Iterator[Sequence[Span]]:
    """Neighbouring spans that fit into one window together."""
    group: list[Span] = []
    for span in speech:
        if group and span.end - group[0].start > MAX_WINDOW_MS - LEAD_MS - TRAIL_MS:
            yield group
            group = []
        group.append(span)
    if group:
        yield group


def _split(group: Sequence[Span], sound: Samples) -> Iterator[_Piece]:
    """One group as it is, or a single span that is too long cut at its quietest moments."""
    first, last = group[0].start, group[-1].end
    while last - first > MAX_WINDOW_MS:
        limit = first + MAX_WINDOW_MS
        cut = _quietest(sound, limit - SEARCH_MS, limit)
        yield first, cut, [Span(Ms(first), Ms(cut))]
        first = Ms(cut)
    yield first, last, [Span(Ms(max(first, span.start)), span.end) for span in group if span.end > first]


def _quietest(sound: Samples, start: int, end: int) -> int:
    """Middle of the quietest stretch between two moments."""
    frames = [
        (float(np.abs(sound[at * PER_MS : (at + QUIET_MS) * PER_MS]).mean()), at)
        for at in range(start, end - QUIET_MS, QUIET_MS // 2)
    ]
    return min(frames)[1] + QUIET_MS // 2
