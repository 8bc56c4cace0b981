"""The databases that the storage's contract is held to."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, MetaData

from shared.host import Host
from shared.storage.database import Database
from shared.storage.postgres import PostgresDatabase
from shared.storage.settings import DatabaseSettings
from shared.storage.sqlite import SqliteDatabase


class Storage(Protocol):
    """Opens the same database each time."""

    async def open(self, metadata: MetaData, host: Host) -> Database:
        """Its tables are made where they are missing."""


class Sqlite:
    """A file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "deep" / "service.db"

    async def open(self, metadata: MetaData, host: Host) -> Database:
        database = SqliteDatabase(self._path, host)
        await database.transact(metadata.create_all)
        return database


class Postgres:
    """A schema of a database of its own."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings

    async def open(self, metadata: MetaData, host: Host) -> Database:
        def make(connection: Connection) -> None:
            connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS service")
            metadata.create_all(connection)

        database = PostgresDatabase(self._settings, "service", host)
        await database.transact(make)
        return database
