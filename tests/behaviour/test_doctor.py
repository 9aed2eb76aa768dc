"""`doctor` names each fault of a connection with its fix, and changes nothing."""

import asyncio
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from fluxcaption.config.load import load_settings

from tests.fakes.clock import FastClock
from tests.fakes.jellyfin import KEY, FakeJellyfin
from tests.support.commands import (
    Answer,
    StartServer,
    free_port,
    http_service,
    link,
    reply,
    run_doctor,
    web_section,
    webhook_destination,
    write_config,
)
from tests.support.daemon import running_daemon


def do_nothing(fake: FakeJellyfin) -> None:
    """Leave the server as it is."""


def test_sound_connection_has_no_problem(
    start_server: StartServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start_server()
    _, config = link(fake, tmp_path)
    code, findings = run_doctor(config, capsys)
    assert code == 0
    assert findings["webhook"]["severity"] == "ok"
    assert findings["viewers"]["severity"] == "ok"
    assert {row["severity"] for row in findings.values()} <= {"ok", "skipped"}


@pytest.mark.parametrize(
    ("check", "prepare", "base_path", "server", "fix"),
    [
        ("address", do_nothing, "", {"url": "http://127.0.0.1:9"}, "check that the server runs"),
        (
            "address",
            lambda fake: setattr(fake, "is_starting", True),
            "",
            {},
            "wait until the server has started",
        ),
        ("service", do_nothing, "/nothing", {}, "set server.url to the address in the browser"),
        ("key", do_nothing, "", {"api_key": "0" * 32}, "fluxcaption link"),
        (
            "version",
            lambda fake: setattr(fake, "version_text", "10.11.7"),
            "",
            {},
            "update Jellyfin to 10.11.8",
        ),
        ("webhook", do_nothing, "", {}, "run fluxcaption link"),
        ("webhook", FakeJellyfin.install_webhook, "", {}, "run fluxcaption link"),
        (
            "path_map",
            do_nothing,
            "",
            {"path_map": [{"server": "/media", "local": "/nowhere"}]},
            "each pair must name the same folder",
        ),
        ("viewers", do_nothing, "", {}, "Smart"),
        ("public_url", do_nothing, "", {}, "under which Jellyfin can call"),
    ],
)
def test_each_fault_is_named_with_its_fix(
    check: str,
    prepare: Callable[[FakeJellyfin], None],
    base_path: str,
    server: dict[str, Any],
    fix: str,
    start_server: StartServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake = start_server()
    prepare(fake)
    config = write_config(tmp_path, {"url": fake.url + base_path, **server})
    code, findings = run_doctor(config, capsys)
    assert findings[check]["severity"] != "ok", findings
    assert fix in findings[check]["fix"]
    assert code == (1 if any(row["severity"] == "problem" for row in findings.values()) else 0)
    assert not [exchange for exchange in fake.received if exchange.method != "GET"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"EnableMovies": False, "EnableEpisodes": False}, "EnableMovies, EnableEpisodes"),
        ({"Template": ""}, "Template"),
        ({"NotificationTypes": ["ItemAdded", "ItemDeleted", "SessionStart"]}, "NotificationTypes"),
        ({"EnableWebhook": False}, "EnableWebhook"),
        (
            {"WebhookUri": "http://elsewhere:1/webhook/jellyfin"},
            "http://elsewhere:1/webhook/jellyfin instead of http://127.0.0.1:1/webhook/jellyfin",
        ),
        ({"Headers": [{"Key": "Authorization", "Value": "Bearer another"}]}, "another secret"),
        (
            {
                "Headers": [
                    {"Key": "Authorization", "Value": "Bearer a-secret"},
                    {"Key": "Content-Type", "Value": "application/json; charset=utf-8"},
                ]
            },
            "Headers",
        ),
        ({}, ""),
    ],
)
def test_each_difference_of_the_webhook_destination_is_named(
    change: dict[str, Any],
    text: str,
    start_server: StartServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake = start_server()
    fake.install_webhook()
    fake.webhook["GenericOptions"] = [webhook_destination("http://127.0.0.1:1") | change]
    config = write_config(tmp_path, {"url": fake.url}, public_url="http://127.0.0.1:1")
    _, findings = run_doctor(config, capsys)
    assert findings["webhook"]["severity"] == ("problem" if change else "ok"), findings
    assert text in findings["webhook"]["text"]


# -- The address -----------------------------------------------------------------------------------


def answer_without_authorization_header(request: BaseHTTPRequestHandler) -> None:
    """Answer like Jellyfin behind a proxy that removes the Authorization header."""
    public = b'{"ProductName": "Jellyfin Server", "Version": "10.11.11", "Id": "1", "ServerName": "s"}'
    if request.path.startswith("/System/Info/Public"):
        reply(200, "application/json", public)(request)
    else:
        reply(200 if f"ApiKey={KEY}" in request.path else 401, "application/json", b"{}")(request)


def close_connection(request: BaseHTTPRequestHandler) -> None:
    """Close the connection without an answer, as a TLS port does."""
    request.connection.close()


@pytest.mark.parametrize(
    ("answer", "check", "text"),
    [
        (reply(200, "application/json", b"[]"), "address", "does not have the form of a Jellyfin answer"),
        (reply(200, "application/json", b"{}"), "service", "the address does not lead to Jellyfin"),
        (reply(200, "text/html", b"<html>photos</html>"), "service", "the address does not lead to Jellyfin"),
        (reply(404, "text/html", b""), "service", "base path in server.url right?"),
        (
            reply(302, "text/html", b"", Location="/jellyfin/web/?a=b"),
            "base path",
            "the server redirects to /jellyfin/web/:",
        ),
        (reply(401, "text/html", b"", **{"WWW-Authenticate": "Basic"}), "proxy", "requires a login"),
        (answer_without_authorization_header, "proxy", "removes the Authorization header"),
        (close_connection, "address", "does server.url have to begin with https://"),
    ],
    ids=[
        "a list",
        "an empty object",
        "a web page",
        "not found",
        "a redirect",
        "a login of a proxy",
        "no authorization header",
        "a closed connection",
    ],
)
def test_each_other_service_at_the_address_is_recognized(
    answer: Answer, check: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with http_service(answer) as url:
        code, findings = run_doctor(write_config(tmp_path, {"url": url}), capsys)
    assert code == 1
    assert list(findings) == [check]
    assert text in findings[check]["text"]


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_wrong_scheme_and_untrusted_certificate_are_recognized(
    start_server: StartServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, secure = start_server(), start_server(is_tls=True)

    def findings_for(url: str, **server: Any) -> dict[str, dict[str, str]]:
        return run_doctor(write_config(tmp_path, {"url": url, **server}), capsys)[1]

    findings = findings_for(plain.url.replace("http:", "https:"))
    assert "does not speak TLS" in findings["certificate"]["text"]
    findings = findings_for(secure.url.replace("https:", "http:"))
    assert "begin with https://" in findings["address"]["text"]
    findings = findings_for(secure.url)
    assert "not trusted (self-signed certificate)" in findings["certificate"]["text"]
    findings = findings_for(secure.url, tls_verify=False)
    assert findings["certificate"]["severity"] == "warning"


@pytest.mark.parametrize(("version", "check"), [("10.9.11", "version"), ("12.0.0", "address")])
def test_checks_end_at_a_server_that_is_too_old_or_still_starts(
    version: str,
    check: str,
    start_server: StartServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake = start_server(version)
    fake.is_starting = check == "address"
    _, findings = run_doctor(write_config(tmp_path, {"url": fake.url}), capsys)
    assert list(findings)[-1] == check
    assert findings[check]["severity"] != "ok"
    assert not {"key", "webhook", "viewers"} & set(findings)


def test_missing_base_path_is_recognized(
    start_server: StartServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start_server(base="/jellyfin")
    code, findings = run_doctor(write_config(tmp_path, {"url": fake.url.removesuffix("/jellyfin")}), capsys)
    assert code == 1
    assert "base path" in str(findings)
    _, findings = run_doctor(write_config(tmp_path, {"url": fake.url}), capsys)
    assert findings["base path"]["severity"] == "ok"


# -- Files and events ------------------------------------------------------------------------------


def test_mapped_file_of_another_size_is_reported(
    start_server: StartServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start_server()
    source = next(iter(fake.items.values())).sources[0]
    local = tmp_path / "media" / Path(source.path).relative_to("/media")
    local.parent.mkdir(parents=True)
    path_map = [{"server": "/media", "local": str(tmp_path / "media")}]
    config = write_config(tmp_path, {"url": fake.url, "path_map": path_map})
    with local.open("wb") as file:
        file.truncate(source.size + 1)
    assert "another size" in run_doctor(config, capsys)[1]["path_map"]["text"]
    with local.open("wb") as file:
        file.truncate(source.size)
    assert run_doctor(config, capsys)[1]["path_map"]["severity"] == "ok"


async def test_running_daemon_confirms_the_arrival_of_a_test_event(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeJellyfin() as fake:
        fake.install_webhook()
        port = free_port()
        config = write_config(tmp_path, {"url": fake.url}, **web_section(port))
        async with running_daemon(load_settings(config), FastClock()):
            fake.webhook["GenericOptions"] = [webhook_destination(f"http://127.0.0.1:{port}")]
            code, findings = await asyncio.to_thread(run_doctor, config, capsys)
            assert (code, findings["public_url"]["severity"]) == (0, "ok"), findings
            # The event does not arrive, so the wait is cut short.
            monkeypatch.setattr("fluxcaption.cli.doctor.DELIVERY_TIMEOUT_S", 0.3)
            fake.webhook["GenericOptions"] = [webhook_destination("http://127.0.0.1:9")]
            code, findings = await asyncio.to_thread(run_doctor, config, capsys)
            assert (code, findings["public_url"]["severity"]) == (1, "problem")
            assert "nothing arrived" in findings["public_url"]["text"]
            assert "instead of" in findings["webhook"]["text"]
        assert fake.webhook["GenericOptions"][0]["NotificationTypes"] == ["ItemAdded", "ItemDeleted"]
