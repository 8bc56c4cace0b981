"""A bus in front of a real one that can be cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping

from shared.bus.ports import Assigned, Bus, BusError, Headers, Position, Reader, Record, Revoked, Start
from shared.bus.ports import TopicPartition as Place


class FaultyBus:
    """`hangs`: nothing is acknowledged, nothing is written. `refuses`: every call raises `BusError`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.hangs = False
        self.refuses = False
        self.published: list[str] = []
        """Topic of every call."""
        self._hanging: list[asyncio.Future[Position]] = []

    def publish(
        self,
        topic: str,
        value: bytes,
        headers: Headers = (),
        *,
        key: bytes | None = None,
        partition: int | None = None,
    ) -> Awaitable[Position]:
        self.published.append(topic)
        self._check()
        if self.hangs:
            self._hanging.append(asyncio.get_running_loop().create_future())
            return self._hanging[-1]
        return self._bus.publish(topic, value, headers, key=key, partition=partition)

    def mend(self) -> None:
        """From now on all is well; what hung has failed."""
        self.hangs = self.refuses = False
        for waiter in self._hanging:
            if not waiter.done():
                waiter.set_exception(BusError("lost"))
        self._hanging.clear()

    async def assign(self, partitions: Iterable[Place], start: Start) -> Reader:
        self._check()
        return _FaultyReader(self, await self._bus.assign(partitions, start))

    async def group(
        self, topics: Iterable[str], group: str, member: str, on_assigned: Assigned, on_revoked: Revoked
    ) -> Reader:
        self._check()
        return await self._bus.group(topics, group, member, on_assigned, on_revoked)

    def partitions(self, topic: str) -> int:
        return self._bus.partitions(topic)

    async def close(self) -> None:
        await self._bus.close()

    def _check(self) -> None:
        if self.refuses:
            raise BusError("cut off")


class _FaultyReader:
    def __init__(self, bus: FaultyBus, reader: Reader) -> None:
        self._bus = bus
        self._reader = reader
        self.commit = reader.commit
        self.pause = reader.pause
        self.resume = reader.resume
        self.seek = reader.seek
        self.positions = reader.positions
        self.end_offsets = reader.end_offsets
        self.close = reader.close

    async def poll(self, max_records: int, timeout: float) -> Mapping[Place, list[Record]]:
        self._bus._check()
        return await self._reader.poll(max_records, timeout)
