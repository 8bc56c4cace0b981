"""Two services' books of some size on one of the two databases: loaded in bulk, opened as a service does."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Protocol

import asyncpg
from sqlalchemy import Connection

from services.audit import repository
from services.audit.log import Log
from services.audit.site import Site
from services.audit.tlog.note import Signer
from shared.host import Host, system_host
from shared.storage.database import Database
from shared.storage.migrations import migrate, open_database
from shared.storage.postgres import open_postgres
from shared.storage.postgres_migrations import migrate_postgres
from shared.storage.sql import query
from tests.bench.growth import rows
from tests.servers.postgres import Postgres

TABLES = {
    "billing": ("budgets", "requests", "usages", "entries", "lines", "facts", "counters"),
    "audit": ("leaves", "streams", "tiles"),
}
SIGNER = Signer("growth", bytes(32))


class Counts(dict[str, int]):
    """Counters of one moment."""

    def since(self, before: Counts) -> Counts:
        """What was counted between."""
        return Counts({name: value - before[name] for name, value in self.items()})


class Store(Protocol):
    """Books of one size."""

    size: int
    billing: Database
    log: Log

    async def open(self) -> None:
        """Load and open them."""

    def cpu_ns(self) -> int:
        """Processor time of this process and of its server connections."""

    async def counted(self) -> Counts:
        """What the database has read and written."""

    async def close(self) -> None:
        """Let go of them."""


def content(table: str, count: int) -> Iterable[rows.Rows]:
    """A table's rows, in bulks."""
    if table == "tiles":
        yield from rows.batched(rows.Tiles(count).rows(), 1024)
    elif table in ("budgets", "counters", "streams"):
        yield getattr(rows, table)(count)
    elif table == "entries":
        yield from (rows.entries(numbers, count) for numbers in rows.chunks(count))
    else:
        yield from (getattr(rows, table)(numbers) for numbers in rows.chunks(count))


async def opened_log(database: Database, folder: Path, host: Host, count: int) -> Log:
    """The log over loaded leaves: its head is stored and shown, as if it had signed the last one."""

    def work(connection: Connection) -> str:
        repository.make_head(connection)
        note = rows.checkpoint(repository.tile_reader(connection), SIGNER, count)
        repository.store_checkpoint(connection, note)
        connection.exec_driver_sql(f"UPDATE head SET size = {count}")  # noqa: S608
        return note

    site = Site(host.files, folder)
    site.show(await database.transact(work))
    log = Log(database, site, host.executor("audit"), SIGNER, host.clock)
    await log.open()
    return log


class PostgresStore:
    """A database of a server, with one writing connection a service."""

    def __init__(self, server: Postgres, folder: Path, size: int) -> None:
        self.size = size
        self._server = server
        self._folder = folder / f"log-{size}"
        self._settings = server.settings().model_copy(update={"writers": 1, "readers": 1})
        self._backends: list[int] = []

    async def open(self) -> None:
        """See `Store`."""
        host = system_host()
        for service in TABLES:
            await asyncio.to_thread(migrate_postgres, self._settings, service)
            await self._load(service)
        self.billing: Database = await open_postgres(self._settings, "billing", host)
        self._audit = await open_postgres(self._settings, "audit", host)
        self.log = await opened_log(self._audit, self._folder, host, self.size)
        await self.billing.transact(lambda connection: query(connection, "SELECT 1"))
        found = await self._server.execute(
            f"SELECT pid FROM pg_stat_activity WHERE datname = '{self._settings.name}'"  # noqa: S608
        )
        self._backends = [row["pid"] for row in found]

    def cpu_ns(self) -> int:
        """See `Store`."""
        return time.process_time_ns() + sum(map(_run_ns, self._backends))

    async def counted(self) -> Counts:
        """Pages looked at (in the server's memory or not), bytes of write-ahead log."""
        for database in (self.billing, self._audit):
            await database.transact(
                lambda connection: query(connection, "SELECT CAST(pg_stat_force_next_flush() AS TEXT)")
            )
        name = self._settings.name
        (row,) = await self._server.execute(
            "SELECT blks_hit + blks_read AS pages, pg_current_wal_lsn() - '0/0'::pg_lsn AS wal"  # noqa: S608
            f" FROM pg_stat_database WHERE datname = '{name}'"
        )
        return Counts(pages=int(row["pages"]), log_bytes=int(row["wal"]))

    async def close(self) -> None:
        """See `Store`."""
        await self.billing.close()
        await self._audit.close()

    async def _load(self, service: str) -> None:
        chosen = self._settings
        connection = await asyncpg.connect(
            host=chosen.host,
            port=chosen.port,
            user=chosen.user,
            password=chosen.password.get_secret_value(),
            database=chosen.name,
            server_settings={"search_path": service, "synchronous_commit": "off"},
        )
        indexes = await connection.fetch(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = $1"
            " AND indexname NOT IN (SELECT conname FROM pg_constraint)",
            service,
        )
        for name, _ in indexes:
            await connection.execute(f'DROP INDEX "{name}"')
        for table in TABLES[service]:
            for some in content(table, self.size):
                await connection.copy_records_to_table(table, records=some)
        for _, definition in indexes:
            await connection.execute(definition)
        if service == "billing":
            await connection.execute("DELETE FROM counters WHERE name = 'entry'")
            await connection.execute(f"SELECT setval('entry_numbers', {self.size})")
        for table in TABLES[service]:
            await connection.execute(f"VACUUM (ANALYZE) {table}")
        await connection.close()


class SqliteStore:
    """Two files."""

    def __init__(self, folder: Path, size: int) -> None:
        self.size = size
        self._folder = folder / f"sqlite-{size}"

    async def open(self) -> None:
        """See `Store`."""
        host = system_host()
        self._folder.mkdir()
        for service in TABLES:
            await asyncio.to_thread(self._load, service)
        self.billing: Database = await open_database(self._path("billing"), "billing", host)
        self._audit = await open_database(self._path("audit"), "audit", host)
        self.log = await opened_log(self._audit, self._folder / "log", host, self.size)

    def cpu_ns(self) -> int:
        """See `Store`."""
        return time.process_time_ns()

    async def counted(self) -> Counts:
        """Bytes that this process has read and written, from the system's cache or not."""
        text = await asyncio.to_thread(Path("/proc/self/io").read_text)
        found = dict(line.split(": ") for line in text.splitlines())
        return Counts(pages=int(found["rchar"]) // 4096, log_bytes=int(found["wchar"]))

    async def close(self) -> None:
        """See `Store`."""
        await self.billing.close()
        await self._audit.close()

    def _path(self, service: str) -> Path:
        return self._folder / f"{service}.db"

    def _load(self, service: str) -> None:
        path = self._path(service)
        migrate(path, service)
        connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-200000"):
            connection.execute(f"PRAGMA {pragma}")
        made = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        indexes = connection.execute(made).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")
        for table in TABLES[service]:
            width = len(connection.execute(f"PRAGMA table_info({table})").fetchall())
            insert = f"INSERT INTO {table} VALUES ({', '.join('?' * width)})"  # noqa: S608
            for some in content(table, self.size):
                connection.execute("BEGIN")
                connection.executemany(insert, some)
                connection.execute("COMMIT")
        for _, definition in indexes:
            connection.execute(definition)
        connection.close()
        os.sync()


def _run_ns(pid: int) -> int:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


async def plans(store: Store, statements: Iterable[str]) -> list[str]:
    """Which of the statements on a request's path would read a table whole."""
    found: list[str] = []
    for statement in statements:
        found += await store.billing.transact(partial(_whole, statement=statement))
    return found


def _whole(connection: Connection, statement: str) -> list[str]:
    nothing = ", ".join(["NULL"] * (statement.count("?") + statement.count("$")))
    if connection.dialect.name == "sqlite":
        if "unnest" in statement:
            return []  # for the other database
        parameters = (None,) * statement.count("?")
        steps = [str(row[3]) for row in query(connection, f"EXPLAIN QUERY PLAN {statement}", parameters)]
        return [step for step in steps if step.startswith("SCAN") and "json_each" not in step]
    query(connection, "SET LOCAL plan_cache_mode = force_generic_plan")
    query(connection, f"PREPARE planned AS {statement}")
    steps = [row[0] for row in query(connection, f"EXPLAIN EXECUTE planned({nothing})")]
    query(connection, "DEALLOCATE planned")
    return [step for step in steps if "Seq Scan" in step]
