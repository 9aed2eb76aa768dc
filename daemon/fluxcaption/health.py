"""How each part of the daemon is, since when and why."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel

from fluxcaption.ports.clock import Clock


class PartState(StrEnum):
    """How one part is."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


class PartHealth(BaseModel):
    """One part, as the ready route shows it."""

    state: PartState
    cause: str
    since: datetime


class Readiness(BaseModel):
    """The whole daemon, as the ready route shows it."""

    state: str
    parts: dict[str, PartHealth]


ESSENTIAL = frozenset({"database", "disk"})
"""Without these the daemon cannot keep a promise; any other part only degrades it."""


@dataclass(slots=True)
class _Part:
    state: PartState
    cause: str
    since: datetime


class Health:
    """A board that each part writes its state on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._parts: dict[str, _Part] = {}
        self.phase = "starting"

    def report(self, part: str, state: PartState, cause: str = "") -> bool:
        """Note how a part is; returns whether that is news."""
        known = self._parts.get(part)
        if known is not None and (known.state, known.cause) == (state, cause):
            return False
        is_news = known is None or known.state != state
        self._parts[part] = _Part(
            state, cause, self._clock.now() if is_news or known is None else known.since
        )
        return is_news

    def readiness(self) -> Readiness:
        """The state of the whole: running, degraded, or a reason not to be."""
        parts = {
            name: PartHealth(state=part.state, cause=part.cause, since=part.since)
            for name, part in sorted(self._parts.items())
        }
        if self.phase != "running":
            return Readiness(state=self.phase, parts=parts)
        if any(parts[name].state is PartState.DOWN for name in ESSENTIAL if name in parts):
            return Readiness(state="down", parts=parts)
        degraded = any(part.state is not PartState.OK for part in parts.values())
        return Readiness(state="degraded" if degraded else "running", parts=parts)

    @property
    def is_ready(self) -> bool:
        """Whether promises can be kept."""
        return self.readiness().state in {"running", "degraded"}
