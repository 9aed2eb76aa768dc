"""Storage of jobs: by id and item, as a queue, and the held backlog."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from fluxcaption.domain.backlog import BacklogProgress
from fluxcaption.domain.jobs import Job, JobState, NewJob, Outcome, Priority, Provenance, Stage
from fluxcaption.domain.units import ContentHash, Fingerprint, ItemId, JobId, ServerId, SourceId


class Jobs(Protocol):
    """Jobs by id, item and media source."""

    async def add(self, new: Sequence[NewJob], now: datetime) -> int:
        """Queue jobs for gaps. Return the number of jobs that are new or were started again.

        There is one job for each server, media source and target. For a gap that has a job already:

        - An open job takes the priority of the gap if that is higher. A gap requested by a user makes the job
          due now; if it is requested in another way than before, the job starts again at its first stage.
        - A job that is done, skipped or cancelled by the program starts again.
        - A failed job starts again after growing pauses. One that was cancelled by a user or crashed the
          process too often starts again only if a user requests it.
        """

    async def update_progress(
        self,
        job_id: JobId,
        *,
        fingerprint: Fingerprint | None = None,
        source_ref: ContentHash | None = None,
        track_ref: ContentHash | None = None,
        provenance: Provenance | None = None,
        upload_attempts: int | None = None,
        confirm_attempts: int | None = None,
    ) -> None:
        """Store facts that a stage found before it ends; facts that are None stay as they are."""

    async def get(self, job_id: JobId) -> Job | None:
        """Return a job, None if there is none with this id."""

    async def page(
        self,
        *,
        states: Collection[JobState] = (),
        item_id: ItemId | None = None,
        limit: int = 100,
        before: JobId | None = None,
    ) -> Sequence[Job]:
        """Return one page of jobs, highest id first.

        Args:
            states: States of the jobs; empty: all.
            item_id: Item of the jobs; None: all.
            limit: Largest number of jobs on the page.
            before: Only jobs with a lower id.
        """

    async def of_source(self, server_id: ServerId, source_id: SourceId) -> Sequence[Job]:
        """Return all jobs of one media source, lowest id first."""

    async def position(self, job: Job) -> int:
        """Return the number of jobs of the same stage that are claimed before a job."""

    async def retry(self, job_id: JobId, now: datetime) -> Job | None:
        """Queue a job that ended or waits as requested by a user, and forget an earlier skip of its media.

        A failed or waiting job goes on with its stage, any other starts again at the first one. A running job
        is not changed.

        Returns:
            The job afterwards; None if there is none with this id.
        """

    async def cancel(self, job_id: JobId, now: datetime) -> Job | None:
        """Cancel an open job; the outcome of one that is running is then not stored.

        Returns:
            The job afterwards, unchanged if it had ended before; None if there is none with this id.
        """

    async def release_waiting_uploads(self, server_id: ServerId, source_id: SourceId, now: datetime) -> int:
        """Make uploads of a media source due now that wait for another language. Return their number."""


class JobQueue(Protocol):
    """Jobs as the worker pool claims and ends them."""

    async def claim(self, stage: Stage, now: datetime, lowest: Priority | None = None) -> Job | None:
        """Mark the first due job of a stage as running and count the attempt. Return None if nothing is due.

        The order is priority, then newest item. Each job goes to one claimer only.

        Args:
            stage: Stage of the job.
            now: Present time.
            lowest: Lowest priority to claim; None: all.
        """

    async def record(self, job: Job, outcome: Outcome, now: datetime) -> Job | None:
        """Store the outcome of a claimed job. Durable if the job is done or skipped: returns after fsync.

        A job that ends without a track has its item read again by the next complete scan. A job that was
        requested in another way while it ran starts again at its first stage, whatever the outcome.

        Returns:
            The job afterwards, still cancelled if it was cancelled meanwhile. None if this claim no longer
            holds; nothing was stored then.

        Raises:
            ValueError: A running job cannot go to the state of the outcome.
        """

    async def counts(self) -> Mapping[tuple[Stage, JobState], int]:
        """Return the number of jobs by stage and state, without zeros."""

    async def next_due(self, after: datetime | None = None) -> datetime | None:
        """Return when the first waiting job is due, of those due later than `after`; None if none waits."""

    async def requeue_interrupted(self, now: datetime, *, by_crash: bool = True) -> int:
        """Queue the jobs that were running when the process ended. Return their number.

        Args:
            now: Present time.
            by_crash: True if the process did not stop by itself. Each job without progress since its last
                crash then counts one more crash; after the third the job fails.
        """

    async def unpark(self, code: str, now: datetime) -> int:
        """Make jobs due now that are parked for a reason code. Return their number."""


class Backlog(Protocol):
    """Held jobs of the existing library, released title (media source) by title."""

    async def progress(self, now: datetime) -> BacklogProgress:
        """Return how much of the backlog was started and finished."""

    async def release(self, titles: int, newest_first: bool, now: datetime) -> int:
        """Make all held jobs of the next titles due. Return the number of titles."""

    async def release_all(self, now: datetime) -> int:
        """Make every held job due now. Return the number of jobs."""
