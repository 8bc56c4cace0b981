"""A process's configuration: whole before it is ready, and good whatever is published."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf.message import Message

from shared.bus.local import LocalBus
from shared.bus.topics import load_topics
from shared.config_reader import ConfigReader
from shared.configuration import Configuration, config_key
from shared.contracts.freehold.control.v1 import config_pb2 as pb
from shared.host import Host, system_host
from tests.integration.stepped_clock import SteppedClock, settled, until
from tests.unit.shared.faulty_bus import FaultyBus

NO_UTF8 = b"\x0a\x01\xff"


class World:
    """One bus on disk, and readers of it."""

    def __init__(self, bus: LocalBus, host: Host, clock: SteppedClock) -> None:
        self.bus = FaultyBus(bus)
        self.host = host
        self.clock = clock
        self.readers: list[ConfigReader] = []

    async def put(self, kind: str, identifier: str, value: Message | bytes) -> None:
        encoded = value if isinstance(value, bytes) else value.SerializeToString()
        await self.bus.publish("config", encoded, key=config_key(kind, identifier))

    async def mark(self, epoch: int = 1) -> None:
        await self.put("marker", "control", pb.Marker(epoch=epoch))

    async def reader(self) -> tuple[ConfigReader, Configuration]:
        values = Configuration()
        made = ConfigReader(self.bus, self.host, values)
        self.readers.append(made)
        await made.start()
        return made, values


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = SteppedClock()
    host = replace(system_host(), clock=clock)
    bus = LocalBus(host, load_topics("embedded"), tmp_path / "bus.db", kept_bytes=1)
    await bus.start()
    made = World(bus, host, clock)
    yield made
    for reader in made.readers:
        await reader.stop(0)
    await bus.close()


async def test_it_is_ready_only_after_a_marker(world: World) -> None:
    await world.put("project", "p", pb.Project(id="p"))
    reader, values = await world.reader()
    await until(lambda: "p" in values.projects)
    await settled()
    assert not reader.readiness().ready
    assert "marker" in reader.readiness().reason
    await world.mark()
    await reader.wait_ready()
    assert reader.readiness().ready


async def test_it_is_ready_only_at_the_end_that_was_there_at_its_start(world: World) -> None:
    await world.mark()
    for number in range(1500):
        await world.put("project", f"p{number}", pb.Project(id=f"p{number}"))
    reader, values = await world.reader()
    await reader.wait_ready()
    assert len(values.projects) == 1500
    assert values.offset == 1501


async def test_an_empty_topic_is_not_ready(world: World) -> None:
    reader, _ = await world.reader()
    await settled()
    assert not reader.readiness().ready


async def test_a_bad_value_keeps_the_last_good_one(world: World) -> None:
    await world.put("price", "m.EUR", pb.Price(model="m", currency="EUR", output=7))
    await world.mark()
    reader, values = await world.reader()
    await reader.wait_ready()
    await world.put("price", "m.EUR", NO_UTF8)
    await world.put("nonsense", "x", b"")
    await world.bus.publish("config", b"", key=b"\xff")
    await world.mark(2)
    await until(lambda: values.epoch == 2)
    price = values.price_of("m", "EUR")
    assert price is not None
    assert price.output == 7
    assert reader.rejected == 3
    assert reader.readiness().ready
    assert values.offset == 6
    await world.put("price", "m.EUR", pb.Price(model="m", currency="EUR", output=8))
    await until(lambda: values.prices["m.EUR"].output == 8)


async def test_an_empty_value_takes_it_away(world: World) -> None:
    await world.put("key", "k", pb.Key(id="k", hash=b"one"))
    await world.mark()
    reader, values = await world.reader()
    await reader.wait_ready()
    assert values.keys_by_hash[b"one"].id == "k"
    await world.put("key", "k", pb.Key(id="k", hash=b"two"))
    await until(lambda: b"two" in values.keys_by_hash)
    assert b"one" not in values.keys_by_hash
    await world.put("key", "k", b"")
    await until(lambda: not values.keys)
    assert not values.keys_by_hash
    assert reader.rejected == 0


async def test_listeners_hear_of_every_change_also_behind_one_that_fails(world: World) -> None:
    def broken(kind: str, identifier: str) -> None:
        raise ValueError(f"{kind} {identifier}")

    reader, values = await world.reader()
    heard: list[tuple[str, str]] = []
    values.listeners += [broken, lambda kind, identifier: heard.append((kind, identifier))]
    await world.put("project", "p", pb.Project(id="p"))
    await world.put("project", "p", b"")
    await world.mark()
    await reader.wait_ready()
    assert heard == [("project", "p"), ("project", "p"), ("marker", "control")]
    assert reader.rejected == 0


async def test_a_bus_that_is_cut_off_is_asked_again(world: World) -> None:
    world.bus.refuses = True
    reader, _ = await world.reader()
    await world.clock.advance(5)
    assert not reader.readiness().ready
    world.bus.mend()
    await world.mark()
    await world.clock.advance(1)
    await reader.wait_ready()


async def test_what_was_compacted_away_is_not_missed(world: World, tmp_path: Path) -> None:
    for output in range(20):
        await world.put("price", "m.EUR", pb.Price(model="m", output=output))
    await world.mark()
    again = LocalBus(world.host, load_topics("embedded"), tmp_path / "bus.db")
    await world.bus.close()
    await again.start()
    world.bus = FaultyBus(again)
    try:
        reader, values = await world.reader()
        await reader.wait_ready()
        assert values.prices["m.EUR"].output == 19
        assert values.offset == 21
    finally:
        await again.close()


async def test_the_age_of_the_last_marker(world: World) -> None:
    reader, values = await world.reader()
    await world.mark()
    await until(lambda: values.epoch == 1)
    before = reader.marker_age
    await world.clock.advance(40.0)
    assert reader.marker_age == pytest.approx(before + 40.0)
    await world.put("organisation", "o", pb.Organisation(id="o"))
    await until(lambda: "o" in values.organisations)
    assert reader.marker_age >= 40.0
    await world.mark()
    await until(lambda: reader.marker_age < 40.0)
