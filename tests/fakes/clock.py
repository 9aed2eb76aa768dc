"""Clocks whose time passes faster than real time."""

import asyncio
import functools
import heapq
import inspect
import itertools
import time
from datetime import UTC, datetime, timedelta

from tests.support.waiting import Condition, wait_until

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class SimulatedClock:
    """Time stands still until a test advances it; sleepers wake one by one, each at its own time."""

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
        """Advance the time at once, as while a machine is suspended; sleepers wake late."""
        self._now += timedelta(**parts)

    async def run_for(self, length: timedelta) -> None:
        """Advance the time and wake every sleeper on the way.

        Real threads get a short moment after each step to finish what that step started.
        """
        end = self._now + length
        while True:
            await asyncio.sleep(0.01)
            while self._sleepers and self._sleepers[0][2].done():
                heapq.heappop(self._sleepers)
            if not self._sleepers or self._sleepers[0][0] > end:
                self._now = end
                return
            wake_at, _, future = heapq.heappop(self._sleepers)
            self._now = max(self._now, wake_at)
            future.set_result(None)

    async def run_until(self, condition: Condition, step: timedelta = timedelta(seconds=1)) -> None:
        """Advance the time step by step until the condition holds."""

        @functools.wraps(condition)
        async def step_and_check() -> object:
            await self.run_for(step)
            result = condition()
            return await result if inspect.isawaitable(result) else result

        await wait_until(step_and_check, timeout_s=60)


class FastClock:
    """Each sleep lasts a moment of real time and advances the clock by its full length."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return time.monotonic()

    def pass_time(self, **parts: float) -> None:
        """Advance the time at once."""
        self._now += timedelta(**parts)

    async def sleep(self, seconds: float) -> None:
        # A moment of real time lets threads continue.
        await asyncio.sleep(0.01)
        self._now += timedelta(seconds=seconds)
