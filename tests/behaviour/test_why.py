"""`why --json` against a server tells the decisions of the truth table, and sends nothing that changes anything."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fluxcaption.cli.main import cli

from tests.behaviour.household import jellyfin
from tests.behaviour.situations import SITUATIONS, TARGETS, Situation
from tests.fakes.jellyfin import FakeJellyfin
from tests.unit.domain.test_truth_table import fake_item


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
def test_why_tells_each_decision(situation: Situation, served: FakeJellyfin, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    wanted = {
        "server": jellyfin(served),
        "languages": {"targets": list(TARGETS)},
        "translation": {"backends": [{"type": "ollama", "url": "http://127.0.0.1:1", "model": "none"}]},
        "state": str(tmp_path / "state"),
        **situation.wishes,
    }
    config.write_text(yaml.safe_dump(wanted), encoding="utf-8")
    item = fake_item(situation)
    before = len(served.received)
    cli.main(["why", item.id, "--config", str(config), "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert {exchange.method for exchange in served.received[before:]} == {"GET"}
    (version,) = [version for version in told["versions"] if version["id"] == item.id]
    found = {decision["target"]: decision for decision in version["decisions"]}
    for target, (way, sentence) in situation.expected.items():
        assert (found[target]["way"], sentence in found[target]["reason"]) == (way, True), found[target]
    assert not (tmp_path / "state").exists()


def test_why_for_people_names_tracks_and_decisions(served: FakeJellyfin, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    situation = next(situation for situation in SITUATIONS if situation.name == "a forced German track")
    config = tmp_path / "config.yaml"
    wanted = {"server": jellyfin(served), "languages": {"targets": ["de"]}, "state": str(tmp_path / "state")}
    config.write_text(yaml.safe_dump(wanted), encoding="utf-8")
    cli.main(["why", fake_item(situation).id, "--config", str(config)], standalone_mode=False)
    said = capsys.readouterr().out
    assert "sees subtitle 1: de subrip (forced)" in said
    assert "de: " in said
