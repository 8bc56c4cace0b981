"""What the bus inside one process promises beside the contract: a cap on memory, transit records that go
with the process, compaction at the next start.
"""

from __future__ import annotations

import pytest

from shared.bus.ports import Bus, BusFull, BusTimeout, Start, TopicPartition
from tests.contract.bus_world import insist, nothing, read, read_all, send
from tests.contract.local_world import LocalWorld


async def test_a_full_topic_refuses_and_never_waits_for_its_readers(local_world: LocalWorld) -> None:
    bus = await local_world.bus(cap_bytes=200_000)
    reader = await bus.group(["frames"], "moderation.output", "m", nothing, nothing)
    with pytest.raises(BusFull):
        await fill(bus, 1000)
    # Once its reader has read and committed there is room again.
    await read_all(reader)
    await insist(lambda: reader.commit(reader.positions()))
    await fill(bus, 1)


async def fill(bus: Bus, records: int) -> None:
    while records:
        try:
            await bus.publish("frames", bytes(2000), partition=records % 8)
        except BusTimeout:
            continue
        records -= 1


async def test_transit_is_gone_after_a_kill(local_world: LocalWorld) -> None:
    await send(await local_world.bus(), "requests", b"text of a prompt", partition=0)
    reader = await (await local_world.bus()).assign([TopicPartition("requests", 0)], Start.BEGINNING)
    assert await read_all(reader) == []


async def test_a_config_topic_keeps_the_newest_of_each_key(local_world: LocalWorld) -> None:
    bus = await local_world.bus()
    config = TopicPartition("config", 0)
    early = await bus.assign([config], Start.BEGINNING)
    for version in range(5):
        for key in (b"price/a", b"price/b"):
            await send(bus, "config", b"%s=%d" % (key, version), key=key)
    last = await send(bus, "config", b"marker", key=b"marker")
    assert (await read(early, 11))[-1].value == b"marker"
    late = await (await local_world.bus()).assign([config], Start.BEGINNING)
    records = await read(late, 3)
    assert [record.value for record in records] == [b"price/a=4", b"price/b=4", b"marker"]
    assert records[-1].offset >= last.offset  # a version stays what it was
    assert late.positions()[config] == (await late.end_offsets())[config]
