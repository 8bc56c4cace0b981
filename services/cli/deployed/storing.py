"""The database of a service that has one. Apart, as only these services' images carry a driver."""

from __future__ import annotations

from services.cli.deployed.given import Given
from shared.storage.database import Database
from shared.storage.postgres import open_postgres
from shared.storage.settings import DatabaseSettings


async def open_database(given: Given, service: str) -> Database:
    """The service's own schema; waits while the server cannot be reached. Raises `DatabaseRefused`."""
    settings, host = DatabaseSettings(), given.platform.host
    return await given.until("PostgreSQL", lambda: open_postgres(settings, service, host))
