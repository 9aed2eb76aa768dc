"""Connecting a server, and finding out what is wrong with a connection."""

import asyncio
import json
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fluxcaption.cli.main import cli

from tests.contract.openapi import CONTRACT, violations
from tests.fakes.jellyfin import KEY, FakeJellyfin, audio, film, new_id
from tests.fakes.jellyfin.admin import User

Start = Callable[..., FakeJellyfin]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts fakes on a loop of their own: commands bring theirs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    running: list[FakeJellyfin] = []

    def begin(*arguments: Any, **more: Any) -> FakeJellyfin:
        fake = FakeJellyfin(*arguments, **more)
        asyncio.run_coroutine_threadsafe(fake.__aenter__(), loop).result()
        fake.people = {
            new_id(name): User(name, new_id(name), is_admin=name == "root", languages=languages) for name, languages in (("root", "ger"), ("kid", "ger,spa"))
        }
        fake.add(film("Film", [audio("eng")], library=fake.libraries[0].id))
        running.append(fake)
        return fake

    yield begin
    for fake in running:
        asyncio.run_coroutine_threadsafe(fake.__aexit__(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(*arguments: str) -> int:
    return int(cli.main(list(arguments), standalone_mode=False) or 0)


def linked(fake: FakeJellyfin, tmp_path: Path, *more: str) -> tuple[int, Path]:
    port = free_port()
    config = tmp_path / "etc" / "config.yaml"
    (tmp_path / "password").write_text("x\n")
    options = ["--config", str(config), "--user", "root", "--password-file", str(tmp_path / "password"), "--public-url", f"http://127.0.0.1:{port}"]
    return run("link", fake.url, *options, "--listen", f"127.0.0.1:{port}", "--yes", *more), config


@pytest.mark.parametrize(("version", "plugin"), [("10.10.7", "17.0.0.0"), ("10.11.11", "21.0.0.0"), ("12.0.0", "21.0.0.0")])
def test_link_connects_a_bare_server_and_can_be_run_again(version: str, plugin: str, start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = start(version)
    fake.webhook["SlackOptions"] = [{"WebhookName": "somebody else's"}]
    code, config = linked(fake, tmp_path)
    said = capsys.readouterr().out
    assert code == 0, said
    assert "proved: an event of the server arrived" in said
    assert [entry["AppName"] for entry in fake.keys] == ["FluxCaption"]
    assert [(entry["Version"], entry["Status"]) for entry in fake.plugins] == [(plugin, "Active")]
    assert fake.restarts == 1
    (destination,) = fake.webhook["GenericOptions"]
    assert destination["NotificationTypes"] == ["ItemAdded", "ItemDeleted"]
    assert fake.webhook["SlackOptions"] == [{"WebhookName": "somebody else's"}]
    assert fake.tasks["WebhookItemAdded"].is_armed
    assert fake.tasks["WebhookItemAdded"].kicks == 1
    assert {user.mode for user in fake.people.values()} == {"Smart"}
    wrote = yaml.safe_load(config.read_text())
    assert wrote["languages"]["targets"] == ["de", "es"]
    for name in ("jellyfin_api_key", "webhook_secret"):
        assert stat.S_IMODE((config.parent / name).stat().st_mode) == 0o600
    assert (config.parent / "jellyfin_api_key").read_text().strip() == fake.keys[0]["AccessToken"]
    secret = (config.parent / "webhook_secret").read_text().strip()
    assert secret not in said
    assert fake.keys[0]["AccessToken"] not in said

    before = config.read_bytes()
    (tmp_path / "password").unlink()
    port = wrote["web"]["listen"].rsplit(":", 1)[1]
    assert run("link", fake.url, "--config", str(config), "--public-url", wrote["web"]["public_url"], "--listen", f"127.0.0.1:{port}", "--yes") == 0
    assert config.read_bytes() == before
    assert len(fake.keys) == 1
    assert fake.restarts == 1
    assert len(fake.webhook["GenericOptions"]) == 1
    if CONTRACT.is_dir():
        assert [fault for exchange in fake.received for fault in violations(exchange, version)] == []


def test_a_round_trip_that_fails_is_said_and_leaves_no_trace(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxcaption.cli.link.AMPLE_S", 0.3)
    fake = start()
    fake.install_webhook()
    (tmp_path / "password").write_text("x")
    code = run("link", fake.url, "--config", str(tmp_path / "c.yaml"), "--user", "root", "--password-file", str(tmp_path / "password"), "--public-url", "http://127.0.0.1:9", "--listen", f"127.0.0.1:{free_port()}", "--yes")  # fmt: skip
    assert code == 1
    assert "not seen: the server called http://127.0.0.1:9" in capsys.readouterr().out
    assert fake.webhook["GenericOptions"][0]["NotificationTypes"] == ["ItemAdded", "ItemDeleted"]


def test_a_server_that_somebody_watches_is_not_restarted_unless_told(start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = start()
    fake.somebody_plays(next(iter(fake.items.values())))
    code, _ = linked(fake, tmp_path)
    assert code == 1
    assert fake.restarts == 0
    assert "somebody is watching" in capsys.readouterr().out
    code, _ = linked(fake, tmp_path, "--restart")
    assert code == 0
    assert fake.restarts == 1


def test_a_viewer_that_may_not_be_changed_is_told_where_to_click(start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = start()
    next(user for user in fake.people.values() if user.name == "kid").may_be_changed = False
    linked(fake, tmp_path)
    assert "kid can do it under Settings > Subtitles" in capsys.readouterr().out


def findings(config: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, str]]]:
    capsys.readouterr()
    code = run("doctor", "--config", str(config), "--json")
    return code, {row["check"]: row for row in json.loads(capsys.readouterr().out)}


def a_config(tmp_path: Path, server: dict[str, Any], **web: Any) -> Path:
    config = tmp_path / "config.yaml"
    wanted = {
        "server": {"type": "jellyfin", "api_key": KEY, **server},
        "languages": {"targets": ["de"]},
        "web": {"webhook_secret": "a-secret", **web},
        "state": str(tmp_path / "state"),
    }
    config.write_text(yaml.safe_dump(wanted), encoding="utf-8")
    return config


def test_a_sound_connection_has_nothing_to_mend(start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = start()
    _, config = linked(fake, tmp_path)
    code, found = findings(config, capsys)
    assert code == 0
    assert found["webhook"]["grade"] == "ok"
    assert found["viewers"]["grade"] == "ok"
    assert {row["grade"] for row in found.values()} <= {"ok", "skipped"}


@pytest.mark.parametrize(
    ("check", "prepare", "server", "fix"),
    [
        ("address", lambda fake: None, {"url": "http://127.0.0.1:9"}, "check that the server runs"),
        ("address", lambda fake: setattr(fake, "is_starting", True), {}, "wait until it has started"),
        ("service", lambda fake: None, {"path": "/nothing"}, "server.url must be the address"),
        ("key", lambda fake: None, {"api_key": "0" * 32}, "fluxcaption link"),
        ("version", lambda fake: setattr(fake, "version_text", "10.11.7"), {}, "update Jellyfin to 10.11.8"),
        ("webhook", lambda fake: None, {}, "run fluxcaption link"),
        ("webhook", lambda fake: fake.install_webhook(), {}, "run fluxcaption link"),
        ("path_map", lambda fake: None, {"path_map": [{"server": "/media", "local": "/nowhere"}]}, "each pair of server.path_map"),
        ("viewers", lambda fake: None, {}, "Smart"),
        ("public_url", lambda fake: None, {}, "under which Jellyfin can call"),
    ],
)
def test_each_fault_has_its_name_and_its_fix(
    check: str, prepare: Callable[[FakeJellyfin], None], server: dict[str, Any], fix: str, start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start()
    prepare(fake)
    path = server.pop("path", "") if "path" in server else ""
    config = a_config(tmp_path, {"url": fake.url + path, **server})
    code, found = findings(config, capsys)
    assert found[check]["grade"] != "ok", found
    assert fix in found[check]["fix"]
    assert code == (1 if any(row["grade"] == "problem" for row in found.values()) else 0)
    server["path"] = path
    assert not [exchange for exchange in fake.received if exchange.method != "GET"]
