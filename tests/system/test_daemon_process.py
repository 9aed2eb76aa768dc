"""The daemon as a process: ready, steered by commands, ended by a signal, going on afterwards."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.media import repeated
from tests.support.app import DEMO, HEARD

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
        timeout=60,
        check=False,
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    repeated(DEMO / HEARD / f"{HEARD}.mkv", tmp_path / "media" / "Long (2020)" / "Long (2020).mkv", 12)
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    return tmp_path / "config.yaml"


@contextmanager
def daemon(config: Path) -> Iterator[subprocess.Popen[str]]:
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


def ended(process: subprocess.Popen[str]) -> tuple[int, float, str]:
    """Ask it to end; exit code, seconds, and what it said."""
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    rest = process.stderr.read()
    return process.wait(30), time.monotonic() - began, rest


def jobs(config: Path) -> list[dict[str, str]]:
    made = fluxcaption("jobs", "--config", config, "--json")
    assert made.returncode == 0, made.stderr
    value: list[dict[str, str]] = json.loads(made.stdout)
    return value


def test_a_signal_ends_it_in_the_middle_of_a_film_and_the_next_start_goes_on(config: Path) -> None:
    with daemon(config) as process:
        code, seconds, said = ended(process)
        assert code == 0, said
        assert seconds <= 10
        assert "Traceback" not in said
    state = config.parent / "state"
    assert (state / "fluxcaption.sqlite3").stat().st_mode & 0o077 == 0 or (state.stat().st_mode & 0o077) == 0
    made = fluxcaption("run", "--once", "--config", config)
    assert made.returncode == 0, made.stderr
    assert "1 subtitle(s) made" in made.stdout


def test_commands_steer_the_running_daemon(config: Path) -> None:
    with daemon(config) as process:
        assert os.stat(config.parent / "state" / "control.sock").st_mode & 0o777 == 0o600
        assert jobs(config)[0]["state"] in {"running", "queued", "done"}
        assert fluxcaption("jobs", "pause", "--config", config).returncode == 0
        cancelled = fluxcaption("jobs", "cancel", "1", "--config", config, "--json")
        assert json.loads(cancelled.stdout)["state"] in {"cancelled", "done"}
        retried = fluxcaption("jobs", "retry", "1", "--config", config, "--json")
        assert retried.returncode == 0, retried.stderr
        assert fluxcaption("jobs", "resume", "--config", config).returncode == 0
        scanned = fluxcaption("scan", "--config", config)
        assert "1 titles looked at" in scanned.stdout
        assert "h of work at" in scanned.stdout
        missing = fluxcaption("jobs", "show", "77", "--config", config)
        assert (missing.returncode, missing.stderr) == (
            2,
            "fluxcaption: there is no job 77: see `fluxcaption jobs`\n",
        )
        second = fluxcaption("run", "--config", config)
        assert second.returncode == 1
        assert f"is used by another FluxCaption (process {process.pid})" in second.stderr
        assert ended(process)[0] == 0


def test_a_pass_that_is_given_up_is_reported_and_is_worth_another_try(config: Path) -> None:
    media = config.parent / "media"
    with daemon(config) as process:
        media.rename(config.parent / "elsewhere")
        running = fluxcaption("scan", "--config", config)
        assert ended(process)[0] == 0
    alone = fluxcaption("scan", "--config", config)
    assert (running.returncode, running.stderr) == (alone.returncode, alone.stderr)
    assert running.returncode == 75
    assert str(media) in running.stderr
    assert running.stdout == ""


def test_a_file_nobody_can_read_is_told_and_made_once_it_can(config: Path) -> None:
    film = config.parent / "media" / "Long (2020)" / "Long (2020).mkv"
    whole = film.read_bytes()
    film.write_bytes(b"")
    for _ in range(2):
        made = fluxcaption("run", "--once", "--config", config)
        assert (made.returncode, made.stderr) == (0, "")
        assert "Long (2020).mkv cannot be used: it is empty. Copy it again" in made.stdout
    film.write_bytes(whole)
    assert "1 subtitle(s) made" in fluxcaption("run", "--once", "--config", config).stdout


def test_a_dry_run_changes_nothing_and_says_what_it_would_cost(config: Path) -> None:
    before = sorted(path.name for path in config.parent.rglob("*"))
    made = fluxcaption("scan", "--dry-run", "--json", "--config", config)
    assert made.returncode == 0, made.stderr
    report = json.loads(made.stdout)
    assert report["gaps"] == {"en": {"listen": 1}}
    assert report["forecast"]["titles"] == 1
    assert 0.2 < report["forecast"]["listening_hours"] < 0.3
    assert sorted(path.name for path in config.parent.rglob("*")) == before


def test_systemd_is_told_when_it_is_ready(config: Path, tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as transcriber:
        transcriber.bind(address)
        transcriber.settimeout(30)
        process = subprocess.Popen(
            [sys.executable, "-m", "fluxcaption", "run", "--config", str(config)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NOTIFY_SOCKET": address},
        )
        try:
            assert transcriber.recv(100) == b"READY=1"
            process.send_signal(signal.SIGTERM)
            assert transcriber.recv(100) == b"STOPPING=1"
            assert process.poll() is None, "it is told when the end begins"
            assert process.wait(30) == 0
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()


def test_a_signal_ends_it_while_the_server_is_silent(tmp_path: Path) -> None:
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
            code, seconds, said = ended(process)
            connection.close()
        finally:
            process.kill()
            process.wait()
            process.stderr.close()
    assert (code, "Traceback" in said) == (0, False)
    assert seconds <= 5


END = """
import asyncio, sys, threading
from fluxcaption.cli.common import run_async, run_guarded
async def work():
    blocked = asyncio.ensure_future(asyncio.to_thread(threading.Event().wait))
    await asyncio.sleep(0)
    print("done", flush=True)
    return 75
run_guarded(lambda: run_async(work()), debug=False)
"""


def test_a_thread_that_never_ends_does_not_keep_the_program_or_its_exit_code() -> None:
    made = subprocess.run(
        [sys.executable, "-c", END], capture_output=True, text=True, timeout=20, check=False
    )
    assert (made.returncode, made.stdout, made.stderr) == (75, "done\n", "")
