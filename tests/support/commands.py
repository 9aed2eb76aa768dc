"""Commands of the program inside a test, and other services than Jellyfin for them."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from fluxcaption.cli.main import cli
from fluxcaption.plugin_manifest import webhook_plugin

from tests.fakes.jellyfin import KEY, FakeJellyfin

Answer = Callable[[BaseHTTPRequestHandler], None]

StartServer = Callable[..., FakeJellyfin]
"""Type of the fixture `start_server`."""


class ServerThread:
    """An event loop in a thread for fake servers, because a command runs an event loop itself."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._running: list[FakeJellyfin] = []
        self._thread.start()

    def start(self, fake: FakeJellyfin) -> None:
        """Open the socket of a fake server, which `close` closes."""
        asyncio.run_coroutine_threadsafe(fake.__aenter__(), self._loop).result()
        self._running.append(fake)

    def close(self) -> None:
        """Close all servers and end the thread."""
        for fake in self._running:
            asyncio.run_coroutine_threadsafe(fake.__aexit__(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def free_port() -> int:
    """Return a port of this machine that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_command(*arguments: str) -> int:
    """Run a command and return its exit code. Errors are raised."""
    return int(cli.main(list(arguments), standalone_mode=False) or 0)


def login_options(folder: Path, user: str = "root", password: str = "x") -> tuple[str, ...]:
    """Write the password file of a user and return the options that name both."""
    file = folder / "password"
    file.write_text(f"{password}\n")
    return "--user", user, "--password-file", str(file)


def web_options(port: int) -> tuple[str, ...]:
    """Return the options that make the daemon listen on a port of this machine."""
    return "--public-url", f"http://127.0.0.1:{port}", "--listen", f"127.0.0.1:{port}"


def web_section(port: int) -> dict[str, str]:
    """Return the keys of the `web` section that name a port of this machine."""
    return {"public_url": f"http://127.0.0.1:{port}", "listen": f"127.0.0.1:{port}"}


def link(fake: FakeJellyfin, folder: Path, *options: str) -> tuple[int, Path]:
    """Run `link` as the administrator without questions. Return the exit code and the configuration."""
    config = folder / "etc" / "config.yaml"
    login, web = login_options(folder), web_options(free_port())
    code = run_command("link", fake.url, "--config", str(config), *login, *web, "--yes", *options)
    return code, config


def write_config(folder: Path, server: dict[str, Any], **web: Any) -> Path:
    """Write a configuration with a webhook secret and return its path."""
    config = folder / "config.yaml"
    content = {
        "server": {"type": "jellyfin", "api_key": KEY, **server},
        "languages": {"targets": ["de"]},
        "web": {"webhook_secret": "a-secret", **web},
        "state": str(folder / "state"),
    }
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    return config


def run_doctor(config: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, str]]]:
    """Run `doctor --json` and return the exit code and the findings by check."""
    capsys.readouterr()
    code = run_command("doctor", "--config", str(config), "--json")
    return code, {row["check"]: row for row in json.loads(capsys.readouterr().out)}


def webhook_destination(url: str) -> dict[str, Any]:
    """Return the destination that `link` adds to the webhook plugin."""
    headers = [
        {"Key": "Content-Type", "Value": "application/json"},
        {"Key": "Authorization", "Value": "Bearer a-secret"},
    ]
    return {**webhook_plugin().destination, "WebhookUri": f"{url}/webhook/jellyfin", "Headers": headers}


@contextmanager
def http_service(answer: Answer) -> Iterator[str]:
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


def reply(status: int, content_type: str, body: bytes, **headers: str) -> Answer:
    """Return an answer of an HTTP service that is the same for every request."""

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
