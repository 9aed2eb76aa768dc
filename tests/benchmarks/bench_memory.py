"""Memory of the whole program: `run --once` on 10 and 60 minutes of speech, and the idle daemon before any job.

`python -m tests.benchmarks.bench_memory`; every run is a process of its own, read from /proc.
"""

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fakes.media import repeated

CLIP = (
    Path(__file__).parents[2]
    / "config"
    / "demo"
    / "library"
    / "A Day in the Garden (2026)"
    / "A Day in the Garden (2026).mkv"
)
CONFIG = """
server: {{type: folder, path: media}}
languages: {{targets: [en], when_spoken: make}}
backlog: {{mode: {mode}}}
asr: {{backends: [{{type: local, model: miniature}}]}}
limits: {{disk_free: 0B}}
web: {{listen: "127.0.0.1:0"}}
state: state
"""
ENGINES = ("ctranslate2", "onnxruntime", "libav", "avcodec", "faster_whisper", "sentencepiece")


def once(minutes: int) -> tuple[float, float]:
    """Peak RSS in MB and wall time in seconds of `run --once` on that much speech."""
    with tempfile.TemporaryDirectory() as folder:
        repeated(CLIP, Path(folder, "media", "Film (2020)", "Film (2020).mkv"), round(minutes * 60 / 70))
        Path(folder, "config.yaml").write_text(CONFIG.format(mode="all"), encoding="utf-8")
        code = (
            "import resource, subprocess, sys, json, time; began = time.time();"
            "subprocess.run([sys.executable, '-m', 'fluxcaption', 'run', '--once', '--config', sys.argv[1]], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL);"
            "print(json.dumps([resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, time.time() - began]))"
        )
        made = subprocess.run(
            [sys.executable, "-c", code, str(Path(folder, "config.yaml"))],
            capture_output=True,
            text=True,
            check=True,
        )
        peak, took = json.loads(made.stdout)
        return peak, took


def idle() -> tuple[float, list[str]]:
    """RSS in MB of the daemon that has nothing to do, and which engine libraries it has mapped."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "media").mkdir()
        Path(folder, "config.yaml").write_text(CONFIG.format(mode="none"), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-m", "fluxcaption", "run", "--config", str(Path(folder, "config.yaml"))],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        for line in process.stderr:
            if "library scanned" in line:
                break
        time.sleep(2)
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        maps = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        match = re.search(r"VmRSS:\s+(\d+)", status)
        assert match is not None
        return int(match[1]) / 1024, [name for name in ENGINES if name in maps]


def main() -> None:
    """Print the figures."""
    rss, mapped = idle()
    print(f"idle daemon before any job: {rss:.0f} MB RSS, engine libraries mapped: {mapped or 'none'}")
    for minutes in (10, 60):
        peak, took = once(minutes)
        print(f"run --once on {minutes} min of speech: peak {peak:.0f} MB RSS, {took:.1f} s")


if __name__ == "__main__":
    main()
