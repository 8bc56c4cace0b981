"""Five hops over a broker by aiokafka alone, the stages in processes of their own.

The way of a request to its first token without its services: `requests` to a group, `replies` to the owner,
`work` to a worker, `frames` to a group, `completions` to the owner; as many partitions as in a deployment.

    python -m tests.bench.chain BOOTSTRAP PREFIX STAGE    one stage, until it is ended
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as Place

from shared.bus.kafka_settings import KafkaSettings
from shared.bus.topics import load_topics
from tests.bench.load import Figures

_ALL = load_topics("compose")
TOPICS = {name: _ALL[name] for name in ("requests", "replies", "work", "frames", "completions")}
STAGES = {"requests": "replies", "work": "frames", "frames": "completions"}
"""What each stage reads, and where it sends it on to; the owner does the rest."""
GROUPED = ("requests", "frames")
VALUE = bytes(650)
COMMIT_S = 0.1
WARM = 50
READY = "ready"


async def producer_of(bootstrap: str) -> AIOKafkaProducer:
    """As the measurements of the library alone would have it."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, max_batch_size=256 << 10
    )
    await producer.start()
    return producer


async def consumer_of(bootstrap: str, prefix: str, *topics: str) -> AIOKafkaConsumer:
    """A member of a group, or a reader of every partition."""
    grouped = topics[0] in GROUPED
    given = {"group_id": f"{prefix}bare.{topics[0]}"} if grouped else {}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, **given, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    if grouped:
        consumer.subscribe([prefix + topic for topic in topics])
    else:
        consumer.assign(
            [Place(prefix + topic, n) for topic in topics for n in range(TOPICS[topic].partitions)]
        )
    await consumer.start()
    return consumer


async def stage(bootstrap: str, prefix: str, topic: str) -> None:
    """Hand on what comes, for ever."""
    following = prefix + STAGES[topic]
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    producer = await producer_of(bootstrap)
    consumer = await consumer_of(bootstrap, prefix, topic)
    print(READY, flush=True)
    committed, commits = time.monotonic(), set[asyncio.Future[None]]()
    while True:
        polled = await consumer.getmany(timeout_ms=1000, max_records=1000)
        records = [record for found in polled.values() for record in found]
        sent = [await producer.send(following, record.value, partition=0) for record in records]
        await asyncio.gather(*sent)
        if topic in GROUPED and records and time.monotonic() - committed > COMMIT_S:
            committed = time.monotonic()
            commits.add(commit := asyncio.ensure_future(consumer.commit()))
            commit.add_done_callback(commits.discard)


class Owner:
    """The owner's part of the chain, from `open` to `close`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._waiting: dict[bytes, asyncio.Future[None]] = {}
        self._number = 0

    async def open(self) -> None:
        """Return when records come round."""
        bootstrap, prefix = self._settings.bootstrap, self._settings.prefix
        self._producer = await producer_of(bootstrap)
        self._consumer = await consumer_of(bootstrap, prefix, "replies", "completions")
        self._reading = asyncio.ensure_future(self._read(prefix))
        for _ in range(WARM):
            await self._once()

    async def alone(self, seconds: float) -> Figures:
        """One record at a time."""
        figures = Figures()
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds:
            figures.latencies.append(await self._once())
        figures.seconds = time.perf_counter() - begin
        return figures

    async def close(self) -> None:
        """Let go of the broker."""
        self._reading.cancel()
        await self._consumer.stop()
        await self._producer.stop()

    async def _read(self, prefix: str) -> None:
        while True:
            polled = await self._consumer.getmany(timeout_ms=1000, max_records=1000)
            for place, records in polled.items():
                for record in records:
                    if place.topic == f"{prefix}replies":
                        await self._producer.send(f"{prefix}work", record.value, partition=0)
                    elif (waiter := self._waiting.pop(record.value[:8], None)) is not None:
                        waiter.set_result(None)

    async def _once(self) -> float:
        self._number += 1
        name = b"%08d" % self._number
        waiter = self._waiting[name] = asyncio.get_running_loop().create_future()
        begin = time.perf_counter()
        topic, number = "requests", self._number % TOPICS["requests"].partitions
        await self._producer.send(f"{self._settings.prefix}{topic}", name + VALUE, partition=number)
        await waiter
        return time.perf_counter() - begin


@contextmanager
def stages(settings: KafkaSettings) -> Iterator[list[subprocess.Popen[Any]]]:
    """The three stages as processes that read."""
    begun: list[subprocess.Popen[Any]] = []
    try:
        for topic in STAGES:
            command = [sys.executable, "-m", "tests.bench.chain", settings.bootstrap, settings.prefix, topic]
            begun.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        for process in begun:
            assert process.stdout is not None
            if process.stdout.readline().strip() != READY:
                raise SystemExit("a stage of the bare chain did not start")
        yield begun
    finally:
        for process in begun:
            process.kill()
            process.wait()


if __name__ == "__main__":
    uvloop.run(stage(*sys.argv[1:4]))
