"""One port over both databases: a transaction is a plain function of a SQLAlchemy connection.

Repositories are therefore synchronous functions of a `Connection`. On SQLite a transaction runs on
the database's own executor; on PostgreSQL it runs inside SQLAlchemy's `run_sync` over asyncpg.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")


class DatabaseError(Exception):
    """A fault of the database, not of the data: disk full, locked, gone. Back off and try again."""


class DatabaseRefused(DatabaseError):
    """Trying again does not help before an operator has done what it says: a wrong password, no such
    database, a schema of another version.
    """


class Conflict(DatabaseError):
    """Another transaction was there first and this one has had no effect: the same again may succeed.

    A transaction may raise it; `transact` tries again some times before its caller sees it.
    """


class Database(Protocol):
    """One service's own schema."""

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction and return its result once it is durable.

        What `work` raises rolls its own effects back and is raised here; a fault of the database is
        raised as `DatabaseError`. On SQLite transactions that wait at the same time share one commit, each
        behind a savepoint of its own. On PostgreSQL transactions run side by side, in this process and
        in others, at READ COMMITTED: what is read to be changed must be locked (`shared.storage.sql`).
        `work` must not keep the connection, and may run again after a conflict, so it has no effect but
        on the database.
        """

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` over a consistent snapshot; it must not write."""

    async def close(self) -> None:
        """Finish what runs and release the database. Idempotent."""
