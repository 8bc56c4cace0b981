"""What is known to go wrong in aiokafka's consumer, by the number of the library's issue."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Iterable

import pytest

from shared.bus.consumer import Consumer, InGroup
from shared.bus.handling import Batch
from shared.bus.kafka_reader import KafkaReader
from shared.bus.kafka_timing import Timing
from shared.bus.ports import Bus, BusError, Reader, Start, TopicPartition
from tests.integration.kafka_world import HASTY, TOPICS, USAGE, Fault, collect, faults, insist, until
from tests.servers.kafka import Kafka


class Told:
    """The callbacks of one member, and what it was told."""

    def __init__(self) -> None:
        self.revoked: list[TopicPartition] = []

    async def on_assigned(self, partitions: Iterable[TopicPartition]) -> None:
        del partitions

    async def on_revoked(self, partitions: Iterable[TopicPartition]) -> None:
        self.revoked += partitions


async def join(bus: Bus, member: str, told: Told | None = None) -> Reader:
    told = told or Told()
    return await bus.group(["usage"], "g", member, told.on_assigned, told.on_revoked)


def consumer(world: Fault, bus: Bus, member: str, handle: object) -> Consumer:
    async def park(*_: object) -> None: ...

    source = InGroup(("usage",), "g", member)
    return Consumer(bus, world.host, TOPICS, source, handle, park=park)  # type: ignore[arg-type]


async def test_848_a_handler_slower_than_the_session_handles_once_and_keeps_its_partitions(
    own_kafka: Kafka,
) -> None:
    async with faults(own_kafka) as world:
        bus, handled = await world.bus(), list[bytes]()

        async def handle(batch: Batch) -> None:
            await asyncio.sleep(HASTY.session * 2)
            handled.extend(record.value for record in batch.records)

        made = consumer(world, bus, "m", handle)
        await made.start()
        held = set(made.positions())
        await insist(bus, b"slow")
        await until(lambda: handled == [b"slow"])
        assert set(made.positions()) == held
        await made.stop(world.host.clock.monotonic() + 5)
        again = await join(bus, "n")
        await insist(bus, b"next")
        assert [record.value for record in await collect(again, [b"next"])] == [b"next"]
        assert handled == [b"slow"]


async def test_929_933_only_what_is_named_is_committed(own_kafka: Kafka) -> None:
    async with faults(own_kafka) as world:
        bus = await world.bus()
        for number in range(10):
            await insist(bus, b"%d" % number)
        reader = await join(bus, "m")
        await collect(reader, [b"9"])
        await reader.commit({USAGE[0]: 4})
        await reader.close()
        found = await collect(await join(bus, "n"), [b"9"])
        assert [record.value for record in found] == [b"%d" % number for number in range(4, 10)]


async def test_929_933_what_a_rebalance_took_is_neither_given_nor_committed(own_kafka: Kafka) -> None:
    async with faults(own_kafka) as world:
        bus = await world.bus()
        one = await join(bus, "a")
        for place in USAGE:
            await insist(bus, b"%d" % place.partition, place.partition)
        two = await join(bus, "b")  # while what `a` fetched lies unpolled in it
        await until(lambda: len(one.positions()) == len(two.positions()) == 2)
        gone = [place for place in USAGE if place not in one.positions()]
        await one.commit(dict.fromkeys(gone, 1))
        given = [record.partition for records in (await one.poll(100, 1.0)).values() for record in records]
        assert set(given) <= {place.partition for place in one.positions()}
        found = await collect(two, [b"%d" % place.partition for place in gone])
        assert {record.partition for record in found} == {place.partition for place in gone}


async def test_1084_what_runs_at_a_revocation_is_finished_and_committed_there(own_kafka: Kafka) -> None:
    async with faults(own_kafka) as world:
        bus, begun, gate = await world.bus(), asyncio.Event(), asyncio.Event()
        first, second = list[bytes](), list[bytes]()

        async def slow(batch: Batch) -> None:
            begun.set()
            await gate.wait()
            first.extend(record.value for record in batch.records)

        async def quick(batch: Batch) -> None:
            second.extend(record.value for record in batch.records)

        one, two = consumer(world, bus, "a", slow), consumer(world, bus, "b", quick)
        await one.start()
        for place in USAGE:
            await insist(bus, b"%d" % place.partition, place.partition)
        await begun.wait()
        joining = asyncio.ensure_future(two.start())
        await asyncio.sleep(HASTY.heartbeat * 2)  # time enough for the revocation to begin
        gate.set()
        await joining
        await until(lambda: len(first) + len(second) == len(USAGE))
        assert set(first).isdisjoint(second)
        for made in (one, two):
            await made.stop(world.host.clock.monotonic() + 5)


async def test_1037_a_silent_consumer_is_told_of_made_anew_and_reads_on(own_kafka: Kafka) -> None:
    async with faults(own_kafka) as world:
        bus = await world.bus()
        reader = await bus.assign(USAGE, Start.BEGINNING)
        await insist(bus, b"before")
        await collect(reader, [b"before"])
        assert isinstance(reader, KafkaReader)
        life = reader._life
        async with world.hanging():
            await until(lambda: not bus.readiness().ready)
            with pytest.raises(BusError):
                await polls_until_it_fails(reader)
            await until(lambda: reader._life is not life)
        await insist(bus, b"after")
        assert [record.value for record in await collect(reader, [b"after"])][-1:] == [b"after"]
        await until(lambda: bus.readiness().ready)


async def test_1037_a_member_that_was_silent_takes_its_place_again(own_kafka: Kafka) -> None:
    async with faults(own_kafka) as world:
        bus, told = await world.bus(), Told()
        reader = await join(bus, "m", told)
        assert isinstance(reader, KafkaReader)
        life = reader._life
        async with world.hanging():
            await until(lambda: reader._life is not life)
        await insist(bus, b"after")
        assert [record.value for record in await collect(reader, [b"after"])] == [b"after"]
        assert set(told.revoked) == set(USAGE)


async def test_983_a_fetcher_that_ended_by_accident_is_replaced(own_kafka: Kafka) -> None:
    async with faults(own_kafka) as world:
        bus = await world.bus()
        reader = await bus.assign(USAGE, Start.BEGINNING)
        assert isinstance(reader, KafkaReader)
        await insist(bus, b"before")
        assert [record.value for record in await collect(reader, [b"before"])] == [b"before"]
        assert reader._life is not None
        reader._life._consumer._fetcher._fetch_task.cancel()
        await insist(bus, b"after")
        assert [record.value for record in await collect(reader, [b"after"])] == [b"after"]


async def test_974_712_a_poll_ends_in_time_with_the_network_down_and_a_cancelled_one_loses_nothing(
    own_kafka: Kafka,
) -> None:
    async with faults(own_kafka) as world:
        bus = await world.bus()
        reader = await bus.assign(USAGE, Start.BEGINNING)
        async with world.hanging():
            async with asyncio.timeout(5):
                assert await reader.poll(10, 0.5) == {}
            waiting = asyncio.ensure_future(reader.poll(10, 60.0))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await insist(bus, b"after")
        assert [record.value for record in await collect(reader, [b"after"])] == [b"after"]


async def test_1126_a_member_that_is_killed_and_comes_back_disturbs_nobody(own_kafka: Kafka) -> None:
    async with faults(own_kafka) as world:
        neighbour = Told()
        old, others = await world.bus(), await world.bus()
        first = await join(old, "a")
        second = await join(others, "b", neighbour)
        await until(lambda: len(first.positions()) == len(second.positions()) == 2)
        neighbour.revoked.clear()
        again = await join(await world.bus(), "a")  # the old one was not closed: that is a kill
        assert len(again.positions()) == 2
        # The old life learns of it by its next heartbeat, and does not take the place back.
        with pytest.raises(BusError, match="another reader joined g as a"):
            await polls_until_it_fails(first)
        assert (neighbour.revoked, len(second.positions()), len(again.positions())) == ([], 2, 2)


async def test_1031_what_was_published_before_a_groups_first_reader_is_read(own_kafka: Kafka) -> None:
    async with faults(own_kafka) as world:
        bus = await world.bus()
        values = [b"%d" % number for number in range(100)]
        await asyncio.gather(*(bus.publish("usage", value) for value in values))
        found = await collect(await join(bus, "m"), values)
        assert sorted(record.value for record in found) == sorted(values)


async def test_628_polls_that_find_nothing_leave_nothing_behind(own_kafka: Kafka) -> None:
    async with faults(own_kafka, Timing(fetch_wait=0.005, heartbeat=0.2)) as world:
        bus = await world.bus()
        reader = await bus.assign(USAGE, Start.END)

        async def idle(polls: int) -> None:
            for _ in range(polls):
                await reader.poll(10, 0.002)
            gc.collect()

        await idle(200)
        tracemalloc.start()
        await idle(200)
        before, _ = tracemalloc.get_traced_memory()
        await idle(1000)
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert after - before < 100_000


async def test_456_459_brokers_that_all_moved_are_found_by_the_names_given(own_kafka: Kafka) -> None:
    """The broker comes back on another port, of which only the list of names to begin with tells."""
    async with faults(own_kafka) as world:
        moved = own_kafka.settings(
            bootstrap=f"127.0.0.1:1,{own_kafka.bootstrap}", prefix=world.settings.prefix
        )
        world.settings = moved
        bus = await world.bus()
        reader = await bus.assign(USAGE, Start.BEGINNING)
        assert isinstance(reader, KafkaReader)
        await insist(bus, b"before")
        await collect(reader, [b"before"])
        assert reader._life is not None
        assert bus._publisher._life is not None
        # What the library knows of the brokers is made to be where nobody listens any more.
        clients = [reader._life._consumer._client, bus._publisher._life._producer.client, bus._link._client]
        for client in clients:
            client.cluster._brokers = {
                node: broker._replace(port=1) for node, broker in client.cluster._brokers.items()
            }
            for connection in list(client._conns.values()):
                connection.close()
            client._metadata_update = _nothing
        await insist(bus, b"after")
        assert [record.value for record in await collect(reader, [b"after"])][-1:] == [b"after"]
        assert dict(await reader.end_offsets())[USAGE[0]] >= 1


async def polls_until_it_fails(reader: Reader) -> None:
    while True:
        await reader.poll(10, 0.2)


async def _nothing(*_: object) -> bool:
    return False
