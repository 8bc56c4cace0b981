"""What an outbox promises: what a transaction committed is published, in order, however often it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import Connection, MetaData

from shared.bus.ports import Bus, BusError, Position, Publisher, Start, TopicPartition
from shared.storage.database import Database
from shared.storage.outbox import Outgoing, Relay, append, outbox_table
from tests.contract.bus_world import World, read, read_all
from tests.contract.storage_world import Storage

FACTS = TopicPartition("facts", 0)
metadata = MetaData()
outbox = outbox_table(metadata)


def write(numbers: range, *, fail: bool = False) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        rows = [
            Outgoing("facts", None, b"%d" % number, (("event_id", b"\xff%d" % number),)) for number in numbers
        ]
        append(connection, outbox, rows)
        if fail:
            raise LookupError("the effect failed")

    return work


@pytest.fixture
async def database(world: World, storage: Storage) -> AsyncIterator[Database]:
    opened = await storage.open(metadata, world.host)
    yield opened
    await opened.close()


async def run(relay: Relay, world: World, during: Callable[[], Awaitable[None]]) -> None:
    await relay.start()
    try:
        await during()
    finally:
        await relay.stop(world.host.clock.monotonic())


async def test_what_was_committed_is_published_in_order_with_its_event_ids(
    world: World, bus: Bus, database: Database
) -> None:
    relay = Relay(database, outbox, bus, world.host)

    async def during() -> None:
        for start in range(0, 30, 10):
            await database.transact(write(range(start, start + 10)))
            relay.wake()
        async with asyncio.timeout(20):
            await relay.drained()

    await run(relay, world, during)
    records = await read(await bus.assign([FACTS], Start.BEGINNING), 30)
    assert [
        dict(record.headers)["event_id"] for record in sorted(records, key=lambda one: int(one.value))
    ] == [b"\xff%d" % number for number in range(30)]
    if world.orderly:
        assert [int(record.value) for record in records] == list(range(30))


async def test_what_was_rolled_back_is_never_published(world: World, bus: Bus, database: Database) -> None:
    relay = Relay(database, outbox, bus, world.host)

    async def during() -> None:
        with pytest.raises(LookupError):
            await database.transact(write(range(5), fail=True))
        await database.transact(write(range(5, 7)))
        async with asyncio.timeout(20):
            await relay.drained()

    await run(relay, world, during)
    reader = await bus.assign([FACTS], Start.BEGINNING)
    records = await read(reader, 2) + await read_all(reader)
    assert {int(record.value) for record in records} == {5, 6}


async def test_what_an_earlier_life_left_behind_is_published_at_the_start(
    world: World, bus: Bus, database: Database
) -> None:
    await database.transact(write(range(3)))
    reader = await bus.assign([FACTS], Start.BEGINNING)

    async def during() -> None:
        await read(reader, 3)

    await run(Relay(database, outbox, bus, world.host), world, during)


async def test_an_unacknowledged_record_is_published_again(
    world: World, bus: Bus, database: Database
) -> None:
    class Forgetful(Publisher):
        lost = 3

        def publish(self, *record: Any, **place: Any) -> Awaitable[Position]:
            if self.lost:
                self.lost -= 1
                raise BusError("down")
            return bus.publish(*record, **place)

    relay = Relay(database, outbox, Forgetful(), world.host)
    await database.transact(write(range(4)))

    async def during() -> None:
        async with asyncio.timeout(20):
            await relay.drained()

    await run(relay, world, during)
    assert {int(record.value) for record in await read_all(await bus.assign([FACTS], Start.BEGINNING))} == {
        0,
        1,
        2,
        3,
    }


async def test_a_relay_ends_though_its_database_was_closed_before_it(
    world: World, bus: Bus, database: Database
) -> None:
    class Stalling(Publisher):
        sent = 0

        def publish(self, *record: Any, **place: Any) -> Awaitable[Position]:
            acknowledgement = asyncio.get_running_loop().create_future()
            if not self.sent:
                acknowledgement.set_result(Position(record[0], 0, 0, 0))
            self.sent += 1
            return acknowledgement

    stalling = Stalling()
    relay = Relay(database, outbox, stalling, world.host)
    await database.transact(write(range(2)))
    await relay.start()
    async with asyncio.timeout(20):
        while stalling.sent < 2:  # noqa: ASYNC110 - of what a thread does there is no event
            await asyncio.sleep(0.001)
        await database.close()
        await relay.stop(world.host.clock.monotonic())
