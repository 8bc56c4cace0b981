"""Bad days of a PostgreSQL server: what was acknowledged stays, nothing comes twice."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection

from shared.storage.database import Conflict, DatabaseError, DatabaseRefused
from shared.storage.postgres import MOST_CONFLICTS, PostgresDatabase, open_postgres
from shared.storage.sql import alone, query
from tests.integration.postgres_world import HOST, Load, Schema, check, cut, execute, numbers, put
from tests.servers.postgres import Postgres


@pytest.fixture
async def schema(postgres: Postgres) -> AsyncIterator[Schema]:
    settings = postgres.settings()
    database = PostgresDatabase(settings, "service", HOST)
    await database.transact(execute("CREATE SCHEMA service"))
    await database.transact(execute("CREATE TABLE numbers (number bigint PRIMARY KEY)"))
    yield Schema(settings, database)
    await database.close()


async def test_a_server_restarted_under_load(
    postgres: Postgres, schema: Schema, caplog: pytest.LogCaptureFixture
) -> None:
    load = Load(schema.database)
    running = asyncio.ensure_future(load.run())
    await load.grown(200)
    await asyncio.to_thread(postgres.stop)
    try:
        begun = HOST.clock.monotonic()
        with pytest.raises(DatabaseError):
            await schema.database.read(numbers)
        assert HOST.clock.monotonic() - begun < 2
    finally:
        await asyncio.to_thread(postgres.start)
    await load.grown(200)
    load.stopping = True
    await running
    assert load.failed
    await check(load, schema.database)
    said = [record.message for record in caplog.records if record.name.startswith("shared.storage")]
    assert (
        sum("until it is back" in line for line in said) == sum("is back" in line[-10:] for line in said) == 1
    )


async def test_a_server_killed_under_load(postgres: Postgres, schema: Schema) -> None:
    load = Load(schema.database)
    running = asyncio.ensure_future(load.run())
    await load.grown(100)
    await asyncio.to_thread(postgres.kill)
    await asyncio.to_thread(postgres.start)
    await load.grown(100)
    load.stopping = True
    await running
    await check(load, schema.database)


async def test_connections_cut_under_load(postgres: Postgres, schema: Schema) -> None:
    load = Load(schema.database)
    running = asyncio.ensure_future(load.run())
    for _ in range(5):
        await load.grown(50)
        await cut(postgres, schema.settings)
    await load.grown(50)
    load.stopping = True
    await running
    await check(load, schema.database)


async def test_a_connection_that_was_cut_while_idle_is_nobodys_concern(
    postgres: Postgres, schema: Schema
) -> None:
    await schema.database.read(numbers)
    await cut(postgres, schema.settings)
    assert await schema.database.transact(put(1)) == 1
    assert await schema.database.read(numbers) == [1]


_LINGERING = "SELECT FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event = 'PgSleep'"


async def test_a_table_that_is_altered_meanwhile_is_nobodys_concern(schema: Schema) -> None:
    def everything(connection: Connection) -> int:
        return len(query(connection, "SELECT * FROM numbers"))

    await schema.database.transact(put(1))
    assert await schema.database.read(everything) == 1
    await schema.database.transact(execute("ALTER TABLE numbers ADD COLUMN more bigint"))
    assert await schema.database.read(everything) == 1


async def test_a_commit_whose_answer_is_lost_is_unknown_and_not_tried_again(
    postgres: Postgres, schema: Schema
) -> None:
    await schema.database.transact(
        execute(
            "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END'"
        )
    )
    await schema.database.transact(
        execute(
            "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON numbers DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION linger()"
        )
    )
    runs = 0

    def work(connection: Connection) -> None:
        nonlocal runs
        runs += 1
        put(1)(connection)

    committing = asyncio.ensure_future(schema.database.transact(work))
    async with asyncio.timeout(20):
        while not await postgres.execute(_LINGERING):  # noqa: ASYNC110 - what is waited for is the server
            await asyncio.sleep(0.01)
    await cut(postgres, schema.settings)
    with pytest.raises(DatabaseError, match="whether its last commit had effect is unknown"):
        await committing
    assert runs == 1


async def test_a_statement_that_takes_too_long_is_a_fault(schema: Schema) -> None:
    database = await schema.reopened(statement_timeout_s=1.0)
    with pytest.raises(DatabaseError, match="statement timeout"):
        await database.transact(execute("SELECT pg_sleep(60)"))
    assert await database.transact(put(1)) == 1
    await database.close()


async def test_a_server_that_hangs_is_given_up(postgres: Postgres, schema: Schema) -> None:
    database = await schema.reopened(statement_timeout_s=2.0, connect_timeout_s=3.0, writers=1)
    await database.transact(put(1))
    leaving = await schema.reopened()
    await leaving.transact(put(0))
    postgres.pause()
    try:
        async with asyncio.timeout(30):
            await leaving.close()
            for _ in range(2):  # a connection that is there, and a new one
                with pytest.raises(DatabaseError, match="does not answer"):
                    await database.transact(put(2))
    finally:
        postgres.proceed()
    async with asyncio.timeout(60):
        while True:
            try:
                await database.transact(put(3))
                break
            except DatabaseError:
                await asyncio.sleep(0.05)
    assert 3 in await database.read(numbers)
    await database.close()


async def test_two_that_wait_for_each_other_both_succeed(schema: Schema) -> None:
    await schema.database.transact(execute("INSERT INTO numbers VALUES (1), (2)"))
    first: dict[int, bool] = {}

    def crossing(one: int, other: int) -> Callable[[Connection], None]:
        def work(connection: Connection) -> None:
            first[one] = True
            query(connection, "UPDATE numbers SET number = number WHERE number = ? RETURNING 1", (one,))
            while other not in first:
                query(connection, "SELECT 1 FROM pg_sleep(0.01)")
            query(connection, "UPDATE numbers SET number = number WHERE number = ? RETURNING 1", (other,))

        return work

    await asyncio.gather(schema.database.transact(crossing(1, 2)), schema.database.transact(crossing(2, 1)))


async def test_a_conflict_without_end_is_told(schema: Schema) -> None:
    runs = 0

    def work(connection: Connection) -> None:
        nonlocal runs
        runs += 1
        put(runs)(connection)
        raise Conflict("taken")

    with pytest.raises(Conflict, match="taken"):
        await schema.database.transact(work)
    assert runs == MOST_CONFLICTS + 1
    assert await schema.database.read(numbers) == []


async def test_who_goes_alone_goes_alone(schema: Schema) -> None:
    other = await schema.reopened()

    def work(connection: Connection) -> None:
        alone(connection, "numbers")
        put(len(numbers(connection)))(connection)

    await asyncio.gather(
        *(database.transact(work) for database in (schema.database, other) for _ in range(20))
    )
    assert await schema.database.read(numbers) == list(range(40))
    await other.close()


async def test_a_failure_that_was_hidden_is_not_taken_for_a_success(schema: Schema) -> None:
    def work(connection: Connection) -> None:
        put(1)(connection)
        with contextlib.suppress(Exception):  # what a careless repository would do
            query(connection, "SELECT nothing")

    with pytest.raises(DatabaseError, match="hidden its failure"):
        await schema.database.transact(work)
    assert await schema.database.read(numbers) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"password": SecretStr("not the secret")}, "password authentication failed"),
        ({"name": "nowhere"}, 'database "nowhere" does not exist'),
        ({}, "the schema billing was not made yet: run `freehold migrate`"),
        ({"tls": True}, "offers no TLS"),
    ],
)
async def test_what_an_operator_must_mend_is_one_line_without_the_secret(
    postgres: Postgres, changes: dict[str, object], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    settings = postgres.settings().model_copy(update=changes)
    with pytest.raises(DatabaseError, match=words) as refused:
        await open_postgres(settings, "billing", HOST)
    assert isinstance(refused.value, DatabaseRefused)
    said = str(refused.value) + caplog.text
    assert "\n" not in str(refused.value)
    assert settings.password.get_secret_value() not in said


async def test_a_server_that_is_not_there_is_said_so(postgres: Postgres) -> None:
    nowhere = postgres.settings().model_copy(update={"port": 1})
    with pytest.raises(DatabaseError, match=r"127\.0\.0\.1:1 cannot be reached") as fault:
        await open_postgres(nowhere, "billing", HOST)
    assert not isinstance(fault.value, DatabaseRefused)
