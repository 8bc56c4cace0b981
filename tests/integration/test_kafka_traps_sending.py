"""What is known to go wrong in aiokafka's producer, by the number of the library's issue."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from importlib.metadata import version
from time import monotonic

import pytest

from shared.bus.kafka_timing import Timing
from shared.bus.ports import BusError, BusFull, BusTimeout, Start
from tests.integration.kafka_world import HASTY, USAGE, Turns, collect, faults, insist, until
from tests.servers.kafka import Kafka


async def test_1101_neither_a_send_nor_the_close_hangs_while_the_broker_is_down(own_kafka: Kafka) -> None:
    async with faults(own_kafka) as world:
        bus = await world.bus()
        await bus.publish("usage", b"before", partition=0)
        async with world.down():
            began = monotonic()
            with pytest.raises(BusTimeout):
                await bus.publish("usage", b"while down", partition=0)
            assert monotonic() - began < HASTY.acknowledge + 2
            bus.publish("usage", b"not awaited", partition=0)
            async with asyncio.timeout(10):
                await bus.close()


async def test_1017_a_producer_whose_sequence_is_broken_is_replaced(own_kafka: Kafka) -> None:
    async with faults(own_kafka) as world:
        bus = await world.bus()
        await bus.publish("usage", b"1", partition=0)
        life = bus._publisher._life
        assert life is not None
        sequences = life._producer._txn_manager._sequence_numbers
        for place in list(sequences):
            sequences[place] += 7  # as after a batch that the broker never saw
        with pytest.raises(BusTimeout, match="perhaps written"):
            await bus.publish("usage", b"2", partition=0)
        for value in (b"2", b"3", b"4"):
            await insist(bus, value)
        assert bus._publisher._life is not life
        reader = await bus.assign(USAGE, Start.BEGINNING)
        found = await collect(reader, [b"4"])
        assert [record.value for record in found] == [b"1", b"2", b"3", b"4"]


async def test_710_a_send_that_is_no_longer_waited_for_is_written(own_kafka: Kafka) -> None:
    async with faults(own_kafka) as world:
        bus = await world.bus()
        waiting = asyncio.ensure_future(bus.publish("usage", b"cancelled", partition=0))
        waiting.cancel()
        assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], asyncio.CancelledError)
        await bus.publish("usage", b"after", partition=0)
        found = await collect(await bus.assign(USAGE, Start.BEGINNING), [b"after"])
        assert [record.value for record in found] == [b"cancelled", b"after"]


async def test_759_a_bus_that_never_started_refuses_at_once(own_kafka: Kafka) -> None:
    async with faults(own_kafka) as world:
        bus = world.unstarted()
        with pytest.raises(BusError, match="not started"):
            bus.publish("usage", b"", partition=0)
        with pytest.raises(BusError, match="not started"):
            await bus.assign(USAGE, Start.END)
        assert not bus.readiness().ready


async def test_551_a_broker_that_restarts_loses_and_doubles_nothing(own_kafka: Kafka) -> None:
    async with faults(own_kafka, replace(HASTY, acknowledge=60.0, stuck=120.0)) as world:
        bus = await world.bus()
        await bus.publish("usage", b"before", partition=0)
        values = [b"%d" % number for number in range(50)]
        async with world.down():
            sending = [bus.publish("usage", value, partition=n % 4) for n, value in enumerate(values)]
        await asyncio.gather(*sending)
        await until(lambda: bus.readiness().ready)
        found = await collect(await bus.assign(USAGE, Start.BEGINNING), values)
        assert sorted(record.value for record in found) == sorted([b"before", *values])


async def test_876_the_loop_stays_responsive_while_the_broker_is_down(own_kafka: Kafka) -> None:
    async with faults(own_kafka) as world:
        bus = await world.bus()
        readers = [await bus.assign([place], Start.END) for place in USAGE]
        turns = Turns()
        async with world.down():
            polls = [asyncio.ensure_future(reader.poll(10, 4.0)) for reader in readers]
            sends = [asyncio.ensure_future(insist(bus, b"x", number % 4)) for number in range(200)]
            await turns.watch(4.0)
        await asyncio.gather(*polls, return_exceptions=True)
        await asyncio.gather(*sends)
        assert turns.turns > 20
        assert turns.longest < 0.25


async def test_876_metadata_is_not_asked_for_without_a_pause(own_kafka: Kafka) -> None:
    async with faults(own_kafka) as world:
        bus = await world.bus()
        assert bus._publisher._life is not None
        client, asked, began = bus._publisher._life._producer.client, 0, monotonic()
        while monotonic() - began < 1:  # what the library does while a partition has no leader
            await client.force_metadata_update()
            asked += 1
        assert asked <= 11


async def test_a_hanging_broker_fills_the_queue_and_no_further(own_kafka: Kafka) -> None:
    async with faults(
        own_kafka, Timing(acknowledge=1.0, request=2.0, stop=0.5, waiting_records=100)
    ) as world:
        bus = await world.bus()
        async with world.hanging():
            sent = [bus.publish("usage", b"x", partition=0) for _ in range(100)]
            with pytest.raises(BusFull):
                bus.publish("usage", b"x", partition=0)
            outcomes = await asyncio.gather(*sent, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {BusTimeout}
        await insist(bus, b"after")
        assert bus._publisher._records == bus._publisher._bytes == 0


async def test_1151_1135_1115_the_library_is_not_older_than_their_mending() -> None:
    assert tuple(map(int, version("aiokafka").split(".")[:2])) >= (0, 14)


async def test_the_records_of_a_replaced_producer_keep_their_order(own_kafka: Kafka) -> None:
    async with faults(own_kafka) as world:
        bus = await world.bus()
        await bus.publish("usage", b"%04d" % 0, partition=0)
        bus._publisher._renew("a test wants another")
        sent = [bus.publish("usage", b"%04d" % number, partition=0) for number in range(1, 200)]
        positions = await asyncio.gather(*sent)
        offsets = [position.offset for position in positions]
        assert offsets == list(range(offsets[0], offsets[0] + 199))
