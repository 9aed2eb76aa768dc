"""The daemon's long-lived loops: what goes wrong in one is said, and it goes on after a pause."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fluxcaption.domain.errors import (
    DiskLow,
    FluxCaptionError,
    JobError,
    KeyRejected,
    ServiceUnreachable,
    StateError,
)
from fluxcaption.health import Health, PartState
from fluxcaption.ports.clock import Clock

log = logging.getLogger(__name__)

FIRST_PAUSE_S, MAX_PAUSE_S = 5.0, 60.0
"""A loop that failed begins again after doubling pauses between these."""

SERVER, DATABASE, DISK = "server", "database", "disk"
SHARED_SERVICES = frozenset({SERVER, DATABASE, DISK})
"""Parts that loops share: without one of them none of those that need it gets on."""


class Supervisor:
    """Named tasks that end together; a fault in one is logged and shown, not spread, and ends none that was begun with `supervise`."""

    def __init__(self, health: Health, clock: Clock, on_server_back: Callable[[], None]) -> None:
        self._health = health
        self._clock = clock
        self._on_server_back = on_server_back
        self._tasks: set[asyncio.Task[Any]] = set()

    def run_once(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        """Run something that ends by itself."""
        self._begin(self._guarded(coroutine, name), name)

    def supervise(self, turn: Callable[[], Awaitable[None]], name: str) -> None:
        """Make turn after turn until the daemon ends; each waits for its own cause."""
        self._begin(self._kept(turn, name), name)

    def _begin(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        try:
            await coroutine
        except FluxCaptionError as error:
            log.error("%s stopped: %s", name, error)
        except Exception:
            log.exception("%s stopped unexpectedly", name)

    async def _kept(self, turn: Callable[[], Awaitable[None]], name: str) -> None:
        pause = FIRST_PAUSE_S
        blamed: dict[str, str] = {}
        while True:
            try:
                await turn()
            except Exception as group:
                error = _first(group)
                part, cause = _part_of(error, name), _cause(error)
                if blamed.get(part) != cause:
                    _say(name, cause, error)
                blamed[part] = cause
                self._health.report(
                    part, PartState.DOWN if part in SHARED_SERVICES else PartState.DEGRADED, cause
                )
                await self._clock.sleep(pause)
                pause = min(MAX_PAUSE_S, pause * 2)
            else:
                pause = FIRST_PAUSE_S
                for part in blamed:
                    self._well_again(part)
                blamed = {}

    def _well_again(self, part: str) -> None:
        if self._health.report(part, PartState.OK):
            log.info("%s: all is well again", part)
            if part == SERVER:
                self._on_server_back()

    async def __aenter__(self) -> "Supervisor":
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _first(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _part_of(error: Exception, name: str) -> str:
    """Whose fault it is: a neighbour's, or that of the loop itself."""
    if isinstance(error, (ServiceUnreachable, KeyRejected)):
        return SERVER
    if isinstance(error, DiskLow):
        return DISK
    return DATABASE if isinstance(error, StateError) else name


def _cause(error: Exception) -> str:
    if isinstance(error, FluxCaptionError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error}: it is tried again, and the log has the details"


def _say(name: str, cause: str, error: Exception) -> None:
    if isinstance(error, JobError):
        log.warning("%s: %s", name, cause)
    else:
        log.error("%s: %s", name, cause, exc_info=None if isinstance(error, FluxCaptionError) else error)
