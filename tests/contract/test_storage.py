"""What every `Database` promises: one suite for both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    insert,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError

from shared.host import system_host
from shared.storage.database import Database, DatabaseError
from tests.contract.storage_world import Storage

metadata = MetaData()
accounts = Table(
    "accounts",
    metadata,
    Column("name", String, primary_key=True),
    Column("amount", Integer, CheckConstraint("amount >= 0", name="not_negative"), nullable=False),
)


Open = Callable[[], Awaitable[Database]]


@pytest.fixture
def reopen(storage: Storage) -> Open:
    return lambda: storage.open(metadata, system_host())


@pytest.fixture
async def database(reopen: Open) -> AsyncIterator[Database]:
    opened = await reopen()
    yield opened
    await opened.close()


def add(name: str, amount: int) -> Callable[[Connection], str]:
    def work(connection: Connection) -> str:
        connection.execute(insert(accounts).values(name=name, amount=amount))
        return name

    return work


def amounts(connection: Connection) -> dict[str, int]:
    return {row.name: row.amount for row in connection.execute(select(accounts))}


async def test_a_transaction_returns_its_result_and_is_seen_by_reads(database: Database) -> None:
    assert await database.transact(add("a", 1)) == "a"
    assert await database.read(amounts) == {"a": 1}


async def test_a_committed_transaction_outlives_the_database_object(reopen: Open) -> None:
    first = await reopen()
    await first.transact(add("a", 1))
    second = await reopen()  # the first was never closed, as after a kill
    assert await second.read(amounts) == {"a": 1}
    await first.close()
    await second.close()


async def test_an_own_error_rolls_back_its_own_effects_only(database: Database) -> None:
    def broken(connection: Connection) -> None:
        add("b", 2)(connection)
        raise LookupError("no such thing")

    results = await asyncio.gather(
        database.transact(add("a", 1)),
        database.transact(broken),
        database.transact(add("c", 3)),
        return_exceptions=True,
    )
    assert results[0] == "a"
    assert isinstance(results[1], LookupError)
    assert results[2] == "c"
    assert await database.read(amounts) == {"a": 1, "c": 3}


async def test_a_violated_constraint_is_the_callers_own_error(database: Database) -> None:
    await database.transact(add("a", 1))
    with pytest.raises(IntegrityError):
        await database.transact(add("a", 1))
    with pytest.raises(IntegrityError):
        await database.transact(add("negative", -1))


async def test_a_wrong_statement_is_the_callers_own_error(database: Database) -> None:
    with pytest.raises(DBAPIError):
        await database.transact(lambda connection: connection.exec_driver_sql("SELECT * FROM nowhere").all())


async def test_concurrent_transactions_each_see_the_one_before(database: Database) -> None:
    await database.transact(add("a", 0))

    def increment(connection: Connection) -> int:
        connection.execute(update(accounts).values(amount=accounts.c.amount + 1))
        return int(connection.execute(select(accounts.c.amount)).scalar_one())

    found = await asyncio.gather(*(database.transact(increment) for _ in range(200)))
    assert sorted(found) == list(range(1, 201))


async def test_a_conditional_update_is_never_overrun(database: Database) -> None:
    await database.transact(add("budget", 10))

    def take(connection: Connection) -> bool:
        changed = connection.execute(
            update(accounts).where(accounts.c.amount >= 1).values(amount=accounts.c.amount - 1)
        )
        return changed.rowcount == 1

    taken = await asyncio.gather(*(database.transact(take) for _ in range(100)))
    assert sum(taken) == 10
    assert await database.read(amounts) == {"budget": 0}


async def test_a_read_must_not_write(database: Database) -> None:
    with pytest.raises(DBAPIError):
        await database.read(add("a", 1))
    assert await database.read(amounts) == {}


async def test_a_cancelled_wait_does_not_disturb_the_others(database: Database) -> None:
    given_up = asyncio.ensure_future(database.transact(add("a", 1)))
    kept = asyncio.ensure_future(database.transact(add("b", 2)))
    await asyncio.sleep(0)
    given_up.cancel()
    assert await kept == "b"
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert (await database.read(amounts))["b"] == 2


async def test_close_finishes_what_was_queued_and_refuses_more(reopen: Open) -> None:
    database = await reopen()
    queued = [asyncio.ensure_future(database.transact(add(str(number), number))) for number in range(20)]
    await asyncio.sleep(0)
    await database.close()
    await database.close()
    assert [future.result() for future in queued] == [str(number) for number in range(20)]
    with pytest.raises(DatabaseError):
        await database.transact(add("late", 1))
