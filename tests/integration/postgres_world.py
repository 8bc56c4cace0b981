"""A schema with one table, the load on it, and ways to hurt it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from shared.host import system_host
from shared.storage.database import DatabaseError
from shared.storage.postgres import PostgresDatabase
from shared.storage.settings import DatabaseSettings
from shared.storage.sql import query
from tests.servers.postgres import Postgres

HOST = system_host()


def execute(statement: str) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        connection.exec_driver_sql(statement)

    return work


def put(number: int) -> Callable[[Connection], int]:
    """Fails where it was done before."""

    def work(connection: Connection) -> int:
        connection.exec_driver_sql("INSERT INTO numbers VALUES ($1)", (number,))
        return number

    return work


def numbers(connection: Connection) -> list[int]:
    return [number for (number,) in query(connection, "SELECT number FROM numbers ORDER BY number")]


@dataclass
class Schema:
    """A schema with one table, and how to reach it."""

    settings: DatabaseSettings
    database: PostgresDatabase

    async def reopened(self, **changes: object) -> PostgresDatabase:
        return PostgresDatabase(self.settings.model_copy(update=changes), "service", HOST)


async def cut(postgres: Postgres, settings: DatabaseSettings) -> None:
    """Cut all of the database's connections."""
    await postgres.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{settings.name}'"  # noqa: S608
    )


class Load:
    """Numbers that are put by several at the same time, each until it is known to be there."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._following = iter(range(10**9))
        self.acknowledged: list[int] = []
        self.unknown: set[int] = set()
        self.failed = 0
        self.stopping = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(16):
                group.create_task(self._put())

    async def _put(self) -> None:
        while not self.stopping:
            number = next(self._following)
            try:
                self.acknowledged.append(await self._database.transact(put(number)))
            except DatabaseError as fault:
                self.failed += 1
                if "unknown" in str(fault):
                    self.unknown.add(number)
                await asyncio.sleep(0.01)  # as whoever calls backs off

    async def grown(self, count: int) -> None:
        """Return once so many more were acknowledged."""
        wanted = len(self.acknowledged) + count
        async with asyncio.timeout(60):
            while len(self.acknowledged) < wanted:  # noqa: ASYNC110 - what is waited for is the server
                await asyncio.sleep(0.01)


async def check(load: Load, database: PostgresDatabase) -> None:
    """What was acknowledged is there, once, and of the rest at most what nobody knows."""
    found = await database.read(numbers)
    assert len(set(load.acknowledged)) == len(load.acknowledged)
    assert set(load.acknowledged) <= set(found)
    assert set(found) - set(load.acknowledged) <= load.unknown
