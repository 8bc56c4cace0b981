"""Records that are to be published because a transaction said so, and the relay that does it.

A row is written in the transaction of its effect, published in row order, and deleted once it is
acknowledged: at least once, with the same event id each time.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
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
from shared.storage.database import Database, DatabaseError

log = logging.getLogger(__name__)

BATCH = 500
BACKOFF_S = 0.5


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


class Relay:
    """Publishes what stands in one outbox, for ever."""

    def __init__(self, database: Database, table: Table, bus: Publisher, host: Host) -> None:
        self._database = database
        self._table = table
        self._bus = bus
        self._host = host
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
        """Stop; what is left stays in the table for the next life."""
        del deadline
        await self._tasks.cancel()

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
            except (BusError, DatabaseError) as error:
                self.fault = str(error)
                log.warning("outbox waits: %s", error)
                await self._host.clock.sleep(BACKOFF_S)
                self._wanted.set()
                continue
            if not self._wanted.is_set():
                self._idle.set()

    async def _turn(self) -> bool:
        rows = await self._database.read(self._oldest)
        if not rows:
            return False
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
        return True

    def _ended(self, task: str, failure: BaseException) -> None:
        self.fault = f"{task} ended: {failure!r}"

    async def _forget(self, published: list[int]) -> None:
        if published:
            done = delete(self._table).where(self._table.c.id.in_(published))
            await self._database.transact(lambda connection: connection.execute(done))

    def _oldest(self, connection: Connection) -> Sequence[_Row]:
        statement = select(self._table).order_by(self._table.c.id).limit(BATCH)
        return [_Row(*row) for row in connection.execute(statement)]


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
