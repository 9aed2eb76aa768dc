"""Checks of the moves between states where rows are written."""

from fluxcaption.domain.deliveries import FIRST_DELIVERY_STATES, LEGAL_DELIVERY_MOVES, DeliveryState
from fluxcaption.domain.jobs import LEGAL_MOVES, JobState
from fluxcaption.domain.units import JobId


def check_job_move(job_id: JobId, before: JobState, after: JobState) -> None:
    """Raise ValueError if a job cannot go from one state to the other."""
    if after not in LEGAL_MOVES[before]:
        raise ValueError(f"job {job_id} cannot go from {before} to {after}")


def states_before(after: JobState) -> frozenset[JobState]:
    """Return the states from which a job can go to a state."""
    return frozenset(before for before, moves in LEGAL_MOVES.items() if after in moves)


def check_delivery_move(name: str, before: DeliveryState | None, after: DeliveryState) -> None:
    """Raise ValueError if a delivery cannot go from one state (None: it is new) to the other."""
    if before is None:
        if after not in FIRST_DELIVERY_STATES:
            raise ValueError(f"the delivery of {name} cannot begin as {after}")
    elif after not in LEGAL_DELIVERY_MOVES[before]:
        raise ValueError(f"the delivery of {name} cannot go from {before} to {after}")
