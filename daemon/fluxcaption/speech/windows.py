"""Segmentation of an audio stream into windows that begin and end in silence."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fluxcaption.domain.cues import Span
from fluxcaption.domain.units import Ms
from fluxcaption.ports.media import SAMPLE_RATE_HZ, Samples

SAMPLES_PER_MS = SAMPLE_RATE_HZ // 1000
MAX_WINDOW_MS = 28_000
"""Longest window. Whisper processes audio in chunks of 30 s; the remainder leaves room for padding.

Source: README of openai/whisper, section "Python usage": `transcribe()` uses a sliding 30-second window.
"""

BUFFER_MS = 60_000
"""Audio that is collected before voice activity detection runs on it; bounds the memory in use."""

LEAD_MS = 200
TRAIL_MS = 300
"""Silence before and after the speech of a window, if the pause is long enough."""

KEPT_SILENCE_MS = 1_000
"""End of the buffer that is kept although it is silent: speech that begins there keeps its onset."""

QUIET_MS = 100
SEARCH_MS = 8_000
"""Speech longer than a window is cut at the quietest `QUIET_MS` within the last `SEARCH_MS` of the window."""

FindSpeech = Callable[[Samples], Sequence[Span]]
"""Voice activity detection: spans in ms from the start of the samples, in order, not overlapping."""


@dataclass(frozen=True, slots=True)
class AudioWindow:
    """Audio that is recognized as a whole.

    Attributes:
        start: Ms from the start of the media source.
        end: Ms from the start of the media source.
        samples: The audio from `start` to `end`.
        speech: Spans with speech, ms from the start of the media source.
    """

    start: Ms
    end: Ms
    samples: Samples
    speech: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class _SpeechGroup:
    """Speech that becomes one window; times in ms from the start of the buffer."""

    start: int
    end: int
    spans: Sequence[Span]


class SilenceSegmenter:
    """WindowCutter that buffers blocks, detects speech in them and cuts windows in the pauses.

    Speech at the end of the buffer may continue in the next block and is kept until then.
    """

    def __init__(self, find_speech: FindSpeech) -> None:
        self._find_speech = find_speech
        self._blocks: list[Samples] = []
        self._start = Ms(0)
        self._length = 0

    def feed(self, start: Ms, samples: Samples) -> Sequence[AudioWindow]:
        """Add the block that begins at `start` and return the windows that are complete."""
        if not self._blocks:
            self._start = start
        self._blocks.append(samples)
        self._length += len(samples)
        return self._cut(is_last=False) if self._length >= BUFFER_MS * SAMPLES_PER_MS else ()

    def finish(self) -> Sequence[AudioWindow]:
        """Return the remaining windows at the end of the stream."""
        return self._cut(is_last=True) if self._length else ()

    def _cut(self, *, is_last: bool) -> Sequence[AudioWindow]:
        import numpy as np  # loaded with the first job

        samples = np.concatenate(self._blocks) if len(self._blocks) > 1 else self._blocks[0]
        length_ms = len(samples) // SAMPLES_PER_MS
        groups = [
            part
            for group in _group_spans(self._find_speech(samples))
            for part in _split_long_group(group, samples)
        ]
        windows: list[AudioWindow] = []
        cut_ms = 0
        for number, group in enumerate(groups, 1):
            start, end = max(cut_ms, group.start - LEAD_MS), min(length_ms, group.end + TRAIL_MS)
            if number < len(groups):
                # The pause may be shorter than lead and trail together; then its middle is the boundary.
                end = min(end, (group.end + groups[number].start) // 2)
            elif not is_last and (
                group.end + TRAIL_MS >= length_ms or length_ms - group.start < MAX_WINDOW_MS
            ):
                # The next block may continue this speech or add to its window. The group is shorter than a
                # window, so it does not stay for long.
                self._keep_from(samples, start)
                return windows
            windows.append(self._window(samples, start, end, group.spans))
            cut_ms = end
        self._keep_from(samples, length_ms if is_last else max(cut_ms, length_ms - KEPT_SILENCE_MS))
        return windows

    def _keep_from(self, samples: Samples, start_ms: int) -> None:
        """Keep the samples from `start_ms` on as the buffer."""
        remaining = samples[start_ms * SAMPLES_PER_MS :]
        self._blocks = [remaining.copy()] if len(remaining) else []
        self._start = Ms(self._start + start_ms)
        self._length = len(remaining)

    def _window(self, samples: Samples, start: int, end: int, spans: Sequence[Span]) -> AudioWindow:
        offset = self._start
        speech = tuple(Span(Ms(offset + span.start), Ms(offset + span.end)) for span in spans)
        window_samples = samples[start * SAMPLES_PER_MS : end * SAMPLES_PER_MS].copy()
        return AudioWindow(Ms(offset + start), Ms(offset + end), window_samples, speech)


def _group_spans(spans: Sequence[Span]) -> Iterator[Sequence[Span]]:
    """Group consecutive spans that fit into one window together."""
    group: list[Span] = []
    for span in spans:
        if group and span.end - group[0].start > MAX_WINDOW_MS - LEAD_MS - TRAIL_MS:
            yield group
            group = []
        group.append(span)
    if group:
        yield group


def _split_long_group(spans: Sequence[Span], samples: Samples) -> Iterator[_SpeechGroup]:
    """Split a group that is longer than a window, which is a single span, at its quietest moments."""
    start, end = spans[0].start, spans[-1].end
    while end - start > MAX_WINDOW_MS:
        latest_ms = start + MAX_WINDOW_MS
        cut = Ms(_quietest_moment(samples, latest_ms - SEARCH_MS, latest_ms))
        yield _SpeechGroup(start, cut, [Span(start, cut)])
        start = cut
    yield _SpeechGroup(
        start, end, [Span(max(start, span.start), span.end) for span in spans if span.end > start]
    )


def _quietest_moment(samples: Samples, start: int, end: int) -> int:
    """Return the middle of the `QUIET_MS` with the lowest mean amplitude between two times in ms."""
    import numpy as np  # loaded with the first job

    levels = [
        (float(np.abs(samples[at * SAMPLES_PER_MS : (at + QUIET_MS) * SAMPLES_PER_MS]).mean()), at)
        for at in range(start, end - QUIET_MS, QUIET_MS // 2)
    ]
    return min(levels)[1] + QUIET_MS // 2
