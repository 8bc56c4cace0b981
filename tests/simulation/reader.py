"""One reader of the logs, alone or as a member of a group."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

from shared.bus.ports import BusError, Record, TopicPartition
from tests.simulation import weather as bad
from tests.simulation.broker import Broker, Follower, Member
from tests.simulation.process import Process

FETCH_S = 0.003
"""Longest usual way of a fetch's answer."""
FEW = 0.15
"""How often a poll gives a single record of each partition, whatever waits."""


class SimReader(Follower):
    """A `Reader`; with a group's name, a member of it."""

    def __init__(
        self, process: Process, broker: Broker, reach: Callable[[], Awaitable[None]], group: str = ""
    ) -> None:
        super().__init__(process)
        self._broker = broker
        self._loop = process.loop
        self._weather = broker.weather
        self._reach = reach
        self._group = group
        self._waiter: asyncio.Future[None] | None = None
        self._coming = False
        self._closed = False
        self.member: Member | None = None

    def notify(self, place: TopicPartition) -> None:
        """See `Follower.notify`: the fetch's answer is on its way."""
        if self._waiter is not None and not self._coming and place not in self.paused:
            self._coming = True
            self._loop.after(self._weather.delay(bad.SLOW, place.topic, FETCH_S), self._wake)

    async def poll(self, max_records: int, timeout: float) -> Mapping[TopicPartition, list[Record]]:
        """See `Reader.poll`."""
        if self.stale:
            await self._rejoin()
        if self._closed:
            raise BusError("the reader is closed")
        if self._broker.unreachable(self.process):
            await asyncio.sleep(timeout)
            if self._broker.unreachable(self.process):
                raise BusError("the brokers cannot be reached")
        if self._weather.strikes(bad.EMPTY, self._group):
            await asyncio.sleep(self._weather.random() * 0.01)
            return {}
        found = self._take(max_records)
        if not found:
            await self._sleep(timeout)
            if not (self.stale or self._closed or self._broker.unreachable(self.process)):
                found = self._take(max_records)
        return found

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """See `Reader.commit`."""
        if self.member is None:
            return
        await self._reach()
        lost = self._weather.strikes(bad.COMMIT_LOST, self._group)
        if not lost or self._weather.coin():
            self._broker.commit(self._group, self.member, offsets)
        if lost:
            raise BusError("the commit is unknown")

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """See `Reader.pause`."""
        self.paused.update(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """See `Reader.resume`."""
        for place in partitions:
            self.paused.discard(place)
            if place in self.at and self.at[place] < len(self._broker.logs[place]):
                self.notify(place)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """See `Reader.seek`."""
        self.at[partition] = offset

    def positions(self) -> Mapping[TopicPartition, int]:
        """See `Reader.positions`."""
        return dict(self.at)

    async def end_offsets(self) -> Mapping[TopicPartition, int]:
        """See `Reader.end_offsets`."""
        await self._reach()
        return {place: len(self._broker.logs[place]) for place in self.at}

    async def close(self) -> None:
        """See `Reader.close`."""
        if self._closed:
            return
        self._closed = True
        if self.member is not None and not self.stale:
            self._broker.depart(self._group, self.member)
        self._broker.leave(self, self.at)
        self._wake()

    async def _rejoin(self) -> None:
        """The group has gone on without this member: what it held is lost, and it comes anew."""
        before = self.member
        if before is None:
            return
        await before.on_revoked(list(self.at))
        self._broker.leave(self, self.at)
        await self._reach()
        self.stale = False
        self.member = Member(before.name, self, before.topics, before.on_assigned, before.on_revoked)
        await self._broker.join(self._group, self.member)

    def _take(self, most: int) -> dict[TopicPartition, list[Record]]:
        found: dict[TopicPartition, list[Record]] = {}
        few = self._weather.random() < FEW
        for place, offset in self.at.items():
            log = self._broker.logs[place]
            if offset < len(log) and most > 0 and place not in self.paused and place not in self.frozen:
                records = log[offset : offset + (1 if few else most)]
                found[place] = records
                self.at[place] = offset + len(records)
                most -= len(records)
        return found

    async def _sleep(self, seconds: float) -> None:
        self._waiter = self._loop.create_future()
        limit = self._loop.call_later(seconds, self._wake)
        try:
            await self._waiter
        finally:
            limit.cancel()
            self._waiter = None

    def _wake(self) -> None:
        self._coming = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
