"""Locks by item: one change of an item at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

from fluxcaption.domain.units import ItemId, SourceId


class ItemLocks:
    """One lock for each item that is being changed; unused locks disappear by themselves."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self, item_id: ItemId, source_id: SourceId) -> AsyncIterator[None]:
        """Hold the locks of an item under both of its ids, taken in sorted order to prevent a deadlock."""
        async with AsyncExitStack() as stack:
            for key in sorted({str(item_id), str(source_id)}):
                await stack.enter_async_context(self._locks.setdefault(key, asyncio.Lock()))
            yield
