"""`link` connects a server; `doctor` names each fault of a connection with its fix."""

import asyncio
import json
import ssl
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner, Result
from fluxcaption.cli.main import cli
from fluxcaption.config.load import load_settings
from fluxcaption.domain.errors import FluxCaptionError, UsageError
from fluxcaption.plugin_manifest import webhook_plugin

from tests.behaviour.test_the_daemon_keeps_going import running
from tests.fakes.jellyfin import KEY, FakeJellyfin, audio, film, new_id
from tests.fakes.jellyfin.admin import User
from tests.support.openapi import CONTRACT, violations

CERTIFICATE = Path(__file__).parents[1] / "data" / "self-signed.pem"
Start = Callable[..., FakeJellyfin]


@pytest.fixture
def start() -> Iterator[Start]:
    """Yield a function that starts fakes on a loop of their own, because commands run a loop themselves."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    running: list[FakeJellyfin] = []

    def begin(*arguments: Any, tls: bool = False, **more: Any) -> FakeJellyfin:
        fake = FakeJellyfin(*arguments, **more)
        if tls:
            fake.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            fake.tls.load_cert_chain(CERTIFICATE)
        asyncio.run_coroutine_threadsafe(fake.__aenter__(), loop).result()
        fake.people = {
            new_id(name): User(name, new_id(name), is_admin=name == "root", languages=languages)
            for name, languages in (("root", "ger"), ("kid", "ger,spa"))
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
    options = [
        "--config",
        str(config),
        "--user",
        "root",
        "--password-file",
        str(tmp_path / "password"),
        "--public-url",
        f"http://127.0.0.1:{port}",
    ]
    return run("link", fake.url, *options, "--listen", f"127.0.0.1:{port}", "--yes", *more), config


@pytest.mark.parametrize(
    ("version", "plugin"), [("10.10.7", "17.0.0.0"), ("10.11.11", "21.0.0.0"), ("12.0.0", "21.0.0.0")]
)
def test_link_connects_a_bare_server_and_can_be_run_again(
    version: str, plugin: str, start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start(version)
    fake.webhook["SlackOptions"] = [{"WebhookName": "somebody else's"}]
    code, config = linked(fake, tmp_path)
    said = capsys.readouterr().out
    assert code == 0, said
    assert "verified: an event of the server arrived" in said
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
    assert (
        run(
            "link",
            fake.url,
            "--config",
            str(config),
            "--public-url",
            wrote["web"]["public_url"],
            "--listen",
            f"127.0.0.1:{port}",
            "--yes",
        )
        == 0
    )
    assert config.read_bytes() == before
    assert len(fake.keys) == 1
    assert fake.restarts == 1
    assert len(fake.webhook["GenericOptions"]) == 1
    if CONTRACT.is_dir():
        assert [fault for exchange in fake.received for fault in violations(exchange, version)] == []


def test_a_round_trip_that_fails_is_said_and_leaves_no_trace(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxcaption.cli.link_steps.DELIVERY_TIMEOUT_S", 0.3)
    fake = start()
    fake.install_webhook()
    (tmp_path / "password").write_text("x")
    options = [
        *("--config", str(tmp_path / "c.yaml")),
        *("--user", "root", "--password-file", str(tmp_path / "password")),
        *("--public-url", "http://127.0.0.1:9", "--listen", f"127.0.0.1:{free_port()}"),
    ]
    code = run("link", fake.url, *options, "--yes")
    assert code == 1
    assert "not verified: the server called http://127.0.0.1:9" in capsys.readouterr().out
    assert fake.webhook["GenericOptions"][0]["NotificationTypes"] == ["ItemAdded", "ItemDeleted"]


def test_a_server_that_somebody_watches_is_not_restarted_unless_told(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start()
    fake.somebody_plays(next(iter(fake.items.values())))
    code, _ = linked(fake, tmp_path)
    assert code == 1
    assert fake.restarts == 0
    assert "a video is playing" in capsys.readouterr().out
    code, _ = linked(fake, tmp_path, "--restart")
    assert code == 0
    assert fake.restarts == 1


def test_a_viewer_that_may_not_be_changed_is_told_where_to_click(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start()
    next(user for user in fake.people.values() if user.name == "kid").may_be_changed = False
    linked(fake, tmp_path)
    assert "kid can make it under Settings > Subtitles" in capsys.readouterr().out


def answered(text: str, *arguments: str) -> Result:
    """Run a command and answer its questions with this text."""
    return CliRunner().invoke(cli, list(arguments), input=text)


@contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """Serve another service than Jellyfin, and yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def reply(
    status: int, content_type: str, body: bytes, **headers: str
) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {
            "Content-Type": content_type,
            "Content-Length": str(len(body)),
            **headers,
        }.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def test_other_destinations_stay_where_they_are(start: Start, tmp_path: Path) -> None:
    fake = start()
    fake.install_webhook()
    other = {"WebhookUri": "http://127.0.0.1:9", "NotificationTypes": [], "Headers": []}
    before, after = {"WebhookName": "first", **other}, {"WebhookName": "last", **other}
    fake.webhook["GenericOptions"] = [before, {"WebhookName": "FluxCaption", "NotificationTypes": []}, after]
    fake.webhook["ServerUrl"] = "http://jellyfin"
    code, _ = linked(fake, tmp_path)
    assert code == 0
    first, ours, last = fake.webhook["GenericOptions"]
    assert (first, last) == (before, after)
    assert ours["NotificationTypes"] == ["ItemAdded", "ItemDeleted"]
    assert fake.webhook["ServerUrl"] == "http://jellyfin"


def test_a_configuration_that_is_there_decides_and_is_not_touched(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start()
    fake.install_webhook()
    port = free_port()
    config = a_config(
        tmp_path, {"url": fake.url}, public_url=f"http://127.0.0.1:{port}", listen=f"127.0.0.1:{port}"
    )
    before = config.read_bytes()
    for _ in range(2):
        assert run("link", fake.url, "--config", str(config), "--yes") == 0
        assert f"{config} needs no change" in capsys.readouterr().out
    assert config.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml"]
    assert fake.keys == []
    (destination,) = fake.webhook["GenericOptions"]
    assert destination["WebhookUri"] == f"http://127.0.0.1:{port}/webhook/jellyfin"
    assert {"Key": "Authorization", "Value": "Bearer a-secret"} in destination["Headers"]
    code, found = findings(config, capsys)
    assert code == 0
    assert found["webhook"]["severity"] == "ok"


def test_what_the_configuration_lacks_is_printed_and_nothing_else(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start()
    fake.install_webhook()
    port = free_port()
    config = a_config(tmp_path, {"url": fake.url}, listen=f"127.0.0.1:{port}")
    assert (
        run("link", fake.url, "--config", str(config), "--public-url", f"http://127.0.0.1:{port}", "--yes")
        == 0
    )
    said = capsys.readouterr().out.partition("Add these lines:\n\n")[2]
    assert said.startswith(f'web:\n  public_url: "http://127.0.0.1:{port}"\n- ')


def test_a_key_that_only_the_daemon_knows_does_not_hide_the_configuration(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JELLYFIN_API_KEY", raising=False)
    fake = start()
    fake.install_webhook()
    port = free_port()
    config = a_config(
        tmp_path,
        {"url": fake.url, "api_key": "${JELLYFIN_API_KEY}"},
        public_url=f"http://127.0.0.1:{port}",
        listen=f"127.0.0.1:{port}",
    )
    (tmp_path / "password").write_text("x")
    assert (
        run(
            "link",
            fake.url,
            "--config",
            str(config),
            "--user",
            "root",
            "--password-file",
            str(tmp_path / "password"),
            "--yes",
        )
        == 0
    )
    assert not (tmp_path / "webhook_secret").exists()
    assert fake.webhook["GenericOptions"][0]["WebhookUri"] == f"http://127.0.0.1:{port}/webhook/jellyfin"


def test_an_address_that_hangs_is_not_seen_and_link_goes_on(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxcaption.cli.link_steps.DELIVERY_TIMEOUT_S", 0.3)
    fake = start()
    fake.install_webhook()
    is_over = threading.Event()

    def hang(_: BaseHTTPRequestHandler) -> None:
        # The configuration of the plugin is changed by another program during the test.
        fake.webhook["SlackOptions"] = [{"WebhookName": "new"}]
        is_over.wait(20)

    with answering(hang) as url:
        code, config = linked(fake, tmp_path, "--public-url", url)
        is_over.set()
    assert code == 1
    assert f"not verified: the server called {url}" in capsys.readouterr().out
    assert config.is_file()
    assert fake.webhook["GenericOptions"][0]["NotificationTypes"] == ["ItemAdded", "ItemDeleted"]
    assert fake.webhook["SlackOptions"] == [{"WebhookName": "new"}]


def test_a_self_signed_server_is_linked_by_its_authority(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start(tls=True)
    fake.install_webhook()
    with pytest.raises(FluxCaptionError, match="link: --ca-file"):
        linked(fake, tmp_path)
    code, config = linked(fake, tmp_path, "--ca-file", str(CERTIFICATE))
    assert code == 0
    assert yaml.safe_load(config.read_text())["server"]["ca_file"] == str(CERTIFICATE)
    code, found = findings(config, capsys)
    assert code == 0
    assert found["certificate"]["severity"] == "ok"


def test_nothing_is_changed_that_was_not_agreed_to(start: Start, tmp_path: Path) -> None:
    fake = start()
    fake.install_webhook()
    port = free_port()
    (tmp_path / "key").write_text(KEY)
    config = tmp_path / "etc" / "config.yaml"
    options = [
        "--config",
        str(config),
        "--api-key-file",
        str(tmp_path / "key"),
        "--public-url",
        f"http://127.0.0.1:{port}",
        "--listen",
        f"127.0.0.1:{port}",
    ]
    result = answered("n\n" * 20, "link", fake.url, *options)
    assert "Traceback" not in result.output
    assert not [exchange for exchange in fake.received if exchange.method != "GET"]
    assert not config.parent.exists()
    assert "verified" not in result.output

    result = answered("n\n" + "y\n" * 20, "link", fake.url, *options)
    assert "verified" in result.output
    assert fake.keys == []
    wanted = load_settings(config).server
    assert wanted.type == "jellyfin"
    assert wanted.api_key is not None
    assert wanted.api_key.get_secret_value() == KEY


def test_a_login_without_a_key_links_nothing(start: Start, tmp_path: Path) -> None:
    fake = start()
    (tmp_path / "password").write_text("x")
    config = tmp_path / "etc" / "config.yaml"
    result = answered(
        "n\n" * 20,
        "link",
        fake.url,
        "--config",
        str(config),
        "--user",
        "root",
        "--password-file",
        str(tmp_path / "password"),
    )
    assert isinstance(result.exception, UsageError)
    assert not config.exists()
    assert fake.users == set()


@pytest.mark.parametrize(
    ("user", "password", "cause"),
    [("root", "wrong", "rejected the login of root"), ("kid", "x", "kid is not an administrator")],
)
def test_a_login_that_does_not_do_is_told_apart(
    user: str, password: str, cause: str, start: Start, tmp_path: Path
) -> None:
    fake = start()
    (tmp_path / "password").write_text(password)
    with pytest.raises(UsageError, match=cause):
        run(
            "link",
            fake.url,
            "--config",
            str(tmp_path / "c.yaml"),
            "--user",
            user,
            "--password-file",
            str(tmp_path / "password"),
            "--yes",
        )
    assert fake.viewers == set()


def test_the_administrator_is_logged_out_again(start: Start, tmp_path: Path) -> None:
    fake = start()
    linked(fake, tmp_path)
    assert fake.users == {fake.keys[0]["AccessToken"]}


def test_an_address_without_http_is_refused_with_what_to_write() -> None:
    with pytest.raises(click.BadParameter, match="as in http://jellyfin:8096"):
        run("link", "jellyfin:8096", "--yes")


def test_a_failed_installation_says_what_the_server_wrote_down(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start()
    fake.installation_fails = "The checksum of the received data doesn't match."
    code, _ = linked(fake, tmp_path)
    assert code == 1
    assert "could not install the plugin: The checksum of the received data" in capsys.readouterr().out


def test_a_plugin_that_is_switched_off_is_switched_on(start: Start, tmp_path: Path) -> None:
    fake = start()
    fake.install_webhook("18.0.0.0")
    fake.plugins[0]["Status"] = "Disabled"
    code, _ = linked(fake, tmp_path)
    assert code == 0
    assert [(plugin["Version"], plugin["Status"]) for plugin in fake.plugins] == [("18.0.0.0", "Active")]
    assert fake.restarts == 1


def test_the_first_forecast_is_made_as_if_something_translated(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start()
    _, config = linked(fake, tmp_path)
    said = capsys.readouterr().out
    assert "translation.backends is empty, so nothing is translated" in said
    assert "de: 1 listen" in said
    text = config.read_text(encoding="utf-8")
    assert "# translation:" in text
    assert load_settings(config).translation.backends == ()


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


def test_a_sound_connection_has_nothing_to_mend(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start()
    _, config = linked(fake, tmp_path)
    code, found = findings(config, capsys)
    assert code == 0
    assert found["webhook"]["severity"] == "ok"
    assert found["viewers"]["severity"] == "ok"
    assert {row["severity"] for row in found.values()} <= {"ok", "skipped"}


@pytest.mark.parametrize(
    ("check", "prepare", "server", "fix"),
    [
        ("address", lambda fake: None, {"url": "http://127.0.0.1:9"}, "check that the server runs"),
        ("address", lambda fake: setattr(fake, "is_starting", True), {}, "wait until the server has started"),
        ("service", lambda fake: None, {"path": "/nothing"}, "set server.url to the address in the browser"),
        ("key", lambda fake: None, {"api_key": "0" * 32}, "fluxcaption link"),
        ("version", lambda fake: setattr(fake, "version_text", "10.11.7"), {}, "update Jellyfin to 10.11.8"),
        ("webhook", lambda fake: None, {}, "run fluxcaption link"),
        ("webhook", lambda fake: fake.install_webhook(), {}, "run fluxcaption link"),
        (
            "path_map",
            lambda fake: None,
            {"path_map": [{"server": "/media", "local": "/nowhere"}]},
            "each pair must name the same folder",
        ),
        ("viewers", lambda fake: None, {}, "Smart"),
        ("public_url", lambda fake: None, {}, "under which Jellyfin can call"),
    ],
)
def test_each_fault_has_its_name_and_its_fix(
    check: str,
    prepare: Callable[[FakeJellyfin], None],
    server: dict[str, Any],
    fix: str,
    start: Start,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake = start()
    prepare(fake)
    path = server.pop("path", "") if "path" in server else ""
    config = a_config(tmp_path, {"url": fake.url + path, **server})
    code, found = findings(config, capsys)
    assert found[check]["severity"] != "ok", found
    assert fix in found[check]["fix"]
    assert code == (1 if any(row["severity"] == "problem" for row in found.values()) else 0)
    server["path"] = path
    assert not [exchange for exchange in fake.received if exchange.method != "GET"]


@pytest.mark.parametrize(
    ("change", "said"),
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
def test_a_destination_that_is_not_as_link_makes_it_is_named(
    change: dict[str, Any], said: str, start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start()
    fake.install_webhook()
    fake.webhook["GenericOptions"] = [destination("http://127.0.0.1:1") | change]
    _, found = findings(a_config(tmp_path, {"url": fake.url}, public_url="http://127.0.0.1:1"), capsys)
    assert found["webhook"]["severity"] == ("problem" if change else "ok"), found
    assert said in found["webhook"]["text"]


def destination(url: str) -> dict[str, Any]:
    headers = [
        {"Key": "Content-Type", "Value": "application/json"},
        {"Key": "Authorization", "Value": "Bearer a-secret"},
    ]
    return {**webhook_plugin().destination, "WebhookUri": f"{url}/webhook/jellyfin", "Headers": headers}


def through_a_proxy(request: BaseHTTPRequestHandler) -> None:
    """Answer like Jellyfin behind a proxy that removes the Authorization header."""
    public = b'{"ProductName": "Jellyfin Server", "Version": "10.11.11", "Id": "1", "ServerName": "s"}'
    if request.path.startswith("/System/Info/Public"):
        reply(200, "application/json", public)(request)
    else:
        reply(200 if f"ApiKey={KEY}" in request.path else 401, "application/json", b"{}")(request)


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
        (through_a_proxy, "proxy", "removes the Authorization header"),
        (
            lambda request: request.connection.close(),
            "address",
            "does server.url have to begin with https://",
        ),
    ],
)
def test_what_answers_instead_of_jellyfin_is_told_apart(
    answer: Callable[[BaseHTTPRequestHandler], None],
    check: str,
    text: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with answering(answer) as url:
        code, found = findings(a_config(tmp_path, {"url": url}), capsys)
    assert code == 1
    assert list(found) == [check]
    assert text in found[check]["text"]


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_http_and_https_and_certificates_are_told_apart(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, secure = start(), start(tls=True)
    _, found = findings(a_config(tmp_path, {"url": plain.url.replace("http:", "https:")}), capsys)
    assert "does not speak TLS" in found["certificate"]["text"]
    _, found = findings(a_config(tmp_path, {"url": secure.url.replace("https:", "http:")}), capsys)
    assert "begin with https://" in found["address"]["text"]
    _, found = findings(a_config(tmp_path, {"url": secure.url}), capsys)
    assert "not trusted (self-signed certificate)" in found["certificate"]["text"]
    _, found = findings(a_config(tmp_path, {"url": secure.url, "tls_verify": False}), capsys)
    assert found["certificate"]["severity"] == "warning"


@pytest.mark.parametrize(("version", "check"), [("10.9.11", "version"), ("12.0.0", "address")])
def test_a_server_that_is_too_old_or_still_starts_is_asked_nothing_more(
    version: str, check: str, start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start(version)
    fake.is_starting = check == "address"
    _, found = findings(a_config(tmp_path, {"url": fake.url}), capsys)
    assert list(found)[-1] == check
    assert found[check]["severity"] != "ok"
    assert not {"key", "webhook", "viewers"} & set(found)


def test_a_base_path_that_is_missing_is_found_out(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start(base="/jellyfin")
    code, found = findings(a_config(tmp_path, {"url": fake.url.removesuffix("/jellyfin")}), capsys)
    assert code == 1
    assert "base path" in str(found)
    assert findings(a_config(tmp_path, {"url": fake.url}), capsys)[1]["base path"]["severity"] == "ok"


def test_a_mapped_file_of_another_size_is_another_file(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = start()
    source = next(iter(fake.items.values())).sources[0]
    local = tmp_path / "media" / Path(source.path).relative_to("/media")
    local.parent.mkdir(parents=True)
    config = a_config(
        tmp_path, {"url": fake.url, "path_map": [{"server": "/media", "local": str(tmp_path / "media")}]}
    )
    with local.open("wb") as file:
        file.truncate(source.size + 1)
    assert "another size" in findings(config, capsys)[1]["path_map"]["text"]
    with local.open("wb") as file:
        file.truncate(source.size)
    assert findings(config, capsys)[1]["path_map"]["severity"] == "ok"


async def test_the_running_daemon_says_whether_the_event_arrived(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeJellyfin() as fake:
        fake.install_webhook()
        port = free_port()
        config = a_config(
            tmp_path, {"url": fake.url}, public_url=f"http://127.0.0.1:{port}", listen=f"127.0.0.1:{port}"
        )
        async with running(load_settings(config)):
            fake.webhook["GenericOptions"] = [destination(f"http://127.0.0.1:{port}")]
            code, found = await asyncio.to_thread(findings, config, capsys)
            assert (code, found["public_url"]["severity"]) == (0, "ok"), found
            # The event does not arrive, so the wait is cut short.
            monkeypatch.setattr("fluxcaption.cli.doctor.DELIVERY_TIMEOUT_S", 0.3)
            fake.webhook["GenericOptions"] = [destination("http://127.0.0.1:9")]
            code, found = await asyncio.to_thread(findings, config, capsys)
            assert (code, found["public_url"]["severity"]) == (1, "problem")
            assert "nothing arrived" in found["public_url"]["text"]
            assert "instead of" in found["webhook"]["text"]
        assert fake.webhook["GenericOptions"][0]["NotificationTypes"] == ["ItemAdded", "ItemDeleted"]
