"""The health report: the state of each part of the daemon, its cause and its time."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel

from fluxcaption.ports.clock import Clock


class PartState(StrEnum):
    """State of one part."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


class PartHealth(BaseModel):
    """One part in the answer of `/health/ready`."""

    state: PartState
    cause: str
    since: datetime


class Readiness(BaseModel):
    """The answer of `/health/ready`.

    Attributes:
        state: running, degraded, down, or the daemon's phase while it starts or stops.
    """

    state: str
    parts: dict[str, PartHealth]


ESSENTIAL_PARTS = frozenset({"database", "disk"})
"""Parts without which accepted work could be lost; every other part only degrades the daemon."""


@dataclass(frozen=True, slots=True)
class _Part:
    state: PartState
    cause: str
    since: datetime


class Health:
    """The latest reported state of every part.

    Attributes:
        phase: starting, running or stopping.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._parts: dict[str, _Part] = {}
        self.phase = "starting"

    def report(self, part: str, state: PartState, cause: str = "") -> bool:
        """Record the state of a part. Return True if the state changed; a new cause alone is no change."""
        previous = self._parts.get(part)
        if previous is not None and previous.state == state:
            self._parts[part] = _Part(state, cause, previous.since)
            return False
        self._parts[part] = _Part(state, cause, self._clock.now())
        return True

    def readiness(self) -> Readiness:
        """Return the state of the daemon as a whole and of each part."""
        parts = {
            name: PartHealth(state=part.state, cause=part.cause, since=part.since)
            for name, part in sorted(self._parts.items())
        }
        return Readiness(state=self._overall_state(parts), parts=parts)

    def _overall_state(self, parts: dict[str, PartHealth]) -> str:
        if self.phase != "running":
            return self.phase
        if any(parts[name].state is PartState.DOWN for name in ESSENTIAL_PARTS if name in parts):
            return "down"
        return "degraded" if any(part.state is not PartState.OK for part in parts.values()) else "running"

    @property
    def is_ready(self) -> bool:
        """Return True if the daemon accepts work: running, or degraded."""
        return self.readiness().state in {"running", "degraded"}
