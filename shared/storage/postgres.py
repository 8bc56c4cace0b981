"""PostgreSQL behind the `Database` port: transactions side by side on a few connections.

Nothing is shared between transactions but the server's flush, which concurrent commits share by
themselves; see ops/adr/0013.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection

from shared.host import Host
from shared.lifecycle import Tasks
from shared.storage.database import Conflict, DatabaseError
from shared.storage.postgres_connection import UNIQUE_VIOLATION, Link, Lost, Server, sqlstate
from shared.storage.postgres_migrations import check_revision
from shared.storage.settings import DatabaseSettings

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_CONFLICTS: Final = 6
"""Times that a transaction is run again because others were in its way."""
MOST_TWINS: Final = 2
"""Times that one is run again that would have written a row twice: another may have been first, and is
seen then. Else the row is its own fault.
"""
BACKOFF_S: Final = 0.005

_WRITING: Final = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL enable_seqscan = off"
"""Whatever is written is found by a key; a plan that was made while a table was small would read it whole
for ever after.
"""
_READING: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


async def open_postgres(settings: DatabaseSettings, service: str, host: Host) -> PostgresDatabase:
    """Open a service's schema, which `freehold migrate` has made.

    Raises `DatabaseRefused` where an operator must mend something (a wrong password, no such database, a
    schema of another version), `DatabaseError` where the server cannot be reached.
    """
    database = PostgresDatabase(settings, service, host)
    try:
        await database.read(lambda connection: check_revision(connection, service))
    except BaseException:
        await database.close()
        raise
    return database


class PostgresDatabase:
    """A `Database` over one schema, named as the service.

    Nothing is connected before the first call. A server that is lost fails a transaction with
    `DatabaseError`, after one more try where it had not begun to commit; whether a commit whose answer
    was lost had effect is unknown. The next transaction connects anew.
    """

    def __init__(self, settings: DatabaseSettings, service: str, host: Host) -> None:
        self._server = Server(settings, service, host)
        self._writes = _Lanes(self._server, settings.writers, _WRITING, writable=True)
        self._reads = _Lanes(self._server, settings.readers, _READING, writable=False)
        self._closing: asyncio.Future[None] | None = None

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """See `Database.transact`."""
        return await self._writes.add(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """See `Database.read`. A write is refused by the server itself."""
        return await self._reads.add(work)

    async def close(self) -> None:
        """See `Database.close`."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_future()
            await self._writes.close()
            await self._reads.close()
            await self._server.close()
            self._closing.set_result(None)
        await asyncio.shield(self._closing)


class _Job(NamedTuple):
    work: Callable[[Connection], Any]
    done: asyncio.Future[Any]


class _Lanes:
    """Some connections of one kind; each runs jobs one after the other as long as there are any."""

    def __init__(self, server: Server, count: int, begin: str, *, writable: bool) -> None:
        self._server = server
        self._idle = [_Lane(server, begin, writable=writable) for _ in range(count)]
        self._waiting: deque[_Job] = deque()
        self._tasks = Tasks("postgres")
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    def add(self, work: Callable[[Connection], T]) -> asyncio.Future[T]:
        """Queue a job. Raises `DatabaseError` after `close`."""
        if self._closed:
            raise DatabaseError(f"{self._server.name}: closed")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Job(work, done))
        if self._idle:
            # A task of its own: where the caller gives up in the midst, the transaction still ends.
            task = self._tasks.spawn(self._drain(self._idle.pop()), "transactions")
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return done

    async def close(self) -> None:
        """Finish what was queued, then hang up."""
        self._closed = True
        while self._running:
            await asyncio.wait(self._running)
        for lane in self._idle:
            await lane.hang_up()

    async def _drain(self, lane: _Lane) -> None:
        try:
            while self._waiting:
                job = self._waiting.popleft()
                try:
                    value = await lane.run(job.work)
                except Exception as error:  # noqa: BLE001 - handed to whoever waits for this job
                    if not job.done.done():
                        job.done.set_exception(error)
                else:
                    if not job.done.done():  # else the caller gave up; the effect stands
                        job.done.set_result(value)
        finally:
            self._idle.append(lane)


class _Lane:
    """One connection, made when it is needed."""

    def __init__(self, server: Server, begin: str, *, writable: bool) -> None:
        self._server = server
        self._begin = begin
        self._writable = writable
        self._link: Link | None = None

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction, again where others were in its way."""
        conflicts = twins = lost = 0
        while True:
            try:
                return await self._once(work)
            except Conflict:
                conflicts += 1
                if conflicts > MOST_CONFLICTS:
                    raise
                limit = BACKOFF_S * 2**conflicts
                await self._server.clock.sleep(self._server.random.uniform(limit / 2, limit))
            except Lost:
                lost += 1
                if lost > 1:
                    raise
            except Exception as error:
                twins += 1
                if sqlstate(error) != UNIQUE_VIOLATION or twins > MOST_TWINS:
                    raise

    async def hang_up(self) -> None:
        """Close the connection."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def _once(self, work: Callable[[Connection], T]) -> T:
        link = await self._connected()
        try:
            await link.execute(self._begin)
            result = await link.run(work)
            if not link.in_transaction:
                raise DatabaseError("a transaction was ended from within")
        except Exception as error:
            fault = link.fault(error, writable=self._writable)
            await self._undo(link, None if fault is error else fault)
            if fault is None or fault is error:
                raise
            raise fault from error
        except BaseException:  # the process ends: no more is known of what was under way
            await self._lose(link)
            raise
        await self._commit(link)
        return result

    async def _commit(self, link: Link) -> None:
        try:
            said = await link.execute("COMMIT")
        except Exception as error:
            refused = bool(sqlstate(error)) and link.usable
            fault = link.fault(error) or error
            await self._lose(link)
            if refused:
                raise fault from error
            lost = DatabaseError(f"{fault}; whether its last commit had effect is unknown")
            self._server.gone(lost)
            raise lost from error
        except BaseException:
            await self._lose(link)
            raise
        if said != "COMMIT":
            raise DatabaseError(f"{self._server.name} rolled back a transaction that had hidden its failure")

    async def _undo(self, link: Link, fault: DatabaseError | None) -> None:
        """Roll back; where that is not possible, hang up, which comes to the same. So after a fault: what
        ails the connection may be mended by a new one, perhaps to another server.
        """
        if not link.usable or not (fault is None or isinstance(fault, Conflict)):
            await self._lose(link)
            return
        try:
            await link.execute("ROLLBACK")
        except Exception:  # noqa: BLE001 - the first error is the one that is told
            await self._lose(link)

    async def _lose(self, link: Link) -> None:
        self._link = None
        await link.drop()

    async def _connected(self) -> Link:
        if self._link is not None and not self._link.usable:
            await self._lose(self._link)  # the server hung up meanwhile, as at its restart
        if self._link is None:
            self._link = await self._server.connect()
        return self._link
