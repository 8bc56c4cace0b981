"""Where a world's books lie: in memory, or in PostgreSQL."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import StaticPool

from services.billing.tables import metadata
from shared.host import system_host
from shared.storage.postgres import PostgresDatabase
from shared.storage.postgres_migrations import migrate_postgres
from shared.storage.settings import DatabaseSettings

T = TypeVar("T")


class Books(Protocol):
    """Empty books."""

    def run(self, work: Callable[[Connection], T]) -> T:
        """One transaction."""

    def forge(self, statement: str, parameters: tuple[object, ...]) -> int:
        """Change them as somebody with the files in hand could; how many rows changed."""


class Memory:
    """SQLite in memory, with transactions of our own."""

    def __init__(self) -> None:
        self._engine = create_engine("sqlite://", poolclass=StaticPool)

        @event.listens_for(self._engine, "connect")
        def _manual(raw: sqlite3.Connection, record: object) -> None:
            del record
            raw.isolation_level = None
            raw.execute("PRAGMA foreign_keys=ON")

        @event.listens_for(self._engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

        metadata.create_all(self._engine)

    def run(self, work: Callable[[Connection], T]) -> T:
        with self._engine.begin() as connection:
            return work(connection)

    def forge(self, statement: str, parameters: tuple[object, ...]) -> int:
        with self._engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            assert raw is not None
            for pragma in ("foreign_keys=OFF", "ignore_check_constraints=ON"):
                raw.execute(f"PRAGMA {pragma}")
            changed: int = raw.execute(statement, parameters).rowcount
            for pragma in ("foreign_keys=ON", "ignore_check_constraints=OFF"):
                raw.execute(f"PRAGMA {pragma}")
        return changed


class Shelf:
    """One migrated PostgreSQL schema, emptied for each world; its own thread runs it."""

    def __init__(self, settings: DatabaseSettings) -> None:
        migrate_postgres(settings, "billing")
        self._database = PostgresDatabase(settings, "billing", system_host())
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def empty(self) -> Shelf:
        """Books that nothing is written in yet."""
        names = ", ".join(table.name for table in metadata.sorted_tables)
        self.run(lambda connection: connection.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY"))
        return self

    def run(self, work: Callable[[Connection], T]) -> T:
        return self._wait(self._database.transact(work))

    def forge(self, statement: str, parameters: tuple[object, ...]) -> int:
        def work(connection: Connection) -> int:
            found = connection.exec_driver_sql(
                "SELECT conrelid::regclass::text, conname FROM pg_constraint"
                " WHERE contype IN ('c', 'f') AND connamespace = current_schema()::regnamespace"
            ).all()
            for table, name in found:
                connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
            spoken = statement.replace("x'ff'", r"'\xff'")
            for number in range(1, len(parameters) + 1):
                spoken = spoken.replace("?", f"${number}", 1)
            return connection.exec_driver_sql(spoken, parameters).rowcount

        return self.run(work)

    def close(self) -> None:
        """End the thread."""
        self._wait(self._database.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
