"""Handlers of the routes that read and change the queue."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from fluxcaption.domain.gaps import Decision
from fluxcaption.domain.jobs import OPEN_STATES, JobState
from fluxcaption.domain.units import ItemId, JobId
from fluxcaption.health import Health
from fluxcaption.pipeline.discovery.scan_run import ScanReport
from fluxcaption.pipeline.explain import Explanation
from fluxcaption.plugin_manifest import repository_manifest
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.storage import Storage
from fluxcaption.web.problems import problem
from fluxcaption.web.views import (
    CaptionAnswer,
    CaptionBody,
    JobPage,
    JobView,
    ScanAnswer,
    UndoAnswer,
    UndoBody,
)
from fluxcaption.web.webhook import SeenProbes

MAX_JOBS_PER_PAGE, DEFAULT_JOBS_PER_PAGE = 500, 100

Body = TypeVar("Body", bound=BaseModel)


class Control(Protocol):
    """Actions on the running daemon."""

    async def scan(self) -> ScanReport:
        """Run a full scan and return its report."""

    def wake_workers(self) -> None:
        """Make the workers look for due jobs now."""

    def cancel_running(self, job_id: JobId) -> None:
        """Stop the attempt of a cancelled job."""

    async def set_paused(self, is_paused: bool) -> None:
        """Pause or resume the queue."""

    async def explain(self, item_id: ItemId) -> Explanation:
        """Return the decision chain of an item."""

    async def undo(self, item_id: ItemId | None, *, dry_run: bool) -> Sequence[str]:
        """Remove the tracks made for an item, or for all items. Return one line for each track."""

    async def request_item(self, body: CaptionBody) -> Sequence[Decision]:
        """Queue the jobs of a manual request. Return the decision for each language."""


class Api:
    """Handlers over the storage, the health report and the running daemon."""

    def __init__(
        self, storage: Storage, clock: Clock, health: Health, control: Control, probes: SeenProbes
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._health = health
        self._control = control
        self._probes = probes

    async def alive(self, request: web.Request) -> web.Response:
        """Answer 200 while the event loop runs."""
        return web.json_response({"state": "alive"})

    async def ready(self, request: web.Request) -> web.Response:
        """Answer with the health report; 503 if accepted work could be lost."""
        readiness = self._health.readiness()
        return _json_response(readiness, 200 if self._health.is_ready else 503)

    async def jobs(self, request: web.Request) -> web.Response:
        """Answer with one page of jobs, newest first."""
        try:
            states = [JobState(text) for text in request.query.get("state", "").split(",") if text]
            limit = max(1, min(MAX_JOBS_PER_PAGE, int(request.query.get("limit", DEFAULT_JOBS_PER_PAGE))))
            before = _cursor(request)
        except ValueError as error:
            return problem(400, "query-wrong", str(error))
        item = request.query.get("item")
        jobs = await self._storage.jobs.page(
            states=states, item_id=ItemId(item) if item else None, limit=limit, before=before
        )
        next_cursor = jobs[-1].id if len(jobs) == limit else None
        return _json_response(JobPage(jobs=[JobView.of(job) for job in jobs], cursor=next_cursor))

    async def job(self, request: web.Request) -> web.Response:
        """Answer with one job."""
        job = await self._storage.jobs.get(_job_id(request))
        return _json_response(JobView.of(job)) if job else _no_such_job(request)

    async def retry(self, request: web.Request) -> web.Response:
        """Queue a job again as a manual request."""
        job = await self._storage.jobs.retry(_job_id(request), self._clock.now())
        self._control.wake_workers()
        return _json_response(JobView.of(job)) if job else _no_such_job(request)

    async def cancel(self, request: web.Request) -> web.Response:
        """Cancel an open job."""
        job = await self._storage.jobs.cancel(_job_id(request), self._clock.now())
        if job is None:
            return _no_such_job(request)
        self._control.cancel_running(job.id)
        return _json_response(JobView.of(job))

    async def pause(self, request: web.Request) -> web.Response:
        """Pause the queue: no job starts except manual requests."""
        await self._control.set_paused(True)
        return web.json_response({"paused": True})

    async def resume(self, request: web.Request) -> web.Response:
        """Resume the queue."""
        await self._control.set_paused(False)
        return web.json_response({"paused": False})

    async def scan(self, request: web.Request) -> web.Response:
        """Run a full scan and answer with its result."""
        return _json_response(ScanAnswer.of(await self._control.scan()))

    async def why(self, request: web.Request) -> web.Response:
        """Answer with the decision chain of one item."""
        return _json_response(await self._control.explain(ItemId(request.match_info["id"])))

    async def undo(self, request: web.Request) -> web.Response:
        """Remove the tracks that were made for one item or for all."""
        body = await _read_body(request, UndoBody)
        if isinstance(body, web.Response):
            return body
        item_id = ItemId(body.item_id) if body.item_id else None
        tracks = await self._control.undo(item_id, dry_run=body.dry_run)
        return _json_response(UndoAnswer(tracks=list(tracks)))

    async def caption(self, request: web.Request) -> web.Response:
        """Queue the jobs of a manual request for one item."""
        body = await _read_body(request, CaptionBody)
        if isinstance(body, web.Response):
            return body
        decisions = await self._control.request_item(body)
        self._control.wake_workers()
        jobs = await self._storage.jobs.page(item_id=ItemId(body.item_id), states=OPEN_STATES)
        return _json_response(CaptionAnswer.of(jobs, decisions), 202)

    async def plugin_repository(self, request: web.Request) -> web.Response:
        """Answer with the plugin repository manifest for Jellyfin."""
        return web.Response(body=repository_manifest(), content_type="application/json")

    async def probe(self, request: web.Request) -> web.Response:
        """Answer whether the webhook of a probe session arrived; `link` and `doctor` poll this."""
        return web.json_response({"seen": request.match_info["device"] in self._probes})


async def _read_body(request: web.Request, model: type[Body]) -> Body | web.Response:
    """Return the validated body, or the error response for an invalid one."""
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as error:
        first = error.errors()[0]
        return problem(400, "body-wrong", f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")


def _cursor(request: web.Request) -> JobId | None:
    if "cursor" not in request.query:
        return None
    cursor = JobId(int(request.query["cursor"]))
    if not 0 <= cursor < 2**63:
        raise ValueError("cursor is out of range: use the cursor of an earlier page")
    return cursor


def _job_id(request: web.Request) -> JobId:
    return JobId(int(request.match_info["id"]))


def _no_such_job(request: web.Request) -> web.Response:
    return problem(404, "no-such-job", f"there is no job {request.match_info['id']}: see `fluxcaption jobs`")


def _json_response(model: BaseModel, status: int = 200) -> web.Response:
    return web.Response(status=status, text=model.model_dump_json(), content_type="application/json")
