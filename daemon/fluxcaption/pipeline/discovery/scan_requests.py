"""Requests for a library scan: requests that wait at the same time are served by one scan."""

import asyncio
from collections.abc import Awaitable, Callable

from fluxcaption.domain.errors import ParkedError, StateError
from fluxcaption.pipeline.discovery.scanner import ScanReport


class ScanRequests:
    """The pending request for a scan. The scan is a full one if any of the merged requests was."""

    def __init__(self) -> None:
        self._is_requested = asyncio.Event()
        self._full = False
        self._waiting: list[asyncio.Future[ScanReport]] = []

    def request(self, *, full: bool) -> None:
        """Request a scan and return at once."""
        self._full |= full
        self._is_requested.set()

    async def request_and_wait(self, *, full: bool) -> ScanReport:
        """Request a scan and return the report of one that started after the request.

        Raises:
            JobError: The scan failed.
        """
        future: asyncio.Future[ScanReport] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self.request(full=full)
        return await future

    async def serve(self, run_scan: Callable[[bool], Awaitable[ScanReport]]) -> None:
        """Wait for a request, run one scan, and pass its report to the waiting callers.

        A scan that a service or the database has interrupted stays requested.

        Args:
            run_scan: Runs a scan; the argument is True for a full one.

        Raises:
            Exception: The error of `run_scan`, which the waiting callers receive as well.
        """
        await self._is_requested.wait()
        full, waiting = self._full, self._waiting
        self._full, self._waiting = False, []
        self._is_requested.clear()
        try:
            report = await run_scan(full)
        except BaseException as error:
            for future in waiting:
                if not future.done():
                    future.set_exception(error) if isinstance(error, Exception) else future.cancel()
            if isinstance(error, (ParkedError, StateError)):
                self.request(full=full)
            raise
        for future in waiting:
            if not future.done():
                future.set_result(report)
