"""Windows begin and end in silence, and nothing spoken falls between them."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from fluxcaption.domain.cues import Span
from fluxcaption.domain.units import Ms
from fluxcaption.ports.media import Samples
from fluxcaption.speech.windows import MAX_WINDOW_MS, SAMPLES_PER_MS, AudioWindow, SilenceSegmenter

BLOCK_MS = 10_000


def film(spoken: Sequence[tuple[int, int]], length_ms: int) -> Samples:
    """Silence, and a constant where somebody speaks."""
    sound = np.zeros(length_ms * SAMPLES_PER_MS, dtype=np.float32)
    for start, end in spoken:
        sound[start * SAMPLES_PER_MS : end * SAMPLES_PER_MS] = 0.5
    return sound


def speech_in(samples: Samples) -> list[Span]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (np.abs(samples) > 0.1).astype(int), [0]])))
    return [
        Span(Ms(start // SAMPLES_PER_MS), Ms(end // SAMPLES_PER_MS))
        for start, end in edges.reshape(-1, 2)
        if end // SAMPLES_PER_MS > start // SAMPLES_PER_MS
    ]


def cut(sound: Samples, from_ms: int = 0) -> list[AudioWindow]:
    cutter = SilenceSegmenter(speech_in)
    windows: list[AudioWindow] = []
    for start in range(from_ms, len(sound) // SAMPLES_PER_MS, BLOCK_MS):
        windows += cutter.feed(Ms(start), sound[start * SAMPLES_PER_MS : (start + BLOCK_MS) * SAMPLES_PER_MS])
    return windows + list(cutter.finish())


@pytest.mark.parametrize("length_ms", [5_000, 60_000, 61_000, 600_000])
def test_all_speech_is_in_exactly_one_window(length_ms: int) -> None:
    rng = np.random.default_rng(length_ms)
    spoken, at = [], 700
    while at < length_ms - 4_000:
        long = int(rng.integers(400, 3_000))
        spoken.append((at, at + long))
        at += long + int(rng.integers(250, 4_000))
    windows = cut(film(spoken, length_ms))
    heard = [(span.start, span.end) for window in windows for span in window.speech]
    assert heard == spoken
    assert all(
        window.start <= window.speech[0].start and window.end >= window.speech[-1].end for window in windows
    )
    assert all(window.end - window.start <= MAX_WINDOW_MS for window in windows)
    assert all(before.end <= after.start for before, after in itertools.pairwise(windows))
    assert all(len(window.samples) == (window.end - window.start) * SAMPLES_PER_MS for window in windows)


@pytest.mark.parametrize(("shortest_ms", "longest_ms"), [(160, 300), (300, 900)])
@pytest.mark.parametrize("seed", range(3))
def test_no_window_begins_or_ends_inside_a_word_however_quickly_people_talk(
    shortest_ms: int, longest_ms: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    spoken, at = [], 500
    while at < 600_000:
        long = int(rng.integers(1_500, 9_000))
        spoken.append((at, at + long))
        at += long + int(rng.integers(shortest_ms, longest_ms))
    windows = cut(film(spoken, at + 2_000))
    borders = [border for window in windows for border in (window.start, window.end)]
    assert [(border, span) for border in borders for span in spoken if span[0] < border < span[1]] == []
    assert [(span.start, span.end) for window in windows for span in window.speech] == spoken
    assert all(window.end - window.start <= MAX_WINDOW_MS for window in windows)


def test_silence_gives_no_window() -> None:
    assert cut(film([], 300_000)) == []


def test_speech_without_a_pause_is_cut_at_its_quietest() -> None:
    sound = film([(1_000, 95_000)], 100_000)
    for quiet in (24_000, 50_000, 74_000):
        sound[quiet * SAMPLES_PER_MS : (quiet + 100) * SAMPLES_PER_MS] = 0.11
    windows = cut(sound)
    assert all(window.end - window.start <= MAX_WINDOW_MS + 500 for window in windows)
    assert sum(span.end - span.start for window in windows for span in window.speech) == pytest.approx(
        94_000, abs=600
    )


def test_going_on_after_a_window_gives_the_windows_that_follow() -> None:
    spoken = [(start, start + 2_000) for start in range(1_000, 200_000, 3_500)]
    sound = film(spoken, 205_000)
    windows = cut(sound)
    rest = cut(sound, windows[2].end)
    assert [span for window in rest for span in window.speech] == [
        span for window in windows[3:] for span in window.speech
    ]
