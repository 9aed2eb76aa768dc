"""Recognition of the same audio after a remux or a re-encoding, by loudness envelopes.

A sketch is the loudness envelope of six excerpts of 10 s, spread evenly over the audio: the logarithm of the
RMS level in frames of 50 ms. Two excerpts match if the normalized cross-correlation of their envelopes
reaches `MIN_CORRELATION` within `MAX_SHIFT_FRAMES`, so that neither volume nor a small delay matters. Two
sketches are the same audio if `MIN_MATCHES` excerpts match, or all of them if fewer can be compared; excerpts
that are silent in both cannot.
"""

from typing import TYPE_CHECKING, TypeAlias

from fluxcaption.domain.errors import MediaUnreadable
from fluxcaption.domain.units import Ms
from fluxcaption.ports.media import SAMPLE_RATE_HZ, MediaLocation, MediaReader, Samples

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

EXCERPT_COUNT = 6
EXCERPT_MS = 10_000
FRAME_MS = 50
FRAME_SAMPLES = SAMPLE_RATE_HZ * FRAME_MS // 1000
FRAMES_PER_EXCERPT = EXCERPT_MS // FRAME_MS
MAX_SHIFT_FRAMES = 10
"""Shift of the audio by a remux that is compensated: 10 frames are 500 ms."""

MIN_CORRELATION = 0.95
"""Correlation of matching excerpts; excerpts of different speech stay below 0.6."""

MIN_MATCHES = 5
MIN_COMPARABLE = 2
"""Excerpts with sound that are needed for a comparison."""

NOISE_FLOOR = 1e-3
"""Added to the RMS level (0 to 1) before the logarithm, so that silence has a finite value (-60 dB)."""

MIN_DEVIATION = 0.05
"""Standard deviation of an envelope below which the excerpt is silent or constant and cannot be compared."""

Envelope: TypeAlias = "npt.NDArray[np.float32]"
"""Natural logarithm of the RMS level, shape (FRAMES_PER_EXCERPT,)."""


class EnergySketcher:
    """SoundSketcher over a media reader."""

    def __init__(self, reader: MediaReader) -> None:
        self._reader = reader

    def sketch(self, location: MediaLocation, ordinal: int, duration_ms: Ms) -> bytes:
        """Return the envelopes of all excerpts as little-endian float32, one after the other."""
        import numpy as np  # loaded with the first job

        envelopes = []
        for number in range(EXCERPT_COUNT):
            start = Ms(max(0, int((duration_ms - EXCERPT_MS) * (number + 0.5) / EXCERPT_COUNT)))
            envelopes.append(loudness_envelope(self._read_excerpt(location, ordinal, start)))
        return np.concatenate(envelopes).astype("<f4").tobytes()

    def is_same(self, first: bytes, second: bytes) -> bool:
        """Return True if two sketches come from the same audio; False if one is damaged or nearly silent."""
        first_envelopes, second_envelopes = _parse_sketch(first), _parse_sketch(second)
        if first_envelopes is None or second_envelopes is None:
            return False
        results = [
            is_same_excerpt(one, other) for one, other in zip(first_envelopes, second_envelopes, strict=True)
        ]
        comparable = [result for result in results if result is not None]
        return len(comparable) >= MIN_COMPARABLE and sum(comparable) >= min(MIN_MATCHES, len(comparable))

    def _read_excerpt(self, location: MediaLocation, ordinal: int, start: Ms) -> Samples:
        """Return up to `EXCERPT_MS` of audio; none if nothing can be decoded there."""
        import numpy as np  # loaded with the first job

        try:
            blocks = self._reader.blocks(location, ordinal, start, Ms(start + EXCERPT_MS))
            pieces = [samples for _, samples in blocks]
        except MediaUnreadable:
            # The excerpt may lie behind the last sound; transcription reports a track without any.
            pieces = []
        return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.float32)


def loudness_envelope(samples: Samples) -> Envelope:
    """Return the log RMS level of one excerpt in frames of 50 ms; missing samples count as silence."""
    import numpy as np  # loaded with the first job

    padded = np.zeros(FRAME_SAMPLES * FRAMES_PER_EXCERPT, dtype=np.float32)
    padded[: min(len(samples), len(padded))] = samples[: len(padded)]
    rms = np.sqrt((padded.reshape(FRAMES_PER_EXCERPT, FRAME_SAMPLES) ** 2).mean(axis=1))
    envelope: Envelope = np.log(rms + NOISE_FLOOR).astype(np.float32)
    return envelope


def is_same_excerpt(first: Envelope, second: Envelope) -> bool | None:
    """Return True if two envelopes match; None if both are silent or constant and cannot be compared."""
    import numpy as np  # loaded with the first job

    if first.std() < MIN_DEVIATION and second.std() < MIN_DEVIATION:
        return None
    best_correlation = 0.0
    for shift in range(-MAX_SHIFT_FRAMES, MAX_SHIFT_FRAMES + 1):
        first_part = first[max(0, shift) : FRAMES_PER_EXCERPT + min(0, shift)]
        second_part = second[max(0, -shift) : FRAMES_PER_EXCERPT + min(0, -shift)]
        if first_part.std() > 0 and second_part.std() > 0:
            correlation = float(np.corrcoef(first_part, second_part)[0, 1])
            best_correlation = max(best_correlation, correlation)
    return best_correlation >= MIN_CORRELATION


def _parse_sketch(sketch: bytes) -> "Envelope | None":
    """Return the envelopes, shape (EXCERPT_COUNT, FRAMES_PER_EXCERPT); None for a sketch of another size."""
    import numpy as np  # loaded with the first job

    values = np.frombuffer(sketch, dtype="<f4")
    if len(values) != EXCERPT_COUNT * FRAMES_PER_EXCERPT:
        return None
    return values.reshape(EXCERPT_COUNT, FRAMES_PER_EXCERPT).astype(np.float32)
