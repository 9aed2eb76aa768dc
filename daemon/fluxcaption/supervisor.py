"""Supervised background loops: a failed loop is logged, shown in the health report and started again.

Restart policy: the first restart follows after `FIRST_RESTART_DELAY_S`; the delay doubles up to
`MAX_RESTART_DELAY_S` with every further failure and starts over after one successful step.
"""

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

FIRST_RESTART_DELAY_S, MAX_RESTART_DELAY_S = 5.0, 60.0

SERVER, DATABASE, DISK = "server", "database", "disk"
SHARED_SERVICES = frozenset({SERVER, DATABASE, DISK})
"""Parts that several loops need: their failures are reported as down, all other failures as degraded."""


class Supervisor:
    """Owner of the background tasks; an async context manager that cancels all of them at its end."""

    def __init__(self, health: Health, clock: Clock, on_server_back: Callable[[], None]) -> None:
        self._health = health
        self._clock = clock
        self._on_server_back = on_server_back
        self._tasks: set[asyncio.Task[Any]] = set()

    def run_once(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        """Run a coroutine that ends by itself; a failure is logged and not repeated."""
        self._start_task(self._log_failure(coroutine, name), name)

    def supervise(self, step: Callable[[], Awaitable[None]], name: str) -> None:
        """Repeat `step` until the supervisor ends; each call waits for its own trigger.

        Args:
            step: One turn of the loop.
            name: Name of the task, and of the part in the health report unless a shared service failed.
        """
        self._start_task(self._repeat(step, name), name)

    def _start_task(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _log_failure(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        try:
            await coroutine
        except FluxCaptionError as error:
            log.error("%s stopped: %s", name, error)
        except Exception:
            log.exception("%s stopped unexpectedly", name)

    async def _repeat(self, step: Callable[[], Awaitable[None]], name: str) -> None:
        delay_s = FIRST_RESTART_DELAY_S
        causes: dict[str, str] = {}
        while True:
            try:
                await step()
            except Exception as group:
                self._report_failure(_first_error(group), name, causes)
                await self._clock.sleep(delay_s)
                delay_s = min(MAX_RESTART_DELAY_S, delay_s * 2)
            else:
                delay_s = FIRST_RESTART_DELAY_S
                for part in causes:
                    self._report_recovery(part)
                causes = {}

    def _report_failure(self, error: Exception, name: str, causes: dict[str, str]) -> None:
        """Log a failure unless the same part already failed for the same cause, and report the part."""
        part, cause = _failed_part(error, name), _cause(error, name)
        if causes.get(part) != cause:
            _log_cause(name, cause, error)
        causes[part] = cause
        state = PartState.DOWN if part in SHARED_SERVICES else PartState.DEGRADED
        self._health.report(part, state, cause)

    def _report_recovery(self, part: str) -> None:
        if self._health.report(part, PartState.OK):
            log.info("%s recovered", part)
            if part == SERVER:
                self._on_server_back()

    async def __aenter__(self) -> "Supervisor":
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _first_error(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _failed_part(error: Exception, name: str) -> str:
    """Return the shared service that caused the failure, else the name of the loop itself."""
    if isinstance(error, (ServiceUnreachable, KeyRejected)):
        return SERVER
    if isinstance(error, DiskLow):
        return DISK
    return DATABASE if isinstance(error, StateError) else name


def _cause(error: Exception, name: str) -> str:
    if isinstance(error, FluxCaptionError):
        return str(error)
    return (
        f"the {name} loop failed (unexpected {type(error).__name__}: {error}): "
        "it restarts by itself, and the log has the details"
    )


def _log_cause(name: str, cause: str, error: Exception) -> None:
    if isinstance(error, JobError):
        log.warning("%s: %s", name, cause)
    else:
        log.error("%s: %s", name, cause, exc_info=None if isinstance(error, FluxCaptionError) else error)
