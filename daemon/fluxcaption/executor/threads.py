"""Executor on threads of this process, and the block store that it uses."""

import asyncio
import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from fluxcaption.domain.units import ContentHash
from fluxcaption.ports.executor import UnitResult, WorkKind, WorkUnit
from fluxcaption.ports.media import Samples

BlockingHandler = Callable[[WorkUnit], UnitResult]


class MemoryBlocks:
    """BlockStore in memory, reference-counted: a block is deleted after as many `drop` as `put` calls."""

    def __init__(self) -> None:
        self._blocks: dict[ContentHash, tuple[Samples, int]] = {}
        self._lock = threading.Lock()

    def put(self, samples: Samples) -> ContentHash:
        """Store a block until it is dropped as often as it was put, and return its hash."""
        block = ContentHash(hashlib.sha256(samples.tobytes()).hexdigest())
        with self._lock:
            _, uses = self._blocks.get(block, (samples, 0))
            self._blocks[block] = (samples, uses + 1)
        return block

    def get(self, block: ContentHash) -> Samples:
        """Return a stored block."""
        return self._blocks[block][0]

    def drop(self, block: ContentHash) -> None:
        """Release a block; it is deleted with its last use."""
        with self._lock:
            samples, uses = self._blocks[block]
            if uses > 1:
                self._blocks[block] = (samples, uses - 1)
            else:
                del self._blocks[block]

    def __len__(self) -> int:
        return len(self._blocks)


class ThreadExecutor:
    """Executor that runs units on its own threads of low priority, at most `size` at a time."""

    def __init__(self, size: int, nice: int, handlers: Mapping[WorkKind, BlockingHandler]) -> None:
        self._threads = ThreadPoolExecutor(
            max_workers=size,
            thread_name_prefix="recognize",
            initializer=lower_priority,
            initargs=(nice,),
        )
        self._handlers = dict(handlers)

    async def run(self, unit: WorkUnit) -> UnitResult:
        """Run one unit and return its result; errors of the handler are raised unchanged."""
        handler = self._handlers[unit.kind]
        return await asyncio.get_running_loop().run_in_executor(self._threads, handler, unit)

    async def close(self) -> None:
        """Start no further units; units that are running end in the background."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def lower_priority(nice: int) -> None:
    """Set the nice value of the calling thread and of every thread it starts from now on, -20 to 19."""
    # Nice applies per thread on Linux only; elsewhere it would slow down the event loop, too.
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
