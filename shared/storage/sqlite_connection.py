"""How a connection to SQLite is made, and which of its errors are faults of the disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Literal, cast

from sqlalchemy import URL, Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from shared.storage.database import DatabaseError

Synchronous = Literal["FULL", "NORMAL"]
"""FULL: a commit is on disk when it returns. NORMAL: a power cut may undo the last ones."""

BUSY_TIMEOUT_S = 1.0
"""How long a statement waits for another process, such as a report run from the command line."""

_FAULTS = {
    sqlite3.SQLITE_BUSY: "locked by another process",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_NOMEM: "out of memory",
    sqlite3.SQLITE_READONLY: "cannot be written: the file or its folder is read-only",
    sqlite3.SQLITE_INTERRUPT: "interrupted",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
    sqlite3.SQLITE_CORRUPT: "damaged: restore it from a backup",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_PROTOCOL: "locked by another process",
    sqlite3.SQLITE_NOTADB: "not a database",
}


def connect(path: Path, synchronous: Synchronous, *, read_only: bool = False) -> Connection:
    """A connection that is in no transaction until somebody says BEGIN to its `driver`.

    SQLAlchemy is told that it autocommits: transactions are the caller's, because one of SQLite's
    spans many of ours. Raises `DatabaseError`.
    """
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path)),
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,  # an error that is logged shows the statement and no row
        poolclass=NullPool,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
    )
    try:
        connection = engine.connect()
        raw = driver(connection)
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute(f"PRAGMA synchronous={synchronous}")
        raw.execute("PRAGMA foreign_keys=ON")
        raw.execute("PRAGMA journal_size_limit=67108864")
        raw.execute(f"PRAGMA query_only={'ON' if read_only else 'OFF'}")
    except (DBAPIError, sqlite3.Error) as error:
        engine.dispose()
        raise fault(path, error) or DatabaseError(f"{path}: {error}") from error
    return connection


def driver(connection: Connection) -> sqlite3.Connection:
    """The driver's own connection below SQLAlchemy's."""
    return cast(sqlite3.Connection, connection.connection.dbapi_connection)


def fault(path: Path, error: BaseException, *, writable: bool = True) -> DatabaseError | None:
    """The error as a fault of the database in plain words; None where the statement itself is wrong.

    On a connection that is not `writable` an attempt to write is the statement's own fault.
    """
    origin = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(origin, DatabaseError):
        return origin
    code = getattr(origin, "sqlite_errorcode", None)
    if not isinstance(code, int) or (code & 0xFF == sqlite3.SQLITE_READONLY and not writable):
        return None
    words = _FAULTS.get(code & 0xFF)
    return DatabaseError(f"{path}: {words} ({origin})") if words else None
