"""Three brokers, of which one is lost: what was acknowledged is not."""

from __future__ import annotations

import asyncio
from collections import Counter

from shared.bus.ports import BusError, Position, Start
from tests.integration.kafka_world import USAGE, collect, faults, until
from tests.servers.kafka import Kafka


async def test_a_lost_broker_loses_no_acknowledged_record_and_stops_nobody(kafka_cluster: Kafka) -> None:
    async with faults(kafka_cluster) as world:
        bus, acknowledged, stopping = await world.bus(), dict[bytes, Position](), asyncio.Event()
        reader = await bus.assign(USAGE, Start.BEGINNING)

        async def publish(name: int) -> None:
            number = 0
            while not stopping.is_set():
                value = b"%d/%d" % (name, number)
                try:
                    acknowledged[value] = await bus.publish("usage", value, partition=name)
                except BusError:
                    await asyncio.sleep(0.02)
                    continue  # the same record again, as an idempotent caller does
                number += 1
                await asyncio.sleep(0.002)

        publishers = [asyncio.ensure_future(publish(place.partition)) for place in USAGE]
        await until(lambda: len(acknowledged) > 100)
        await asyncio.to_thread(kafka_cluster.kill, 1)
        try:
            lost_at = len(acknowledged)
            counts = acknowledged_of_each(acknowledged)

            def all_go_on() -> bool:
                now = acknowledged_of_each(acknowledged)
                return all(after > before + 5 for before, after in zip(counts, now, strict=True))

            await until(all_go_on)
        finally:
            await asyncio.to_thread(kafka_cluster.start, 1)
        stopping.set()
        await asyncio.gather(*publishers)
        found = await collect(reader, acknowledged)
        assert len(acknowledged) > lost_at
        for place in USAGE:
            # Repetitions come, as they may; what came first came in the order of the calls.
            first = dict.fromkeys(r.value for r in found if r.partition == place.partition)
            numbers = [int(value.split(b"/")[1]) for value in first]
            assert numbers == sorted(numbers)
        await until(lambda: bus.readiness().ready)


def acknowledged_of_each(acknowledged: dict[bytes, Position]) -> list[int]:
    names = Counter(value.split(b"/")[0] for value in acknowledged)
    return [names[b"%d" % place.partition] for place in USAGE]
