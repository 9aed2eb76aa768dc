"""The pause before a failed job starts again, as SQL."""

from fluxcaption.domain.retry import FAILED_RETRY_DELAYS

_DELAYS_MS = [int(delay.total_seconds() * 1000) for delay in FAILED_RETRY_DELAYS]

FAILED_PAUSE_MS = (
    "CASE restarts "
    + " ".join(f"WHEN {restarts} THEN {delay}" for restarts, delay in enumerate(_DELAYS_MS))
    + f" ELSE {_DELAYS_MS[-1]} END"
)
"""Expression over the column `restarts` of a job: ms from its failure until a gap starts it again."""
