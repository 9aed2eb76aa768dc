"""`link` connects a server: key, plugin, destination and configuration, and changes nothing else."""

import stat
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner, Result
from fluxcaption.cli.main import cli
from fluxcaption.config.load import load_settings
from fluxcaption.domain.errors import FluxCaptionError, UsageError

from tests.fakes.jellyfin import KEY, FakeJellyfin
from tests.support.app import CERTIFICATE
from tests.support.commands import (
    StartServer,
    free_port,
    http_service,
    link,
    login_options,
    run_command,
    run_doctor,
    web_options,
    web_section,
    write_config,
)
from tests.support.openapi import CONTRACT, violations

EVENT_TYPES = ["ItemAdded", "ItemDeleted"]


def destinations_of(fake: FakeJellyfin) -> list[dict[str, Any]]:
    """Return the generic destinations of the webhook plugin."""
    return list(fake.webhook["GenericOptions"])


def run_with_answers(answers: str, *arguments: str) -> Result:
    """Run a command and answer its questions with these lines."""
    return CliRunner().invoke(cli, list(arguments), input=answers)


# -- A complete run --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "plugin"), [("10.10.7", "17.0.0.0"), ("10.11.11", "21.0.0.0"), ("12.0.0", "21.0.0.0")]
)
def test_link_connects_a_new_server_and_a_second_run_changes_nothing(
    version: str, plugin: str, start_server: StartServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start_server(version)
    fake.webhook["SlackOptions"] = [{"WebhookName": "of another program"}]
    code, config = link(fake, tmp_path)
    output = capsys.readouterr().out
    assert code == 0, output
    assert "verified: an event of the server arrived" in output
    assert [entry["AppName"] for entry in fake.keys] == ["FluxCaption"]
    assert [(entry["Version"], entry["Status"]) for entry in fake.plugins] == [(plugin, "Active")]
    assert fake.restarts == 1
    (destination,) = destinations_of(fake)
    assert destination["NotificationTypes"] == EVENT_TYPES
    assert fake.webhook["SlackOptions"] == [{"WebhookName": "of another program"}]
    assert fake.tasks["WebhookItemAdded"].is_armed
    assert fake.tasks["WebhookItemAdded"].start_count == 1
    assert {user.mode for user in fake.accounts.values()} == {"Smart"}
    written = yaml.safe_load(config.read_text())
    assert written["languages"]["targets"] == ["de", "es"]
    for name in ("jellyfin_api_key", "webhook_secret"):
        assert stat.S_IMODE((config.parent / name).stat().st_mode) == 0o600
    assert (config.parent / "jellyfin_api_key").read_text().strip() == fake.keys[0]["AccessToken"]
    secret = (config.parent / "webhook_secret").read_text().strip()
    assert secret not in output
    assert fake.keys[0]["AccessToken"] not in output

    config_bytes = config.read_bytes()
    (tmp_path / "password").unlink()
    port = int(written["web"]["listen"].rsplit(":", 1)[1])
    assert run_command("link", fake.url, "--config", str(config), *web_options(port), "--yes") == 0
    assert config.read_bytes() == config_bytes
    assert len(fake.keys) == 1
    assert fake.restarts == 1
    assert len(destinations_of(fake)) == 1
    if CONTRACT.is_dir():
        assert [fault for exchange in fake.received for fault in violations(exchange, version)] == []


def test_self_signed_server_is_linked_with_its_certificate_file(
    start_server: StartServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start_server(is_tls=True)
    fake.install_webhook()
    with pytest.raises(FluxCaptionError, match="link: --ca-file"):
        link(fake, tmp_path)
    code, config = link(fake, tmp_path, "--ca-file", str(CERTIFICATE))
    assert code == 0
    assert yaml.safe_load(config.read_text())["server"]["ca_file"] == str(CERTIFICATE)
    code, findings = run_doctor(config, capsys)
    assert code == 0
    assert findings["certificate"]["severity"] == "ok"


def test_first_forecast_assumes_a_translator(
    start_server: StartServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start_server()
    _, config = link(fake, tmp_path)
    output = capsys.readouterr().out
    assert "translation.backends is empty, so nothing is translated" in output
    assert "de: 1 listen" in output
    assert "# translation:" in config.read_text(encoding="utf-8")
    assert load_settings(config).translation.backends == ()


# -- The existing configuration --------------------------------------------------------------------


def test_complete_configuration_is_used_and_not_changed(
    start_server: StartServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start_server()
    fake.install_webhook()
    port = free_port()
    config = write_config(tmp_path, {"url": fake.url}, **web_section(port))
    config_bytes = config.read_bytes()
    for _ in range(2):
        assert run_command("link", fake.url, "--config", str(config), "--yes") == 0
        assert f"{config} needs no change" in capsys.readouterr().out
    assert config.read_bytes() == config_bytes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml"]
    assert fake.keys == []
    (destination,) = destinations_of(fake)
    assert destination["WebhookUri"] == f"http://127.0.0.1:{port}/webhook/jellyfin"
    assert {"Key": "Authorization", "Value": "Bearer a-secret"} in destination["Headers"]
    code, findings = run_doctor(config, capsys)
    assert code == 0
    assert findings["webhook"]["severity"] == "ok"


def test_only_the_missing_lines_of_a_configuration_are_printed(
    start_server: StartServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start_server()
    fake.install_webhook()
    port = free_port()
    config = write_config(tmp_path, {"url": fake.url}, listen=f"127.0.0.1:{port}")
    public_url = f"http://127.0.0.1:{port}"
    assert run_command("link", fake.url, "--config", str(config), "--public-url", public_url, "--yes") == 0
    missing = capsys.readouterr().out.partition("Add these lines:\n\n")[2]
    assert missing.startswith(f'web:\n  public_url: "{public_url}"\n- ')


def test_configuration_is_used_although_its_key_variable_is_unset(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JELLYFIN_API_KEY", raising=False)
    fake = start_server()
    fake.install_webhook()
    port = free_port()
    server = {"url": fake.url, "api_key": "${JELLYFIN_API_KEY}"}
    config = write_config(tmp_path, server, **web_section(port))
    login = login_options(tmp_path)
    assert run_command("link", fake.url, "--config", str(config), *login, "--yes") == 0
    assert not (tmp_path / "webhook_secret").exists()
    assert destinations_of(fake)[0]["WebhookUri"] == f"http://127.0.0.1:{port}/webhook/jellyfin"


# -- The webhook -----------------------------------------------------------------------------------


def test_failed_verification_is_reported_and_leaves_no_test_event_type(
    start_server: StartServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fluxcaption.cli.link_steps.DELIVERY_TIMEOUT_S", 0.3)
    fake = start_server()
    fake.install_webhook()
    code, _ = link(fake, tmp_path, "--public-url", "http://127.0.0.1:9")
    assert code == 1
    assert "not verified: the server called http://127.0.0.1:9" in capsys.readouterr().out
    assert destinations_of(fake)[0]["NotificationTypes"] == EVENT_TYPES


def test_public_url_that_hangs_is_reported_and_link_completes(
    start_server: StartServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fluxcaption.cli.link_steps.DELIVERY_TIMEOUT_S", 0.3)
    fake = start_server()
    fake.install_webhook()
    is_over = threading.Event()

    def hang(_: BaseHTTPRequestHandler) -> None:
        # The configuration of the plugin is changed by another program during the test.
        fake.webhook["SlackOptions"] = [{"WebhookName": "new"}]
        is_over.wait(20)

    with http_service(hang) as url:
        code, config = link(fake, tmp_path, "--public-url", url)
        is_over.set()
    assert code == 1
    assert f"not verified: the server called {url}" in capsys.readouterr().out
    assert config.is_file()
    assert destinations_of(fake)[0]["NotificationTypes"] == EVENT_TYPES
    assert fake.webhook["SlackOptions"] == [{"WebhookName": "new"}]


def test_destinations_of_other_programs_are_kept_in_place(start_server: StartServer, tmp_path: Path) -> None:
    fake = start_server()
    fake.install_webhook()
    other = {"WebhookUri": "http://127.0.0.1:9", "NotificationTypes": [], "Headers": []}
    before, after = {"WebhookName": "first", **other}, {"WebhookName": "last", **other}
    fake.webhook["GenericOptions"] = [before, {"WebhookName": "FluxCaption", "NotificationTypes": []}, after]
    fake.webhook["ServerUrl"] = "http://jellyfin"
    code, _ = link(fake, tmp_path)
    assert code == 0
    first, own, last = destinations_of(fake)
    assert (first, last) == (before, after)
    assert own["NotificationTypes"] == EVENT_TYPES
    assert fake.webhook["ServerUrl"] == "http://jellyfin"


# -- The plugin, restarts and viewers --------------------------------------------------------------


def test_failed_plugin_installation_is_reported_with_the_servers_log(
    start_server: StartServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start_server()
    fake.installation_error = "The checksum of the received data doesn't match."
    code, _ = link(fake, tmp_path)
    assert code == 1
    assert "could not install the plugin: The checksum of the received data" in capsys.readouterr().out


def test_disabled_plugin_is_enabled(start_server: StartServer, tmp_path: Path) -> None:
    fake = start_server()
    fake.install_webhook("18.0.0.0")
    fake.plugins[0]["Status"] = "Disabled"
    code, _ = link(fake, tmp_path)
    assert code == 0
    assert [(plugin["Version"], plugin["Status"]) for plugin in fake.plugins] == [("18.0.0.0", "Active")]
    assert fake.restarts == 1


def test_server_is_not_restarted_during_playback_without_the_option(
    start_server: StartServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start_server()
    fake.start_playback(next(iter(fake.items.values())))
    code, _ = link(fake, tmp_path)
    assert code == 1
    assert fake.restarts == 0
    assert "a video is playing" in capsys.readouterr().out
    code, _ = link(fake, tmp_path, "--restart")
    assert code == 0
    assert fake.restarts == 1


def test_viewer_whose_settings_are_locked_is_named_with_the_menu_path(
    start_server: StartServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start_server()
    next(user for user in fake.accounts.values() if user.name == "kid").may_be_changed = False
    link(fake, tmp_path)
    assert "kid can make it under Settings > Subtitles" in capsys.readouterr().out


# -- Login and consent -----------------------------------------------------------------------------


def test_link_changes_nothing_without_consent(start_server: StartServer, tmp_path: Path) -> None:
    fake = start_server()
    fake.install_webhook()
    (tmp_path / "key").write_text(KEY)
    config = tmp_path / "etc" / "config.yaml"
    options = ["--config", str(config), "--api-key-file", str(tmp_path / "key"), *web_options(free_port())]
    result = run_with_answers("n\n" * 20, "link", fake.url, *options)
    assert "Traceback" not in result.output
    assert not [exchange for exchange in fake.received if exchange.method != "GET"]
    assert not config.parent.exists()
    assert "verified" not in result.output

    result = run_with_answers("n\n" + "y\n" * 20, "link", fake.url, *options)
    assert "verified" in result.output
    assert fake.keys == []
    server = load_settings(config).server
    assert server.type == "jellyfin"
    assert server.api_key is not None
    assert server.api_key.get_secret_value() == KEY


def test_login_without_a_new_key_links_nothing(start_server: StartServer, tmp_path: Path) -> None:
    fake = start_server()
    config = tmp_path / "etc" / "config.yaml"
    login = login_options(tmp_path)
    result = run_with_answers("n\n" * 20, "link", fake.url, "--config", str(config), *login)
    assert isinstance(result.exception, UsageError)
    assert not config.exists()
    assert fake.admin_tokens == set()


@pytest.mark.parametrize(
    ("user", "password", "cause"),
    [("root", "wrong", "rejected the login of root"), ("kid", "x", "kid is not an administrator")],
)
def test_rejected_login_is_reported_with_its_cause(
    user: str, password: str, cause: str, start_server: StartServer, tmp_path: Path
) -> None:
    fake = start_server()
    login = login_options(tmp_path, user, password)
    with pytest.raises(UsageError, match=cause):
        run_command("link", fake.url, "--config", str(tmp_path / "c.yaml"), *login, "--yes")
    assert fake.viewer_tokens == set()


def test_administrator_is_logged_out_at_the_end(start_server: StartServer, tmp_path: Path) -> None:
    fake = start_server()
    link(fake, tmp_path)
    assert fake.admin_tokens == {fake.keys[0]["AccessToken"]}


def test_address_without_scheme_is_refused_with_an_example() -> None:
    with pytest.raises(click.BadParameter, match="as in http://jellyfin:8096"):
        run_command("link", "jellyfin:8096", "--yes")
