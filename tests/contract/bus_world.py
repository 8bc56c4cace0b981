"""A bus to be tried, and what a test needs around it. Another adapter joins by another `World`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from shared.bus.kafka_reader import KafkaReader
from shared.bus.ports import Bus, BusError, Headers, Position, Reader, Record, RecordTooLarge, TopicPartition
from shared.bus.topics import Topics
from shared.host import Host


class World(Protocol):
    """Buses over one place of storage."""

    host: Host
    topics: Topics

    @property
    def orderly(self) -> bool:
        """Whether nothing is duplicated, delayed, revoked or lost unasked."""

    async def bus(self) -> Bus:
        """Another life of the process; one that was opened before was killed."""

    async def end(self) -> None:
        """Close what the test left open."""


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


async def read_all(reader: Reader, quiet: float | None = None) -> list[Record]:
    """What comes until nothing has come for `quiet` seconds; over a network they are more."""
    if quiet is None:
        quiet = 0.6 if isinstance(reader, KafkaReader) else 0.15
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
