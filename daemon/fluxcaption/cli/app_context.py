"""The state and the object graph for commands that work without a running daemon."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from fluxcaption.app import App, build_app
from fluxcaption.settings import Settings
from fluxcaption.storage.database import DATABASE
from fluxcaption.storage.lock import StateLock
from fluxcaption.storage.storage import SqliteStorage


@asynccontextmanager
async def open_storage(state: Path, *, read_only: bool) -> AsyncIterator[SqliteStorage]:
    """Open the state directory and close it at the end; it is locked unless `read_only`.

    Raises:
        StateError: Another process has the lock, or the directory cannot be used.
    """
    async with AsyncExitStack() as stack:
        if not read_only:
            lock = StateLock(state)
            lock.take()
            stack.callback(lock.release)
        storage = await SqliteStorage.open(state, read_only=read_only)
        stack.push_async_callback(storage.close)
        yield storage


@asynccontextmanager
async def open_app(settings: Settings, *, read_only: bool) -> AsyncIterator[App]:
    """Open the state, build the object graph and connect to the library.

    With `read_only` the state is not changed; without a database an empty temporary one is used.

    Raises:
        StateError: Another process has the lock, or the state cannot be used.
        ServiceUnreachable: The library gave no usable answer.
    """
    async with AsyncExitStack() as stack:
        state = settings.state
        is_temporary = read_only and not (state / DATABASE).is_file()
        if is_temporary:
            state = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        storage = await stack.enter_async_context(
            open_storage(state, read_only=read_only and not is_temporary)
        )
        app = build_app(settings, storage)
        stack.push_async_callback(app.close)
        app.set_server(await app.server.connect())
        yield app
