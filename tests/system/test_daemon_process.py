"""The daemon as a process: start, commands through the control socket, signals and restart."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.media import repeated
from tests.support.app import DEMO, SPEECH_FILM

CONFIG = """
server: {type: folder, path: media}
languages: {targets: [en], when_spoken: make}
backlog: {mode: all}
asr: {backends: [{type: local, model: miniature}]}
limits: {disk_free: 0B}
web: {listen: "127.0.0.1:0"}
log: {format: text}
state: state
"""


def fluxcaption(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fluxcaption", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


NO_SPEECH_RECOGNITION = 'schedule: {pause: ["00:00-12:00", "12:00-23:59"]}\n'


def prepare(folder: Path, *, repeats: int, extra: str = "") -> Path:
    """Write a library with one film of `repeats` minutes. Return the configuration file."""
    repeated(
        DEMO / SPEECH_FILM / f"{SPEECH_FILM}.mkv",
        folder / "media" / "Long (2020)" / "Long (2020).mkv",
        repeats,
    )
    (folder / "config.yaml").write_text(CONFIG + extra, encoding="utf-8")
    return folder / "config.yaml"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return prepare(tmp_path, repeats=12)


@pytest.fixture
def short_film(tmp_path: Path) -> Path:
    return prepare(tmp_path, repeats=1)


@dataclass
class Stopped:
    """How a process ended."""

    exit_code: int
    seconds: float
    stderr: str


@contextmanager
def daemon(config: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a daemon from the end of its first scan."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fluxcaption", "run", "--config", str(config)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "library scanned" in line:
                break
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stderr.close()


@dataclass
class Running:
    """A running daemon and its configuration file."""

    config: Path
    process: subprocess.Popen[str]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One daemon for all tests that only send commands to it; its job stays in the queue."""
    config = prepare(tmp_path_factory.mktemp("running"), repeats=1, extra=NO_SPEECH_RECOGNITION)
    with daemon(config) as process:
        yield Running(config, process)
        assert terminate(process).exit_code == 0


def terminate(process: subprocess.Popen[str]) -> Stopped:
    """Send SIGTERM and wait for the end of the process."""
    started_at = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    stderr = process.stderr.read()
    return Stopped(process.wait(30), time.monotonic() - started_at, stderr)


def run_json(*arguments: str | Path) -> Any:
    result = fluxcaption(*arguments, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_sigterm_ends_the_daemon_during_a_film(config: Path) -> None:
    with daemon(config) as process:
        stopped = terminate(process)
    assert stopped.exit_code == 0, stopped.stderr
    assert stopped.seconds <= 10
    assert "Traceback" not in stopped.stderr


def test_an_interrupted_job_is_finished_at_the_next_start(config: Path) -> None:
    with daemon(config) as process:
        terminate(process)
    result = fluxcaption("run", "--once", "--config", config)
    assert result.returncode == 0, result.stderr
    assert "1 subtitle(s) made" in result.stdout


def test_the_state_is_readable_only_by_its_owner(running: Running) -> None:
    state = running.config.parent / "state"
    database = state / "fluxcaption.sqlite3"
    assert database.stat().st_mode & 0o077 == 0 or state.stat().st_mode & 0o077 == 0
    assert (state / "control.sock").stat().st_mode & 0o777 == 0o600


def test_jobs_lists_the_queue_of_the_running_daemon(running: Running) -> None:
    (job,) = run_json("jobs", "--config", running.config)
    assert (job["title"], job["state"]) == ("Long (2020)", "queued")


def test_the_queue_is_paused_and_resumed(running: Running) -> None:
    assert run_json("jobs", "pause", "--config", running.config) == {"paused": True}
    assert run_json("jobs", "resume", "--config", running.config) == {"paused": False}


def test_scan_runs_in_the_running_daemon(running: Running) -> None:
    result = fluxcaption("scan", "--config", running.config)
    assert "1 titles scanned" in result.stdout
    assert "h of work at" in result.stdout


def test_an_unknown_job_is_a_usage_error(running: Running) -> None:
    result = fluxcaption("jobs", "show", "77", "--config", running.config)
    assert result.returncode == 2
    assert result.stderr == "fluxcaption: there is no job 77: see `fluxcaption jobs`\n"


def test_a_second_daemon_on_the_same_state_is_refused(running: Running) -> None:
    second = fluxcaption("run", "--config", running.config)
    assert second.returncode == 1
    assert f"is used by another FluxCaption (process {running.process.pid})" in second.stderr


def test_a_job_is_cancelled_and_retried(running: Running) -> None:
    cancelled = run_json("jobs", "cancel", "1", "--config", running.config)
    assert cancelled["state"] == "cancelled"
    retried = run_json("jobs", "retry", "1", "--config", running.config)
    assert retried["state"] == "queued"


def test_a_failed_scan_exits_with_75_with_and_without_a_daemon(short_film: Path) -> None:
    media = short_film.parent / "media"
    with daemon(short_film) as process:
        media.rename(short_film.parent / "elsewhere")
        with_daemon = fluxcaption("scan", "--config", short_film)
        assert terminate(process).exit_code == 0
    without_daemon = fluxcaption("scan", "--config", short_film)
    for result in (with_daemon, without_daemon):
        assert (result.returncode, result.stdout) == (75, "")
        assert str(media) in result.stderr
    assert with_daemon.stderr == without_daemon.stderr


def test_an_unreadable_file_is_reported_by_every_scan(short_film: Path) -> None:
    film = short_film.parent / "media" / "Long (2020)" / "Long (2020).mkv"
    film.write_bytes(b"")
    for _ in range(2):
        result = fluxcaption("run", "--once", "--config", short_film)
        assert (result.returncode, result.stderr) == (0, "")
        assert "Long (2020).mkv cannot be used: it is empty. Copy it again" in result.stdout


def test_a_repaired_file_gets_its_subtitle(short_film: Path) -> None:
    film = short_film.parent / "media" / "Long (2020)" / "Long (2020).mkv"
    content = film.read_bytes()
    film.write_bytes(b"")
    fluxcaption("run", "--once", "--config", short_film)
    film.write_bytes(content)
    assert "1 subtitle(s) made" in fluxcaption("run", "--once", "--config", short_film).stdout


def test_a_dry_run_reports_the_cost_and_changes_no_file(config: Path) -> None:
    before = sorted(path.name for path in config.parent.rglob("*"))
    report = run_json("scan", "--dry-run", "--config", config)
    assert report["gaps"] == {"en": {"listen": 1}}
    assert report["forecast"]["titles"] == 1
    assert 0.2 < report["forecast"]["listening_hours"] < 0.3
    assert sorted(path.name for path in config.parent.rglob("*")) == before


def test_systemd_is_notified_of_start_and_stop(config: Path, tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        receiver.settimeout(30)
        process = subprocess.Popen(
            [sys.executable, "-m", "fluxcaption", "run", "--config", str(config)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NOTIFY_SOCKET": address},
        )
        try:
            assert receiver.recv(100) == b"READY=1"
            process.send_signal(signal.SIGTERM)
            assert receiver.recv(100) == b"STOPPING=1"
            assert process.poll() is None, "STOPPING comes before the end"
            assert process.wait(30) == 0
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()


def test_sigterm_ends_the_daemon_while_the_server_does_not_answer(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        server = (
            f"{{type: jellyfin, url: 'http://127.0.0.1:{silent.getsockname()[1]}', api_key: '{'k' * 32}'}}"
        )
        (tmp_path / "config.yaml").write_text(
            CONFIG.replace("{type: folder, path: media}", server), encoding="utf-8"
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "fluxcaption", "run", "--config", str(tmp_path / "config.yaml")],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        try:
            silent.settimeout(30)
            connection, _ = silent.accept()
            connection.recv(1)
            stopped = terminate(process)
            connection.close()
        finally:
            process.kill()
            process.wait()
            process.stderr.close()
    assert stopped.exit_code == 0, stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert stopped.seconds <= 5


BLOCKED_THREAD = """
import asyncio, sys, threading
from fluxcaption.cli.common import run_async, run_guarded
async def work():
    blocked = asyncio.ensure_future(asyncio.to_thread(threading.Event().wait))
    await asyncio.sleep(0)
    print("done", flush=True)
    return 75
run_guarded(lambda: run_async(work()), debug=False)
"""


def test_a_blocked_thread_does_not_delay_the_exit_code() -> None:
    result = subprocess.run(
        [sys.executable, "-c", BLOCKED_THREAD], capture_output=True, text=True, timeout=20, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (75, "done\n", "")


def test_the_engine_libraries_are_not_imported_at_the_start() -> None:
    program = (
        "import sys, fluxcaption.cli.run, fluxcaption.jellyfin.server;"
        "engines = {'numpy', 'av', 'ctranslate2', 'faster_whisper', 'onnxruntime', 'py3langid'};"
        "print(sorted(engines & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout == "[]\n"
