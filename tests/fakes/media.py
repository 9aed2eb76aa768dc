"""Media for tests: the demo clips packed anew, longer or in another container, and clips of any sound."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

RATE = 16_000


def repeated(source: Path, target: Path, times: int, *, from_s: float = 0.0) -> Path:
    """The sound of a clip several times after itself, copied packet by packet; the container is the target's suffix."""
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
                # A codec may start before zero; times must only grow.
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
    """A clip with one sound track for each (language, samples); `then` goes on with more sound whose time stamps jump by so many seconds."""
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
            jump_s, more = then or (0.0, samples[:0])
            whole = np.concatenate([samples, more])
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
