"""A real model through the daemon's path beside the bare engine: `FLUXCAPTION_REAL_MODEL=DIR python -m tests.benchmarks.bench_speech SOUND "WORDS"`.

Each way runs in a process of its own; prints words, word error rate, × real time and peak memory.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.measuring import word_error_rate

BARE = """
import json, resource, sys, time
import av, numpy as np
from faster_whisper import WhisperModel
model = WhisperModel(sys.argv[2], device="cpu", compute_type="int8", cpu_threads=1)
began = time.perf_counter()
from faster_whisper import decode_audio
sound = decode_audio(sys.argv[1])
segments, info = model.transcribe(sound, language="en", condition_on_previous_text=False)
text = " ".join(segment.text.strip() for segment in segments)
took = time.perf_counter() - began
print(json.dumps({"text": text, "took": took, "sound": len(sound) / 16000, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""
OURS = """
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
    store = await SqliteStorage.open(Path(sys.argv[3]))
    location = MediaLocation(sys.argv[1])
    duration, audio, _ = engines.media.probe(location)
    listener = build_transcriber(engines, store)
    engines.recognizer._loaded()
    began = time.perf_counter()
    identity = engines.media.identify(location, duration)
    transcript = await listener.hear(location, audio[0], identity, 1)
    took = time.perf_counter() - began
    text = " ".join(segment.text for segment in transcript.segments)
    print(json.dumps({"text": text, "took": took, "sound": duration / 1000, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
    await engines.unload(); await engines.close(); await store.close()
asyncio.run(main())
"""


def main() -> None:
    """Print both rows."""
    model = os.environ.get("FLUXCAPTION_REAL_MODEL")
    if not model:
        print("not measured: FLUXCAPTION_REAL_MODEL names no directory")
        return
    import tempfile

    sound, words = Path(sys.argv[1]), sys.argv[2]
    for name, code in (("bare engine", BARE), ("daemon's path", OURS)):
        with tempfile.TemporaryDirectory() as state:
            made = subprocess.run(
                [sys.executable, "-c", code, str(sound), model, state],
                capture_output=True,
                text=True,
                check=True,
            )
        value = json.loads(made.stdout.splitlines()[-1])
        rate = 100 * word_error_rate(words, value["text"])
        print(
            f"{name}: word error rate {rate:.1f} %, {value['sound'] / value['took']:.1f} × real time, peak {value['peak']:.0f} MB: {value['text']}"
        )


if __name__ == "__main__":
    main()
