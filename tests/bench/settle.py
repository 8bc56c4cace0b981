"""Usage events settled a second, exactly once, by batch size; and reserves a second beside them.

    python -m tests.bench.settle [--seconds 2] [--postgres]

A settled event is a request's usage joined with its close: usage row, entry, three lines, budgets, seq
and fact in one transaction on SQLite at `synchronous=FULL`, or on a PostgreSQL of its own with `fsync`;
5 % of the events come twice. Anchor, in the same run and on the same disk: one row of a usage's size by
the driver alone (`executemany`; on PostgreSQL one array), one commit a batch. Prints one JSON object;
`ratio` is ours by the anchor's; `cpu_us` is this process's. After each cell the ledger is verified.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sqlite3
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Protocol

import asyncpg

from services.billing.books.reserving import Ask, reserve
from services.billing.books.settling import Batch, CloseEvent, UsageEvent, settle_batches
from services.billing.books.verify import verify
from services.billing.terms import Size, terms
from shared.bus.ports import Record
from shared.configuration import Configuration
from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.contracts.freehold.edge.v1.events_pb2 import (
    ACCEPTED_YES,
    ClosedAttempt,
    ClosedChoice,
    RequestClosed,
)
from shared.contracts.freehold.inference.v1.events_pb2 import ChoiceUsage, UsageRecorded
from shared.contracts.freehold.platform.v1.outcome_pb2 import TERMINAL_STATE_COMPLETED
from shared.host import Host, system_host
from shared.ids import Ids
from shared.storage.database import Database
from shared.storage.migrations import open_database
from shared.storage.postgres import open_postgres
from shared.storage.postgres_migrations import migrate_postgres
from tests.servers.postgres import Postgres

BATCHES = (1, 16, 100, 500)
TENANTS = 4
REPEATED = 20
"""One event in so many comes again."""
TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CLOSED = RequestClosed(
    model="small",
    state=TERMINAL_STATE_COMPLETED,
    attempts=[
        ClosedAttempt(attempt=1, accepted=ACCEPTED_YES, choices=[ClosedChoice(choice=0, delivered=16)])
    ],
    policy_versions=["base@1+0123456789ab"],
    weights_digest="a" * 64,
    tokenizer_digest="b" * 64,
    template_digest="c" * 64,
    request_hash=bytes(32),
    answer_hash=bytes(32),
    accepted_ns=1_800_000_000_000_000_000,
    closed_ns=1_800_000_000_500_000_000,
).SerializeToString()
USAGE = UsageRecorded(
    attempt=1,
    model="small",
    weights_digest="a" * 64,
    prompt=99,
    choices=[ChoiceUsage(choice=0, generated=16)],
).SerializeToString()


class Clocked:
    """Operations, and the seconds of wall and processor that they took."""

    def __init__(self) -> None:
        self.count, self.wall, self.cpu = 0, 0.0, 0.0

    def figures(self) -> dict[str, float]:
        """Operations a second and microseconds of processor for each, over all threads."""
        return {
            "per_s": round(self.count / self.wall),
            "cpu_us": round(self.cpu / self.count * 1e6, 1),
        }


def configured(tenants: int = TENANTS) -> Configuration:
    """Tenants with a price, and a budget on organisation, project and key."""
    known = Configuration()
    for number in range(tenants):
        organisation = f"org-{number}"
        known.organisations[organisation] = config.Organisation(
            id=organisation, time_zone="Asia/Jakarta", currency="EUR"
        )
        for level, identifier in (
            (config.LEVEL_ORGANISATION, organisation),
            (config.LEVEL_PROJECT, f"{organisation}-p"),
            (config.LEVEL_KEY, f"{organisation}-k"),
        ):
            name = config.Level.Name(level).removeprefix("LEVEL_").lower()
            known.budgets[f"{name}.{identifier}"] = config.Budget(
                level=level, id=identifier, currency="EUR", limit=10**18, period=config.PERIOD_MONTH
            )
    known.prices["small.EUR"] = config.Price(
        model="small", currency="EUR", version="1", prompt=150_000, cached=30_000, output=600_000
    )
    return known


async def cell(store: Store, batch: int, seconds: float) -> dict[str, object]:
    """One batch size: reserve, then settle, until the settling has taken `seconds`."""
    host, chance, known = system_host(), random.Random(7), configured()
    ids = Ids(host.clock, chance)
    database = await store.open(host)
    reserving, settling = Clocked(), Clocked()
    offset = {"usage": 0, "closed": 0}
    while settling.wall < seconds:
        requests = [(ids.request(), f"org-{number % TENANTS}") for number in range(batch)]
        now_ms = host.clock.time_ns() // 1_000_000
        begun, cpu = time.perf_counter(), time.process_time()
        asks = [ask(known, request, tenant, now_ms) for request, tenant in requests]
        await database.transact(partial(reserve, asks=asks))
        ended(reserving, batch, begun, cpu)
        repeated = requests + [one for one in requests if not chance.randrange(REPEATED)]
        begun, cpu = time.perf_counter(), time.process_time()
        await settle(database, usages(repeated, offset, now_ms))
        await settle(database, closes(repeated, offset, now_ms))
        ended(settling, batch, begun, cpu)
    verified = await database.read(lambda connection: verify(connection, ""))
    await database.close()
    if not all(check.passed for check in verified):
        raise SystemExit(f"the ledger does not verify: {verified}")
    if verified[2].examined != settling.count:
        raise SystemExit(f"{settling.count} events made {verified[2].examined} settlements")
    plain = await store.anchor(batch, seconds / 2)
    return {
        "batch": batch,
        "settle": settling.figures(),
        "reserve": reserving.figures(),
        "anchor_rows_per_s": plain,
        "ratio": round(settling.figures()["per_s"] / plain, 3),
        "settlements_verified": verified[2].examined,
    }


def ended(clocked: Clocked, count: int, begun: float, cpu: float) -> None:
    """Add one turn."""
    clocked.count += count
    clocked.wall += time.perf_counter() - begun
    clocked.cpu += time.process_time() - cpu


def ask(known: Configuration, request: str, tenant: str, now_ms: int) -> Ask:
    """One reserve of 99 to 128 prompt tokens and 16 of output."""
    scope = (tenant, f"{tenant}-p", f"{tenant}-k")
    agreed = terms(known, scope, "small", Size(128, 16, 1), now_ms)
    return Ask(request, *scope, "small", "1", None, b"x" * 32, agreed, now_ms, 60_000, TRACE)


async def settle(database: Database, batch: Batch) -> None:
    """One transaction of the service."""
    now_ns = time.time_ns()
    await database.transact(lambda connection: settle_batches(connection, [batch], now_ns))


def usages(events: list[tuple[str, str]], offset: dict[str, int], now_ms: int) -> Batch:
    """Usages as they are read, decoding included."""
    offset["usage"] += len(events)
    batch = Batch("usage", 0, offset["usage"])
    batch.usages = [
        UsageEvent(request, tenant, UsageRecorded.FromString(USAGE), record("usage", USAGE, now_ms))
        for request, tenant in events
    ]
    return batch


def closes(events: list[tuple[str, str]], offset: dict[str, int], now_ms: int) -> Batch:
    """Closes as they are read, decoding included."""
    offset["closed"] += len(events)
    batch = Batch("closed", 0, offset["closed"])
    batch.closes = [
        CloseEvent(
            request, tenant, "1", RequestClosed.FromString(CLOSED), TRACE, record("closed", CLOSED, now_ms)
        )
        for request, tenant in events
    ]
    return batch


def record(topic: str, value: bytes, now_ms: int) -> Record:
    """A record of a topic."""
    return Record(topic, 0, 0, now_ms, None, value, ())


class Store(Protocol):
    """Where the books lie, new for each cell."""

    async def open(self, host: Host) -> Database:
        """Empty books."""

    async def anchor(self, batch: int, seconds: float) -> int:
        """Rows a second of the plainest insert."""


class SqliteStore:
    """A file."""

    def __init__(self, home: Path) -> None:
        self._home = home

    async def open(self, host: Host) -> Database:
        return await open_database(self._home / "billing.db", "billing", host)

    async def anchor(self, batch: int, seconds: float) -> int:
        connection = sqlite3.connect(self._home / "anchor.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, value BLOB)")
        count, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO rows (value) VALUES (?)", [(USAGE,)] * batch)
            connection.execute("COMMIT")
            count += batch
        spent = time.perf_counter() - begun
        connection.close()
        return round(count / spent)


class PostgresStore:
    """A database of a server."""

    def __init__(self, server: Postgres) -> None:
        self._settings = server.settings()

    async def open(self, host: Host) -> Database:
        await asyncio.to_thread(migrate_postgres, self._settings, "billing")
        return await open_postgres(self._settings, "billing", host)

    async def anchor(self, batch: int, seconds: float) -> int:
        chosen = self._settings
        connection = await asyncpg.connect(
            host=chosen.host,
            port=chosen.port,
            user=chosen.user,
            password=chosen.password.get_secret_value(),
            database=chosen.name,
        )
        await connection.execute("CREATE SCHEMA anchor")
        await connection.execute("CREATE TABLE anchor.rows (id BIGSERIAL PRIMARY KEY, value BYTEA)")
        insert = "INSERT INTO anchor.rows (value) SELECT unnest($1::bytea[])"
        count, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            await connection.execute(insert, [USAGE] * batch)
            count += batch
        spent = time.perf_counter() - begun
        await connection.close()
        return round(count / spent)


async def cells(seconds: float, server: Postgres | None) -> list[dict[str, object]]:
    """Every batch size."""
    found: list[dict[str, object]] = []
    for batch in BATCHES:
        with tempfile.TemporaryDirectory() as folder:
            store = PostgresStore(server) if server else SqliteStore(Path(folder))
            found.append(await cell(store, batch, seconds))
    return found


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="Wall time of settling in each cell.")
    parser.add_argument("--postgres", action="store_true", help="On PostgreSQL in place of SQLite.")
    chosen = parser.parse_args()
    server = Postgres() if chosen.postgres else None
    try:
        if server:
            server.start()
        found = asyncio.run(cells(chosen.seconds, server))
    finally:
        if server:
            server.remove()
    name = "postgres" if server else "sqlite"
    print(json.dumps({"bench": "settle", "database": name, "tenants": TENANTS, "cells": found}, indent=1))


if __name__ == "__main__":
    main()
