"""Units of work on threads of this process, a bounded number at a time."""

import asyncio
import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np

from fluxcaption.domain.units import ContentHash
from fluxcaption.ports.executor import UnitResult, WorkKind, WorkUnit
from fluxcaption.ports.media import Samples

BlockingHandler = Callable[[WorkUnit], UnitResult]


class MemoryBlocks:
    """A block store for executors that share our memory; a block put twice is dropped with its second drop."""

    def __init__(self) -> None:
        self._blocks: dict[ContentHash, tuple[Samples, int]] = {}
        self._lock = threading.Lock()

    def put(self, samples: Samples) -> ContentHash:
        """Keep a block until it is dropped."""
        name = ContentHash(hashlib.sha256(np.ascontiguousarray(samples).tobytes()).hexdigest())
        with self._lock:
            _, holders = self._blocks.get(name, (samples, 0))
            self._blocks[name] = (samples, holders + 1)
        return name

    def get(self, block: ContentHash) -> Samples:
        """The block of that hash."""
        return self._blocks[block][0]

    def drop(self, block: ContentHash) -> None:
        """Forget a block."""
        with self._lock:
            samples, holders = self._blocks[block]
            if holders > 1:
                self._blocks[block] = (samples, holders - 1)
            else:
                del self._blocks[block]

    def __len__(self) -> int:
        return len(self._blocks)


class ThreadExecutor:
    """Run units of work on threads of low priority, at most `size` at a time."""

    def __init__(self, size: int, nice: int, handlers: Mapping[WorkKind, BlockingHandler]) -> None:
        self._threads = ThreadPoolExecutor(
            max_workers=size, thread_name_prefix="hear", initializer=lower_priority, initargs=(nice,)
        )
        self._handlers = dict(handlers)

    async def run(self, unit: WorkUnit) -> UnitResult:
        """Run one unit to its end; errors of the handler come out as they are."""
        handler = self._handlers[unit.kind]
        return await asyncio.get_running_loop().run_in_executor(self._threads, handler, unit)

    async def close(self) -> None:
        """Begin nothing more; what runs ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def lower_priority(nice: int) -> None:
    """Make the calling thread, and every thread it starts from now on, step back behind the household's."""
    # Nice is per thread on Linux; elsewhere the whole process is not ours to slow down.
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
