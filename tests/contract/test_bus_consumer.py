"""The consumer loop's promises, over every bus: effects, order, commits, revokes, stops."""

from __future__ import annotations

import asyncio

import pytest

from shared.bus.consumer import Assigned, Consumer
from shared.bus.handling import Batch
from shared.bus.observer import Unobserved
from shared.bus.ports import Bus, Start, TopicPartition
from tests.contract.bus_world import World, read_all, send, until
from tests.contract.consumer_world import DLQ, QUICK, Consumers, Effects, number_of, publish


@pytest.mark.parametrize("topic", ["requests", "reserves", "frames", "usage", "facts"])
async def test_every_record_has_its_effect(bus: Bus, consumers: Consumers, topic: str) -> None:
    effects = Effects()
    await consumers.start(bus, topic, effects.handle)
    await publish(bus, topic, range(200), bus.partitions(topic))
    await until(lambda: effects.done(*range(200)))


@pytest.mark.parametrize("topic", ["reserves", "frames", "usage"])
async def test_an_ordered_partition_is_handled_in_order_one_batch_at_a_time(
    bus: Bus, consumers: Consumers, topic: str
) -> None:
    effects = Effects()
    busy: set[int] = set()

    async def handle(batch: Batch) -> None:
        assert batch.partition not in busy
        busy.add(batch.partition)
        try:
            await asyncio.sleep(0.001)
            await effects.handle(batch)
        finally:
            busy.remove(batch.partition)

    consumer = await consumers.start(bus, topic, handle, on_poison=effects.dispose, park=effects.dispose)
    await publish(bus, topic, range(120))
    await until(lambda: effects.done(*range(120)))
    for partition in range(4):
        assert [number for number in effects.order if number % 4 == partition] == list(
            range(partition, 120, 4)
        )
    assert (effects.disposed, consumer.readiness().ready) == ([], True)


async def test_what_is_not_ordered_runs_concurrently_up_to_the_bound(bus: Bus, consumers: Consumers) -> None:
    effects = Effects()
    running = most = 0
    gate = asyncio.Event()

    async def handle(batch: Batch) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await gate.wait()
            await effects.handle(batch)
        finally:
            running -= 1

    await consumers.start(bus, "requests", handle, concurrency=3, max_records=1)
    await publish(bus, "requests", range(12), 1)
    await until(lambda: running == 3)
    gate.set()
    await until(lambda: effects.done(*range(12)))
    assert most == 3


async def test_a_commit_never_passes_what_is_not_finished(world: World, consumers: Consumers) -> None:
    bus = await world.bus()
    effects, begun = Effects(), asyncio.Event()

    async def handle(batch: Batch) -> None:
        if any(number_of(record) == 0 for record in batch.records):
            begun.set()
            await asyncio.Event().wait()
        await effects.handle(batch)

    consumer = await consumers.start(bus, "requests", handle)
    await publish(bus, "requests", range(1), 1)
    await begun.wait()
    await publish(bus, "requests", range(1, 20), 1)
    await until(lambda: effects.done(*range(1, 20)) or not world.orderly)
    await consumers.stop(consumer, 0.05)  # number 0 is abandoned
    after = Effects()
    await consumers.start(bus, "requests", after.handle, member="n")
    await until(lambda: after.done(*range(20)))


async def test_a_kill_repeats_what_was_not_finished(world: World, consumers: Consumers) -> None:
    bus = await world.bus()
    handed = asyncio.Event()

    async def hang(batch: Batch) -> None:
        handed.set()
        await asyncio.Event().wait()

    await consumers.start(bus, "usage", hang)
    await publish(bus, "usage", range(20))
    await handed.wait()
    again, effects = await world.bus(), Effects()  # the first was not closed: that is a kill
    await consumers.start(again, "usage", effects.handle)
    await until(lambda: effects.done(*range(20)))


async def test_what_was_finished_before_a_stop_is_not_handed_again(
    world: World, consumers: Consumers
) -> None:
    bus, effects, after = await world.bus(), Effects(), Effects()
    consumer = await consumers.start(bus, "usage", effects.handle)
    await publish(bus, "usage", range(40))
    await until(lambda: effects.done(*range(40)))
    await consumers.stop(consumer)
    again = await world.bus()
    await consumers.start(again, "usage", after.handle)
    await publish(again, "usage", range(40, 44))
    await until(lambda: after.done(*range(40, 44)))
    assert set(after.order) == set(range(40, 44)) or not world.orderly


async def test_a_revoke_waits_for_what_runs_and_commits_it(world: World, consumers: Consumers) -> None:
    bus, effects, gate = await world.bus(), Effects(), asyncio.Event()

    async def handle(batch: Batch) -> None:
        await gate.wait()
        await effects.handle(batch)

    await consumers.start(bus, "usage", handle, member="a")
    await publish(bus, "usage", range(20))
    after = Effects()
    joining = asyncio.ensure_future(consumers.start(bus, "usage", after.handle, member="b"))
    await asyncio.sleep(0.02)
    gate.set()
    await joining
    await publish(bus, "usage", range(20, 40))
    await until(lambda: set(effects.order) | set(after.order) == set(range(40)))
    if world.orderly:
        assert set(effects.order).isdisjoint(after.order)


async def test_a_stop_finishes_what_runs_and_takes_nothing_new(world: World, consumers: Consumers) -> None:
    bus, effects = await world.bus(), Effects()
    begun, gate = asyncio.Event(), asyncio.Event()

    async def handle(batch: Batch) -> None:
        begun.set()
        await gate.wait()
        await effects.handle(batch)

    consumer = await consumers.start(bus, "usage", handle)
    await publish(bus, "usage", range(1))
    await begun.wait()
    stopping = asyncio.ensure_future(consumers.stop(consumer))
    await asyncio.sleep(0)
    await publish(bus, "usage", range(1, 5))
    gate.set()
    await stopping
    assert effects.order == [0]


@pytest.mark.parametrize("topic", ["requests", "frames", "usage"])
async def test_what_a_stop_abandons_is_neither_committed_nor_disposed_of(
    bus: Bus, consumers: Consumers, topic: str
) -> None:
    effects, begun = Effects(), asyncio.Event()

    async def hang(batch: Batch) -> None:
        begun.set()
        await asyncio.Event().wait()

    consumer = await consumers.start(bus, topic, hang, on_poison=effects.dispose, park=effects.dispose)
    await publish(bus, topic, range(8))
    await begun.wait()
    await consumers.stop(consumer, 0.02)
    assert effects.disposed == []
    await consumers.start(bus, topic, effects.handle, member="n")
    await until(lambda: effects.done(*range(8)))
    assert await read_all(await bus.assign(DLQ, Start.BEGINNING)) == []


async def test_an_assigned_consumer_reads_without_a_group(world: World) -> None:
    bus, effects = await world.bus(), Effects()
    await publish(bus, "replies", range(4))
    await asyncio.sleep(0.02)
    source = Assigned((TopicPartition("replies", 0), TopicPartition("replies", 1)), Start.END)
    consumer = Consumer(bus, world.host, world.topics, source, effects.handle, patience=QUICK)
    assert not consumer.readiness().ready
    await consumer.start()
    assert consumer.readiness().ready
    await publish(bus, "replies", range(4, 8))
    await until(lambda: effects.done(4, 5))
    await consumer.stop(world.host.clock.monotonic() + 5)
    assert set(effects.order) == {4, 5}


async def test_positions_reach_the_end_once_everything_is_finished(bus: Bus, consumers: Consumers) -> None:
    effects, gate = Effects(), asyncio.Event()

    async def handle(batch: Batch) -> None:
        await gate.wait()
        await effects.handle(batch)

    consumer = await consumers.start(bus, "usage", handle)
    await publish(bus, "usage", range(20))
    ends = await consumer.end_offsets()

    def caught_up() -> bool:
        positions = consumer.positions()
        return all(positions.get(place, -1) >= end for place, end in ends.items())

    await asyncio.sleep(0.02)
    assert not caught_up()
    gate.set()
    await until(lambda: effects.done(*range(20)) and caught_up())


async def test_the_lag_is_told(bus: Bus, consumers: Consumers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.bus.consumer.LAG_PERIOD_S", 0.005)
    lags: list[int] = []
    gate = asyncio.Event()

    class Watch(Unobserved):
        def lag(self, topic: str, records: int) -> None:
            lags.append(records)

    async def handle(batch: Batch) -> None:
        await gate.wait()

    await consumers.start(bus, "usage", handle, observer=Watch())
    await publish(bus, "usage", range(12))
    await until(lambda: bool(lags) and lags[-1] >= 12)
    gate.set()
    await until(lambda: lags[-1] == 0)


async def test_the_producers_trace_reaches_the_handler(bus: Bus, consumers: Consumers) -> None:
    effects = Effects()
    await consumers.start(bus, "frames", effects.handle)
    trace = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    await send(bus, "frames", b"1", (("type", b"Frame"), trace), partition=0)
    await until(lambda: effects.done(1))
    assert trace in effects.batches[0].records[0].headers
