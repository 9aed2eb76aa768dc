"""The routes that show and change the queue."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Self, TypeVar

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from fluxcaption.domain.gaps import Decision
from fluxcaption.domain.jobs import OPEN_STATES, Job, JobState
from fluxcaption.domain.units import ItemId, JobId
from fluxcaption.health import Health
from fluxcaption.pipeline.discovery.forecast_text import forecast_lines
from fluxcaption.pipeline.discovery.scanner import ScanReport
from fluxcaption.pipeline.explain import Explanation
from fluxcaption.plugin_manifest import repository_manifest
from fluxcaption.ports.clock import Clock
from fluxcaption.ports.storage import Storage
from fluxcaption.web.problems import problem
from fluxcaption.web.routes import Handler
from fluxcaption.web.webhook import Proofs

MAX_JOBS = 500

Body = TypeVar("Body", bound=BaseModel)


class JobView(BaseModel):
    """A job as people and programs see it."""

    id: int
    item_id: str
    source_id: str
    title: str
    target: str
    priority: str
    stage: str
    state: str
    attempts: int
    next_try_at: datetime
    reason: str
    reason_code: str

    @classmethod
    def of(cls, job: Job) -> "JobView":
        """Show one job."""
        return cls(
            id=job.id,
            item_id=job.item_id,
            source_id=job.source_id,
            title=job.title,
            target=str(job.target),
            priority=job.priority.value,
            stage=job.stage.value,
            state=job.state.value,
            attempts=job.attempts,
            next_try_at=job.next_try_at,
            reason=job.reason,
            reason_code=job.reason_code,
        )


class JobPage(BaseModel):
    """One page of the queue."""

    jobs: Sequence[JobView]
    cursor: int | None


class ForecastAnswer(BaseModel):
    """What all that is missing would cost."""

    titles: int
    listening_hours: float
    work_hours: float
    speed: float
    speed_is_measured: bool
    begun_titles: int
    finished_at: datetime | None


class ScanAnswer(BaseModel):
    """What a pass found; `told` are the sentences of the forecast."""

    items: int
    queued: int
    gaps: dict[str, dict[str, int]]
    broken: list[str]
    forecast: ForecastAnswer
    told: list[str]

    @classmethod
    def of(cls, report: ScanReport) -> Self:
        """What there is to say of a report."""
        cost = report.forecast
        assert cost is not None
        gaps = {target: dict(actions) for target, actions in report.tally.table().items()}
        forecast = ForecastAnswer(
            titles=cost.titles,
            listening_hours=round(cost.listening_hours, 2),
            work_hours=round(cost.work_hours, 2),
            speed=round(cost.speed, 2),
            speed_is_measured=cost.is_measured,
            begun_titles=cost.begun_titles,
            finished_at=cost.finished_at,
        )
        return cls(
            items=report.items,
            queued=report.queued,
            gaps=gaps,
            broken=report.broken,
            forecast=forecast,
            told=forecast_lines(cost),
        )


class UndoBody(BaseModel):
    """What is to be removed; no item means everything."""

    item_id: str | None = Field(None, pattern=r"^[0-9a-f]{32}$")
    dry_run: bool = False


class UndoAnswer(BaseModel):
    """A line for each track."""

    tracks: list[str]


class AskBody(BaseModel):
    """What a person asks for.

    Attributes:
        targets: Languages; none: those the household wants.
        source: `audio 2`, `text 1` or the name of a subtitle file.
        model: Another speech model, by its directory.
        redo: Also where there is a track already.
    """

    item_id: str = Field(pattern=r"^[0-9a-f]{32}$")
    targets: list[str] = Field(default_factory=list, max_length=50)
    source: str = Field("", max_length=300)
    model: str = Field("", max_length=1000)
    redo: bool = False


class AskedDecision(BaseModel):
    """What is done about one language."""

    target: str
    action: str
    reason: str


class AskAnswer(BaseModel):
    """The open jobs of the item, and what is done about each language."""

    jobs: list[int]
    decisions: list[AskedDecision]


class Api:
    """Handlers over the store and the running daemon."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        health: Health,
        *,
        scan: Callable[[], Awaitable[ScanReport]],
        wake: Callable[[], None],
        cancel_running: Callable[[JobId], None],
        set_paused: Callable[[bool], Awaitable[None]],
        why: Callable[[ItemId], Awaitable[Explanation]],
        undo: Callable[[ItemId | None, bool], Awaitable[Sequence[str]]],
        ask: Callable[[AskBody], Awaitable[Sequence[Decision]]],
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._health = health
        self._scan = scan
        self._wake = wake
        self._abandon = cancel_running
        self._set_paused = set_paused
        self._why = why
        self._undo = undo
        self._ask = ask

    async def alive(self, request: web.Request) -> web.Response:
        """The loop turns."""
        return web.json_response({"state": "alive"})

    async def ready(self, request: web.Request) -> web.Response:
        """Each part with state, cause and since; 503 only where a promise could not be kept."""
        readiness = self._health.readiness()
        return web.Response(
            status=200 if self._health.is_ready else 503,
            text=readiness.model_dump_json(),
            content_type="application/json",
        )

    async def jobs(self, request: web.Request) -> web.Response:
        """One page of jobs, newest first."""
        try:
            states = [JobState(text) for text in request.query.get("state", "").split(",") if text]
            limit = max(1, min(MAX_JOBS, int(request.query.get("limit", "100"))))
            before = JobId(int(request.query["cursor"])) if "cursor" in request.query else None
            if before is not None and not 0 <= before < 2**63:
                raise ValueError("cursor must be one that an earlier page gave")
        except ValueError as error:
            return problem(400, "query-wrong", str(error))
        item = request.query.get("item")
        found = await self._storage.jobs.page(
            states=states, item_id=ItemId(item) if item else None, limit=limit, before=before
        )
        page = JobPage(
            jobs=[JobView.of(job) for job in found], cursor=found[-1].id if len(found) == limit else None
        )
        return _answer(page)

    async def job(self, request: web.Request) -> web.Response:
        """One job."""
        found = await self._storage.jobs.get(_job_id(request))
        return _answer(JobView.of(found)) if found else _no_such_job()

    async def retry(self, request: web.Request) -> web.Response:
        """Queue a job again, as asked for."""
        found = await self._storage.jobs.retry(_job_id(request), self._clock.now())
        self._wake()
        return _answer(JobView.of(found)) if found else _no_such_job()

    async def cancel(self, request: web.Request) -> web.Response:
        """Cancel an open job."""
        found = await self._storage.jobs.cancel(_job_id(request), self._clock.now())
        if found is None:
            return _no_such_job()
        self._abandon(found.id)
        return _answer(JobView.of(found))

    async def pause(self, request: web.Request) -> web.Response:
        """Begin nothing more until resumed."""
        await self._set_paused(True)
        return web.json_response({"paused": True})

    async def resume(self, request: web.Request) -> web.Response:
        """Go on."""
        await self._set_paused(False)
        return web.json_response({"paused": False})

    async def scan(self, request: web.Request) -> web.Response:
        """Make a full pass now."""
        return _answer(ScanAnswer.of(await self._scan()))

    async def why(self, request: web.Request) -> web.Response:
        """The decision chain of one item."""
        return _answer(await self._why(ItemId(request.match_info["id"])))

    async def undo(self, request: web.Request) -> web.Response:
        """Remove what we made."""
        body = await _body(request, UndoBody)
        if isinstance(body, web.Response):
            return body
        return _answer(
            UndoAnswer(
                tracks=list(await self._undo(ItemId(body.item_id) if body.item_id else None, body.dry_run))
            )
        )

    async def repository(self, request: web.Request) -> web.Response:
        """The repository manifest: empty until there is a plugin of our own."""
        return web.Response(body=repository_manifest(), content_type="application/json")

    def proof(self, proofs: Proofs) -> Handler:
        """A handler that tells whether a device id came back."""

        async def handler(request: web.Request) -> web.Response:
            return web.json_response({"seen": request.match_info["device"] in proofs})

        return handler

    async def ask(self, request: web.Request) -> web.Response:
        """Make one item's subtitles now, or again, or differently."""
        body = await _body(request, AskBody)
        if isinstance(body, web.Response):
            return body
        decisions = await self._ask(body)
        self._wake()
        told = [
            AskedDecision(target=str(decision.target), action=decision.action.value, reason=decision.reason)
            for decision in decisions
        ]
        jobs = [
            job.id for job in await self._storage.jobs.page(item_id=ItemId(body.item_id), states=OPEN_STATES)
        ]
        return web.Response(
            status=202,
            text=AskAnswer(jobs=jobs, decisions=told).model_dump_json(),
            content_type="application/json",
        )


async def _body(request: web.Request, model: type[Body]) -> Body | web.Response:
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as error:
        first = error.errors()[0]
        return problem(400, "body-wrong", f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")


def _job_id(request: web.Request) -> JobId:
    return JobId(int(request.match_info["id"]))


def _no_such_job() -> web.Response:
    return problem(404, "no-such-job", "there is no job of that number: see `fluxcaption jobs`")


def _answer(model: BaseModel) -> web.Response:
    return web.Response(text=model.model_dump_json(), content_type="application/json")
