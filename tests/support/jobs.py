"""New jobs and claims for tests of the storage."""

from datetime import UTC, datetime, timedelta

from fluxcaption.domain.jobs import Job, ManualRequest, NewJob, Priority, Stage
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import ItemId, ServerId, SourceId
from fluxcaption.storage.storage import SqliteStorage

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SERVER = ServerId("v")
DE, ES = LanguageTag("de"), LanguageTag("es")


def gap(
    source: str = "s",
    target: LanguageTag = DE,
    priority: Priority = Priority.NEW,
    *,
    days_old: float = 0,
    is_held: bool = False,
    request: ManualRequest = ManualRequest(),  # noqa: B008 (a frozen value)
) -> NewJob:
    """Return a new job for the item `i-<source>`."""
    return NewJob(
        SERVER,
        ItemId(f"i-{source}"),
        SourceId(source),
        target,
        f"Film {source}",
        priority,
        NOW - timedelta(days=days_old),
        "no track",
        is_held,
        request,
    )


async def claim(storage: SqliteStorage, stage: Stage = Stage.ACQUIRE, at: datetime = NOW) -> Job:
    """Claim the first due job; it must exist."""
    job = await storage.queue.claim(stage, at)
    assert job is not None
    return job


async def only_job(storage: SqliteStorage) -> Job:
    """Return the only job there is."""
    (job,) = await storage.jobs.page()
    return job
