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


class Database(Protocol):
    """One service's own schema."""

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction and return its result once it is durable.

        What `work` raises rolls its own effects back and is raised here; a fault of the database is
        raised as `DatabaseError`. Transactions that wait at the same time may share one commit, each
        behind a savepoint of its own. `work` must not keep the connection, and may run again after a
        serialisation failure, so it has no effect but on the database.
        """

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` over a consistent snapshot; it must not write."""

    async def close(self) -> None:
        """Finish what runs and release the database. Idempotent."""
