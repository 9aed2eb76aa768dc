"""The schema after all migrations, as readable SQL: `python -m fluxcaption.storage.schema > schema.sql`."""

import asyncio
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from fluxcaption.storage.database import DATABASE, Database

SCHEMA = Path(__file__).parent / "schema.sql"

HEADER = """\
-- The tables and indexes after all migrations, by name; column order is that of the migrations.
-- Generated: python -m fluxcaption.storage.schema > daemon/fluxcaption/storage/schema.sql
-- Times are whole milliseconds since 1970, UTC. Ids of items and media sources are those of the row's server.
"""


_TABLES = """
    SELECT name, wr, strict FROM pragma_table_list
    WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name
"""

_INDEXES = """
    SELECT sql FROM sqlite_master
    WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL ORDER BY name
"""


def render_schema(connection: sqlite3.Connection) -> str:
    """Return the tables by name, each with its indexes by name."""
    tables = connection.execute(_TABLES).fetchall()
    parts = [HEADER]
    for name, without_rowid, strict in tables:
        options = ["STRICT"] * strict + ["WITHOUT ROWID"] * without_rowid
        lines = [*_columns(connection, name), *_constraints(connection, name)]
        body = ",\n".join(f"    {line}" for line in lines)
        parts.append(f"CREATE TABLE {name} (\n{body}\n) {', '.join(options)};\n{_indexes(connection, name)}")
    return "\n".join(parts)


def _columns(connection: sqlite3.Connection, table: str) -> Iterator[str]:
    (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    for _, name, kind, not_null, default, _ in connection.execute(f"PRAGMA table_info({table})"):
        words = [name, kind]
        if _primary_key(connection, table) == [name] and kind == "INTEGER":
            words.append("PRIMARY KEY AUTOINCREMENT" if "AUTOINCREMENT" in sql else "PRIMARY KEY")
        else:
            words += ["NOT NULL"] * not_null + [f"DEFAULT {default}"] * (default is not None)
        yield " ".join(words)


def _constraints(connection: sqlite3.Connection, table: str) -> Iterator[str]:
    key = _primary_key(connection, table)
    kinds = {name: kind for _, name, kind, *_ in connection.execute(f"PRAGMA table_info({table})")}
    if len(key) > 1 or kinds[key[0]] != "INTEGER":
        yield f"PRIMARY KEY ({', '.join(key)})"
    for _, index, is_unique, origin, _ in connection.execute(f"PRAGMA index_list({table})").fetchall():
        if is_unique and origin == "u":
            columns = [row[2] for row in connection.execute(f"PRAGMA index_info({index})")]
            yield f"UNIQUE ({', '.join(columns)})"
    references = connection.execute(f"PRAGMA foreign_key_list({table})")
    for _, _, other, column, key_column, _, on_delete, _ in references:
        yield f"FOREIGN KEY ({column}) REFERENCES {other} ({key_column}) ON DELETE {on_delete}"


def _primary_key(connection: sqlite3.Connection, table: str) -> list[str]:
    rows = connection.execute("SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", (table,))
    return [name for (name,) in rows]


def _indexes(connection: sqlite3.Connection, table: str) -> str:
    rows = connection.execute(_INDEXES, (table,))
    statements = [" ".join(sql.split()).replace(" WHERE ", "\n    WHERE ") for (sql,) in rows]
    return "".join(f"{statement};\n" for statement in statements)


async def _migrated(folder: Path) -> None:
    await (await Database.open(folder)).close()


def main() -> None:
    """Print the schema of a new database."""
    with TemporaryDirectory() as folder:
        asyncio.run(_migrated(Path(folder)))
        with closing(sqlite3.connect(Path(folder) / DATABASE)) as connection:
            sys.stdout.write(render_schema(connection))


if __name__ == "__main__":
    main()
