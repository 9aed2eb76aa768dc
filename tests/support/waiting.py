"""Wait for a condition of a running program in real time."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

POLL_INTERVAL_S = 0.01

Condition = Callable[[], Awaitable[object] | object]


async def wait_until(condition: Condition, timeout_s: float = 30) -> None:
    """Return as soon as the condition, a function or a coroutine function, returns a true value.

    Raises:
        AssertionError: The condition did not hold within the timeout.
    """
    try:
        async with asyncio.timeout(timeout_s):
            while not await _check(condition):
                await asyncio.sleep(POLL_INTERVAL_S)
    except TimeoutError as error:
        raise AssertionError(f"not true within {timeout_s} s: {_describe(condition)}") from error


async def _check(condition: Condition) -> object:
    result = condition()
    return await result if inspect.isawaitable(result) else result


def _describe(condition: Condition) -> str:
    """Return the name of a function, or the source line of a lambda."""
    name = getattr(condition, "__name__", repr(condition))
    return inspect.getsource(condition).strip() if name == "<lambda>" else name
