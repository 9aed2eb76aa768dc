"""A clock that runs ahead: whoever sleeps on it wakes almost at once, and that much time has passed."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class FastClock:
    """Time passes only by sleeping."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return time.monotonic()

    def pass_time(self, **parts: float) -> None:
        self._now += timedelta(**parts)

    async def sleep(self, seconds: float) -> None:
        # A tick of real time, so that threads get on with their work meanwhile.
        await asyncio.sleep(0.01)
        self._now += timedelta(seconds=seconds)
