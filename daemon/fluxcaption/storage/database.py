"""One SQLite file: a writer, a reader, migrations, and one fsync for all promises that wait; the door of aiosqlite.

Source of the settings: libraries sheet, SQLite (WAL, 73 µs a checkpoint with NORMAL, 2.3 ms a promise with FULL).
"""

import asyncio
import errno
import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from fluxcaption.domain.errors import DiskLow, StateError

Result = TypeVar("Result")
Rows = Iterable[sqlite3.Row]
Body = Callable[[aiosqlite.Connection], Awaitable[Any]]

MIGRATIONS = Path(__file__).parent / "migrations"
DATABASE = "fluxcaption.sqlite3"
_FULL_CODES = {"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC"}


class Database:
    """Connections to one state file; every transaction is whole or not at all, cancelled callers included."""

    def __init__(self, path: Path, writer: aiosqlite.Connection | None, reader: aiosqlite.Connection) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader
        self._lock = asyncio.Lock()
        self._synchronous = ""
        self._waiting: list[tuple[Body, asyncio.Future[Any]]] = []
        self._committer: asyncio.Task[None] | None = None
        self._checkpoints: set[asyncio.Task[Any]] = set()

    @classmethod
    async def open(cls, state: Path, *, read_only: bool = False) -> "Database":
        """Open the file below the state directory, migrated to this program's schema."""
        path = state / DATABASE
        opened: list[aiosqlite.Connection] = []
        try:
            writer = None
            if not read_only:
                state.mkdir(mode=0o700, parents=True, exist_ok=True)
                writer = await aiosqlite.connect(path, isolation_level=None)
                opened.append(writer)
                await _prepare(writer)
                await migrate(writer, path)
            elif not path.is_file():
                raise StateError(f"{path} is not there: run the daemon once, or check `state` in the config")
            reader = await aiosqlite.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
            opened.append(reader)
            await _prepare(reader, is_reader=True)
            if read_only:
                await _check_version(reader, path)
        except BaseException as error:
            for connection in opened:
                await connection.close()
            if isinstance(error, (sqlite3.Error, OSError)):
                raise _translated(path, error) from error
            raise
        return cls(path, writer, reader)

    async def close(self) -> None:
        """Write what waits and close; an unclosed connection would hang the interpreter's exit."""
        while unfinished := [
            task for task in (*self._checkpoints, self._committer) if task is not None and not task.done()
        ]:
            await asyncio.wait(unfinished)
        for connection in (self._writer, self._reader):
            if connection is not None:
                await connection.close()

    async def read(self, query: str, values: Iterable[object] = ()) -> list[sqlite3.Row]:
        """Rows of a query, outside any transaction."""
        try:
            return list(await self._reader.execute_fetchall(query, tuple(values)))
        except sqlite3.Error as error:
            raise _translated(self._path, error) from error

    async def checkpoint(self, body: Callable[[aiosqlite.Connection], Awaitable[Result]]) -> Result:
        """Run a transaction that may be lost with the machine's power, not with the process."""
        task = asyncio.create_task(self._transaction(body, "NORMAL"), name="checkpoint")
        self._checkpoints.add(task)
        task.add_done_callback(self._checkpoints.discard)
        return await asyncio.shield(task)

    async def promise(self, body: Callable[[aiosqlite.Connection], Awaitable[Result]]) -> Result:
        """Run a transaction that is on disk for good when this returns; those that wait at one time share one fsync."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((body, future))
        if self._committer is None or self._committer.done():
            self._committer = asyncio.create_task(self._commit_waiting(), name="committer")
        return await asyncio.shield(future)

    async def write(self, statement: str, values: Iterable[object] = ()) -> int:
        """Run one statement as a checkpoint. Return the number of changed rows."""
        return await self.checkpoint(_one_statement(statement, values))

    async def write_durably(self, statement: str, values: Iterable[object] = ()) -> int:
        """Run one statement as a promise. Return the number of changed rows."""
        return await self.promise(_one_statement(statement, values))

    async def _commit_waiting(self) -> None:
        while self._waiting:
            batch: list[tuple[Body, asyncio.Future[Any]]] = []
            outcomes: list[tuple[asyncio.Future[Any], Any, Exception | None]] = []

            async def run_all(
                connection: aiosqlite.Connection,
                batch: list[tuple[Body, asyncio.Future[Any]]] = batch,
                outcomes: list[tuple[asyncio.Future[Any], Any, Exception | None]] = outcomes,
            ) -> None:
                # Taken under the lock: whoever came while an earlier transaction ran shares this fsync.
                batch += self._waiting
                self._waiting.clear()
                if len(batch) == 1:
                    # Nobody else's work to keep when it fails: the whole transaction goes.
                    outcomes.append((batch[0][1], await batch[0][0](connection), None))
                    return
                for body, future in batch:
                    await connection.execute("SAVEPOINT one")
                    try:
                        outcomes.append((future, await body(connection), None))
                    except Exception as error:
                        if not connection.in_transaction:
                            # A full disk makes SQLite undo everybody's work, not only this one's.
                            raise
                        await connection.execute("ROLLBACK TO one")
                        outcomes.append((future, None, error))
                    await connection.execute("RELEASE one")

            try:
                await self._transaction(run_all, "FULL")
            except Exception as error:
                outcomes = (
                    [(future, None, error) for _, future in batch]
                    if len(batch) == 1
                    else [await self._alone(body, future) for body, future in batch]
                )
                if not batch:
                    outcomes = [(future, None, error) for _, future in self._waiting]
                    self._waiting.clear()
            for future, result, failure in outcomes:
                if future.done():
                    continue
                if failure is None:
                    future.set_result(result)
                else:
                    future.set_exception(
                        _translated(self._path, failure) if isinstance(failure, sqlite3.Error) else failure
                    )

    async def _alone(
        self, body: Body, future: asyncio.Future[Any]
    ) -> tuple[asyncio.Future[Any], Any, Exception | None]:
        """One promise of a batch that came to nothing as a whole, made by itself."""
        try:
            return future, await self._transaction(body, "FULL"), None
        except Exception as error:
            return future, None, error

    async def _transaction(
        self, body: Callable[[aiosqlite.Connection], Awaitable[Result]], synchronous: str
    ) -> Result:
        if self._writer is None:
            raise StateError("the state was opened for reading only")
        async with self._lock:
            writer = self._writer
            try:
                if synchronous != self._synchronous:
                    await writer.execute(f"PRAGMA synchronous={synchronous}")
                    self._synchronous = synchronous
                await writer.execute("BEGIN IMMEDIATE")
                try:
                    result = await body(writer)
                    await writer.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        await writer.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise _translated(self._path, error) from error
            return result


def _one_statement(
    statement: str, values: Iterable[object]
) -> Callable[[aiosqlite.Connection], Awaitable[int]]:
    async def body(connection: aiosqlite.Connection) -> int:
        return (await connection.execute(statement, tuple(values))).rowcount

    return body


async def _prepare(connection: aiosqlite.Connection, *, is_reader: bool = False) -> None:
    connection.row_factory = sqlite3.Row
    await connection.execute("PRAGMA busy_timeout=5000")
    await connection.execute("PRAGMA foreign_keys=ON")
    if not is_reader:
        await connection.execute("PRAGMA journal_mode=WAL")


async def migrate(connection: aiosqlite.Connection, path: Path, folder: Path = MIGRATIONS) -> None:
    """Bring the schema up to date, each step in one transaction; an older file is copied first.

    Raises:
        StateError: The file is of a newer program.
    """
    scripts = _scripts(folder)
    version, newest = await _version(connection, path, max(scripts)), max(scripts)
    if 0 < version < newest:
        copy = path.with_name(f"{path.name}.before-{newest}")
        copy.unlink(missing_ok=True)
        await connection.execute("VACUUM INTO ?", (str(copy),))
    for number in range(version + 1, newest + 1):
        await connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements(scripts[number].read_text(encoding="utf-8")):
                await connection.execute(statement)
            await connection.execute(f"PRAGMA user_version={number}")
            await connection.execute("COMMIT")
        except BaseException:
            # A full disk has rolled it back already.
            with suppress(sqlite3.Error):
                await connection.execute("ROLLBACK")
            raise


def _scripts(folder: Path = MIGRATIONS) -> dict[int, Path]:
    return {int(script.name.split("_", 1)[0]): script for script in sorted(folder.glob("[0-9]*.sql"))}


async def _version(connection: aiosqlite.Connection, path: Path, newest: int) -> int:
    (row,) = await connection.execute_fetchall("PRAGMA user_version")
    version = int(row[0])
    if version > newest:
        raise StateError(
            f"{path} was written by a newer FluxCaption (schema {version}, this one knows {newest}): install that version again, or restore a backup"
        )
    return version


async def _check_version(connection: aiosqlite.Connection, path: Path) -> None:
    """A file that is only read is not migrated: it must be of this program."""
    newest = max(_scripts())
    if (version := await _version(connection, path, newest)) < newest:
        raise StateError(
            f"{path} was written by an older FluxCaption (schema {version}, this one knows {newest}): start the daemon once, which brings it up to date"
        )


def statements(script: str) -> Iterable[str]:
    """The statements of a script, one by one: `executescript` would commit in between."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        raise ValueError(f"a migration ends in the middle of a statement: {statement.strip()[:60]}")


def _translated(path: Path, error: Exception) -> Exception:
    name = getattr(error, "sqlite_errorname", "")
    if name in _FULL_CODES or getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT}:
        return DiskLow(str(path.parent))
    if name in {"SQLITE_CORRUPT", "SQLITE_NOTADB"}:
        return StateError(
            f"{path} is damaged: move it away, the library is scanned again and a new one is made"
        )
    if name in {"SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM"} or isinstance(error, PermissionError):
        return StateError(f"{path} cannot be opened for writing: give the daemon the folder {path.parent}")
    if isinstance(error, OSError):
        return StateError(f"{path.parent} cannot be used as state ({error.strerror})")
    return StateError(f"{path}: {error}")
