"""Migrations on PostgreSQL: run by one command, checked by every process that opens a schema.

A run is one transaction, behind a lock that no second migrator of the same schema passes: killed in its
midst it leaves the old schema, whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData
from sqlalchemy.exc import DBAPIError

from shared.storage.database import DatabaseError, DatabaseRefused
from shared.storage.migrations import alembic_config, differences, move, one_at_a_time, version_table
from shared.storage.postgres_connection import Link, dial, engine, first_line
from shared.storage.settings import DatabaseSettings
from shared.storage.sql import query

T = TypeVar("T")


class Migrated(NamedTuple):
    """Revisions of a schema before and after; empty = it had or has none."""

    before: str
    after: str


def migrate_postgres(
    settings: DatabaseSettings, service: str, folder: Path | None = None, down_to: str = ""
) -> Migrated:
    """Make the service's schema where it is missing and bring it to the newest revision, or back to
    `down_to` (`base` = nothing); blocks, and waits for another migrator of the same schema.

    Raises `DatabaseRefused` where the schema was made by a newer version, `DatabaseError`.
    """

    def work(connection: Connection) -> Migrated:
        with one_at_a_time:
            before = _revision(connection, service)
            move(connection, service, folder, down_to)
            return Migrated(before, _revision(connection, service))

    async def both(link: Link) -> Migrated:
        await _alone(link, service, lambda connection: _make_schema(connection, service))
        return await _alone(link, service, work)

    return asyncio.run(_connected(settings, service, both))


def drift_postgres(settings: DatabaseSettings, service: str, metadata: MetaData) -> list[str]:
    """How the schema differs from `metadata`; empty where they agree. For tests; blocks."""
    return asyncio.run(
        _connected(
            settings,
            service,
            lambda link: _alone(link, service, lambda connection: differences(connection, service, metadata)),
        )
    )


def check_revision(connection: Connection, service: str) -> None:
    """Raises `DatabaseRefused` unless the schema is at this version's own revision."""
    script = ScriptDirectory.from_config(alembic_config(connection, service, None, MetaData()))
    found, wanted = _revision(connection, service), script.get_current_head()
    if found == wanted:
        return
    if not found:
        raise DatabaseRefused(f"the schema {service} was not made yet: run `freehold migrate`")
    if found in {item.revision for item in script.walk_revisions()}:
        raise DatabaseRefused(
            f"the schema {service} is at revision {found}, older than {wanted}: run `freehold migrate`"
        )
    raise DatabaseRefused(
        f"the schema {service} is at revision {found}, which a newer version of Freehold made"
    )


async def _connected(settings: DatabaseSettings, service: str, use: Callable[[Link], Awaitable[T]]) -> T:
    """Use one connection, whose statements may take for ever."""
    name = f"PostgreSQL at {settings.host}:{settings.port}"
    made = engine(settings, service, None)
    try:
        link = await dial(made, settings, name)
        try:
            return await use(link)
        finally:
            await link.close()
    except CommandError as error:
        words = f"the schema {service} cannot be migrated by this version of it: {error}"
        raise DatabaseRefused(words) from error
    except (DBAPIError, OSError) as error:
        raise DatabaseError(f"{name}: migration of {service} failed: {first_line(error)}") from error
    finally:
        await made.dispose()


async def _alone(link: Link, service: str, work: Callable[[Connection], T]) -> T:
    await link.execute("BEGIN")
    try:
        await link.run(lambda connection: _wait(connection, service))
        result = await link.run(work)
    except BaseException:
        await link.drop()
        raise
    await link.execute("COMMIT")
    return result


def _wait(connection: Connection, service: str) -> None:
    query(
        connection,
        "SELECT 1 FROM pg_advisory_xact_lock(hashtextextended(?, 0))",
        (f"freehold/migrate/{service}",),
    )


def _make_schema(connection: Connection, service: str) -> None:
    """Asked first: to be allowed to make one is more than many roles have."""
    if not query(connection, "SELECT 1 FROM pg_namespace WHERE nspname = ?", (service,)):
        connection.exec_driver_sql(f'CREATE SCHEMA "{service}"')


def _revision(connection: Connection, service: str) -> str:
    table = version_table(service)
    if not query(connection, "SELECT 1 WHERE to_regclass(?) IS NOT NULL", (table,)):
        return ""
    rows = query(connection, f"SELECT version_num FROM {table}")  # noqa: S608
    return str(rows[0][0]) if rows else ""
