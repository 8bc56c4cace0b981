"""Where a service's durable state lies: in files of its home, or in PostgreSQL."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shared.host import Host
from shared.storage.database import Database
from shared.storage.migrations import open_database
from shared.storage.postgres import open_postgres
from shared.storage.postgres_migrations import migrate_postgres
from shared.storage.settings import DatabaseSettings
from tests.servers.postgres import Postgres

SERVERS: dict[Path, Postgres] = {}
"""Folders whose homes have a database on a server, each one of its own."""
_made: dict[Path, DatabaseSettings] = {}


async def open_store(home: Path, service: str, host: Host) -> Database:
    """The service's database of this home, the same at each call, at the newest revision."""
    server = next((SERVERS[folder] for folder in (home, *home.parents) if folder in SERVERS), None)
    if server is None:
        return await open_database(home / f"{service}.db", service, host)
    if home not in _made:
        _made[home] = server.settings()
    await asyncio.to_thread(migrate_postgres, _made[home], service)
    return await open_postgres(_made[home], service, host)
