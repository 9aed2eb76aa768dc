"""Generator of the demo library: drawn pictures, espeak-ng voices, pauses, a tone, and the spoken text.

Usage: `python -m tests.miniatures.make_demo`, with libespeak-ng and the extra `train`. The same seed gives the
same audio samples.
"""

import importlib
import json
import random
import sys
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from fluxcaption.domain.cues import Cue
from fluxcaption.subtitles.codec import Pysubs2Codec

RECIPE = Path(__file__).parent / "recipe"
DEMO = Path(__file__).parents[2] / "config" / "demo"
RATE = 16_000
FPS = 8
SIZE = (320, 180)

Sound = npt.NDArray[np.float32]


def speech(seed: int, length_s: float, tone_at_s: float) -> tuple[Sound, list[dict[str, Any]]]:
    """Return a monologue with pauses of 0.5 to 2 s and five seconds of a tone, and its sentences."""
    sys.path.insert(0, str(RECIPE))
    espk, lexicon = importlib.import_module("espk"), importlib.import_module("lexicon")

    r = random.Random(seed)
    voice = r.choice(["en-us", "en-us+f2"])
    sound = np.zeros(int((length_s + 10) * RATE), dtype=np.float32)
    at, truth, toned = 1.5, [], False
    while at < length_s - 4:
        if not toned and at > tone_at_s:
            t = np.arange(5 * RATE) / RATE
            sound[int(at * RATE) : int(at * RATE) + len(t)] += (
                0.08 * np.sin(2 * np.pi * 440 * t) * np.minimum(1, np.minimum(t, 5 - t) * 5)
            ).astype(np.float32)
            at, toned = at + 6, True
        english, spanish, german = lexicon.sentence(r)
        wave, _ = espk.synth(english, voice, 150, 50, 50)
        sound[int(at * RATE) : int(at * RATE) + len(wave)] += wave * 0.6
        end = at + len(wave) / RATE
        truth.append(
            {
                "start_ms": round(at * 1000),
                "end_ms": round(end * 1000),
                "en": english,
                "es": spanish,
                "de": german,
            }
        )
        at = end + r.uniform(0.5, 2.0)
    sound = sound[: int((at + 1) * RATE)]
    return sound + (np.random.default_rng(seed).standard_normal(len(sound)) * 0.0008).astype(
        np.float32
    ), truth


def picture(number: int, seed: int) -> npt.NDArray[np.uint8]:
    """Return one frame: a sky, a hill, a moving sun and a house."""
    width, height = SIZE
    y, x = np.mgrid[0:height, 0:width]
    frame = np.zeros((height, width, 3), dtype=np.uint8)
    frame[..., 2], frame[..., 1], frame[..., 0] = 200, 150 + y // 3, 90 + seed * 20 % 80
    hill = y > 130 + 18 * np.sin(x / 40 + seed)
    frame[hill] = (60, 140, 60)
    sun = (x - (number * 2 + 40) % width) ** 2 + (y - 45) ** 2 < 300
    frame[sun] = (250, 220, 80)
    frame[100:140, 60 + seed * 30 % 150 : 110 + seed * 30 % 150] = (150, 60, 50)
    return frame


def write_clip(path: Path, sound: Sound, seed: int, cues: list[dict[str, Any]] | None) -> None:
    """Encode pictures, audio and an embedded text track, if `cues` are given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seconds = len(sound) / RATE
    with ExitStack() as stack:
        container = stack.enter_context(av.open(str(path), "w", options={"fflags": "+bitexact"}))
        video = container.add_stream("mpeg4", rate=FPS)
        video.width, video.height, video.pix_fmt, video.bit_rate = *SIZE, "yuv420p", 40_000
        audio = container.add_stream("libopus", rate=48_000, layout="mono")
        audio.bit_rate = 32_000
        audio.metadata["language"] = "eng"
        text = None
        packets: list[Any] = []
        if cues is not None:
            # PyAV cannot encode text; a stream copied from a file needs no encoder.
            srt = path.with_suffix(".source")
            srt.write_bytes(
                Pysubs2Codec().write_srt([Cue(cue["start_ms"], cue["end_ms"], (cue["en"],)) for cue in cues])
            )
            source = stack.enter_context(av.open(str(srt), format="srt"))
            srt.unlink()
            text = container.add_stream_from_template(source.streams.subtitles[0])
            text.metadata["language"] = "eng"
            packets = [packet for packet in source.demux() if packet.size]
        resampler = av.AudioResampler(format="flt", layout="mono", rate=48_000)
        position = 0
        for number in range(int(seconds * FPS)):
            frame = av.VideoFrame.from_ndarray(picture(number, seed), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(video.encode(frame))
            stop = min(len(sound), int((number + 1) * RATE / FPS))
            piece = av.AudioFrame.from_ndarray(sound[None, position:stop], format="flt", layout="mono")
            piece.sample_rate, piece.pts, piece.time_base = RATE, position, Fraction(1, RATE)
            position = stop
            for resampled in resampler.resample(piece):
                container.mux(audio.encode(resampled))
            while packets and packets[0].pts * packets[0].time_base <= number / FPS:
                packet = packets.pop(0)
                packet.stream = text
                container.mux(packet)
        for stream in (video, audio):
            container.mux(stream.encode(None))


def main() -> None:
    """Write both clips and their spoken text."""
    known = DEMO / "known-text"
    known.mkdir(parents=True, exist_ok=True)
    for name, seed, length_s, has_text in (
        ("A Day in the Garden (2026)", 7, 70.0, False),
        ("The Blue House (2026)", 21, 64.0, True),
    ):
        sound, truth = speech(seed, length_s, length_s / 2)
        path = DEMO / "library" / name / f"{name}.mkv"
        write_clip(path, sound, seed, truth if has_text else None)
        (known / f"{name}.json").write_text(
            json.dumps(truth, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        print(f"{path.name}: {len(sound) / RATE:.1f} s, {len(truth)} sentences, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
