"""Wishes for a pass over the library: whoever has one leaves it here, and one pass at a time serves all that wait."""

import asyncio
from collections.abc import Awaitable, Callable

from fluxcaption.domain.errors import ParkedError, StateError
from fluxcaption.pipeline.discovery.scan_run import ScanReport


class ScanRequests:
    """The pass that is wanted next; wishes that wait together become one, a full one if any of them was."""

    def __init__(self) -> None:
        self._is_wanted = asyncio.Event()
        self._full = False
        self._waiting: list[asyncio.Future[ScanReport]] = []

    def request(self, *, full: bool) -> None:
        """Leave a wish and go on."""
        self._full |= full
        self._is_wanted.set()

    async def request_and_wait(self, *, full: bool) -> ScanReport:
        """Leave a wish, and wait for what a pass that began afterwards found.

        Raises:
            JobError: It was given up.
        """
        future: asyncio.Future[ScanReport] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self.request(full=full)
        return await future

    async def serve(self, make: Callable[[bool], Awaitable[ScanReport]]) -> None:
        """Wait for a wish, make the pass and tell whoever waits; one that a neighbour or the database broke off is still wanted."""
        await self._is_wanted.wait()
        full, waiting = self._full, self._waiting
        self._full, self._waiting = False, []
        self._is_wanted.clear()
        try:
            request_and_wait = await make(full)
        except BaseException as error:
            for future in waiting:
                if not future.done():
                    future.set_exception(error) if isinstance(error, Exception) else future.cancel()
            if isinstance(error, (ParkedError, StateError)):
                self.request(full=full)
            raise
        for future in waiting:
            if not future.done():
                future.set_result(request_and_wait)
