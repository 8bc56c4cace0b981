"""A consumer to be tried: how it is started and stopped, and a handler that does as it is told."""

from __future__ import annotations

from collections import defaultdict

from shared.bus.consumer import Consumer, InGroup
from shared.bus.handling import Batch, Disposal, Handler, Memory
from shared.bus.observer import Unobserved
from shared.bus.patience import Patience
from shared.bus.ports import Bus, Record, TopicPartition
from tests.contract.bus_world import World, send

QUICK = Patience(backoff=0.001, backoff_most=0.01, unready_after=0.05, later=0.1, fuse=5, revoke=2.0)
DLQ = [TopicPartition("dlq", number) for number in range(4)]


class Consumers:
    """Makes consumers and stops them at the end of a test."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._started: list[Consumer] = []

    async def start(
        self,
        bus: Bus,
        topic: str,
        handler: Handler,
        *,
        member: str = "m",
        on_poison: Disposal | None = None,
        park: Disposal | None = None,
        memory: Memory | None = None,
        observer: Unobserved | None = None,
        patience: Patience = QUICK,
        concurrency: int = 16,
        max_records: int = 500,
    ) -> Consumer:
        made = Consumer(
            bus,
            self._world.host,
            self._world.topics,
            InGroup((topic,), f"g.{topic}", member),
            handler,
            on_poison=on_poison,
            park=park or nobody,
            memory=memory,
            observer=observer,
            patience=patience,
            concurrency=concurrency,
            max_records=max_records,
        )
        await made.start()
        self._started.append(made)
        return made

    async def stop(self, consumer: Consumer, seconds: float = 5.0) -> None:
        await consumer.stop(self._world.host.clock.monotonic() + seconds)

    async def end(self) -> None:
        for consumer in self._started:
            await self.stop(consumer, 0.0)


async def nobody(record: Record, error: Exception) -> None:
    """For records that are not expected to fail: their test sees them missing."""


class Effects:
    """An idempotent handler that keeps what it did, in order, and fails as it is told."""

    def __init__(self) -> None:
        self.order: list[int] = []
        self.batches: list[Batch] = []
        self.failures: dict[int, list[Exception]] = defaultdict(list)
        self.always: dict[int, Exception] = {}
        self.disposed: list[tuple[int, str]] = []

    async def handle(self, batch: Batch) -> None:
        self.batches.append(batch)
        for number in map(number_of, batch.records):
            if number in self.always:
                raise self.always[number]
            if self.failures[number]:
                raise self.failures[number].pop(0)
        for number in map(number_of, batch.records):
            if number not in self.order:
                self.order.append(number)

    async def dispose(self, record: Record, error: Exception) -> None:
        self.disposed.append((number_of(record), type(error).__name__))

    def done(self, *numbers: int) -> bool:
        return set(self.order) >= set(numbers)


def number_of(record: Record) -> int:
    return int(record.value)


async def publish(bus: Bus, topic: str, numbers: range, partitions: int = 4) -> None:
    for number in numbers:
        await send(bus, topic, b"%d" % number, partition=number % partitions)
