"""Databases in memory that outlive the processes which use them, and fail by the plan."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import StaticPool

from shared.storage.database import DatabaseError
from shared.storage.migrations import migrate
from shared.storage.sqlite_connection import driver
from tests.simulation import weather as bad
from tests.simulation.process import Process
from tests.simulation.weather import Weather

T = TypeVar("T")

DATABASE_S = 0.002
"""Longest usual time of a transaction."""


@cache
def migrated(service: str) -> bytes:
    """An empty database of a service, in its newest schema."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{service}.db"
        migrate(path, service)
        return path.read_bytes()


class Disk:
    """One service's database. Transactions are serial; what is committed stays."""

    def __init__(self, service: str, weather: Weather) -> None:
        self.service = service
        self.weather = weather
        engine = create_engine(
            "sqlite+pysqlite://",
            isolation_level="AUTOCOMMIT",
            poolclass=StaticPool,
            connect_args={"check_same_thread": False},
        )
        self._connection = engine.connect()
        self._raw: sqlite3.Connection = driver(self._connection)
        self._raw.deserialize(migrated(service))
        self._raw.execute("PRAGMA foreign_keys=ON")
        self.commits = 0
        self.on_commit: Callable[[Process, str], None] | None = None
        """Called after each commit: another place where a process can be killed."""

    def work(self, work: Callable[[Connection], T], *, write: bool) -> T:
        """Run one transaction at once, with no fault. For the judges, too."""
        self._raw.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        try:
            value = work(self._connection)
        except BaseException:
            self._raw.execute("ROLLBACK")
            raise
        self._raw.execute("COMMIT" if write else "ROLLBACK")
        self.commits += write
        return value


class SimDatabase:
    """One process's connection to a disk; a `Database`."""

    def __init__(self, process: Process, disk: Disk) -> None:
        self._process = process
        self._disk = disk
        self._closed = False

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """See `Database.transact`."""
        return await self._do(work, write=True)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """See `Database.read`."""
        return await self._do(work, write=False)

    async def close(self) -> None:
        """See `Database.close`."""
        self._closed = True

    def _do(self, work: Callable[[Connection], T], *, write: bool) -> asyncio.Future[T]:
        if self._closed:
            raise DatabaseError(f"{self._disk.service}: closed")
        loop, weather = self._process.loop, self._disk.weather
        done: asyncio.Future[T] = loop.create_future()
        if not self._process.alive:
            return done
        delay = weather.delay(bad.DISK_SLOW, self._disk.service, DATABASE_S)
        loop.after(delay, self._run, work, write, done)
        return done

    def _run(self, work: Callable[[Connection], Any], write: bool, done: asyncio.Future[Any]) -> None:
        """In the world's lane: what a dead process had asked for is not begun, what was begun is whole."""
        name, weather, loop = self._disk.service, self._disk.weather, self._process.loop
        if not self._process.alive or (done.cancelled() and weather.coin()):
            return
        if write and weather.strikes(bad.FULL, name):
            loop.after(0.0, _fail, done, DatabaseError(f"{name}: the disk is full"))
            return
        if weather.strikes(bad.FAILS_BEFORE, name):
            loop.after(0.0, _fail, done, DatabaseError(f"{name}: gone before the transaction"))
            return
        try:
            value = self._disk.work(work, write=write)
        except Exception as error:  # noqa: BLE001 - whoever waits decides what it means
            loop.after(0.0, _fail, done, error)
            return
        if write and self._disk.on_commit is not None:
            self._disk.on_commit(self._process, name)
        if write and weather.strikes(bad.FAILS_AFTER, name):
            loop.after(0.0, _fail, done, DatabaseError(f"{name}: gone at the commit, which was done"))
            return
        loop.after(weather.random() * DATABASE_S, _succeed, done, value)


def _succeed(done: asyncio.Future[Any], value: Any) -> None:
    if not done.done():
        done.set_result(value)


def _fail(done: asyncio.Future[Any], error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)
