"""Schemas of either database, as a migration makes them."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Protocol

from sqlalchemy import MetaData, inspect

from shared.host import system_host
from shared.storage.migrations import drift, migrate, version_table
from shared.storage.postgres import PostgresDatabase
from shared.storage.postgres_migrations import drift_postgres, migrate_postgres
from shared.storage.settings import DatabaseSettings


class Schema(Protocol):
    """The schema of one service."""

    def migrate(self, service: str, down_to: str = "", folder: Path | None = None) -> None:
        """Forward to the newest revision, or back."""

    def tables(self, service: str) -> list[str]:
        """Its tables, but that of the revision."""

    def drift(self, service: str, metadata: MetaData) -> list[str]:
        """How it differs from what the code declares."""


class SqliteSchema:
    """Of a file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "service.db"

    def migrate(self, service: str, down_to: str = "", folder: Path | None = None) -> None:
        migrate(self._path, service, folder, down_to)

    def tables(self, service: str) -> list[str]:
        statement = (
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN (?, 'sqlite_sequence')"
        )
        with closing(sqlite3.connect(self._path)) as connection:
            return [name for (name,) in connection.execute(statement, (version_table(service),))]

    def drift(self, service: str, metadata: MetaData) -> list[str]:
        return drift(self._path, service, metadata)


class PostgresSchema:
    """Of a database."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings

    def migrate(self, service: str, down_to: str = "", folder: Path | None = None) -> None:
        migrate_postgres(self._settings, service, folder, down_to)

    def tables(self, service: str) -> list[str]:
        async def read(connection_settings: DatabaseSettings) -> list[str]:
            database = PostgresDatabase(connection_settings, service, system_host())
            try:
                return await database.read(lambda connection: inspect(connection).get_table_names())
            finally:
                await database.close()

        return [name for name in asyncio.run(read(self._settings)) if name != version_table(service)]

    def drift(self, service: str, metadata: MetaData) -> list[str]:
        migrate_postgres(self._settings, service)
        return drift_postgres(self._settings, service, metadata)
