"""The proof of the round trip: a session begun by us comes back as a webhook."""

import asyncio

from aiohttp import web

from fluxcaption.web.problems import problem
from fluxcaption.web.webhook import Proofs, has_bearer_token, read_payload


class WebhookProbeListener:
    """Takes the webhook while no daemon runs: `link` listens itself."""

    def __init__(self, secret: str) -> None:
        self.proofs = Proofs()
        self._secret = secret
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> "WebhookProbeListener":
        return self

    async def listen(self, host: str, port: int) -> None:
        """Open the port.

        Raises:
            OSError: It is taken.
        """
        app = web.Application(client_max_size=64 * 1024)
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
                401, "webhook-secret-wrong", "the Authorization header must be Bearer and the secret"
            )
        try:
            values = read_payload(await request.read(), request.content_type)
        except ValueError as error:
            return problem(400, "payload-unreadable", str(error))
        self.proofs.add(str(values.get("DeviceId", "")))
        return web.json_response({"id": 0}, status=202)


async def wait_for(proofs: Proofs, device: str, seconds: float) -> bool:
    """Wait until a device id came back, or so long."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while device not in proofs:
        if loop.time() >= until:
            return False
        await asyncio.sleep(0.05)
    return True
