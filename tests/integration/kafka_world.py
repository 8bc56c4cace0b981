"""A broker on a bad day: what the tests of the adapter's traps share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from itertools import count
from time import monotonic, process_time

from shared.bus.kafka_bus import KafkaBus
from shared.bus.kafka_settings import KafkaSettings
from shared.bus.kafka_timing import Timing
from shared.bus.ports import BusError, Reader, Record, TopicPartition
from shared.bus.topics import load_topics
from shared.host import system_host
from tests.servers.kafka import Kafka
from tests.servers.topics import make_topics

TOPICS = {name: topic for name, topic in load_topics("embedded").items() if name in ("requests", "usage")}
USAGE = [TopicPartition("usage", number) for number in range(4)]
HASTY = Timing(
    acknowledge=1.5,
    stuck=5.0,
    request=2.0,
    ask=2.0,
    flush=1.0,
    stop=0.5,
    session=2.0,
    heartbeat=0.2,
    silent=1.5,
    renew=3.0,
    backoff=0.05,
    backoff_most=0.2,
)
PATIENT_S = 60.0
_worlds = count()


class Fault:
    """Buses of one installation on a broker that a test stops, kills or lets hang."""

    def __init__(self, kafka: Kafka, settings: KafkaSettings, timing: Timing) -> None:
        self.kafka = kafka
        self.settings = settings
        self.host = system_host()
        self._timing = timing
        self._opened: list[KafkaBus] = []

    def unstarted(self) -> KafkaBus:
        bus = KafkaBus(self.host, TOPICS, self.settings, "test", self._timing)
        self._opened.append(bus)
        return bus

    async def bus(self) -> KafkaBus:
        bus = self.unstarted()
        await bus.start()
        return bus

    async def kill(self) -> None:
        await asyncio.to_thread(self.kafka.kill)

    async def start(self) -> None:
        await asyncio.to_thread(self.kafka.start)

    @asynccontextmanager
    async def down(self) -> AsyncIterator[None]:
        """While the broker is killed; started again at the end, whatever happens."""
        await self.kill()
        try:
            yield
        finally:
            await self.start()

    @asynccontextmanager
    async def hanging(self) -> AsyncIterator[None]:
        """While the broker's connections stay open and nothing answers."""
        self.kafka.pause()
        try:
            yield
        finally:
            self.kafka.proceed()

    async def end(self) -> None:
        for bus in self._opened:
            await bus.close()


@asynccontextmanager
async def faults(kafka: Kafka, timing: Timing = HASTY) -> AsyncIterator[Fault]:
    """An installation of its own on this broker."""
    settings = kafka.settings(prefix=f"f{next(_worlds)}.")
    await make_topics(TOPICS, settings)
    made = Fault(kafka, settings, timing)
    try:
        yield made
    finally:
        await made.end()


async def until(condition: Callable[[], bool], seconds: float = PATIENT_S) -> None:
    """Return once it holds; what is awaited has no event."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def insist(bus: KafkaBus, value: bytes, partition: int = 0) -> None:
    """Publish until acknowledged, as an idempotent caller does."""
    while True:
        try:
            await bus.publish("usage", value, partition=partition)
            return
        except BusError:
            await asyncio.sleep(0.05)


async def collect(reader: Reader, values: Iterable[bytes], seconds: float = PATIENT_S) -> list[Record]:
    """What comes until each of these has, through whatever the reader says meanwhile."""
    wanted, found = set(values), list[Record]()
    async with asyncio.timeout(seconds):
        while wanted:
            with suppress(BusError):
                for records in (await reader.poll(500, 0.2)).values():
                    found += records
                    wanted -= {record.value for record in records}
    return found


class Turns:
    """What one turn of the event loop costs at most, in CPU: others on the machine do not count."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.turns = 0

    async def watch(self, seconds: float) -> None:
        end = monotonic() + seconds
        while monotonic() < end:
            before = process_time()
            await asyncio.sleep(0.005)
            self.longest = max(self.longest, process_time() - before)
            self.turns += 1
