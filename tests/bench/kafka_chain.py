"""A chain of five hops over a broker: bare, and through the bus. See `kafka_bus`."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as Place

from shared.bus.consumer import Assigned, Consumer, InGroup
from shared.bus.handling import Batch
from shared.bus.kafka_bus import KafkaBus
from shared.bus.kafka_settings import KafkaSettings
from shared.bus.ports import Start, TopicPartition
from shared.bus.topics import load_topics
from shared.host import system_host
from tests.bench.bus import HEADERS, VALUE

CHAIN = ("requests", "work", "frames", "completions", "replies")
GROUPED = ("requests", "frames")
TOPICS = load_topics("compose")
Send = Callable[[str, bytes], Awaitable[object]]


class Run:
    """What is on its way, and how long it took."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._number = 0
        self._waiting: dict[bytes, asyncio.Future[None]] = {}

    async def once(self) -> float:
        """Milliseconds of one record through the whole chain."""
        self._number += 1
        name = b"%08d" % self._number
        waiter = self._waiting[name] = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        await self._send(CHAIN[0], name + VALUE)
        await waiter
        return (time.perf_counter() - began) * 1e3

    def arrived(self, value: bytes) -> None:
        if waiter := self._waiting.pop(value[:8], None):  # what was sent again comes again
            waiter.set_result(None)

    async def alone(self, seconds: float) -> dict[str, float]:
        """One record at a time."""
        for _ in range(20):
            await self.once()
        times, until = [], time.perf_counter() + seconds
        while time.perf_counter() < until:
            times.append(await self.once())
        return spread(times)

    async def together(self, workers: int, seconds: float) -> dict[str, float]:
        """So many at a time."""
        times: list[float] = []
        until = time.perf_counter() + seconds

        async def work() -> None:
            while time.perf_counter() < until:
                times.append(await self.once())

        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(work() for _ in range(workers)))
        taken, used = time.perf_counter() - began, time.process_time() - cpu
        rates = {"per_s": round(len(times) / taken), "cpu_us": round(used / len(times) * 1e6)}
        return {**rates, **spread(times)}


def spread(times: list[float]) -> dict[str, float]:
    """Median and near-worst, in milliseconds."""
    times.sort()
    return {"p50_ms": round(times[len(times) // 2], 2), "p99_ms": round(times[int(len(times) * 0.99)], 2)}


def number_of(topic: str) -> int:
    return random.randrange(TOPICS[topic].partitions)


async def all_of(run: Run, seconds: float) -> dict[str, Any]:
    return {
        "c1": await run.alone(seconds),
        "c16": await run.together(16, seconds),
        "c256": await run.together(256, seconds),
    }


async def bare_producer(settings: KafkaSettings) -> AIOKafkaProducer:
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.bootstrap, acks="all", enable_idempotence=True, max_batch_size=256 << 10
    )
    await producer.start()
    return producer


async def bare(settings: KafkaSettings, seconds: float) -> dict[str, Any]:
    """The library by itself."""
    where = {"bootstrap_servers": settings.bootstrap}
    producer = await bare_producer(settings)

    async def send(topic: str, value: bytes) -> object:
        full = settings.prefix + topic
        return await producer.send(full, value, partition=number_of(topic), headers=list(HEADERS))

    run = Run(send)

    async def hop(consumer: AIOKafkaConsumer, following: str | None, grouped: bool) -> None:
        committed = time.monotonic()
        while True:
            polled = await consumer.getmany(timeout_ms=1000, max_records=1000)
            records = [record for found in polled.values() for record in found]
            if following is None:
                for record in records:
                    run.arrived(record.value)
            else:
                sent = [await send(following, record.value) for record in records]
                await asyncio.gather(*sent)
            if grouped and records and time.monotonic() - committed > 0.1:
                committed = time.monotonic()
                tasks.append(asyncio.ensure_future(consumer.commit()))

    tasks: list[asyncio.Future[Any]] = []
    consumers = []
    for topic, following in zip(CHAIN, (*CHAIN[1:], None), strict=True):
        grouped = topic in GROUPED
        given = {"group_id": f"{settings.prefix}bare.{topic}"} if grouped else {}
        consumer = AIOKafkaConsumer(**where, **given, enable_auto_commit=False, auto_offset_reset="earliest")
        full = settings.prefix + topic
        places = [Place(full, number) for number in range(TOPICS[topic].partitions)]
        if grouped:
            consumer.subscribe([full])
        else:
            consumer.assign(places)
        await consumer.start()
        consumers.append(consumer)
        tasks.append(asyncio.ensure_future(hop(consumer, following, grouped)))
    try:
        return await all_of(run, seconds)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*(consumer.stop() for consumer in consumers))
        await producer.stop()


async def ours(settings: KafkaSettings, seconds: float) -> dict[str, Any]:
    """The bus, and the loop that every service reads by."""
    host = system_host()
    bus = KafkaBus(host, TOPICS, settings, "bench")
    await bus.start()

    async def send(topic: str, value: bytes) -> None:
        bus.publish(topic, value, HEADERS, partition=number_of(topic))

    run = Run(send)

    def handler(following: str | None) -> Callable[[Batch], Awaitable[None]]:
        async def handle(batch: Batch) -> None:
            if following is None:
                for record in batch.records:
                    run.arrived(record.value)
            else:
                sent = [
                    bus.publish(following, record.value, HEADERS, partition=number_of(following))
                    for record in batch.records
                ]
                for one in sent:
                    await one

        return handle

    consumers = []
    for topic, following in zip(CHAIN, (*CHAIN[1:], None), strict=True):
        places = tuple(TopicPartition(topic, number) for number in range(TOPICS[topic].partitions))
        grouped = topic in GROUPED
        source = InGroup((topic,), f"ours.{topic}", "m") if grouped else Assigned(places, Start.END)
        consumer = Consumer(bus, host, TOPICS, source, handler(following))
        await consumer.start()
        consumers.append(consumer)
    found = await all_of(run, seconds)
    for consumer in consumers:
        await consumer.stop(host.clock.monotonic() + 1)
    await bus.close()
    return found
