"""Connections to the SQLite state file, transactions and migrations; the only module that imports aiosqlite.

A `transaction` survives the end of the process, a `durable_transaction` also the loss of power. Durable
transactions that wait at the same time share one fsync.

Source of the settings: notes/libraries.md L16
(WAL, 73 µs a checkpoint with NORMAL, 2.3 ms a promise with FULL).
"""

import asyncio
import errno
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import aiosqlite

from fluxcaption.domain.errors import DiskLow, StateError

Result = TypeVar("Result")
Row = sqlite3.Row
Connection = aiosqlite.Connection
Body = Callable[[Connection], Awaitable[Result]]
"""The statements of one transaction; a body never commits by itself."""

Values = Mapping[str, object]
"""Named parameters of a statement, without the colon."""

MIGRATIONS = Path(__file__).parent / "migrations"
DATABASE = "fluxcaption.sqlite3"
_DISK_FULL_ERRORS = {"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC"}


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A durable transaction that was not started yet, and the future of its caller."""

    body: Body[Any]
    future: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Ended:
    """Result or error of a durable transaction, and the future of its caller."""

    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None


class Database:
    """A writing and a reading connection to one state file.

    A transaction is committed as a whole or not at all. A cancelled caller does not interrupt its
    transaction.
    """

    def __init__(self, path: Path, writer: Connection | None, reader: Connection) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader
        self._lock = asyncio.Lock()
        self._synchronous = ""
        self._waiting: list[_Waiting] = []
        self._committer: asyncio.Task[None] | None = None
        self._transactions: set[asyncio.Task[Any]] = set()

    @classmethod
    async def open(cls, state: Path, *, read_only: bool = False) -> Self:
        """Open the file below the state directory; create or migrate it first unless `read_only`.

        Raises:
            StateError: The file cannot be opened, is damaged, or its schema is not the one of this program.
            DiskLow: There is no room for the file.
        """
        path = state / DATABASE
        opened: list[Connection] = []
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
        """Finish waiting transactions and close both connections; open ones block the interpreter's exit."""
        while unfinished := [
            task for task in (*self._transactions, self._committer) if task is not None and not task.done()
        ]:
            await asyncio.wait(unfinished)
        for connection in (self._writer, self._reader):
            if connection is not None:
                await connection.close()

    async def read(self, query: str, values: Values | None = None) -> list[Row]:
        """Return the rows of a query, read outside of any transaction."""
        try:
            return list(await self._reader.execute_fetchall(query, dict(values or {})))
        except sqlite3.Error as error:
            raise _translated(self._path, error) from error

    async def transaction(self, body: Body[Result]) -> Result:
        """Run a transaction; its change is lost only if the power fails within seconds after the return.

        Raises:
            DiskLow: There is no room for the change.
            StateError: The file cannot be written.
        """
        task = asyncio.create_task(self._run(body, "NORMAL"), name="transaction")
        self._transactions.add(task)
        task.add_done_callback(self._transactions.discard)
        return await asyncio.shield(task)

    async def durable_transaction(self, body: Body[Result]) -> Result:
        """Run a transaction. Durable: returns after fsync; transactions that wait at the same time share one.

        Raises:
            DiskLow: There is no room for the change.
            StateError: The file cannot be written.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(body, future))
        if self._committer is None or self._committer.done():
            self._committer = asyncio.create_task(self._commit_waiting(), name="committer")
        return await asyncio.shield(future)

    async def write(self, statement: str, values: Values | None = None) -> int:
        """Run one statement as a transaction. Return the number of changed rows."""
        return await self.transaction(_one_statement(statement, values))

    async def write_durably(self, statement: str, values: Values | None = None) -> int:
        """Run one statement as a durable transaction. Return the number of changed rows."""
        return await self.durable_transaction(_one_statement(statement, values))

    async def write_many(self, statement: str, rows: Iterable[Values]) -> None:
        """Run one statement for each row of values, all in one transaction; without rows do nothing."""
        if not (rows := [dict(row) for row in rows]):
            return

        async def body(connection: Connection) -> None:
            await connection.executemany(statement, rows)

        await self.transaction(body)

    async def _commit_waiting(self) -> None:
        """Run waiting durable transactions in batches until none is left."""
        while self._waiting:
            batch: list[_Waiting] = []
            ended: list[_Ended] = []
            try:
                await self._run(self._batch(batch, ended), "FULL")
            except Exception as error:
                if len(batch) == 1:
                    ended = [_Ended(batch[0].future, error=error)]
                elif batch:
                    ended = [await self._run_alone(waiting) for waiting in batch]
                else:
                    # The transaction did not even begin.
                    ended = [_Ended(waiting.future, error=error) for waiting in self._waiting]
                    self._waiting.clear()
            for one in ended:
                self._report(one)

    def _batch(self, batch: list[_Waiting], ended: list[_Ended]) -> Body[None]:
        """Return a transaction that runs everything that waits when it begins; it fills both lists."""

        async def body(connection: Connection) -> None:
            # Taken under the lock: what was added while an earlier transaction ran shares this fsync.
            batch.extend(self._waiting)
            self._waiting.clear()
            if len(batch) == 1:
                # No other work has to be kept when this one fails: the whole transaction is rolled back.
                ended.append(_Ended(batch[0].future, await batch[0].body(connection)))
                return
            for waiting in batch:
                ended.append(await _run_in_savepoint(connection, waiting))

        return body

    async def _run_alone(self, waiting: _Waiting) -> _Ended:
        """Run one durable transaction of a batch that failed as a whole."""
        try:
            return _Ended(waiting.future, await self._run(waiting.body, "FULL"))
        except Exception as error:
            return _Ended(waiting.future, error=error)

    def _report(self, ended: _Ended) -> None:
        """Give the caller of a durable transaction its result or error."""
        if ended.future.done():
            return
        if ended.error is None:
            ended.future.set_result(ended.result)
        elif isinstance(ended.error, sqlite3.Error):
            ended.future.set_exception(_translated(self._path, ended.error))
        else:
            ended.future.set_exception(ended.error)

    async def _run(self, body: Body[Result], synchronous: str) -> Result:
        """Run one transaction on the writing connection, with the given value of `PRAGMA synchronous`."""
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


async def fetch_all(connection: Connection, statement: str, values: Values | None = None) -> list[Row]:
    """Run a statement inside a transaction and return its rows."""
    return list(await connection.execute_fetchall(statement, dict(values or {})))


async def _run_in_savepoint(connection: Connection, waiting: _Waiting) -> _Ended:
    """Run one transaction of a batch so that its failure undoes nothing else.

    Raises:
        Exception: The failure ended the whole batch.
    """
    await connection.execute("SAVEPOINT one")
    try:
        ended = _Ended(waiting.future, await waiting.body(connection))
    except Exception as error:
        if not connection.in_transaction:
            # A full disk makes SQLite roll back the whole batch.
            raise
        await connection.execute("ROLLBACK TO one")
        ended = _Ended(waiting.future, error=error)
    await connection.execute("RELEASE one")
    return ended


def _one_statement(statement: str, values: Values | None) -> Body[int]:
    async def body(connection: Connection) -> int:
        return (await connection.execute(statement, dict(values or {}))).rowcount

    return body


async def _prepare(connection: Connection, *, is_reader: bool = False) -> None:
    connection.row_factory = sqlite3.Row
    await connection.execute("PRAGMA busy_timeout=5000")
    await connection.execute("PRAGMA foreign_keys=ON")
    if not is_reader:
        await connection.execute("PRAGMA journal_mode=WAL")


async def migrate(connection: Connection, path: Path, folder: Path = MIGRATIONS) -> None:
    """Bring the schema up to date, one transaction for each step.

    A file of an earlier schema is first copied to `<name>.before-<newest schema>` beside it.

    Raises:
        StateError: The file was written by a newer program.
        ValueError: A migration script ends in the middle of a statement.
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
            # After SQLITE_FULL the transaction is rolled back already.
            with suppress(sqlite3.Error):
                await connection.execute("ROLLBACK")
            raise


def _scripts(folder: Path = MIGRATIONS) -> dict[int, Path]:
    return {int(script.name.split("_", 1)[0]): script for script in sorted(folder.glob("[0-9]*.sql"))}


async def _version(connection: Connection, path: Path, newest: int) -> int:
    (row,) = await connection.execute_fetchall("PRAGMA user_version")
    version = int(row[0])
    if version > newest:
        raise StateError(
            f"{path} was written by a newer FluxCaption (schema {version}, this one knows {newest}):"
            " install that version again, or restore a backup"
        )
    return version


async def _check_version(connection: Connection, path: Path) -> None:
    """Raise StateError unless the file has this program's schema: a reader does not migrate it."""
    newest = max(_scripts())
    if (version := await _version(connection, path, newest)) < newest:
        raise StateError(
            f"{path} was written by an older FluxCaption (schema {version}, this one knows {newest}):"
            " start the daemon once, which brings it up to date"
        )


def statements(script: str) -> Iterable[str]:
    """Yield the statements of a script one by one: `executescript` would commit before it begins.

    Raises:
        ValueError: The script ends in the middle of a statement.
    """
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        raise ValueError(f"a migration ends in the middle of a statement: {statement.strip()[:60]}")


def _translated(path: Path, error: Exception) -> Exception:
    """Return the program's own error for one of SQLite or the operating system."""
    name = getattr(error, "sqlite_errorname", "")
    if name in _DISK_FULL_ERRORS or getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT}:
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
