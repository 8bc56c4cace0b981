"""Two replicas of billing over one PostgreSQL: whatever they do to each other, the books are in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from sqlalchemy import Connection

from services.billing.books.expiry import expire
from services.billing.books.reserving import Ask, reserve
from services.billing.books.settling import Batch, CloseEvent, UsageEvent, settle_batches
from services.billing.books.verify import verify
from services.billing.terms import terms
from services.control import repository
from services.control.repository import Change
from shared.bus.ports import Record
from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.contracts.freehold.control.v1.events_pb2 import ConfigurationChanged
from shared.host import system_host
from shared.ids import Ids
from shared.storage.database import Database
from shared.storage.postgres import PostgresDatabase, open_postgres
from shared.storage.postgres_migrations import migrate_postgres
from shared.storage.settings import DatabaseSettings
from shared.storage.sql import query
from tests.servers.postgres import Postgres
from tests.unit.billing.world import KEY, MODEL, PROJECT, SIZE, TRACE, budget, closed, configured, usage

HOST = system_host()
NOW_MS = HOST.clock.time_ns() // 1_000_000
TENANTS = ("acme", "rival")
REQUESTS = 120
BATCH = 10
KNOWN = configured(budget(10**9))


@pytest.fixture
def settings(postgres: Postgres) -> DatabaseSettings:
    return postgres.settings()


async def replicas(settings: DatabaseSettings, service: str) -> list[PostgresDatabase]:
    await asyncio.to_thread(migrate_postgres, settings, service)
    return [await open_postgres(settings, service, HOST) for _ in range(2)]


@pytest.fixture
async def billing(settings: DatabaseSettings) -> AsyncIterator[list[PostgresDatabase]]:
    opened = await replicas(settings, "billing")
    yield opened
    for database in opened:
        await database.close()


def ask(request: str, tenant: str, ttl_ms: int) -> Ask:
    scope = (tenant, PROJECT, KEY)
    agreed = terms(KNOWN, scope, MODEL, SIZE, NOW_MS)
    return Ask(request, *scope, MODEL, "1", None, b"body", agreed, NOW_MS, ttl_ms, TRACE)


def used(events: list[tuple[str, str]]) -> Batch:
    record = Record("usage", 0, 0, NOW_MS, None, usage().SerializeToString(), ())
    return Batch("usage", 0, 1, [UsageEvent(request, tenant, usage(), record) for request, tenant in events])


def ended(events: list[tuple[str, str]]) -> Batch:
    record = Record("closed", 0, 0, NOW_MS, None, closed().SerializeToString(), ())
    closes = [CloseEvent(request, tenant, "1", closed(), TRACE, record) for request, tenant in events]
    return Batch("closed", 0, 1, closes=closes)


def settled(batch: Batch) -> Callable[[Connection], object]:
    return lambda connection: settle_batches(connection, [batch], NOW_MS * 10**6)


async def deadlocks(postgres: Postgres, settings: DatabaseSettings) -> int:
    rows = await postgres.execute(
        f"SELECT deadlocks FROM pg_stat_database WHERE datname = '{settings.name}'"  # noqa: S608
    )
    return int(rows[0][0])


def story(chance: random.Random) -> list[Callable[[Database], Awaitable[object]]]:
    """What both replicas do, in any order: everything comes, some of it to both, and they sweep meanwhile."""
    ids = Ids(HOST.clock, HOST.random)
    requests = [(ids.request(), chance.choice(TENANTS)) for _ in range(REQUESTS)]
    asks = [ask(request, tenant, chance.choice([0, 600_000])) for request, tenant in requests]
    steps: list[Callable[[Database], Awaitable[object]]] = []
    for start in range(0, REQUESTS, BATCH):
        some, those = asks[start : start + BATCH], requests[start : start + BATCH]
        chance.shuffle(those)
        works: list[Callable[[Connection], object]] = [
            lambda connection, some=some: reserve(connection, some),  # type: ignore[misc]
            settled(used(those)),
            settled(ended(sorted(those))),
            lambda connection: expire(connection, NOW_MS + 130_000, NOW_MS * 10**6),
        ]
        for work in works:
            times = 1 + chance.randrange(2)
            steps += [lambda database, work=work: database.transact(work)] * times  # type: ignore[misc]
    return steps


@pytest.mark.parametrize("seed", range(3))
async def test_every_request_is_settled_once_and_nobody_waits_for_each_other(
    postgres: Postgres, settings: DatabaseSettings, billing: list[PostgresDatabase], seed: int
) -> None:
    chance = random.Random(seed)
    steps = story(chance)
    # Shuffled only so far that reserves tend to come first, as they do.
    order = sorted(range(len(steps)), key=lambda place: place + chance.uniform(0, 24))
    await asyncio.gather(*(steps[place](chance.choice(billing)) for place in order))
    late = NOW_MS + 10**7
    await asyncio.gather(
        *(one.transact(lambda connection: expire(connection, late, NOW_MS * 10**6)) for one in billing)
    )
    found = await billing[0].read(lambda connection: verify(connection, ""))
    assert [check.violations for check in found] == [[]] * len(found)
    assert next(check.examined for check in found if check.name == "one settlement a request") == REQUESTS
    assert await deadlocks(postgres, settings) == 0


async def test_a_usage_and_a_close_that_meet_on_two_replicas_settle_at_once(
    billing: list[PostgresDatabase],
) -> None:
    """Not only when the sweeper gives up waiting: one of the two sees the other."""
    ids = Ids(HOST.clock, HOST.random)
    requests = [(ids.request(), TENANTS[0]) for _ in range(60)]
    asks = [ask(request, tenant, 600_000) for request, tenant in requests]
    await billing[0].transact(lambda connection: reserve(connection, asks))
    await asyncio.gather(
        *(
            database.transact(settled(batch([event])))
            for event in requests
            for database, batch in zip(billing, (used, ended), strict=True)
        )
    )
    states = await billing[0].read(
        lambda connection: query(connection, "SELECT state, COUNT(*) FROM requests GROUP BY state")
    )
    assert [tuple(row) for row in states] == [("settled", len(requests))]


async def test_changes_made_by_two_replicas_of_control_have_no_gap(settings: DatabaseSettings) -> None:
    control = await replicas(settings, "control")

    def put(number: int) -> Callable[[Connection], int]:
        value = config.Project(id="web", organisation="acme", name=str(number))
        change = Change("project", "web", value, "operator", "", "acme", NOW_MS * 10**6)
        return lambda connection: repository.put(connection, change, 1)

    versions = await asyncio.gather(*(control[number % 2].transact(put(number)) for number in range(40)))
    assert sorted(versions) == list(range(1, 41))
    epochs = await asyncio.gather(
        *(one.transact(lambda connection: repository.publish_all(connection, 1)) for one in control * 3)
    )
    assert sorted(epochs) == list(range(1, 7))
    facts = await control[0].read(lambda connection: repository.facts_between(connection, 1, 1000))
    assert [ConfigurationChanged.FromString(fact).seq for fact in facts] == list(range(1, 41))
    for database in control:
        await database.close()


async def test_numbers_claimed_from_two_replicas_of_control_are_all_different(
    settings: DatabaseSettings,
) -> None:
    control = await replicas(settings, "control")

    def claim(incarnation: int) -> Callable[[Connection], list[int]]:
        return lambda connection: repository.claim(connection, 1, 4, incarnation, NOW_MS, 60_000, 64)

    claimed = await asyncio.gather(*(control[one % 2].transact(claim(one)) for one in range(1, 17)))
    assert sorted(number for numbers in claimed for number in numbers) == list(range(64))
    for database in control:
        await database.close()
