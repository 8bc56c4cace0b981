"""The consumer loop's promises, over every bus: what becomes of what cannot be handled."""

from __future__ import annotations

import asyncio

import pytest
from google.protobuf.message import DecodeError

from shared.bus.consumer import Consumer, InGroup
from shared.bus.envelope import EnvelopeError
from shared.bus.handling import Batch, Later
from shared.bus.observer import Unobserved
from shared.bus.ports import Bus, BusTimeout, Record, RecordInvalid, RecordTooLarge, Start
from shared.storage.database import DatabaseError
from tests.contract.bus_world import World, read, read_all, send, until
from tests.contract.consumer_world import DLQ, QUICK, Consumers, Effects, publish


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


@pytest.mark.parametrize(
    "judged", [RecordInvalid("foreign"), EnvelopeError("no headers"), DecodeError("bytes")]
)
async def test_records_that_were_judged_do_not_blow_the_fuse(
    bus: Bus, consumers: Consumers, judged: Exception
) -> None:
    effects = Effects()
    effects.always = dict.fromkeys(range(20), judged)
    consumer = await consumers.start(bus, "frames", effects.handle, on_poison=effects.dispose)
    await publish(bus, "frames", range(21), 1)
    await until(lambda: effects.done(20))
    assert len({number for number, _ in effects.disposed}) == 20
    assert consumer.readiness().ready


async def test_failures_between_successes_do_not_blow_the_fuse(bus: Bus, consumers: Consumers) -> None:
    effects = Effects()
    effects.always = {number: ValueError("odd") for number in range(1, 40, 2)}
    consumer = await consumers.start(bus, "frames", effects.handle, on_poison=effects.dispose)
    await publish(bus, "frames", range(40), 1)
    await until(lambda: effects.done(*range(0, 40, 2)) and len(set(effects.disposed)) == 20)
    assert consumer.readiness().ready
