"""SQLite in WAL mode behind the `Database` port: one writing thread, and group commit.

All transactions that wait while a commit is under way share the next one: at `synchronous=FULL` a
commit costs one fsync, and a commit per transaction would bound a service at a few hundred a second.
Reads have a thread and a connection of their own, so that a long report never delays a commit.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from sqlalchemy import Connection

from shared.executor import Executor
from shared.host import Host
from shared.storage.database import DatabaseError
from shared.storage.sqlite_connection import Synchronous, connect, driver, fault

log = logging.getLogger(__name__)

T = TypeVar("T")


class _Job(NamedTuple):
    work: Callable[[Connection], Any]
    done: asyncio.Future[Any]


class _Outcome(NamedTuple):
    value: Any
    error: BaseException | None


class SqliteDatabase:
    """A `Database` over one file. The file and its folder are made where they are missing.

    Nothing is opened before the first call. A fault of the disk fails every transaction of the
    shared commit with `DatabaseError`: none of them has had an effect then, unless the fault came
    from the commit itself, where it is unknown.
    """

    def __init__(self, path: Path, host: Host, synchronous: Synchronous = "FULL") -> None:
        self._writes = _Thread(path, host, synchronous, "write")
        self._reads = _Thread(path, host, synchronous, "read")
        self._closing: asyncio.Future[None] | None = None

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """See `Database.transact`."""
        return await self._writes.add(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """See `Database.read`. A write is refused by SQLite itself."""
        return await self._reads.add(work)

    async def close(self) -> None:
        """See `Database.close`."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_future()
            await self._writes.close()
            await self._reads.close()
            self._closing.set_result(None)
        await asyncio.shield(self._closing)


class _Thread:
    """Gathers jobs on the event loop and runs what has gathered on one thread, a turn at a time."""

    def __init__(
        self, path: Path, host: Host, synchronous: Synchronous, kind: Literal["write", "read"]
    ) -> None:
        self._path = path
        self._host = host
        self._synchronous = synchronous
        self._kind = kind
        self._executor: Executor | None = None
        self._connection: Connection | None = None
        self._waiting: list[_Job] = []
        self._running: asyncio.Future[list[_Outcome]] | None = None
        self._closed = False

    def add(self, work: Callable[[Connection], T]) -> asyncio.Future[T]:
        """Queue a job for the next turn. Raises `DatabaseError` after `close`."""
        if self._closed:
            raise DatabaseError(f"{self._path.name}: closed")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Job(work, done))
        if self._running is None:
            self._begin_turn()
        return done

    async def close(self) -> None:
        """Finish what was queued, then let go of the file and the thread."""
        self._closed = True
        while self._running is not None:
            await asyncio.wait([self._running])
        if self._executor:
            await self._executor.run(self._disconnect)
            self._executor.close()

    def _begin_turn(self) -> None:
        if self._executor is None:
            self._executor = self._host.executor(f"{self._path.stem}-{self._kind}")
        jobs, self._waiting = self._waiting, []
        turn = self._write if self._kind == "write" else self._read
        self._running = self._executor.submit(turn, [job.work for job in jobs])
        self._running.add_done_callback(lambda turn: self._end_turn(turn, jobs))

    def _end_turn(self, turn: asyncio.Future[list[_Outcome]], jobs: list[_Job]) -> None:
        self._running = None
        if self._waiting:
            self._begin_turn()
        broken = turn.exception()
        outcomes = [_Outcome(None, broken)] * len(jobs) if broken else turn.result()
        for job, outcome in zip(jobs, outcomes, strict=True):
            if job.done.done():  # the caller gave up; the effect stands
                continue
            if outcome.error is None:
                job.done.set_result(outcome.value)
            else:
                job.done.set_exception(outcome.error)

    # What follows runs on the thread.

    def _connected(self) -> Connection:
        if self._connection is None:
            try:
                self._host.files.make_folder(self._path.parent)
            except OSError as error:
                raise DatabaseError(f"{self._path.parent}: {error.strerror}") from error
            self._connection = connect(self._path, self._synchronous, read_only=self._kind == "read")
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection.engine.dispose()
            self._connection = None

    def _read(self, works: list[Callable[[Connection], Any]]) -> list[_Outcome]:
        try:
            connection = self._connected()
            raw = driver(connection)
            raw.execute("BEGIN")
        except (sqlite3.Error, DatabaseError) as error:
            return [_Outcome(None, fault(self._path, error) or error)] * len(works)
        try:
            return [self._attempt(work, connection) for work in works]
        finally:
            raw.rollback()

    def _write(self, works: list[Callable[[Connection], Any]]) -> list[_Outcome]:
        try:
            connection = self._connected()
            raw = driver(connection)
            raw.execute("BEGIN IMMEDIATE")
        except (sqlite3.Error, DatabaseError) as error:
            return [_Outcome(None, fault(self._path, error) or error)] * len(works)
        outcomes: list[_Outcome] = []
        shared = len(works) > 1
        try:
            for work in works:
                if shared:
                    raw.execute("SAVEPOINT job")
                outcome = self._attempt(work, connection)
                if not raw.in_transaction:  # a full or failing disk rolls everything back by itself
                    raise DatabaseError(str(outcome.error or "a transaction ended the shared one"))
                if outcome.error is not None:
                    raw.execute("ROLLBACK TO job" if shared else "ROLLBACK")
                if shared:
                    raw.execute("RELEASE job")
                outcomes.append(outcome)
            if raw.in_transaction:
                raw.execute("COMMIT")
        except (sqlite3.Error, DatabaseError) as error:
            if raw.in_transaction:
                raw.rollback()
            self._disconnect()  # what ails the file may be mended by opening it anew
            cause = fault(self._path, error) or DatabaseError(f"{self._path.name}: {error}")
            log.error("%s; %d transactions were rolled back", cause, len(works))
            own = outcomes + [_Outcome(None, None)] * (len(works) - len(outcomes))
            return [
                outcome if outcome.error else _Outcome(None, DatabaseError(str(cause))) for outcome in own
            ]
        return outcomes

    def _attempt(self, work: Callable[[Connection], Any], connection: Connection) -> _Outcome:
        try:
            return _Outcome(work(connection), None)
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for this job
            return _Outcome(None, fault(self._path, error, writable=self._kind == "write") or error)
