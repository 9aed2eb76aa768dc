"""Knows a sound again when its file was remuxed: how loud six stretches of it are."""

import numpy as np
import numpy.typing as npt

from fluxcaption.domain.errors import MediaUnreadable
from fluxcaption.domain.units import Ms
from fluxcaption.ports.media import SAMPLE_RATE_HZ, MediaLocation, MediaReader, Samples

STRETCHES = 6
STRETCH_MS = 10_000
FRAME = SAMPLE_RATE_HZ // 20
FRAMES = STRETCH_MS // 50
MAX_SHIFT = 10
"""Frames of 50 ms by which a remux may move the sound."""

ALIKE = 0.95
"""Correlation from which two stretches are the same sound; speech against other speech stays below 0.6."""

NEEDED = 5
SILENT = 1e-3


class EnergySketcher:
    """SoundSketcher over a media reader."""

    def __init__(self, reader: MediaReader) -> None:
        self._reader = reader

    def sketch(self, location: MediaLocation, ordinal: int, duration_ms: Ms) -> bytes:
        """What six stretches of 10 s look like: log energy in frames of 50 ms."""
        envelopes = []
        for number in range(STRETCHES):
            start = Ms(max(0, int((duration_ms - STRETCH_MS) * (number + 0.5) / STRETCHES)))
            try:
                pieces = [
                    samples
                    for _, samples in self._reader.blocks(location, ordinal, start, Ms(start + STRETCH_MS))
                ]
            except MediaUnreadable:
                # A stretch behind the last sound; the listening itself says so if all of it is unreadable.
                pieces = []
            envelopes.append(envelope(np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.float32)))
        return np.concatenate(envelopes).astype("<f4").tobytes()

    def is_same(self, first: bytes, second: bytes) -> bool:
        """Whether two sketches are of one sound, however it is packed."""
        one, other = _stretches(first), _stretches(second)
        if one is None or other is None:
            return False
        votes = [alike(a, b) for a, b in zip(one, other, strict=True)]
        told = [vote for vote in votes if vote is not None]
        return len(told) >= 2 and sum(told) >= min(NEEDED, len(told))


def envelope(samples: Samples) -> npt.NDArray[np.float32]:
    """Log energy of one stretch; missing sound counts as silence."""
    padded = np.zeros(FRAME * FRAMES, dtype=np.float32)
    padded[: min(len(samples), len(padded))] = samples[: len(padded)]
    power = np.sqrt((padded.reshape(FRAMES, FRAME) ** 2).mean(axis=1))
    logarithm: npt.NDArray[np.float32] = np.log(power + SILENT).astype(np.float32)
    return logarithm


def alike(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> bool | None:
    """Whether two stretches are the same sound; None where one is silent and tells nothing."""
    if one.std() < 0.05 and other.std() < 0.05:
        return None
    best = 0.0
    for shift in range(-MAX_SHIFT, MAX_SHIFT + 1):
        a = one[max(0, shift) : FRAMES + min(0, shift)]
        b = other[max(0, -shift) : FRAMES + min(0, -shift)]
        if a.std() > 0 and b.std() > 0:
            best = max(best, float(np.corrcoef(a, b)[0, 1]))
    return best >= ALIKE


def _stretches(sketch: bytes) -> npt.NDArray[np.float32] | None:
    values = np.frombuffer(sketch, dtype="<f4")
    return values.reshape(STRETCHES, FRAMES).astype(np.float32) if len(values) == STRETCHES * FRAMES else None
