"""A clock that runs ahead: whoever sleeps on it wakes almost at once, and that much time has passed."""

import asyncio
import heapq
import itertools
import time
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class SimulatedClock:
    """Time stands still until it is moved on; everybody who sleeps wakes at their own moment, in order."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._serial = itertools.count()

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return (self._now - START).total_seconds()

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + timedelta(seconds=seconds), next(self._serial), future))
        await future

    def pass_time(self, **parts: float) -> None:
        """Let time pass in which nobody gets a turn: whoever sleeps wakes late."""
        self._now += timedelta(**parts)

    async def run_for(self, length: timedelta) -> None:
        """Let that much time pass; after each step real threads get a moment to finish what it set off."""
        end = self._now + length
        while True:
            await asyncio.sleep(0.01)
            while self._sleepers and self._sleepers[0][2].done():
                heapq.heappop(self._sleepers)
            if not self._sleepers or self._sleepers[0][0] > end:
                self._now = end
                return
            moment, _, future = heapq.heappop(self._sleepers)
            self._now = max(self._now, moment)
            future.set_result(None)


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
