"""Media files for tests: demo clips that are repeated or remuxed, and clips with given audio samples."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

RATE = 16_000


def repeated(source: Path, target: Path, times: int) -> Path:
    """Write the audio track of a clip several times in a row, without encoding it again; return `target`.

    The suffix of `target` selects the container.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(target), "w") as out:
        stream = None
        shift = 0
        for _ in range(times):
            with av.open(str(source)) as clip:
                audio = clip.streams.audio[0]
                if stream is None:
                    stream = out.add_stream_from_template(audio)
                    stream.metadata["language"] = "eng"
                end = 0
                for packet in clip.demux(audio):
                    if packet.pts is None or packet.size == 0:
                        continue
                    end = packet.pts + (packet.duration or 0)
                    packet.pts += shift
                    packet.dts = packet.pts
                    packet.stream = stream
                    out.mux(packet)
                # The first packet can have a negative time; the gap keeps the times increasing.
                shift += end + 40
    return target


def sound_clip(
    path: Path,
    tracks: Sequence[tuple[str | None, npt.NDArray[np.float32]]],
    *,
    rate: int = RATE,
    layout: str = "mono",
    start_s: float = 0.0,
    codec: str = "flac",
    then: tuple[float, npt.NDArray[np.float32]] | None = None,
) -> Path:
    """Write a clip with one audio track for each pair of language and samples; return `path`.

    Args:
        path: File to write; its suffix selects the container.
        tracks: Language and samples at `rate`, -1.0 to 1.0.
        rate: Sample rate, in Hz.
        layout: `mono` or `stereo`.
        start_s: Time of the first sample.
        codec: Audio encoder.
        then: Jump of the time stamps in seconds, and the samples after the jump.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        streams: list[Any] = []
        for language, _ in tracks:
            stream = out.add_stream(codec, rate=rate, layout=layout)
            if language:
                stream.metadata["language"] = language
            streams.append(stream)
        for stream, (_, samples) in zip(streams, tracks, strict=True):
            channels = 2 if layout == "stereo" else 1
            jump_s, continuation = then or (0.0, samples[:0])
            whole = np.concatenate([samples, continuation])
            for at in range(0, len(whole), 4096):
                jump = int(jump_s * rate) if at >= len(samples) else 0
                piece = np.repeat((whole[None, at : at + 4096] * 32767).astype(np.int16), channels, axis=0)
                frame = av.AudioFrame.from_ndarray(piece, format="s16p", layout=layout)
                frame.sample_rate, frame.pts, frame.time_base = (
                    rate,
                    at + int(start_s * rate) + jump,
                    Fraction(1, rate),
                )
                resampler = av.AudioResampler(
                    format=stream.codec_context.format.name, layout=layout, rate=rate
                )
                for ready in resampler.resample(frame):
                    ready.pts = frame.pts
                    out.mux(stream.encode(ready))
            out.mux(stream.encode(None))
    return path
