"""Decoding of one audio track to blocks of mono float32 at 16 kHz, -1 to 1."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from fluxcaption.domain.errors import MediaUnreadable
from fluxcaption.domain.units import Ms
from fluxcaption.media.container import discard_other_streams, duration_ms, start_time_s
from fluxcaption.ports.media import SAMPLE_RATE_HZ, Samples

SAMPLES_PER_MS = SAMPLE_RATE_HZ // 1000
BLOCK_MS = 10_000
MAX_BAD_PACKETS = 200
"""Undecodable packets that are skipped before the track is given up."""

MAX_JITTER_MS = 50
"""Difference of a time stamp from the decoded position that is ignored; a longer gap becomes silence."""

SEEK_MARGIN_MS = 2_000
"""Distance before the requested start that a seek aims at."""

MAX_STEP_BACK_MS = 2_000
"""A time stamp further behind the decoded position means that the clock of the file was reset."""

MAX_OVERRUN_MS = 60_000
"""A time stamp further behind the stated end of the file is false."""

MAX_POSITION_MS = 24 * 3_600_000
"""A time stamp later than a day is false, even if the stated length agrees: it may come from time stamps."""


def decode_blocks(
    container: Any, stream: Any, start: Ms, stop: Ms | None, name: str
) -> Iterator[tuple[Ms, Samples]]:
    """Decode one audio stream from `start` to `stop`, in ms from the start of the media source.

    Yields:
        Position in ms and samples of each block; blocks are contiguous and at most `BLOCK_MS` long.

    Raises:
        MediaUnreadable: Nothing can be decoded, or more than `MAX_BAD_PACKETS` packets are damaged.
    """
    import av
    from av.error import FFmpegError

    discard_other_streams(container, stream)
    origin_s = start_time_s(container)
    if start > 0:
        seek_to_s = origin_s + max(0, start - SEEK_MARGIN_MS) / 1000
        with suppress(FFmpegError):
            container.seek(int(seek_to_s * 1e6), backward=True)
    assembler = BlockAssembler(start, stop, duration_ms(container))
    resampler: Any = None
    input_format: object = None
    for frame in _decode_frames(container, stream, name):
        timestamp_ms = _timestamp_ms(frame, origin_s)
        # The resampler would derive time stamps of its own from this.
        frame.pts = None
        frame_format = (frame.format.name, frame.layout.name, frame.sample_rate)
        if frame_format != input_format:
            # Broadcasts switch between stereo and mono; a resampler accepts only its first format.
            yield from _flush_resampler(resampler, assembler)
            resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
            input_format = frame_format
        for resampled in resampler.resample(frame):
            yield from assembler.add(timestamp_ms, _to_samples(resampled))
            timestamp_ms = None
        if assembler.is_complete:
            return
    yield from _flush_resampler(resampler, assembler)
    yield from assembler.finish()


def _decode_frames(container: Any, stream: Any, name: str) -> Iterator[Any]:
    """Decode the packets of a stream and skip damaged ones."""
    from av.error import FFmpegError

    bad_packets = decoded_frames = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except FFmpegError as error:
            bad_packets += 1
            if bad_packets > MAX_BAD_PACKETS:
                raise MediaUnreadable(name, "too many packets of its audio track are damaged") from error
            continue
        decoded_frames += len(frames)
        yield from frames
    if not decoded_frames:
        raise MediaUnreadable(name, "nothing in its audio track can be decoded")


def _timestamp_ms(frame: Any, origin_s: float) -> float | None:
    if frame.pts is None or frame.time_base is None:
        return None
    return (float(frame.pts * frame.time_base) - origin_s) * 1000


def _flush_resampler(resampler: Any, assembler: "BlockAssembler") -> Iterator[tuple[Ms, Samples]]:
    """Add the samples that a resampler still buffers."""
    if resampler is not None:
        for resampled in resampler.resample(None):
            yield from assembler.add(None, _to_samples(resampled))


def _to_samples(frame: Any) -> Samples:
    import numpy as np  # loaded with the first job

    return np.asarray(frame.to_ndarray(), dtype=np.float32).reshape(-1)


class BlockAssembler:
    """Places decoded samples by their time stamps and cuts them into blocks.

    Gaps are filled with silence and overlaps are dropped, so that the position in the samples stays the time
    in the media source. After a time stamp that cannot be true (a joined recording, a broadcast whose clock
    was reset), the samples continue at the position reached so far.

    Positions are counted in samples from the start of the media source.
    """

    def __init__(self, start: Ms, stop: Ms | None, duration_ms: Ms) -> None:
        latest_ms = min(duration_ms + MAX_OVERRUN_MS, MAX_POSITION_MS) if duration_ms else MAX_POSITION_MS
        self._start = start * SAMPLES_PER_MS
        self._stop = None if stop is None else stop * SAMPLES_PER_MS
        self._max_position = latest_ms * SAMPLES_PER_MS
        self._next_position: int | None = None
        self._timestamp_offset = 0
        self._pending: list[Samples] = []
        self._pending_length = 0
        self._emitted_until = self._start

    @property
    def is_complete(self) -> bool:
        """Return True if the samples reach `stop`."""
        return self._stop is not None and self._assembled_until >= self._stop

    @property
    def _assembled_until(self) -> int:
        return self._emitted_until + self._pending_length

    def add(self, timestamp_ms: float | None, samples: Samples) -> Iterator[tuple[Ms, Samples]]:
        """Add decoded samples and yield the blocks that are full; None continues after the samples before."""
        import numpy as np  # loaded with the first job

        position = self._position_of(timestamp_ms)
        self._next_position = position + len(samples)
        gap = position - self._assembled_until
        if gap < 0:
            samples = samples[-gap:]
        while gap > 0:
            silence = np.zeros(min(gap, BLOCK_MS * SAMPLES_PER_MS), dtype=np.float32)
            yield from self._append(silence)
            gap -= len(silence)
        if self._stop is not None:
            samples = samples[: max(0, self._stop - self._assembled_until)]
        yield from self._append(samples)

    def finish(self) -> Iterator[tuple[Ms, Samples]]:
        """Yield the last block, which may be shorter."""
        if self._pending_length:
            yield self._emit(self._pending_length)

    def _position_of(self, timestamp_ms: float | None) -> int:
        if timestamp_ms is None:
            return self._next_position or 0
        position = int(timestamp_ms * SAMPLES_PER_MS) + self._timestamp_offset
        if self._next_position is None:
            if position <= self._max_position:
                return position
            self._next_position = self._start
        if abs(position - self._next_position) <= MAX_JITTER_MS * SAMPLES_PER_MS:
            return self._next_position
        earliest = self._next_position - MAX_STEP_BACK_MS * SAMPLES_PER_MS
        if not earliest <= position <= self._max_position:
            self._timestamp_offset += self._next_position - position
            return self._next_position
        return position

    def _append(self, samples: Samples) -> Iterator[tuple[Ms, Samples]]:
        if len(samples):
            self._pending.append(samples)
            self._pending_length += len(samples)
        while self._pending_length >= BLOCK_MS * SAMPLES_PER_MS:
            yield self._emit(BLOCK_MS * SAMPLES_PER_MS)

    def _emit(self, length: int) -> tuple[Ms, Samples]:
        import numpy as np  # loaded with the first job

        pending = np.concatenate(self._pending)
        block, remaining = pending[:length], pending[length:]
        start = Ms(self._emitted_until // SAMPLES_PER_MS)
        self._pending, self._pending_length = ([remaining] if len(remaining) else []), len(remaining)
        self._emitted_until += length
        return start, block
