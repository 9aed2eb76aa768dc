"""Protocol of the clock."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Source of the time of day, of elapsed time and of pauses; tests pass a clock of their own."""

    def now(self) -> datetime:
        """Return the time of day, UTC, with its time zone."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment; they never jump."""

    async def sleep(self, seconds: float) -> None:
        """Wait for a number of seconds."""
