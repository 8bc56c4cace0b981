"""Five hops over a broker, bare and through the bus, in one run: `python -m tests.bench.kafka_bus [SECONDS]`.

The bare chain is aiokafka as its manual has it, with the settings that a first measurement would lead
to (acks of all, idempotent, no linger, batches of 256 KiB, offsets committed in the background); ours is
`KafkaBus` under the consumer loop that every service has. Both in one process, on one broker, over the
same topics with as many partitions as in a deployment. Prints one JSON object; a ratio is ours over bare.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import uvloop

from shared.bus.consumer import Assigned, Consumer, InGroup
from shared.bus.handling import Batch
from shared.bus.kafka_bus import KafkaBus
from shared.bus.kafka_settings import KafkaSettings
from shared.bus.kafka_topics import apply
from shared.bus.ports import Start, TopicPartition
from shared.host import system_host
from tests.bench.bus import HEADERS, VALUE
from tests.bench.kafka_chain import CHAIN, TOPICS, bare, bare_producer, ours, spread
from tests.servers.kafka import Kafka

READERS = 20


async def idle(settings: KafkaSettings, seconds: float) -> dict[str, float]:
    """CPU of as many readers as the whole platform has, half of them in groups, with nothing to read."""
    await apply(TOPICS, settings)
    host = system_host()
    bus = KafkaBus(host, TOPICS, settings, "idle")
    await bus.start()

    async def nothing(batch: Batch) -> None:
        del batch

    consumers = []
    for number in range(READERS):
        topic = CHAIN[number % len(CHAIN)]
        places = tuple(TopicPartition(topic, one) for one in range(TOPICS[topic].partitions))
        grouped = number % 2 == 0
        source = InGroup((topic,), f"idle.{number}", "m") if grouped else Assigned(places[:4], Start.END)
        consumers.append(Consumer(bus, host, TOPICS, source, nothing))
        await consumers[-1].start()
    await asyncio.sleep(2)
    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.sleep(max(seconds, 5.0))
    share = (time.process_time() - cpu) / (time.perf_counter() - began)
    for consumer in consumers:
        await consumer.stop(host.clock.monotonic() + 1)
    await bus.close()
    return {"readers": READERS, "percent_of_a_core": round(share * 100, 1)}


async def published(settings: KafkaSettings, records: int = 20_000) -> dict[str, float]:
    """CPU of publishing a record, acknowledgement included, bare and ours, 500 at a time."""
    bus = KafkaBus(system_host(), TOPICS, settings, "publish")
    await bus.start()
    producer = await bare_producer(settings)
    full = f"{settings.prefix}closed"

    async def by_the_library(number: int) -> Awaitable[object]:
        return await producer.send(full, VALUE, partition=number % 12, headers=list(HEADERS))

    async def by_ours(number: int) -> Awaitable[object]:
        return bus.publish("closed", VALUE, HEADERS, partition=number % 12)

    found = {}
    for name, one in (("bare", by_the_library), ("ours", by_ours)):
        cpu = time.process_time()
        for start in range(0, records, 500):
            for sent in [await one(number) for number in range(start, start + 500)]:
                await sent
        found[f"{name}_us"] = round((time.process_time() - cpu) / records * 1e6, 1)
    await producer.stop()
    await bus.close()
    return found


async def interleaved(settings: KafkaSettings, seconds: float) -> dict[str, float]:
    """One hop to one reader of 64 partitions, 200 records a second to any of them, and a handler that
    waits 2 ms for each batch: what pausing and buffering cost who comes in between.
    """
    host, times = system_host(), list[float]()
    bus = KafkaBus(host, TOPICS, settings, "interleaved")
    await bus.start()

    async def handle(batch: Batch) -> None:
        now = time.perf_counter_ns()
        times.extend((now - int(record.value)) / 1e6 for record in batch.records)
        await asyncio.sleep(0.002)

    places = tuple(TopicPartition("completions", number) for number in range(64))
    consumer = Consumer(bus, host, TOPICS, Assigned(places, Start.END), handle)
    await consumer.start()
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        partition = random.randrange(64)
        await asyncio.sleep(random.expovariate(200))
        bus.publish("completions", b"%d" % time.perf_counter_ns(), HEADERS, partition=partition)
    await asyncio.sleep(1)
    await consumer.stop(host.clock.monotonic() + 1)
    await bus.close()
    return spread(times[20:])


async def measure(kafka: Kafka, seconds: float) -> dict[str, Any]:
    """Both chains, in turns, the better of each; then the readers at rest."""
    settings = kafka.settings(prefix="bench.")
    await apply(TOPICS, settings)
    await bare(settings, 1.0)  # the broker's own code is slow until it is compiled
    found = {
        "bare": await bare(settings, seconds),
        "ours": await ours(settings, seconds),
        "bare again": await bare(settings, seconds),
        "ours again": await ours(settings, seconds),
    }
    ratios = {
        f"{load} {figure}": round(best(found, "ours", load, figure) / best(found, "bare", load, figure), 2)
        for load, figure in (("c1", "p50_ms"), ("c1", "p99_ms"), ("c16", "p99_ms"), ("c256", "per_s"))
    }
    return {
        **found,
        "ratios": ratios,
        "publish": await published(settings),
        "interleaved": await interleaved(settings, seconds),
        "idle": await idle(kafka.settings(prefix="idle."), seconds),
    }


def best(found: dict[str, Any], chain: str, load: str, figure: str) -> float:
    both = [found[name][load][figure] for name in (chain, f"{chain} again")]
    return float(max(both) if figure == "per_s" else min(both))


def main() -> None:
    """Entry point."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    with tempfile.TemporaryDirectory() as folder:
        kafka = Kafka(Path(folder))
        try:
            kafka.start()
            print(json.dumps(uvloop.run(measure(kafka, seconds)), indent=2))
        finally:
            kafka.remove()


if __name__ == "__main__":
    main()
