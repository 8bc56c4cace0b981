"""Reading and writing rows in sets, by the driver's own cursor and with parameters only.

Core costs twenty times as much an event, and SQLAlchemy's results alone more than all of a small batch's
SQL. One text serves both databases:

- a parameter is `?`;
- a set of keys is one list: `column = ANY(?)`;
- many rows are one statement over arrays on PostgreSQL, or a COPY, and one prepared statement on SQLite;
- a SELECT made by `locked` locks its rows until the transaction ends, always in the same order, so that
  no two transactions wait for each other. SQLite has one writer and needs none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import Connection, CursorResult, Table, insert
from sqlalchemy.dialects import postgresql, sqlite

POSTGRES: Final = "postgresql"
COPIED: Final = 32
"""Rows from which a COPY costs less than arrays: one exchange more, and a third of the encoding."""

_LOCKING: Final = re.compile(r"( ORDER BY \w+ COLLATE \"C\")? FOR UPDATE( SKIP LOCKED)?")
_ANY: Final = "= ANY(?)"
_SQLITE_ANY: Final = "IN (SELECT value FROM json_each(?))"


class Bulk(NamedTuple):
    """One statement for many rows, in the form that each database takes fastest."""

    each: str
    """For one row of parameters; SQLite executes it once for each."""
    arrays: str
    """For one array a column; PostgreSQL executes it once for all."""
    table: str = ""
    """Of a plain insertion: many rows may be copied to it."""
    columns: Sequence[str] = ()


def locked(statement: str, column: str) -> str:
    """A SELECT whose rows are locked in the order of `column`, a text; Python sorts texts alike."""
    return f'{statement} ORDER BY {column} COLLATE "C" FOR UPDATE'


def unless_locked(statement: str) -> str:
    """A SELECT that locks its rows, and leaves out those that another transaction works on."""
    return f"{statement} FOR UPDATE SKIP LOCKED"


def insertion(table: Table, conflict: str = "") -> Bulk:
    """An INSERT of all columns, in the table's order; `conflict` is its `ON CONFLICT` clause."""
    each = str(insert(table).compile(dialect=sqlite.dialect()))
    names = [column.name for column in table.columns]
    quoted = ", ".join(f'"{name}"' for name in names)
    end = f" {conflict}" if conflict else ""
    arrays = f"INSERT INTO {table.name} ({quoted}) SELECT * FROM unnest({_arrays(table, names)}){end}"  # noqa: S608
    return Bulk(f"{each}{end}", arrays, "" if conflict else table.name, names)


def updating(table: Table, columns: Sequence[str], key: str, also: str = "") -> Bulk:
    """An UPDATE of `columns` of the rows named by `key`, which is a row's last parameter; `also` are
    assignments without parameters. Rows that others may change must be locked before: it has no order.
    """
    names = [*columns, key]
    end = f", {also}" if also else ""
    each = ", ".join(f"{name} = ?" for name in columns)
    taken = ", ".join(f"{name} = given.{name}" for name in columns)
    return Bulk(
        f"UPDATE {table.name} SET {each}{end} WHERE {key} = ?",  # noqa: S608
        f"UPDATE {table.name} SET {taken}{end} FROM unnest({_arrays(table, names)})"  # noqa: S608
        f" AS given({', '.join(names)}) WHERE {table.name}.{key} = given.{key}",
    )


def query(connection: Connection, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """All rows of a statement, in the running transaction."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(*_spoken(connection, statement, parameters))
        return cast(list[tuple[Any, ...]], cursor.fetchall())
    finally:
        cursor.close()


def select(
    connection: Connection, statement: str, parameters: Sequence[Any] = ()
) -> CursorResult[*tuple[Any, ...]]:
    """As `query`, with rows that know their columns' names; for what is not on a request's path."""
    return connection.exec_driver_sql(*_spoken(connection, statement, parameters))


def change(connection: Connection, statement: str, parameters: Sequence[Any]) -> int:
    """Execute a statement; how many rows it changed."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(*_spoken(connection, statement, parameters))
        return cursor.rowcount
    finally:
        cursor.close()


def write(connection: Connection, statement: Bulk | str, rows: Sequence[Sequence[Any]]) -> int:
    """Execute a statement for each row of parameters, a text for one after the other; how many rows a
    `Bulk` changed.
    """
    if not rows:
        return 0
    if isinstance(statement, Bulk) and concurrent(connection):
        return _write_many(connection, statement, rows)
    spoken = _for_postgres if concurrent(connection) else _for_sqlite
    cursor = connection.connection.cursor()
    try:
        cursor.executemany(spoken(statement.each if isinstance(statement, Bulk) else statement), rows)
        return cursor.rowcount
    finally:
        cursor.close()


def _write_many(connection: Connection, statement: Bulk, rows: Sequence[Sequence[Any]]) -> int:
    if statement.table and len(rows) >= COPIED:
        _copy(connection, statement, rows)
        return len(rows)
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement.arrays, list(zip(*rows, strict=True)))
        return cursor.rowcount
    finally:
        cursor.close()


def _copy(connection: Connection, statement: Bulk, rows: Sequence[Sequence[Any]]) -> None:
    raw: Any = connection.connection.dbapi_connection
    raw.run_async(
        lambda driver: driver.copy_records_to_table(statement.table, records=rows, columns=statement.columns)
    )


def keys(values: Iterable[str | int]) -> tuple[list[str | int]]:
    """The parameters of `= ANY(?)`."""
    return (list(values),)


def storable(text: str) -> str:
    """Text of unknown origin, such as an error's, without what PostgreSQL does not store."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def concurrent(connection: Connection) -> bool:
    """Whether other transactions may write at the same time as this one; never on SQLite."""
    return connection.dialect.name == POSTGRES


def alone(connection: Connection, name: str) -> None:
    """Wait until no other transaction of this schema goes by `name`, and keep it until this one ends.

    For what is rare and reads before it writes, and for rows that are not there to be locked.
    """
    _advisory(connection, "pg_advisory_xact_lock", name)


def beside(connection: Connection, name: str) -> None:
    """Wait for and keep out whoever is `alone` by this name, but not others beside."""
    _advisory(connection, "pg_advisory_xact_lock_shared", name)


def query_beside(
    connection: Connection, name: str, statement: str, parameters: Sequence[Any] = ()
) -> list[tuple[Any, ...]]:
    """As `beside` and then `query`, in one exchange: the rows are those from before the wait. Their first
    column is never null.
    """
    if not concurrent(connection):
        return query(connection, statement, parameters)
    held = f"SELECT 1 FROM {_held('pg_advisory_xact_lock_shared')}"  # noqa: S608
    rows = query(
        connection,
        f"SELECT found.* FROM ({held}) AS held LEFT JOIN ({statement}) AS found ON TRUE",  # noqa: S608
        (name, *parameters),
    )
    return [row for row in rows if row[0] is not None]


def _advisory(connection: Connection, function: str, name: str) -> None:
    if concurrent(connection):
        query(connection, f"SELECT 1 FROM {_held(function)}", (name,))  # noqa: S608


def _held(function: str) -> str:
    return f"{function}(hashtextextended(current_schema() || '/' || ?, 0))"


def _spoken(connection: Connection, statement: str, parameters: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
    """A statement and its parameters as the connection's database wants them."""
    if concurrent(connection):
        return _for_postgres(statement), tuple(parameters)
    return _for_sqlite(statement), tuple(
        [json.dumps(value) if isinstance(value, list) else value for value in parameters]
    )


@cache
def _for_sqlite(statement: str) -> str:
    return _LOCKING.sub("", statement).replace(_ANY, _SQLITE_ANY)


@cache
def _for_postgres(statement: str) -> str:
    first, *rest = statement.split("?")
    return first + "".join(f"${number}{part}" for number, part in enumerate(rest, 1))


def _arrays(table: Table, columns: Sequence[str]) -> str:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    kinds = [table.columns[name].type.compile(dialect=dialect) for name in columns]
    return ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(kinds, 1))
