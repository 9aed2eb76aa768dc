"""Requests to the running daemon over its control socket."""

import socket
from typing import Any

import aiohttp

from fluxcaption.domain.errors import FluxCaptionError, ParkedError
from fluxcaption.settings import Settings

CONNECT_TIMEOUT_S = 2
REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=None)
"""No limit: a scan of a large library takes long, and a daemon that ends closes the connection."""


def is_running(settings: Settings) -> bool:
    """Return True if a daemon answers on the control socket of this state."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(CONNECT_TIMEOUT_S)
        try:
            connection.connect(str(settings.control_socket))
        except OSError:
            return False
        return True


async def call_daemon(settings: Settings, method: str, path: str, body: object = None) -> Any:
    """Send one request and return its JSON answer.

    Raises:
        ParkedError: A service that the request needs is unreachable (503).
        FluxCaptionError: The daemon answered with another error, or not at all.
    """
    connector = aiohttp.UnixConnector(path=str(settings.control_socket))
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=REQUEST_TIMEOUT) as session,
            session.request(method, f"http://fluxcaption{path}", json=body) as answer,
        ):
            value = await answer.json(content_type=None)
            if answer.status >= 400:
                error = ParkedError if answer.status == 503 else FluxCaptionError
                raise error(str(value.get("detail", f"the daemon answered with status {answer.status}")))
            return value
    except aiohttp.ClientError as error:
        raise FluxCaptionError(
            f"the daemon does not answer on {settings.control_socket} ({error}): "
            "check its log and run the command again"
        ) from error
