"""`why --json` against a server tells the decisions of the truth table, and sends nothing that changes anything."""

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fluxcaption.cli.main import cli
from fluxcaption.domain.errors import UsageError
from fluxcaption.logs import set_up_logging

from tests.fakes.jellyfin import FakeJellyfin
from tests.support.app import READ, clip, jellyfin
from tests.support.situations import SITUATIONS, TARGETS, Situation, fake_item


@pytest.fixture(scope="module")
def served() -> Iterator[FakeJellyfin]:
    """A fake server on a loop of its own: commands bring theirs."""
    fake = FakeJellyfin()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(fake.__aenter__(), loop).result()
    for situation in SITUATIONS:
        fake.add(fake_item(situation, fake.libraries[0].id))
    yield fake
    asyncio.run_coroutine_threadsafe(fake.__aexit__(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.mark.parametrize("situation", SITUATIONS, ids=[situation.name for situation in SITUATIONS])
def test_why_tells_each_decision(
    situation: Situation, served: FakeJellyfin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    wanted = {
        "server": jellyfin(served),
        "languages": {"targets": list(TARGETS)},
        "translation": {"backends": [{"type": "ollama", "url": "http://127.0.0.1:1", "model": "none"}]},
        "state": str(tmp_path / "state"),
        **situation.policy,
    }
    config.write_text(yaml.safe_dump(wanted), encoding="utf-8")
    item = fake_item(situation)
    before = len(served.received)
    cli.main(["why", item.id, "--config", str(config), "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert {exchange.method for exchange in served.received[before:]} == {"GET"}
    (version,) = [version for version in told["versions"] if version["id"] == item.id]
    found = {decision["target"]: decision for decision in version["decisions"]}
    for target, (action, sentence) in situation.expected.items():
        assert (found[target]["action"], sentence in found[target]["reason"]) == (action, True), found[target]
    assert not (tmp_path / "state").exists()


def test_why_for_people_names_tracks_and_decisions(
    served: FakeJellyfin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    situation = next(situation for situation in SITUATIONS if situation.name == "a forced German track")
    config = tmp_path / "config.yaml"
    wanted = {"server": jellyfin(served), "languages": {"targets": ["de"]}, "state": str(tmp_path / "state")}
    config.write_text(yaml.safe_dump(wanted), encoding="utf-8")
    cli.main(["why", fake_item(situation).id, "--config", str(config)], standalone_mode=False)
    said = capsys.readouterr().out
    assert "track subtitle 1: de subrip (forced)" in said
    assert "de: " in said


def test_why_before_the_first_scan_says_what_to_do(served: FakeJellyfin, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        yaml.safe_dump(
            {"server": jellyfin(served), "languages": {"targets": ["de"]}, "state": str(tmp_path / "state")}
        ),
        encoding="utf-8",
    )
    with pytest.raises(
        UsageError, match=r"before the first scan: run `fluxcaption scan`, or give the item's id"
    ):
        cli.main(["why", "Some Film", "--config", str(config)], standalone_mode=False)


def test_a_name_with_control_characters_stays_on_its_line(tmp_path: Path) -> None:
    odd = "Film\n12:00:00 error   forged\x1b[2J\u202e"
    clip(tmp_path / "media", READ, odd)
    config = tmp_path / "config.yaml"
    wanted = {
        "server": {"type": "folder", "path": str(tmp_path / "media")},
        "languages": {"targets": ["es"]},
        "backlog": {"mode": "all"},
        "translation": {"backends": [{"type": "local", "model": "miniature"}]},
        "limits": {"disk_free": "0B"},
        "log": {"format": "text", "level": "debug"},
        "state": str(tmp_path / "state"),
    }
    config.write_text(yaml.safe_dump(wanted), encoding="utf-8")
    shown = "Film\\n12:00:00 error   forged\\x1b[2J\\u202e"
    (tmp_path / f"{odd}.mkv").write_bytes(b"nothing")
    for arguments in (
        ["run", "--once"],
        ["why", "Film"],
        ["jobs"],
        ["jobs", "show", "1"],
        ["caption", str(tmp_path / f"{odd}.mkv"), "--to", "es"],
    ):
        made = subprocess.run(
            [sys.executable, "-m", "fluxcaption", "--debug", *arguments, "--config", str(config)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        )
        said = made.stdout + made.stderr
        assert shown in said, arguments
        assert not [line for line in said.splitlines() if "forged" in line and "Film" not in line], arguments
        assert "\x1b" not in said
        assert "\u202e" not in said


def test_a_log_line_and_its_error_stay_on_their_lines() -> None:
    stream = io.StringIO()
    names = logging.getLogger("fluxcaption")
    before = (logging.getLogger().handlers[:], logging.getLogger().level, names.level)
    try:
        set_up_logging("info", "text", stream=stream)
        try:
            raise ValueError("bad\nline")
        except ValueError:
            names.error("cannot read %s", "A\nB", extra={"title": "C\x1bD"}, exc_info=True)
    finally:
        logging.getLogger().handlers[:], level, names_level = before
        logging.getLogger().setLevel(level)
        names.setLevel(names_level)
    first, second = stream.getvalue().splitlines()
    assert first.endswith("cannot read A\\nB title=C\\x1bD")
    assert second == "ValueError: bad\\nline"
