"""The test of the webhook round trip: `link` opens a session on the server and waits for its webhook."""

import asyncio

from aiohttp import web

from fluxcaption.web.problems import problem
from fluxcaption.web.routes import MAX_BODY_BYTES
from fluxcaption.web.webhook import SeenProbes, has_bearer_token, read_payload

POLL_INTERVAL_S = 0.05


class WebhookProbeListener:
    """HTTP listener for the webhook, used by `link` while no daemon runs; an async context manager."""

    def __init__(self, secret: str) -> None:
        self.probes = SeenProbes()
        self._secret = secret
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> "WebhookProbeListener":
        return self

    async def listen(self, host: str, port: int) -> None:
        """Open the port.

        Raises:
            OSError: The address cannot be opened.
        """
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_post("/webhook/jellyfin", self._receive)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        if not has_bearer_token(request, self._secret):
            return problem(
                401,
                "webhook-secret-wrong",
                "the Authorization header is wrong: it must be Bearer and the secret",
            )
        try:
            payload = read_payload(await request.read(), request.content_type)
        except ValueError as error:
            return problem(400, "payload-unreadable", str(error))
        self.probes.add(str(payload.get("DeviceId", "")))
        return web.json_response({"id": 0}, status=202)


async def wait_for(probes: SeenProbes, device: str, timeout_s: float) -> bool:
    """Wait until the webhook of a device id arrives. Return False after `timeout_s` seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while device not in probes:
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(POLL_INTERVAL_S)
    return True
