"""Retry decisions: the outcome of a job after a failed attempt or a crash of the daemon."""

from datetime import timedelta

from fluxcaption.domain.errors import ItemGone, JobError, ParkedError, TransientError
from fluxcaption.domain.jobs import Job, JobState, Outcome
from fluxcaption.domain.reasons import ReasonCode

RETRY_DELAYS = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2))
"""Delays after the first, second … counted failure of a stage; one more failure ends the job."""

FAILED_RETRY_DELAYS = (timedelta(days=1), timedelta(days=4), timedelta(days=14), timedelta(days=60))
"""Delays after which a failed job starts again if a scan still finds its gap; the last delay repeats."""

PARKED_RETRY_DELAY = timedelta(minutes=2)
"""Interval at which a parked job is tried without a signal that its service is back."""

ITEM_GONE_RETRY_DELAY = timedelta(seconds=60)
"""Delay before an unknown item is looked up once more; servers hide items while they scan or merge."""

MAX_DELAY = timedelta(days=1)
"""Longest wait of a job or event; a later due time was written while the clock was ahead."""

MAX_CRASHES = 3
"""Number of consecutive crashes of the process during one job, without progress, that fails the job."""

CRASH_RETRY_SPACING = timedelta(minutes=10)
"""Delay between the starts of jobs that ran during two crashes, so that a third crash names the cause."""

POISON = ReasonCode.POISON
"""Reason code of a job that failed because of `MAX_CRASHES`."""


def retry_or_fail(error: JobError, job: Job) -> Outcome:
    """Return the outcome of a job whose stage failed; `job.attempts` includes the failed attempt."""
    reason = str(error)
    if isinstance(error, ItemGone):
        if job.reason_code == error.code:
            return Outcome(JobState.CANCELLED, reason=reason, reason_code=error.code)
        return Outcome.again(ITEM_GONE_RETRY_DELAY, reason, error.code)
    if isinstance(error, ParkedError):
        return Outcome.parked(PARKED_RETRY_DELAY, reason, error.code)
    if isinstance(error, TransientError) and job.attempts <= len(RETRY_DELAYS):
        return Outcome.again(RETRY_DELAYS[job.attempts - 1], reason, error.code)
    return Outcome.failed(reason, error.code)


def retry_or_fail_after_crash(crashes: int, suspects: int) -> Outcome:
    """Return the outcome of a job that was running when the process died.

    Args:
        crashes: Consecutive crashes during this job, including the latest one.
        suspects: Number of other jobs that may be the cause and run before this job.
    """
    if crashes >= MAX_CRASHES:
        return Outcome.failed(
            f"the daemon died {crashes} times during this job. Run `fluxcaption jobs retry` to try it again.",
            POISON,
        )
    delay = CRASH_RETRY_SPACING * suspects if crashes == MAX_CRASHES - 1 else timedelta(0)
    return Outcome.again(delay, "")
