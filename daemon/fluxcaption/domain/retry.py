"""When a failed attempt is made again: a decision as a value."""

from datetime import timedelta

from fluxcaption.domain.errors import ItemGone, JobError, ParkedError, TransientError
from fluxcaption.domain.jobs import Job, JobState, Outcome
from fluxcaption.domain.reasons import ReasonCode

RETRY_DELAYS = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2))
"""After the first, second … counted failure of a stage; one more failure ends the job."""

FAILED_RETRY_DELAYS = (timedelta(days=1), timedelta(days=4), timedelta(days=14), timedelta(days=60))
"""A job that failed for good starts again when a pass still finds its gap and so much time went by; the last pause repeats."""

PARKED_PAUSE = timedelta(minutes=2)
"""How often a parked job looks by itself whether its neighbour is back."""

GONE_PAUSE = timedelta(seconds=60)
"""An item that a server merges, renumbers or scans is away for a moment: it is looked for once more."""

MAX_DELAY = timedelta(days=1)
"""No job and no event waits longer than this: one that is due later was written by a clock that went ahead."""

MAX_CRASHES = 3
"""So many times in a row may the process die while it works at a job that gets no further."""

SUSPECT_PAUSE = timedelta(minutes=10)
"""Jobs that were in hand at two crashes go on one by one, so that the third tells which of them it is."""

POISON = ReasonCode.POISON


def after_failure(error: JobError, job: Job) -> Outcome:
    """Decide what becomes of a job whose stage failed; `attempts` has counted this one."""
    sentence = str(error)
    if isinstance(error, ItemGone):
        return (
            Outcome(JobState.CANCELLED, reason=sentence, reason_code=error.code)
            if job.reason_code == error.code
            else Outcome.again(GONE_PAUSE, sentence, error.code)
        )
    if isinstance(error, ParkedError):
        return Outcome.parked(PARKED_PAUSE, sentence, error.code)
    if isinstance(error, TransientError) and job.attempts <= len(RETRY_DELAYS):
        return Outcome.again(RETRY_DELAYS[job.attempts - 1], sentence, error.code)
    return Outcome.failed(sentence, error.code)


def after_crash(crashes: int, suspects: int) -> Outcome:
    """Decide what becomes of a job that was in hand when the process died for the `crashes`-th time, behind so many others that may be the cause."""
    if crashes >= MAX_CRASHES:
        return Outcome.failed(
            f"the daemon died {crashes} times while it worked at this: `fluxcaption jobs retry` lets it try again",
            POISON,
        )
    return Outcome.again(SUSPECT_PAUSE * suspects if crashes == MAX_CRASHES - 1 else timedelta(0), "")
