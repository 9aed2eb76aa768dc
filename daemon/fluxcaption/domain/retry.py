"""When a failed attempt is made again: a decision as a value."""

from datetime import timedelta

from fluxcaption.domain.errors import JobError, ParkedError, TransientError
from fluxcaption.domain.jobs import Outcome

PAUSES = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2))
"""After the first, second … counted failure of a stage; one more failure ends the job."""

REVIVAL_PAUSES = (timedelta(days=1), timedelta(days=4), timedelta(days=14), timedelta(days=60))
"""A job that failed for good starts again when a pass still finds its gap and so much time went by; the last pause repeats."""

PARKED_PAUSE = timedelta(minutes=2)
"""How often a parked job looks by itself whether its neighbour is back."""


def after_failure(error: JobError, attempts: int) -> Outcome:
    """Decide what becomes of a job whose stage failed for the `attempts`-th time."""
    sentence = str(error)
    if isinstance(error, ParkedError):
        return Outcome.parked(PARKED_PAUSE, sentence, error.code)
    if isinstance(error, TransientError) and attempts <= len(PAUSES):
        return Outcome.again(PAUSES[attempts - 1], sentence, error.code)
    return Outcome.failed(sentence, error.code)
