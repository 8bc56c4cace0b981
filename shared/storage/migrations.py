"""Alembic migrations, run by the process itself before its database is used.

The revisions of a service lie in `services/<service>/migrations/`; the environment is shared. Every
service has a version table of its own, so several may live in one PostgreSQL database. A run is one
transaction: a process killed in its midst leaves the old schema, whole.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import URL, CheckConstraint, Connection, Engine, MetaData, create_engine, event, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from shared.host import Host
from shared.storage.database import Database, DatabaseError
from shared.storage.sqlite import SqliteDatabase
from shared.storage.sqlite_connection import BUSY_TIMEOUT_S, Synchronous, fault

ROOT = Path(__file__).resolve().parents[2]

one_at_a_time = threading.Lock()
"""Alembic keeps the running environment in module state."""


async def open_database(path: Path, service: str, host: Host, synchronous: Synchronous = "FULL") -> Database:
    """Migrate the service's SQLite file to the newest schema and open it. Raises `DatabaseError`."""
    executor = host.executor(f"{service}-migrate")
    try:
        await executor.run(host.files.make_folder, path.parent)
        await executor.run(migrate, path, service)
    except OSError as error:
        raise DatabaseError(f"{path.parent}: {error.strerror or error}") from error
    finally:
        executor.close()
    return SqliteDatabase(path, host, synchronous)


def migrate(path: Path, service: str, folder: Path | None = None, down_to: str = "") -> None:
    """Bring the file at `path` to the service's newest revision, or back to `down_to` (`base` = nothing);
    blocks. `folder` holds the revisions where they are not in the service's own. Raises `DatabaseError`,
    also where the file was written by a newer version of the service.
    """
    engine = _engine(path)
    try:
        with one_at_a_time, engine.begin() as connection:
            move(connection, service, folder, down_to)
    except CommandError as error:
        raise DatabaseError(f"{path}: cannot be migrated by this version of {service}: {error}") from error
    except (DBAPIError, sqlite3.Error) as error:
        raise fault(path, error) or DatabaseError(f"{path}: migration failed: {error}") from error
    finally:
        engine.dispose()


def drift(path: Path, service: str, metadata: MetaData, folder: Path | None = None) -> list[str]:
    """How the migrated schema at `path` differs from `metadata`; empty where they agree. For tests."""
    migrate(path, service, folder)
    engine = _engine(path)
    try:
        with engine.begin() as connection:
            return differences(connection, service, metadata)
    finally:
        engine.dispose()


def revise(path: Path, service: str, metadata: MetaData, message: str) -> None:
    """Write a new revision that turns the migrated schema at `path` into `metadata`, for review by hand."""
    migrate(path, service)
    engine = _engine(path)
    try:
        with one_at_a_time, engine.begin() as connection:
            config = alembic_config(connection, service, None, metadata)
            command.revision(config, message=message, autogenerate=True)
    finally:
        engine.dispose()


def move(connection: Connection, service: str, folder: Path | None, down_to: str) -> None:
    """Run the migrations in the open transaction. Raises what Alembic raises."""
    config = alembic_config(connection, service, folder, MetaData())
    if down_to:
        command.downgrade(config, down_to)
    else:
        command.upgrade(config, "head")


def version_table(service: str) -> str:
    """Name of the table that holds the service's current revision."""
    return f"{service}_schema_version"


def differences(connection: Connection, service: str, metadata: MetaData) -> list[str]:
    """How the schema of a connection differs from `metadata`."""
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "version_table": version_table(service)}
    )
    found = [str(difference) for difference in compare_metadata(context, metadata)]
    return found + _check_drift(connection, metadata)


def _check_drift(connection: Connection, metadata: MetaData) -> list[str]:
    """Alembic does not compare CHECK constraints; here their names must agree."""
    inspector = inspect(connection)
    found: list[str] = []
    for table in metadata.sorted_tables:
        if not inspector.has_table(table.name):
            continue  # said already by Alembic
        owners = (table, *table.columns)
        checks = (item for owner in owners for item in owner.constraints if isinstance(item, CheckConstraint))
        wanted = {str(check.name) for check in checks}
        present = {str(check["name"]) for check in inspector.get_check_constraints(table.name)}
        found += [f"{table.name}: check {name} differs" for name in sorted(wanted ^ present)]
    return found


def alembic_config(connection: Connection, service: str, folder: Path | None, metadata: MetaData) -> Config:
    """What Alembic needs to know to work on an open transaction."""
    revisions = folder or ROOT / "services" / service / "migrations"
    config = Config()
    config.set_main_option("script_location", _option(ROOT / "shared" / "storage" / "alembic"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", _option(revisions))
    config.attributes.update(connection=connection, metadata=metadata, version_table=version_table(service))
    return config


def _option(path: Path) -> str:
    return str(path).replace("%", "%%")


def _engine(path: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path)),
        poolclass=NullPool,
        connect_args={"timeout": BUSY_TIMEOUT_S},
    )

    # The driver opens transactions only before some statements, never before DDL: take that over.
    @event.listens_for(engine, "connect")
    def _manual(raw: sqlite3.Connection, record: Any) -> None:
        del record
        raw.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
