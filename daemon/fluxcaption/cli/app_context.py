"""Everything but the workers, for commands that do without a running daemon."""

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
async def open_app(settings: Settings, *, reading: bool) -> AsyncIterator[App]:
    """Open the state and connect to the library; locked unless it is only read, and where there is nothing to read on an empty memory."""
    async with AsyncExitStack() as stack:
        folder = settings.state
        is_passing = reading and not (folder / DATABASE).is_file()
        if is_passing:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        elif not reading:
            lock = StateLock(folder)
            lock.take()
            stack.callback(lock.release)
        storage = await SqliteStorage.open(folder, read_only=reading and not is_passing)
        stack.push_async_callback(storage.close)
        app = build_app(settings, storage)
        stack.push_async_callback(app.close)
        app.set_server(await app.server.connect())
        yield app
