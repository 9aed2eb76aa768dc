"""Listeners over the one route table: the port for what is public, the control socket for what changes things."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from fluxcaption.domain.errors import FluxCaptionError, ItemGone, ParkedError, StateError, UsageError
from fluxcaption.health import Readiness
from fluxcaption.pipeline.explain import Explanation
from fluxcaption.web.api import Api, AskAnswer, AskBody, JobPage, JobView, ScanAnswer, UndoAnswer, UndoBody
from fluxcaption.web.problems import problem
from fluxcaption.web.routes import Handler, Route, Scope, Where
from fluxcaption.web.webhook import Webhook

log = logging.getLogger(__name__)

TRY_AGAIN_S = "30"


def route_table(api: Api, webhook: Webhook) -> Sequence[Route]:
    """Everything that is served; later features add rows."""
    both = Where.PORT | Where.SOCKET
    return (
        Route("GET", "/health", api.alive, both, Scope.NONE, "Whether the daemon is alive"),
        Route("GET", "/health/ready", api.ready, both, Scope.NONE, "How each part is", answers=Readiness),
        Route(
            "POST",
            "/webhook/jellyfin",
            webhook.receive,
            Where.PORT,
            Scope.WEBHOOK,
            "An event from Jellyfin's webhook plugin",
            errors=(
                "webhook-not-configured",
                "webhook-secret-wrong",
                "payload-unreadable",
                "notification-unknown",
                "item-id-missing",
                "wrong-server",
                "disk-low",
                "state",
            ),
        ),
        Route(
            "GET",
            "/plugin-manifest/manifest.json",
            api.repository,
            Where.PORT,
            Scope.NONE,
            "The plugin repository for Jellyfin",
        ),
        Route(
            "GET",
            "/api/proofs/{device:[a-z0-9-]{1,100}}",
            api.proof(webhook.proofs),
            Where.SOCKET,
            Scope.READ,
            "Whether a session begun by `link` came back as a webhook",
        ),
        Route(
            "GET",
            "/api/jobs",
            api.jobs,
            Where.SOCKET,
            Scope.READ,
            "The queue",
            answers=JobPage,
            errors=("query-wrong",),
        ),
        Route(
            "GET",
            "/api/jobs/{id:[0-9]{1,18}}",
            api.job,
            Where.SOCKET,
            Scope.READ,
            "One job",
            answers=JobView,
            errors=("no-such-job",),
        ),
        Route(
            "POST",
            "/api/jobs/{id:[0-9]{1,18}}/retry",
            api.retry,
            Where.SOCKET,
            Scope.SUBMIT,
            "Queue a job again",
            answers=JobView,
            errors=("no-such-job",),
        ),
        Route(
            "POST",
            "/api/jobs/{id:[0-9]{1,18}}/cancel",
            api.cancel,
            Where.SOCKET,
            Scope.SUBMIT,
            "Cancel a job",
            answers=JobView,
            errors=("no-such-job",),
        ),
        Route("POST", "/api/queue/pause", api.pause, Where.SOCKET, Scope.ADMIN, "Begin nothing more"),
        Route("POST", "/api/queue/resume", api.resume, Where.SOCKET, Scope.ADMIN, "Go on"),
        Route(
            "GET",
            "/api/items/{id:[0-9a-f]{32}}/why",
            api.why,
            Where.SOCKET,
            Scope.READ,
            "Why an item has what it has",
            answers=Explanation,
            errors=("item-gone", "service-unreachable"),
        ),
        Route(
            "POST",
            "/api/undo",
            api.undo,
            Where.SOCKET,
            Scope.ADMIN,
            "Remove what we made",
            accepts=UndoBody,
            answers=UndoAnswer,
            errors=("body-wrong", "service-unreachable"),
        ),
        Route(
            "POST",
            "/api/jobs/caption",
            api.ask,
            Where.SOCKET,
            Scope.SUBMIT,
            "Make one item's subtitles",
            accepts=AskBody,
            answers=AskAnswer,
            errors=("body-wrong", "usage", "item-gone", "service-unreachable"),
        ),
        Route(
            "POST",
            "/api/scan",
            api.scan,
            Where.SOCKET,
            Scope.ADMIN,
            "Make a full pass",
            answers=ScanAnswer,
            errors=("service-unreachable", "key-rejected", "state"),
        ),
    )


class WebServer:
    """Serves the table on a port and on the control socket."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        self._runners: list[web.AppRunner] = []
        self.port: int | None = None

    async def listen(self, address: str) -> None:
        """Open the port; `host:0` takes a free one."""
        host, port = address.rsplit(":", 1)
        runner = await self._runner(Where.PORT)
        site = web.TCPSite(runner, host.strip("[]"), int(port), reuse_address=True)
        try:
            await site.start()
        except OSError as error:
            raise FluxCaptionError(
                f"web.listen {address} cannot be opened ({error.strerror}): choose another address or port"
            ) from error
        self.port = runner.addresses[0][1]
        log.info("listening", extra={"host": host, "port": self.port})

    async def listen_on_socket(self, path: Path) -> None:
        """Open the control socket, for the owner of the state directory alone."""
        with suppress(FileNotFoundError):
            path.unlink()
        runner = await self._runner(Where.SOCKET)
        await web.UnixSite(runner, str(path)).start()
        path.chmod(0o600)

    async def close(self) -> None:
        """Answer nothing more."""
        for runner in reversed(self._runners):
            await runner.cleanup()

    async def _runner(self, where: Where) -> web.AppRunner:
        rows = [route for route in self._routes if where in route.where]
        app = web.Application(
            client_max_size=max(route.max_bytes for route in rows), middlewares=[_say_problems]
        )
        for route in rows:
            app.router.add_route(route.method, route.path, route.handler)
        # Bodies stay as they were sent: nothing is unpacked for anybody.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=2, auto_decompress=False)
        await runner.setup()
        self._runners.append(runner)
        return runner


@web.middleware
async def _say_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = problem(
            error.status,
            error.reason.lower().replace(" ", "-"),
            f"{request.method} {request.path}: {error.reason}",
        )
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except FluxCaptionError as error:
        response = problem(_status(error), error.code, str(error))
        if response.status == 503:
            response.headers["Retry-After"] = TRY_AGAIN_S
        return response
    except Exception:
        log.exception("a request failed unexpectedly", extra={"path": request.path})
        return problem(500, "unexpected", "something went wrong here; the log says what")


def _status(error: FluxCaptionError) -> int:
    """404 for what is gone, 400 for a wrong wish, 503 where it goes on by itself later."""
    if isinstance(error, ItemGone):
        return 404
    if isinstance(error, UsageError):
        return 400
    return 503 if isinstance(error, (ParkedError, StateError)) else 500
