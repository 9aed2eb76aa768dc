"""Memory of the program: `run --once` on 10 and 60 minutes of speech, and the idle daemon before any job.

Usage: `python -m tests.benchmarks.bench_memory`. Each run is a separate process, measured through /proc.
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
RUN_ONCE = """
import json, resource, subprocess, sys, time
began = time.time()
subprocess.run(
    [sys.executable, "-m", "fluxcaption", "run", "--once", "--config", sys.argv[1]],
    check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
)
peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps([peak_mb, time.time() - began]))
"""
ENGINES = ("ctranslate2", "onnxruntime", "libav", "avcodec", "faster_whisper", "sentencepiece")


def measure_run_once(minutes: int) -> tuple[float, float]:
    """Return the peak RSS in MB and the time in seconds of `run --once` on so many minutes of speech."""
    with tempfile.TemporaryDirectory() as folder:
        repeated(CLIP, Path(folder, "media", "Film (2020)", "Film (2020).mkv"), round(minutes * 60 / 70))
        Path(folder, "config.yaml").write_text(CONFIG.format(mode="all"), encoding="utf-8")
        finished = subprocess.run(
            [sys.executable, "-c", RUN_ONCE, str(Path(folder, "config.yaml"))],
            capture_output=True,
            text=True,
            check=True,
        )
        peak_mb, duration_s = json.loads(finished.stdout)
        return peak_mb, duration_s


def measure_idle_daemon() -> tuple[float, list[str]]:
    """Return the RSS of the idle daemon in MB and the engine libraries that it has mapped."""
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
    rss_mb, mapped = measure_idle_daemon()
    print(f"idle daemon before any job: {rss_mb:.0f} MB RSS, engine libraries mapped: {mapped or 'none'}")
    for minutes in (10, 60):
        peak_mb, duration_s = measure_run_once(minutes)
        print(f"run --once on {minutes} min of speech: peak {peak_mb:.0f} MB RSS, {duration_s:.1f} s")


if __name__ == "__main__":
    main()
