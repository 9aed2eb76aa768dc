"""Talks to the running daemon over its control socket."""

import socket
from typing import Any

import aiohttp

from fluxcaption.domain.errors import FluxCaptionError, ParkedError
from fluxcaption.settings import Settings

AS_LONG_AS_IT_TAKES = aiohttp.ClientTimeout(total=None)
"""A pass over a large library takes longer than any limit; a daemon that ends closes the connection."""


def is_running(settings: Settings) -> bool:
    """Whether a daemon answers on this state's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(settings.state / "control.sock"))
        except OSError:
            return False
        return True


async def call_daemon(settings: Settings, method: str, path: str, body: object = None) -> Any:
    """Make one call and return its JSON answer.

    Raises:
        ParkedError: What it needs is away just now.
        FluxCaptionError: The daemon answered with another problem.
    """
    connector = aiohttp.UnixConnector(path=str(settings.state / "control.sock"))
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=AS_LONG_AS_IT_TAKES) as session,
            session.request(method, f"http://fluxcaption{path}", json=body) as answer,
        ):
            value = await answer.json(content_type=None)
            if answer.status >= 400:
                error = ParkedError if answer.status == 503 else FluxCaptionError
                raise error(str(value.get("detail", f"the daemon answered {answer.status}")))
            return value
    except aiohttp.ClientError as error:
        raise FluxCaptionError(
            f"the daemon does not answer on {settings.state / 'control.sock'} ({error})"
        ) from error
