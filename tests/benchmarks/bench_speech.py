"""A real speech model in the daemon's transcriber, compared with faster-whisper alone.

Usage: `FLUXCAPTION_REAL_MODEL=DIR python -m tests.benchmarks.bench_speech MEDIA "SPOKEN WORDS"`. Each variant
runs in a separate process; printed are word error rate, speed relative to real time, peak memory and text.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.measuring import word_error_rate

ENGINE = """
import json, resource, sys, time
import av, numpy as np
from faster_whisper import WhisperModel
model = WhisperModel(sys.argv[2], device="cpu", compute_type="int8", cpu_threads=1)
began = time.perf_counter()
from faster_whisper import decode_audio
samples = decode_audio(sys.argv[1])
segments, info = model.transcribe(samples, language="en", condition_on_previous_text=False)
text = " ".join(segment.text.strip() for segment in segments)
duration_s = time.perf_counter() - began
peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"text": text, "duration_s": duration_s, "audio_s": len(samples) / 16000, "peak_mb": peak_mb}))
"""
TRANSCRIBER = """
import asyncio, json, resource, sys, time
from pathlib import Path
from fluxcaption.ports.media import MediaLocation
from fluxcaption.malloc import keep_memory_tight
from fluxcaption.settings import LocalSpeech
from fluxcaption.storage.storage import SqliteStorage
from fluxcaption.engines import build_engines, build_transcriber
async def main():
    keep_memory_tight()
    engines = build_engines(LocalSpeech(model=sys.argv[2]), [], threads=1, jobs=1, nice=0)
    storage = await SqliteStorage.open(Path(sys.argv[3]))
    location = MediaLocation(sys.argv[1])
    duration, audio, _ = engines.media.probe(location)
    transcriber = build_transcriber(engines, storage)
    with engines.recognizer._loaded_model():  # loaded before the measurement
        pass
    began = time.perf_counter()
    identity = engines.media.identify(location, duration)
    transcript = await transcriber.transcribe(location, audio[0], identity, 1)
    duration_s = time.perf_counter() - began
    text = " ".join(segment.text for segment in transcript.segments)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"text": text, "duration_s": duration_s, "audio_s": duration / 1000, "peak_mb": peak_mb}))
    await engines.unload()
    await engines.close()
    await storage.close()
asyncio.run(main())
"""


def main() -> None:
    """Print a line for each variant."""
    model = os.environ.get("FLUXCAPTION_REAL_MODEL")
    if not model:
        print("Not measured: FLUXCAPTION_REAL_MODEL is not set.")
        return
    media, spoken = Path(sys.argv[1]), sys.argv[2]
    for name, code in (("faster-whisper", ENGINE), ("transcriber", TRANSCRIBER)):
        with tempfile.TemporaryDirectory() as state:
            finished = subprocess.run(
                [sys.executable, "-c", code, str(media), model, state],
                capture_output=True,
                text=True,
                check=True,
            )
        value = json.loads(finished.stdout.splitlines()[-1])
        rate = 100 * word_error_rate(spoken, value["text"])
        print(
            f"{name}: word error rate {rate:.1f} %, {value['audio_s'] / value['duration_s']:.1f} × real time,"
            f" peak {value['peak_mb']:.0f} MB: {value['text']}"
        )


if __name__ == "__main__":
    main()
