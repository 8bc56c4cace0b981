"""A bus to be tried, and what a test needs around it. Another adapter joins by another `World`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from shared.bus.chaos import ChaosBus
from shared.bus.local import LocalBus
from shared.bus.ports import Bus, BusError, Headers, Position, Reader, Record, RecordTooLarge, TopicPartition
from shared.bus.topics import load_topics
from shared.host import system_host


class World:
    """Buses over one place of storage. `seed` None is a good day."""

    def __init__(self, folder: Path, seed: int | None = None) -> None:
        self.host = system_host()
        self.topics = load_topics("embedded")
        self._path = folder / "bus.db"
        self._seed = seed
        self._opened: list[LocalBus] = []

    @property
    def orderly(self) -> bool:
        """Whether nothing is duplicated, delayed, revoked or lost unasked."""
        return self._seed is None

    async def bus(self, cap_bytes: int = 64 << 20) -> Bus:
        """A bus on this world's storage; what an earlier one kept only in memory is gone."""
        bus = LocalBus(self.host, self.topics, self._path, cap_bytes=cap_bytes, kept_bytes=cap_bytes // 4)
        await bus.start()
        self._opened.append(bus)
        if self._seed is None:
            return bus
        return ChaosBus(bus, self.host.clock, random.Random(self._seed))

    async def end(self) -> None:
        """Close what the test left open."""
        for bus in self._opened:
            await bus.close()


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Return once the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event to wait for
            await asyncio.sleep(0.002)


async def send(
    bus: Bus,
    topic: str,
    value: bytes,
    headers: Headers = (),
    *,
    key: bytes | None = None,
    partition: int | None = None,
) -> Position:
    """Publish until acknowledged, as an idempotent caller does."""
    while True:
        try:
            return await bus.publish(topic, value, headers, key=key, partition=partition)
        except RecordTooLarge:
            raise
        except BusError:
            await asyncio.sleep(0)


async def insist(call: Callable[[], Awaitable[None]]) -> None:
    """Repeat a call of unknown outcome until it succeeds."""
    while True:
        try:
            return await call()
        except BusError:
            await asyncio.sleep(0)


async def read(reader: Reader, values: int, seconds: float = 20.0) -> list[Record]:
    """The first records with so many different values, each as it came first."""
    found: dict[bytes, Record] = {}
    async with asyncio.timeout(seconds):
        while len(found) < values:
            for records in (await reader.poll(100, 0.2)).values():
                for record in records:
                    found.setdefault(record.value, record)
    return list(found.values())


async def read_all(reader: Reader, quiet: float = 0.15) -> list[Record]:
    """What comes until nothing has come for `quiet` seconds."""
    found: list[Record] = []
    now = asyncio.get_running_loop().time
    until_s = now() + quiet
    while (left := until_s - now()) > 0:
        for records in (await reader.poll(100, left)).values():
            found += records
            until_s = now() + quiet
    return found


async def nothing(partitions: Iterable[TopicPartition]) -> None:
    """A callback of a member that keeps no books."""
    del partitions
