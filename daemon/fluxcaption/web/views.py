"""JSON bodies of the API, shared with the commands that work without a daemon."""

from collections.abc import Sequence
from datetime import datetime
from typing import Self

from pydantic import BaseModel, Field

from fluxcaption.domain.gaps import Decision
from fluxcaption.domain.jobs import Job
from fluxcaption.pipeline.discovery.forecast_text import forecast_lines
from fluxcaption.pipeline.discovery.scanner import ScanReport

ITEM_ID_PATTERN = r"^[0-9a-f]{32}$"


class JobView(BaseModel):
    """A job."""

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
    def of(cls, job: Job) -> Self:
        """Return the view of a job."""
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
    """One page of jobs; `cursor` requests the next page and is null on the last one."""

    jobs: Sequence[JobView]
    cursor: int | None


class ForecastView(BaseModel):
    """Estimated cost of all missing tracks; `speed` is media time divided by work time."""

    titles: int
    listening_hours: float
    work_hours: float
    speed: float
    speed_is_measured: bool
    begun_titles: int
    finished_at: datetime | None


class ScanAnswer(BaseModel):
    """Result of a scan.

    Attributes:
        items: Scanned items.
        queued: New jobs.
        gaps: Number of gaps by target language and action.
        broken: One sentence for each unreadable file.
        summary: Sentences of the forecast.
    """

    items: int
    queued: int
    gaps: dict[str, dict[str, int]]
    broken: list[str]
    forecast: ForecastView
    summary: list[str]

    @classmethod
    def of(cls, report: ScanReport) -> Self:
        """Return the view of a complete scan's report."""
        forecast = report.forecast
        assert forecast is not None
        return cls(
            items=report.items,
            queued=report.queued,
            gaps={target: dict(actions) for target, actions in report.tally.table().items()},
            broken=report.broken,
            forecast=ForecastView(
                titles=forecast.titles,
                listening_hours=round(forecast.listening_hours, 2),
                work_hours=round(forecast.work_hours, 2),
                speed=round(forecast.speed, 2),
                speed_is_measured=forecast.is_measured,
                begun_titles=forecast.begun_titles,
                finished_at=forecast.finished_at,
            ),
            summary=forecast_lines(forecast),
        )


class UndoBody(BaseModel):
    """Request to remove tracks; no item means all items."""

    item_id: str | None = Field(None, pattern=ITEM_ID_PATTERN)
    dry_run: bool = False


class UndoAnswer(BaseModel):
    """One line for each track."""

    tracks: list[str]


class CaptionBody(BaseModel):
    """Manual request for one item.

    Attributes:
        targets: Language codes; empty means the configured languages.
        source: `audio 2`, `text 1` or the name of a subtitle file; empty means the best one.
        model: Directory of another speech model; empty means the configured one.
        redo: Make tracks that exist already again.
    """

    item_id: str = Field(pattern=ITEM_ID_PATTERN)
    targets: list[str] = Field(default_factory=list, max_length=50)
    source: str = Field("", max_length=300)
    model: str = Field("", max_length=1000)
    redo: bool = False


class DecisionView(BaseModel):
    """The decision about one language."""

    target: str
    action: str
    reason: str


class CaptionAnswer(BaseModel):
    """Ids of the item's open jobs, and the decision about each language."""

    jobs: list[int]
    decisions: list[DecisionView]

    @classmethod
    def of(cls, jobs: Sequence[Job], decisions: Sequence[Decision]) -> Self:
        """Return the view of the open jobs and the decisions."""
        views = [
            DecisionView(target=str(decision.target), action=decision.action.value, reason=decision.reason)
            for decision in decisions
        ]
        return cls(jobs=[job.id for job in jobs], decisions=views)
