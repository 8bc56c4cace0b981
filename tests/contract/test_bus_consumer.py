"""The consumer loop's promises, over every bus."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator

import pytest

from shared.bus.consumer import Assigned, Consumer, InGroup
from shared.bus.handling import Batch, Disposal, Handler, Later
from shared.bus.observer import Unobserved
from shared.bus.patience import Patience
from shared.bus.ports import Bus, BusTimeout, Record, RecordTooLarge, Start, TopicPartition
from shared.storage.database import DatabaseError
from tests.contract.bus_world import World, read, read_all, send, until

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


@pytest.fixture
async def consumers(world: World) -> AsyncIterator[Consumers]:
    made = Consumers(world)
    yield made
    await made.end()


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
        for number in map(_number, batch.records):
            if number in self.always:
                raise self.always[number]
            if self.failures[number]:
                raise self.failures[number].pop(0)
        for number in map(_number, batch.records):
            if number not in self.order:
                self.order.append(number)

    async def dispose(self, record: Record, error: Exception) -> None:
        self.disposed.append((_number(record), type(error).__name__))

    def done(self, *numbers: int) -> bool:
        return set(self.order) >= set(numbers)


def _number(record: Record) -> int:
    return int(record.value)


async def publish(bus: Bus, topic: str, numbers: range, partitions: int = 4) -> None:
    for number in numbers:
        await send(bus, topic, b"%d" % number, partition=number % partitions)


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
        if any(_number(record) == 0 for record in batch.records):
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


async def test_a_transit_records_own_error_dead_letters_the_original_bytes(
    bus: Bus, consumers: Consumers
) -> None:
    effects = Effects()
    effects.always[7] = ValueError("cannot be decoded")
    await consumers.start(bus, "frames", effects.handle, on_poison=effects.dispose)
    headers = (("type", b"Frame"), ("traceparent", b"00-aa-bb-01"))
    for number in range(20):
        await send(bus, "frames", b"%d" % number, headers, key=b"k", partition=0)
    await until(lambda: effects.done(*(number for number in range(20) if number != 7)))
    dead = (await read(await bus.assign(DLQ, Start.BEGINNING), 1))[0]
    assert (dead.value, dead.key, dead.headers[:2]) == (b"7", b"k", headers)
    added = dict(dead.headers[2:])
    assert added["origin"].startswith(b"frames/0/")
    assert added["reason"] == b"ValueError: cannot be decoded"
    await until(lambda: (7, "ValueError") in effects.disposed)
    assert {number for number, _ in effects.disposed} == {7}


async def test_a_record_that_cannot_be_handled_is_parked_and_passed(bus: Bus, consumers: Consumers) -> None:
    effects = Effects()
    effects.always[7] = ValueError("wrong tenant")
    await consumers.start(bus, "usage", effects.handle, park=effects.dispose)
    await publish(bus, "usage", range(20), 1)
    await until(lambda: effects.done(*(number for number in range(20) if number != 7)))
    assert set(effects.disposed) == {(7, "ValueError")}
    assert await read_all(await bus.assign(DLQ, Start.BEGINNING)) == []


async def test_a_config_value_that_is_not_understood_is_left_aside(bus: Bus, consumers: Consumers) -> None:
    alarms: set[str] = set()

    class Watch(Unobserved):
        def kept_last_good(self, topic: str) -> None:
            alarms.add(topic)

    effects = Effects()
    effects.always[2] = ValueError("no such kind")
    await consumers.start(bus, "config", effects.handle, observer=Watch())
    for number in range(5):
        await send(bus, "config", b"%d" % number, key=b"price/%d" % number)
    await until(lambda: effects.done(0, 1, 3, 4))
    assert alarms == {"config"}
    assert await read_all(await bus.assign(DLQ, Start.BEGINNING)) == []


async def test_who_reads_a_record_topic_must_park(world: World) -> None:
    with pytest.raises(ValueError, match="park"):
        Consumer(await world.bus(), world.host, world.topics, InGroup(("usage",), "g", "m"), Effects().handle)


async def test_a_record_that_cannot_be_parked_stops_the_consumer(bus: Bus, consumers: Consumers) -> None:
    async def broken(record: Record, error: Exception) -> None:
        raise RuntimeError("no such table")

    effects = Effects()
    effects.always[3] = ValueError("odd")
    consumer = await consumers.start(bus, "facts", effects.handle, park=broken)
    await publish(bus, "facts", range(6), 1)
    await until(lambda: "no such table" in consumer.readiness().reason)
    after = Effects()
    await consumers.stop(consumer)
    await consumers.start(bus, "facts", after.handle, member="n")
    await until(lambda: after.done(3, 4, 5))


@pytest.mark.parametrize("fault", [DatabaseError("locked"), BusTimeout("no answer")])
@pytest.mark.parametrize("topic", ["requests", "frames", "usage"])
async def test_a_fault_of_the_surroundings_is_outlasted(
    bus: Bus, consumers: Consumers, topic: str, fault: Exception
) -> None:
    effects = Effects()
    effects.failures[3] = [fault] * 8
    await consumers.start(bus, topic, effects.handle, on_poison=effects.dispose, park=effects.dispose)
    await publish(bus, topic, range(12))
    await until(lambda: effects.done(*range(12)))
    assert effects.disposed == []


async def test_a_fault_that_lasts_fails_the_readiness_until_it_ends(bus: Bus, consumers: Consumers) -> None:
    effects = Effects()
    effects.always[0] = DatabaseError("the disk is full")
    consumer = await consumers.start(bus, "usage", effects.handle, park=effects.dispose)
    assert consumer.readiness().ready
    await publish(bus, "usage", range(8))
    await until(lambda: not consumer.readiness().ready)
    assert "the disk is full" in consumer.readiness().reason
    await until(lambda: effects.done(1, 2, 3, 5, 6, 7))  # the other partitions went on
    del effects.always[0]
    await until(lambda: consumer.readiness().ready and effects.done(*range(8)))
    assert effects.disposed == []


async def test_a_reply_that_is_too_large_is_the_records_own_error(bus: Bus, consumers: Consumers) -> None:
    effects = Effects()
    effects.always[1] = RecordTooLarge("5 MiB")
    await consumers.start(bus, "frames", effects.handle, on_poison=effects.dispose)
    await publish(bus, "frames", range(4))
    await until(lambda: (1, "RecordTooLarge") in effects.disposed and effects.done(0, 2, 3))


async def test_later_is_tried_again_until_it_is_time(bus: Bus, consumers: Consumers) -> None:
    effects = Effects()
    effects.failures[0] = [Later("config is behind")] * 5
    consumer = await consumers.start(bus, "reserves", effects.handle, on_poison=effects.dispose)
    await publish(bus, "reserves", range(8))
    await until(lambda: effects.done(*range(8)))
    assert (effects.disposed, consumer.readiness().ready) == ([], True)


async def test_later_for_ever_is_the_records_own_error(bus: Bus, consumers: Consumers) -> None:
    effects = Effects()
    effects.always[0] = Later("config never came")
    await consumers.start(bus, "reserves", effects.handle, on_poison=effects.dispose)
    await publish(bus, "reserves", range(8), 1)
    await until(lambda: effects.done(*range(1, 8)) and (0, "Later") in effects.disposed)


async def test_a_record_older_than_its_ttl_is_dropped_by_broker_time(bus: Bus, consumers: Consumers) -> None:
    effects, dropped = Effects(), []

    class Watch(Unobserved):
        def stale(self, topic: str, records: int) -> None:
            dropped.append(records)

    await send(bus, "frames", b"1", (("ttl_ms", b"5"),), partition=0)
    await send(bus, "frames", b"2", (("ttl_ms", b"60000"),), partition=0)
    await send(bus, "frames", b"3", partition=0)
    await asyncio.sleep(0.03)
    await send(bus, "frames", b"4", (("ttl_ms", b"5"),), partition=0)
    await consumers.start(bus, "frames", effects.handle, observer=Watch())
    await until(lambda: effects.done(2, 3, 4))
    assert 1 not in effects.order
    assert sum(dropped) >= 1


async def test_a_durable_record_never_ages(bus: Bus, consumers: Consumers) -> None:
    effects = Effects()
    await send(bus, "usage", b"1", (("ttl_ms", b"1"),), partition=0)
    await asyncio.sleep(0.02)
    await send(bus, "usage", b"2", partition=0)
    await consumers.start(bus, "usage", effects.handle)
    await until(lambda: effects.done(1, 2))


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


async def test_a_cancellation_inside_a_handler_is_no_dead_letter(bus: Bus, consumers: Consumers) -> None:
    effects, cancelled = Effects(), 0

    async def handle(batch: Batch) -> None:
        nonlocal cancelled
        if cancelled < 3:
            cancelled += 1
            raise asyncio.CancelledError
        await effects.handle(batch)

    consumer = await consumers.start(bus, "frames", handle, on_poison=effects.dispose)
    await publish(bus, "frames", range(4))
    await until(lambda: effects.done(*range(4)))
    assert (effects.disposed, consumer.readiness().ready) == ([], True)


async def test_too_many_dead_letters_in_a_row_stop_the_consumer(bus: Bus, consumers: Consumers) -> None:
    effects = Effects()
    effects.always = {number: ValueError("a bad deployment") for number in range(20)}
    consumer = await consumers.start(bus, "frames", effects.handle, on_poison=effects.dispose)
    await publish(bus, "frames", range(20), 1)
    await until(lambda: "in a row" in consumer.readiness().reason)
    assert len({number for number, _ in effects.disposed}) <= QUICK.fuse
    await consumers.stop(consumer)
    after = Effects()
    await consumers.start(bus, "frames", after.handle, member="n")
    await until(lambda: after.done(*range(QUICK.fuse, 20)))  # those were not thrown away


async def test_what_others_are_late_with_does_not_blow_the_fuse(bus: Bus, consumers: Consumers) -> None:
    effects = Effects()
    effects.always = {number: Later("config never came") for number in range(20)}
    consumer = await consumers.start(bus, "frames", effects.handle, on_poison=effects.dispose)
    await publish(bus, "frames", range(21), 1)
    await until(lambda: effects.done(20))
    assert consumer.readiness().ready


async def test_failures_between_successes_do_not_blow_the_fuse(bus: Bus, consumers: Consumers) -> None:
    effects = Effects()
    effects.always = {number: ValueError("odd") for number in range(1, 40, 2)}
    consumer = await consumers.start(bus, "frames", effects.handle, on_poison=effects.dispose)
    await publish(bus, "frames", range(40), 1)
    await until(lambda: effects.done(*range(0, 40, 2)) and len(set(effects.disposed)) == 20)
    assert consumer.readiness().ready


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
