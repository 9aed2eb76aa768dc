"""`why` reports the decision for each target language, and changes nothing."""

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fluxcaption.domain.errors import UsageError
from fluxcaption.logs import set_up_logging

from tests.fakes.jellyfin import FakeJellyfin
from tests.support.app import TEXT_FILM, clip, jellyfin
from tests.support.commands import ServerThread, run_command
from tests.support.situations import SITUATIONS, TARGETS, Situation, fake_item


@pytest.fixture(scope="module")
def server() -> Iterator[FakeJellyfin]:
    """Yield a fake server that has the film of each situation."""
    thread = ServerThread()
    fake = FakeJellyfin()
    thread.start(fake)
    for situation in SITUATIONS:
        fake.add(fake_item(situation, fake.libraries[0].id))
    yield fake
    thread.close()


def write_config(folder: Path, server: dict[str, Any], targets: list[str], **sections: Any) -> Path:
    """Write a configuration whose state lies in the folder, and return its path."""
    config = folder / "config.yaml"
    content = {
        "server": server,
        "languages": {"targets": targets},
        "state": str(folder / "state"),
        **sections,
    }
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    return config


@pytest.mark.parametrize("situation", SITUATIONS, ids=[situation.name for situation in SITUATIONS])
def test_why_reports_each_decision(
    situation: Situation, server: FakeJellyfin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    translation = {"backends": [{"type": "ollama", "url": "http://127.0.0.1:1", "model": "none"}]}
    config = write_config(
        tmp_path, jellyfin(server), list(TARGETS), **{"translation": translation, **situation.policy}
    )
    item = fake_item(situation)
    requests_before = len(server.received)
    run_command("why", item.id, "--config", str(config), "--json")
    report = json.loads(capsys.readouterr().out)
    assert {exchange.method for exchange in server.received[requests_before:]} == {"GET"}
    (version,) = [version for version in report["versions"] if version["id"] == item.id]
    decisions = {decision["target"]: decision for decision in version["decisions"]}
    for target, (action, reason) in situation.expected.items():
        decision = decisions[target]
        assert (decision["action"], reason in decision["reason"]) == (action, True), decision
    assert not (tmp_path / "state").exists()


def test_why_as_text_names_tracks_and_decisions(
    server: FakeJellyfin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    situation = next(situation for situation in SITUATIONS if situation.name == "a forced German track")
    config = write_config(tmp_path, jellyfin(server), ["de"])
    run_command("why", fake_item(situation).id, "--config", str(config))
    output = capsys.readouterr().out
    assert "track subtitle 1: de subrip (forced)" in output
    assert "de: " in output


def test_why_before_the_first_scan_names_the_fix(server: FakeJellyfin, tmp_path: Path) -> None:
    config = write_config(tmp_path, jellyfin(server), ["de"])
    message = r"before the first scan: run `fluxcaption scan`, or give the item's id"
    with pytest.raises(UsageError, match=message):
        run_command("why", "Some Film", "--config", str(config))


# -- Control characters ----------------------------------------------------------------------------


def test_name_with_control_characters_is_printed_on_one_line(tmp_path: Path) -> None:
    name = "Film\n12:00:00 error   forged\x1b[2J\u202e"
    escaped_name = "Film\\n12:00:00 error   forged\\x1b[2J\\u202e"
    clip(tmp_path / "media", TEXT_FILM, name)
    config = write_config(
        tmp_path,
        {"type": "folder", "path": str(tmp_path / "media")},
        ["es"],
        backlog={"mode": "all"},
        translation={"backends": [{"type": "local", "model": "miniature"}]},
        limits={"disk_free": "0B"},
        log={"format": "text", "level": "debug"},
    )
    unreadable = tmp_path / f"{name}.mkv"
    unreadable.write_bytes(b"nothing")
    for arguments in (
        ["run", "--once"],
        ["why", "Film"],
        ["jobs"],
        ["jobs", "show", "1"],
        ["caption", str(unreadable), "--to", "es"],
    ):
        process = subprocess.run(
            [sys.executable, "-m", "fluxcaption", "--debug", *arguments, "--config", str(config)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        )
        output = process.stdout + process.stderr
        assert escaped_name in output, arguments
        forged = [line for line in output.splitlines() if "forged" in line and "Film" not in line]
        assert not forged, arguments
        assert "\x1b" not in output
        assert "\u202e" not in output


def test_log_line_and_its_error_take_one_line_each() -> None:
    stream = io.StringIO()
    root, log = logging.getLogger(), logging.getLogger("fluxcaption")
    handlers = root.handlers[:]
    try:
        set_up_logging("info", "text", stream=stream)
        try:
            raise ValueError("bad\nline")
        except ValueError:
            log.error("cannot read %s", "A\nB", extra={"title": "C\x1bD"}, exc_info=True)
    finally:
        root.handlers[:] = handlers
    first, second = stream.getvalue().splitlines()
    assert first.endswith("cannot read A\\nB title=C\\x1bD")
    assert second == "ValueError: bad\\nline"
