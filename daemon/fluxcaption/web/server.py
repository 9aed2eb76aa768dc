"""The route table and its two listeners: the port for public routes, the control socket for the others."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from fluxcaption.domain.errors import FluxCaptionError, ItemGone, ParkedError, StateError, UsageError
from fluxcaption.web.api import Api
from fluxcaption.web.problems import problem
from fluxcaption.web.routes import Handler, Route, Scope, Where
from fluxcaption.web.webhook import Webhook

log = logging.getLogger(__name__)

RETRY_AFTER_S = 30
SHUTDOWN_TIMEOUT_S = 2
_JOB = "/api/jobs/{id:[0-9]{1,18}}"


def route_table(api: Api, webhook: Webhook) -> Sequence[Route]:
    """Return every route that is served."""
    return (
        Route("GET", "/health", api.alive, Where.BOTH, Scope.NONE),
        Route("GET", "/health/ready", api.ready, Where.BOTH, Scope.NONE),
        Route("POST", "/webhook/jellyfin", webhook.receive, Where.PORT, Scope.WEBHOOK),
        Route("GET", "/plugin-manifest/manifest.json", api.plugin_repository, Where.PORT, Scope.NONE),
        Route("GET", "/api/probes/{device:[a-z0-9-]{1,100}}", api.probe, Where.SOCKET, Scope.READ),
        Route("GET", "/api/jobs", api.jobs, Where.SOCKET, Scope.READ),
        Route("GET", _JOB, api.job, Where.SOCKET, Scope.READ),
        Route("POST", f"{_JOB}/retry", api.retry, Where.SOCKET, Scope.SUBMIT),
        Route("POST", f"{_JOB}/cancel", api.cancel, Where.SOCKET, Scope.SUBMIT),
        Route("POST", "/api/jobs/caption", api.caption, Where.SOCKET, Scope.SUBMIT),
        Route("POST", "/api/queue/pause", api.pause, Where.SOCKET, Scope.ADMIN),
        Route("POST", "/api/queue/resume", api.resume, Where.SOCKET, Scope.ADMIN),
        Route("GET", "/api/items/{id:[0-9a-f]{32}}/why", api.why, Where.SOCKET, Scope.READ),
        Route("POST", "/api/undo", api.undo, Where.SOCKET, Scope.ADMIN),
        Route("POST", "/api/scan", api.scan, Where.SOCKET, Scope.ADMIN),
    )


class WebServer:
    """Listeners over the route table; `close` ends both.

    Attributes:
        port: The open TCP port; None before `listen`.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        self._runners: list[web.AppRunner] = []
        self.port: int | None = None

    async def listen(self, address: str) -> None:
        """Open the port of `host:port`; port 0 takes a free one.

        Raises:
            FluxCaptionError: The address cannot be opened.
        """
        host, port = address.rsplit(":", 1)
        runner = await self._start_runner(Where.PORT)
        site = web.TCPSite(runner, host.strip("[]"), int(port), reuse_address=True)
        try:
            await site.start()
        except OSError as error:
            raise FluxCaptionError(
                f"web.listen {address} cannot be opened ({error.strerror}): choose another address or port"
            ) from error
        self.port = runner.addresses[0][1]
        log.info("HTTP port opened", extra={"host": host, "port": self.port})

    async def listen_on_socket(self, path: Path) -> None:
        """Open the control socket with mode 0600, in place of one that an earlier process left."""
        with suppress(FileNotFoundError):
            path.unlink()
        runner = await self._start_runner(Where.SOCKET)
        await web.UnixSite(runner, str(path)).start()
        path.chmod(0o600)

    async def close(self) -> None:
        """Close both listeners; running requests get a short time to finish."""
        for runner in reversed(self._runners):
            await runner.cleanup()

    async def _start_runner(self, where: Where) -> web.AppRunner:
        routes = [route for route in self._routes if where in route.where]
        app = web.Application(
            client_max_size=max(route.max_bytes for route in routes), middlewares=[_errors_to_problems]
        )
        for route in routes:
            app.router.add_route(route.method, route.path, route.handler)
        # Compressed bodies are refused, not unpacked: a small body could unpack to any size.
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S, auto_decompress=False
        )
        await runner.setup()
        self._runners.append(runner)
        return runner


@web.middleware
async def _errors_to_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _http_problem(request, error)
    except FluxCaptionError as error:
        response = problem(_status(error), error.code, str(error))
        if response.status == 503:
            response.headers["Retry-After"] = str(RETRY_AFTER_S)
        return response
    except Exception:
        log.exception("a request failed unexpectedly", extra={"path": request.path})
        return problem(500, "unexpected", "the request failed unexpectedly: see the daemon's log")


def _http_problem(request: web.Request, error: web.HTTPException) -> web.Response:
    code = error.reason.lower().replace(" ", "-")
    response = problem(error.status, code, f"{request.method} {request.path}: {error.reason}")
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _status(error: FluxCaptionError) -> int:
    """Return 404 for a missing item, 400 for a wrong request, 503 for a temporary failure, else 500."""
    if isinstance(error, ItemGone):
        return 404
    if isinstance(error, UsageError):
        return 400
    return 503 if isinstance(error, (ParkedError, StateError)) else 500
