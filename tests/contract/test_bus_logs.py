"""What every bus promises of its logs: publishing, order, positions, durability."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest

from shared.bus.ports import Bus, BusError, RecordTooLarge, Start, TopicPartition
from tests.contract.bus_world import World, read, read_all, send

LANE = TopicPartition("replies", 3)
USAGE = [TopicPartition("usage", number) for number in range(4)]


async def test_a_record_crosses_as_the_same_bytes(bus: Bus) -> None:
    headers = (("type", b"Screened"), ("traceparent", b"00-ab-cd-01"), ("odd", bytes(range(256))))
    reader = await bus.assign([LANE], Start.BEGINNING)
    position = await send(bus, "replies", b"\x00\xff value", headers, key=b"k\xff", partition=3)
    (record,) = await read(reader, 1)
    assert (record.value, record.headers, record.key) == (b"\x00\xff value", headers, b"k\xff")
    assert (record.topic, record.partition) == (position.topic, position.partition) == LANE
    assert record.timestamp_ms > 1_600_000_000_000


async def test_a_durable_record_crosses_as_the_same_bytes_from_disk(world: World) -> None:
    headers = (("type", b"UsageRecorded"), ("odd", bytes(range(256))))
    await send(await world.bus(), "usage", b"\x00\xff", headers, key=b"\xfe")
    reader = await (await world.bus()).assign(USAGE, Start.BEGINNING)
    (record,) = await read(reader, 1)
    assert (record.value, record.headers, record.key) == (b"\x00\xff", headers, b"\xfe")


async def test_an_empty_key_is_a_key_and_no_key_is_none(bus: Bus) -> None:
    reader = await bus.assign([LANE], Start.BEGINNING)
    await send(bus, "replies", b"1", key=b"", partition=3)
    await send(bus, "replies", b"2", partition=3)
    assert [record.key for record in await read(reader, 2)] == [b"", None]


async def test_one_key_is_one_partition_in_order(bus: Bus) -> None:
    reader = await bus.assign([TopicPartition("reserves", number) for number in range(4)], Start.BEGINNING)
    for number in range(60):
        await send(bus, "reserves", b"%d" % number, key=b"tenant-%d" % (number % 7))
    by_key = defaultdict(list)
    for record in await read(reader, 60):
        by_key[record.key].append(record)
    assert len(by_key) == 7
    for records in by_key.values():
        assert len({record.partition for record in records}) == 1
        assert [int(record.value) for record in records] == sorted(int(record.value) for record in records)


async def test_records_without_a_key_use_every_partition(bus: Bus) -> None:
    reader = await bus.assign([TopicPartition("dlq", number) for number in range(4)], Start.BEGINNING)
    for number in range(60):
        await send(bus, "dlq", b"%d" % number)
    assert {record.partition for record in await read(reader, 60)} == {0, 1, 2, 3}


@pytest.mark.parametrize("topic", ["replies", "usage"])
async def test_concurrent_publishers_each_keep_their_order(bus: Bus, topic: str) -> None:
    reader = await bus.assign([TopicPartition(topic, 2)], Start.BEGINNING)

    async def publisher(name: int) -> None:
        for number in range(25):
            await send(bus, topic, b"%d/%d" % (name, number), partition=2)

    await asyncio.gather(*(publisher(name) for name in range(16)))
    records = await read(reader, 400)
    assert [record.offset for record in records] == sorted(record.offset for record in records)
    by_publisher = defaultdict(list)
    for record in records:
        name, number = record.value.split(b"/")
        by_publisher[name].append(int(number))
    assert list(by_publisher.values()) == [list(range(25))] * 16


async def test_the_order_of_calls_is_the_order_of_records_without_awaiting(world: World) -> None:
    bus = await world.bus()
    sent = [bus.publish("usage", b"%d" % number, partition=0) for number in range(50)]
    positions = await asyncio.gather(*sent, return_exceptions=True)
    known = [position.offset for position in positions if not isinstance(position, BaseException)]
    assert known == sorted(set(known))
    assert len(known) == 50 or not world.orderly


async def test_an_undeclared_topic_is_a_mistake(bus: Bus) -> None:
    with pytest.raises(KeyError):
        await bus.publish("nowhere", b"")
    with pytest.raises(KeyError):
        bus.partitions("nowhere")


@pytest.mark.parametrize("topic", ["requests", "usage"])
async def test_a_record_above_the_limit_is_refused_and_not_written(bus: Bus, topic: str) -> None:
    reader = await bus.assign([TopicPartition(topic, 0)], Start.BEGINNING)
    limit = 4194304
    with pytest.raises(RecordTooLarge):
        await send(bus, topic, bytes(limit + 1), partition=0)
    with pytest.raises(RecordTooLarge):
        await send(bus, topic, bytes(limit - 10), (("name", b"content"),), partition=0)
    await send(bus, topic, bytes(limit - 11), (("name", b"content"),), partition=0)
    assert {len(record.value) for record in await read_all(reader)} == {limit - 11}


async def test_a_reader_from_the_end_gets_what_comes_after(bus: Bus) -> None:
    await send(bus, "replies", b"before", partition=3)
    await asyncio.sleep(0.02)  # a duplicate of it may be on its way
    reader = await bus.assign([LANE], Start.END)
    await send(bus, "replies", b"after", partition=3)
    assert [record.value for record in await read(reader, 1)] == [b"after"]


async def test_a_reader_from_the_beginning_gets_everything(bus: Bus) -> None:
    await send(bus, "usage", b"before", partition=1)
    reader = await bus.assign(USAGE, Start.BEGINNING)
    await send(bus, "usage", b"after", partition=1)
    assert [record.value for record in await read(reader, 2)] == [b"before", b"after"]


async def test_end_offsets_are_reached_by_positions_and_only_then_is_all_read(bus: Bus) -> None:
    for number in range(30):
        await send(bus, "usage", b"%d" % number, key=b"%d" % number)
    reader = await bus.assign(USAGE, Start.BEGINNING)
    ends = await reader.end_offsets()
    assert sum(ends.values()) >= 30
    seen: set[bytes] = set()
    while any(reader.positions()[place] < end for place, end in ends.items()):
        for records in (await reader.poll(7, 0.2)).values():
            seen |= {record.value for record in records}
    assert seen == {b"%d" % number for number in range(30)}


async def test_an_empty_partition_ends_where_a_reader_begins(bus: Bus) -> None:
    reader = await bus.assign([LANE], Start.BEGINNING)
    assert dict(await reader.end_offsets()) == {LANE: 0}
    assert dict(reader.positions()) == {LANE: 0}
    assert await reader.poll(10, 0.01) == {}


async def test_a_poll_gives_at_most_what_was_asked(bus: Bus) -> None:
    reader = await bus.assign([TopicPartition("replies", number) for number in range(8)], Start.BEGINNING)
    for number in range(40):
        await send(bus, "replies", b"%d" % number, partition=number % 8)
    seen: set[bytes] = set()
    while len(seen) < 40:
        polled = await reader.poll(5, 0.2)
        assert sum(map(len, polled.values())) <= 5
        seen |= {record.value for records in polled.values() for record in records}


async def test_a_seek_decides_the_next_record(bus: Bus) -> None:
    offsets = [(await send(bus, "usage", b"%d" % number, partition=0)).offset for number in range(10)]
    reader = await bus.assign([USAGE[0]], Start.BEGINNING)
    await read(reader, 10)
    reader.seek(USAGE[0], offsets[6])
    assert reader.positions()[USAGE[0]] == offsets[6]
    assert [record.value for record in await read(reader, 4)] == [b"6", b"7", b"8", b"9"]


async def test_a_paused_partition_waits_and_the_others_do_not(bus: Bus) -> None:
    first, second = TopicPartition("replies", 0), TopicPartition("replies", 1)
    reader = await bus.assign([first, second], Start.BEGINNING)
    reader.pause([first])
    await send(bus, "replies", b"paused", partition=0)
    await send(bus, "replies", b"open", partition=1)
    assert {record.value for record in await read_all(reader)} == {b"open"}
    reader.resume([first])
    assert [record.value for record in await read(reader, 1)] == [b"paused"]


async def test_a_waiting_poll_is_woken_by_a_record(bus: Bus) -> None:
    reader = await bus.assign([LANE], Start.END)
    waiting = asyncio.ensure_future(read(reader, 1))
    await asyncio.sleep(0)
    began = asyncio.get_running_loop().time()
    await send(bus, "replies", b"x", partition=3)
    await waiting
    assert asyncio.get_running_loop().time() - began < 0.15


async def test_a_cancelled_poll_loses_nothing(bus: Bus) -> None:
    reader = await bus.assign([LANE], Start.END)
    for number in range(20):
        waiting = asyncio.ensure_future(reader.poll(100, 5.0))
        await asyncio.sleep(0)
        sending = asyncio.ensure_future(send(bus, "replies", b"%d" % number, partition=3))
        if number % 2:
            await asyncio.sleep(0)
        waiting.cancel()
        [polled, _] = await asyncio.gather(waiting, sending, return_exceptions=True)
        if not isinstance(polled, BaseException) and polled:
            reader.seek(LANE, polled[LANE][0].offset)
    assert len(await read(reader, 20)) == 20


@pytest.mark.parametrize("topic", ["usage", "closed", "facts"])
async def test_an_acknowledged_record_of_a_record_topic_outlives_a_kill(world: World, topic: str) -> None:
    bus = await world.bus()
    sent = await asyncio.gather(*(send(bus, topic, b"%d" % number, key=b"t") for number in range(40)))
    again = await world.bus()  # the first was not closed: that is a kill
    places = [TopicPartition(topic, number) for number in range(again.partitions(topic))]
    reader = await again.assign(places, Start.BEGINNING)
    found = {record.value: record for record in await read(reader, 40)}
    assert set(found) == {b"%d" % number for number in range(40)}
    assert {position.partition for position in sent} == {record.partition for record in found.values()}


async def test_offsets_go_on_after_a_kill(world: World) -> None:
    before = await send(await world.bus(), "usage", b"before", partition=0)
    after = await send(await world.bus(), "usage", b"after", partition=0)
    assert after.offset > before.offset


async def test_a_config_record_needs_a_key(bus: Bus) -> None:
    with pytest.raises(ValueError, match="key"):
        await send(bus, "config", b"value")


async def test_a_closed_bus_refuses_and_closing_again_is_nothing(bus: Bus) -> None:
    reader = await bus.assign([LANE], Start.END)
    await bus.close()
    await bus.close()
    with pytest.raises(BusError):
        await bus.publish("replies", b"", partition=3)
    with pytest.raises(BusError):
        await read_all(reader)


async def test_closing_the_bus_finishes_what_was_published(world: World) -> None:
    bus = await world.bus()
    acknowledged = [
        asyncio.ensure_future(send(bus, "usage", b"%d" % number, partition=0)) for number in range(20)
    ]
    await asyncio.gather(*acknowledged)
    unawaited = bus.publish("usage", b"last", partition=0)
    await bus.close()
    del unawaited
    reader = await (await world.bus()).assign([USAGE[0]], Start.BEGINNING)
    found = {record.value for record in await read_all(reader)}
    assert found >= {b"%d" % number for number in range(20)}
    assert b"last" in found or not world.orderly
