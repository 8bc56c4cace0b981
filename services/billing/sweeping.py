"""The sweeper: ends what no event will end, at the log's own time.

A broker time T is past once an own pulse with a later one was read back, and everything that stood on
`closed` and `usage` when asked after that has had its effect. Neither the database's clock nor the
wall's is asked: while billing lags behind the log, nothing expires.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final, NamedTuple, TypeVar

from sqlalchemy import Connection

from services.billing import tables
from services.billing.books.booking import Booked
from services.billing.books.expiry import BATCH, expire, expire_earlier
from services.billing.books.rows import read_positions
from services.billing.observing import Observer
from services.billing.publishing import Facts
from shared.bus.ports import BusError, TopicPartition
from shared.host import Host
from shared.storage.database import Database, DatabaseError
from shared.storage.outbox import Relay, append

log = logging.getLogger(__name__)

T = TypeVar("T")

CATCH_UP_S: Final = 0.05

Ends = Callable[[], Awaitable[Mapping[TopicPartition, int]]]
"""Offsets after the last record, now, of all partitions of `closed` and `usage`. Raises `BusError`."""


class _Target(NamedTuple):
    horizon_ms: int
    ends: Mapping[TopicPartition, int]


class Sweeper:
    """Sweeps about once a second. Its facts go through the outbox: no redelivery publishes them again."""

    def __init__(
        self,
        database: Database,
        ends: Ends,
        log_time_ms: Callable[[], int],
        facts: Facts,
        relay: Relay,
        host: Host,
        observer: Observer,
        period_s: float,
    ) -> None:
        """`log_time_ms` tells the broker time of the newest own pulse read back, 0 while there is none."""
        self._database = database
        self._ends = ends
        self._log_time_ms = log_time_ms
        self._facts = facts
        self._relay = relay
        self._host = host
        self._observer = observer
        self._period_s = period_s
        self._target: _Target | None = None

    async def recover(self) -> None:
        """End what earlier lives of this process left open. Only where every owner and worker lives in it.

        Returns once everything that was on `closed` and `usage` at the call has had its effect and what
        was left is settled.
        """
        ends = await self._insist(self._ends)
        while not await self._insist(lambda: self._reached(ends)):
            await self._host.clock.sleep(CATCH_UP_S)
        incarnation = self._host.incarnation
        ended = await self._insist(
            lambda: self._settle(lambda connection, now_ns: expire_earlier(connection, incarnation, now_ns))
        )
        if ended:
            log.warning("%d requests of an earlier life were ended: their owner is lost", ended)

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            await self._host.clock.sleep(self._period_s)
            try:
                await self.turn()
            except (BusError, DatabaseError) as error:
                log.warning("the sweeper waits: %s", error)

    async def turn(self) -> int:
        """Settle what is over as far as the log has been read; the number of requests settled.

        A target that is not reached yet is kept: under steady load the newest end never is.
        """
        if self._target is None:
            horizon_ms = self._log_time_ms()
            if not horizon_ms:
                return 0
            self._target = _Target(horizon_ms, await self._ends())
        target = self._target
        if not await self._reached(target.ends):
            return 0
        self._target = None
        return await self._settle(lambda connection, now_ns: expire(connection, target.horizon_ms, now_ns))

    async def _reached(self, ends: Mapping[TopicPartition, int]) -> bool:
        positions = await self._database.read(read_positions)
        return all(positions.get(place, 0) >= end for place, end in ends.items())

    async def _settle(self, end: Callable[[Connection, int], list[Booked]]) -> int:
        total = 0
        while True:
            with self._observer.turn("requests") as turn:
                now_ns = self._host.clock.time_ns()
                booked = await self._database.transact(partial(self._write, end, now_ns))
                turn.stored(now_ns)
                self._observer.settled(turn, booked)
            self._observer.end_settle(turn)
            if booked:
                self._relay.wake()
            total += len(booked)
            if len(booked) < BATCH:
                return total

    def _write(
        self, end: Callable[[Connection, int], list[Booked]], now_ns: int, connection: Connection
    ) -> list[Booked]:
        booked = end(connection, now_ns)
        append(connection, tables.outbox, [self._facts.outgoing(item.fact) for item in booked])
        return booked

    async def _insist(self, step: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await step()
            except (BusError, DatabaseError) as error:
                log.warning("the sweeper waits: %s", error)
                await self._host.clock.sleep(self._period_s)
