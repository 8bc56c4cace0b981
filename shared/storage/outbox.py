"""Records that are to be published because a transaction said so, and the relay that does it.

A row is written in the transaction of its effect, published in row order, and deleted once it is
acknowledged: at least once, with the same event id each time. Where several processes share an outbox whose
order matters, one publishes at a time (`lease.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    delete,
    insert,
    select,
)

from shared.bus.ports import BusError, Headers, Publisher
from shared.host import Host
from shared.lifecycle import Tasks
from shared.storage import lease
from shared.storage.database import Database, DatabaseError
from shared.storage.lease import LEASE_MS

log = logging.getLogger(__name__)

BATCH = 500
BACKOFF_S = 0.5
POLL_S = 0.1
"""While another process publishes."""


class Outgoing(NamedTuple):
    """One record to publish."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers


def outbox_table(metadata: MetaData) -> Table:
    """The table `outbox` of a service's schema."""
    return Table(
        "outbox",
        metadata,
        Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
        Column("topic", String, nullable=False),
        Column("key", LargeBinary),
        Column("value", LargeBinary, nullable=False),
        Column("headers", String, nullable=False),
    )


def append(connection: Connection, table: Table, records: Sequence[Outgoing]) -> None:
    """Add records, in order, to the running transaction."""
    if records:
        connection.execute(
            insert(table),
            [
                {"topic": topic, "key": key, "value": value, "headers": _pack(headers)}
                for topic, key, value, headers in records
            ],
        )


class Shared(NamedTuple):
    """An outbox whose order matters and that several processes publish, one at a time."""

    holder: str
    """Of the lease; different in every process."""
    doubt: Callable[[Connection], object]
    """A transaction that puts the newest state into the outbox again: something may have been published
    behind its successor.
    """
    lease_ms: int = LEASE_MS


class Relay:
    """Publishes what stands in one outbox, for ever."""

    def __init__(
        self, database: Database, table: Table, bus: Publisher, host: Host, shared: Shared | None = None
    ) -> None:
        self._database = database
        self._table = table
        self._bus = bus
        self._host = host
        self._shared = shared
        self._sent = self._doubted = False
        """Whether something was sent and is not known to be there; whether others published meanwhile."""
        self._tasks = Tasks("outbox", self._ended)
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self.fault = ""
        """Why what was committed is not published; empty while all is well."""

    async def start(self) -> None:
        """Begin with what an earlier life left behind."""
        self._wanted.set()
        self._tasks.spawn(self._run(), "relay")

    async def stop(self, deadline: float) -> None:
        """Stop by the deadline (monotonic seconds); what is left stays in the table for the next life, or
        for another process now.
        """
        await self._tasks.cancel()
        if (shared := self._shared) is not None:
            with contextlib.suppress(DatabaseError, TimeoutError):  # else it ends by itself
                async with asyncio.timeout(max(0.0, deadline - self._host.clock.monotonic())):
                    await self._database.transact(lambda connection: lease.release(connection, shared.holder))

    def wake(self) -> None:
        """Say that rows were committed."""
        self._idle.clear()
        self._wanted.set()

    async def drained(self) -> None:
        """Return once everything committed before this call has been acknowledged."""
        self.wake()
        await self._idle.wait()

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                while await self._turn():
                    pass
                self.fault = ""
            except _Elsewhere:
                self.fault = ""
                await self._host.clock.sleep(POLL_S)
                self._wanted.set()
                continue
            except (BusError, DatabaseError) as error:
                self.fault = str(error)
                log.warning("outbox waits: %s", error)
                await self._host.clock.sleep(BACKOFF_S)
                self._wanted.set()
                continue
            if not self._wanted.is_set():
                self._idle.set()

    async def _turn(self) -> bool:
        rows = await self._rows()
        if not rows:
            return await self._again(self._sent)  # somebody else has published what we could not
        self._sent = self._shared is not None
        published: list[int] = []
        sent = [self._bus.publish(row.topic, row.value, _unpack(row.headers), key=row.key) for row in rows]
        try:
            for row, acknowledgement in zip(rows, sent, strict=True):
                await acknowledgement
                published.append(row.id)
        except BusError:  # what was acknowledged before one that was not is not sent again
            await self._forget(published)
            raise
        await self._forget(published)
        self._sent = False
        await self._again(self._doubted)
        return True

    def _ended(self, task: str, failure: BaseException) -> None:
        self.fault = f"{task} ended: {failure!r}"

    async def _rows(self) -> Sequence[_Row]:
        """The oldest, if it is this process's turn. Raises `_Elsewhere`."""
        shared = self._shared
        if shared is None:
            return await self._database.read(self._oldest)
        if not await self._database.read(self._oldest):
            return ()
        alone = await self._database.transact(lambda connection: self._claim(connection, shared))
        self._doubted = self._doubted or (self._sent and not alone)
        return await self._database.read(self._oldest)

    def _claim(self, connection: Connection, shared: Shared) -> bool:
        """Whether nobody else has published since the last turn."""
        if lease.keep(connection, shared.holder, shared.lease_ms):
            return True
        if not lease.hold(connection, shared.holder, shared.lease_ms):
            raise _Elsewhere
        return False

    async def _again(self, doubtful: bool) -> bool:
        """Put the newest state into the outbox where that is in doubt; whether it is."""
        if doubtful and self._shared is not None:
            log.warning("another process published meanwhile: the newest state is published again")
            await self._database.transact(self._shared.doubt)
            self._sent = self._doubted = False
        return doubtful

    async def _forget(self, published: list[int]) -> None:
        """What was acknowledged is done."""
        shared = self._shared
        if published or shared is not None:
            alone = await self._database.transact(lambda connection: self._end(connection, published, shared))
            self._doubted = self._doubted or not alone

    def _end(self, connection: Connection, published: list[int], shared: Shared | None) -> bool:
        if published:
            connection.execute(delete(self._table).where(self._table.c.id.in_(published)))
        if shared is None:
            return True
        if not lease.keep(connection, shared.holder, shared.lease_ms):
            return False
        if not self._oldest(connection):
            lease.release(connection, shared.holder)
        return True

    def _oldest(self, connection: Connection) -> Sequence[_Row]:
        statement = select(self._table).order_by(self._table.c.id).limit(BATCH)
        return [_Row(*row) for row in connection.execute(statement)]


class _Elsewhere(Exception):
    """Another process publishes."""


class _Row(NamedTuple):
    id: int
    topic: str
    key: bytes | None
    value: bytes
    headers: str


def _pack(headers: Headers) -> str:
    return json.dumps([[name, value.decode("latin-1")] for name, value in headers])


def _unpack(text: str) -> Headers:
    return tuple((name, value.encode("latin-1")) for name, value in json.loads(text))
