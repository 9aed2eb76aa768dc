"""Storage of named values, measured speeds, and maintenance of all tables."""

from datetime import datetime
from typing import Protocol

from fluxcaption.domain.units import Ms


class StateValues(Protocol):
    """Small named values of the daemon, such as the cursor of scans."""

    async def get(self, name: str) -> str | None:
        """Return a value, None if it was never set."""

    async def set(self, name: str, value: str) -> None:
        """Store a value; an equal one is not written again."""


class Speeds(Protocol):
    """Measured processing speeds by activity."""

    async def record(self, activity: str, media_ms: Ms, took_ms: Ms) -> None:
        """Add a measurement to the sums of an activity; old measurements lose weight."""

    async def get(self, activity: str) -> float | None:
        """Return seconds of media per second of work, None if nothing was measured."""


class Maintenance(Protocol):
    """Clean-up over several subjects."""

    async def clamp_future_times(self, now: datetime) -> None:
        """Replace times that lie further ahead than any delay by the present time.

        Such times were written before the clock of the machine was set back.
        """

    async def prune(self, now: datetime) -> None:
        """Delete old events, old playback times and documents of finished jobs; keep transcripts."""
