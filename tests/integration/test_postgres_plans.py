"""What lies on a request's path finds its rows by an index, also while the tables are small."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Connection

from services.billing.books import booking, expiry, reports, reserving, rows
from shared.host import system_host
from shared.storage.database import Database
from shared.storage.postgres import open_postgres
from shared.storage.postgres_migrations import migrate_postgres
from shared.storage.sql import change, query
from tests.servers.postgres import Postgres

STATEMENTS = {
    "requests": (rows._LOCKED, "requests_pkey"),
    "requests that are there": (rows._COUNTED, "requests_pkey"),
    "holders of idempotency keys": (
        "SELECT * FROM requests WHERE idempotency = ANY(?)",
        "requests_idempotent",
    ),
    "usages": ("SELECT request, attempt, value FROM usages WHERE request = ANY(?)", "usages_pkey"),
    "budgets": (reserving._USED, "budgets_pkey"),
    "a reservation": (reserving._RESERVE.arrays, "budgets_pkey"),
    "counters": (booking._LAST, "counters_pkey"),
    "what is spent": (booking._SPEND, "budgets_pkey"),
    "requests without owner": (expiry._over(expiry._OPEN + "expires_ms < ?"), "requests_open"),
    "requests that wait": (expiry._over(expiry._WAITING + "settle_by_ms < ?"), "requests_waiting"),
    "entries of an organisation": (reports._OF_ORGANISATION, "entries_by_organisation"),
    "entries of a request": (reports._OF_REQUEST, "entries_once"),
    "facts": ("SELECT * FROM facts WHERE organisation = ? AND seq >= ? AND seq <= ?", "facts_pkey"),
    "an end of requests": (booking._SETTLE.arrays, "requests_pkey"),
}


@pytest.fixture
async def billing(postgres: Postgres) -> AsyncIterator[Database]:
    settings = postgres.settings()
    await asyncio.to_thread(migrate_postgres, settings, "billing")
    database = await open_postgres(settings, "billing", system_host())
    yield database
    await database.close()


async def test_statements_go_by_index(billing: Database) -> None:
    def plan(connection: Connection, statement: str) -> str:
        nothing = ", ".join(["NULL"] * (statement.count("?") + statement.count("$")))
        change(connection, "SET LOCAL plan_cache_mode = force_generic_plan", ())
        change(connection, f"PREPARE planned AS {statement}", ())
        found = query(connection, f"EXPLAIN EXECUTE planned({nothing})")
        change(connection, "DEALLOCATE planned", ())
        return "\n".join(row[0] for row in found)

    for what, (statement, index) in STATEMENTS.items():
        found = await billing.transact(lambda connection, statement=statement: plan(connection, statement))
        assert index in found, f"{what}: {found}"
        assert "Seq Scan" not in found, f"{what}: {found}"
