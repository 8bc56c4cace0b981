"""A budget cannot be overspent, however many connections race for it: promise 4, on PostgreSQL."""

from __future__ import annotations

import asyncio

import pytest

from services.billing.books.reserving import Ask, reserve
from services.billing.books.rows import RESERVED, RequestRow
from services.billing.books.settling import Batch, CloseEvent, UsageEvent, settle_batches
from services.billing.books.verify import verify
from services.billing.terms import Terms, terms
from shared.bus.ports import Record
from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.host import system_host
from shared.ids import Ids
from shared.storage.database import Database
from shared.storage.postgres import PostgresDatabase
from shared.storage.postgres_migrations import migrate_postgres
from shared.storage.settings import DatabaseSettings
from tests.servers.postgres import Postgres
from tests.unit.billing.world import KEY, MODEL, ORGANISATION, PROJECT, SIZE, TRACE, budget, closed, usage
from tests.unit.billing.world import configured as configuration

RACERS = 200
PASS = 10
HOST = system_host()
NOW_MS = HOST.clock.time_ns() // 1_000_000
SCOPE = (ORGANISATION, PROJECT, KEY)


def worst() -> int:
    agreed = terms(configuration(), SCOPE, MODEL, SIZE, NOW_MS)
    assert isinstance(agreed, Terms)
    return agreed.amount


def ask(request: str, key: str | None = None) -> Ask:
    """Against three budgets, each with money for ten."""
    limits = [
        budget(PASS * worst(), level, name)
        for level, name in (
            (config.LEVEL_ORGANISATION, ORGANISATION),
            (config.LEVEL_PROJECT, PROJECT),
            (config.LEVEL_KEY, KEY),
        )
    ]
    agreed = terms(configuration(*limits), SCOPE, MODEL, SIZE, NOW_MS)
    return Ask(request, *SCOPE, MODEL, "1", key, b"body", agreed, NOW_MS, 60_000, TRACE)


def asked(database: Database, *asks: Ask) -> asyncio.Future[list[RequestRow]]:
    return asyncio.ensure_future(database.transact(lambda connection: reserve(connection, asks)))


async def racers(settings: DatabaseSettings, count: int) -> list[PostgresDatabase]:
    """Each with a connection of its own, that is there before the race begins."""
    await asyncio.to_thread(migrate_postgres, settings, "billing")
    one = settings.model_copy(update={"writers": 1, "readers": 1, "connect_timeout_s": 30.0})
    opened: list[PostgresDatabase] = []
    for _ in range(count // 20):
        some = [PostgresDatabase(one, "billing", HOST) for _ in range(20)]
        await asyncio.gather(
            *(
                database.transact(lambda connection: connection.exec_driver_sql("SELECT 1"))
                for database in some
            )
        )
        opened += some
    return opened


async def settle(database: Database, row: RequestRow) -> None:
    record = Record("usage", 0, 0, NOW_MS, None, usage().SerializeToString(), ())
    used = Batch("usage", 0, 1, [UsageEvent(row.request, ORGANISATION, usage(), record)])
    event = closed()
    record = Record("closed", 0, 0, NOW_MS, None, event.SerializeToString(), ())
    ended = Batch("closed", 0, 1, closes=[CloseEvent(row.request, ORGANISATION, "1", event, TRACE, record)])
    for batch in (used, ended):
        await database.transact(
            lambda connection, batch=batch: settle_batches(connection, [batch], NOW_MS * 10**6)
        )


async def verified(database: Database) -> None:
    found = await database.read(lambda connection: verify(connection, ""))
    assert [check.violations for check in found] == [[]] * len(found)
    assert found[1].name == "debits equal credits"


async def amounts(database: Database) -> list[tuple[int, int]]:
    return await database.read(
        lambda connection: [
            (row.spent, row.reserved)
            for row in connection.exec_driver_sql("SELECT spent, reserved FROM budgets")
        ]
    )


@pytest.mark.attack(23)
async def test_of_two_hundred_racing_connections_ten_reserve_and_nothing_is_overspent(
    postgres: Postgres,
) -> None:
    ids = Ids(HOST.clock, HOST.random)
    settings = postgres.settings()
    opened = await racers(settings, RACERS)
    try:
        connected = await postgres.execute(
            f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{settings.name}'"  # noqa: S608
        )
        assert connected[0][0] >= RACERS
        found = await asyncio.gather(*(asked(database, ask(ids.request())) for database in opened))
        rows = [row for (row,) in found]
        passed = [row for row in rows if row.state == RESERVED]
        assert len(passed) == PASS
        assert {row.refusal for row in rows if row.state != RESERVED} == {"BUDGET"}
        assert await amounts(opened[0]) == [(0, PASS * worst())] * 3
        await verified(opened[0])
        await asyncio.gather(*(settle(database, row) for database, row in zip(opened, passed, strict=False)))
        ((spent, reserved), *others) = await amounts(opened[0])
        assert (reserved, others) == (0, [(spent, 0)] * 2)
        assert 0 < spent <= PASS * worst()
        await verified(opened[0])
    finally:
        await asyncio.gather(*(database.close() for database in opened))


async def test_one_request_asked_for_by_many_has_one_reservation(postgres: Postgres) -> None:
    request = Ids(HOST.clock, HOST.random).request()
    opened = await racers(postgres.settings(), 20)
    try:
        found = await asyncio.gather(*(asked(database, ask(request)) for database in opened))
        assert {(row.request, row.state) for (row,) in found} == {(request, RESERVED)}
        assert await amounts(opened[0]) == [(0, worst())] * 3
    finally:
        await asyncio.gather(*(database.close() for database in opened))


@pytest.mark.attack(26)
async def test_an_idempotency_key_has_one_holder(postgres: Postgres) -> None:
    ids = Ids(HOST.clock, HOST.random)
    opened = await racers(postgres.settings(), 20)
    try:
        found = await asyncio.gather(*(asked(database, ask(ids.request(), "key")) for database in opened))
        (holder,) = [row.request for (row,) in found if row.state == RESERVED]
        others = [row for (row,) in found if row.state != RESERVED]
        assert {(row.refusal, row.first_request) for row in others} == {("REPEATED", holder)}
        assert await amounts(opened[0]) == [(0, worst())] * 3
    finally:
        await asyncio.gather(*(database.close() for database in opened))
