"""Two replicas of control publish one outbox: in order, and where one was stopped in the midst, mended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from sqlalchemy import Connection

from services.control import repository, tables
from services.control.repository import Change
from shared.bus.envelope import parse_envelope
from shared.bus.ports import Headers, Position
from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.host import system_host
from shared.storage.outbox import Relay, Shared
from shared.storage.postgres import PostgresDatabase, open_postgres
from shared.storage.postgres_migrations import migrate_postgres
from tests.servers.postgres import Postgres

HOST = system_host()
PATIENCE_S = 60


class Log:
    """A topic, and one replica's producer, which may hang before a record of it is written."""

    def __init__(self, written: list[tuple[str, bytes]]) -> None:
        self.written = written
        self.taken = asyncio.Event()
        self.free = asyncio.Event()
        self.free.set()

    def publish(
        self,
        topic: str,
        value: bytes,
        headers: Headers = (),
        *,
        key: bytes | None = None,
        partition: int | None = None,
    ) -> Awaitable[Position]:
        del topic, partition

        async def write() -> Position:
            self.taken.set()
            await self.free.wait()
            self.written.append((parse_envelope(headers).event_id, value if key else b""))
            return Position("config", 0, len(self.written), 0)

        return asyncio.ensure_future(write())


def put(name: str) -> Callable[[Connection], int]:
    value = config.Project(id="web", organisation="acme", name=name)
    change = Change("project", "web", value, "operator", "", "acme", HOST.clock.time_ns())
    return lambda connection: repository.put(connection, change, 1)


def relay(database: PostgresDatabase, log: Log, holder: str, lease_ms: int) -> Relay:
    shared = Shared(holder, lambda connection: repository.publish_all(connection, 1), lease_ms)
    return Relay(database, tables.outbox, log, HOST, shared)


def names(written: list[tuple[str, bytes]]) -> list[str]:
    """Of the project, as its values were published."""
    values = [value for event, value in written if event.startswith("config/project/web/")]
    return [config.Project.FromString(value).name for value in values]


@pytest.fixture
async def control(postgres: Postgres) -> AsyncIterator[list[PostgresDatabase]]:
    settings = postgres.settings()
    await asyncio.to_thread(migrate_postgres, settings, "control")
    opened = [await open_postgres(settings, "control", HOST) for _ in range(2)]
    yield opened
    for database in opened:
        await database.close()


async def test_what_two_replicas_change_is_published_once_and_in_order(
    control: list[PostgresDatabase],
) -> None:
    written: list[tuple[str, bytes]] = []
    relays = [
        relay(database, Log(written), holder, 30_000) for database, holder in zip(control, "ab", strict=True)
    ]
    for one in relays:
        await one.start()
    async with asyncio.timeout(PATIENCE_S):
        for number in range(40):
            await control[number % 2].transact(put(str(number)))
            relays[number % 2].wake()
        for one in relays:
            await one.drained()
    for one in relays:
        await one.stop(0)
    assert names(written) == [str(number) for number in range(40)]
    assert len(set(written)) == len(written)


async def test_a_replica_that_publishes_behind_its_successor_publishes_the_newest_again(
    control: list[PostgresDatabase],
) -> None:
    written: list[tuple[str, bytes]] = []
    stopped, other = Log(written), Log(written)
    first = relay(control[0], stopped, "a", 100)
    second = relay(control[1], other, "b", 30_000)
    stopped.free.clear()
    await first.start()
    async with asyncio.timeout(PATIENCE_S):
        await control[0].transact(put("old"))
        first.wake()
        await stopped.taken.wait()
        await second.start()
        await control[1].transact(put("new"))
        await second.drained()
        assert names(written) == ["old", "new"]
        stopped.free.set()
        await first.drained()
        await second.drained()
    for one in (first, second):
        await one.stop(0)
    assert names(written)[:3] == ["old", "new", "old"]
    assert names(written)[-1] == "new"


async def test_a_replica_that_stops_hands_over_at_once(control: list[PostgresDatabase]) -> None:
    written: list[tuple[str, bytes]] = []
    hanging = Log(written)
    hanging.free.clear()
    first = relay(control[0], hanging, "a", 3_600_000)
    await first.start()
    async with asyncio.timeout(PATIENCE_S):
        await control[0].transact(put("one"))
        first.wake()
        await hanging.taken.wait()
        await first.stop(HOST.clock.monotonic() + PATIENCE_S)
        second = relay(control[1], Log(written), "b", 30_000)
        await second.start()
        await second.drained()
    await second.stop(0)
    assert names(written) == ["one"]
