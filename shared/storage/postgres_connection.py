"""How a connection to PostgreSQL is made, and which of its errors are faults of the database."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from shared.host import Host
from shared.storage.database import Conflict, DatabaseError, DatabaseRefused
from shared.storage.settings import DatabaseSettings
from shared.tls import TlsFiles, TlsInvalid, client_context

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE_S: Final = 1.0
"""How much longer than the server we wait for a statement: it should be the one to say so."""
QUIET_S: Final = 0.5
"""After a connection failed, how long nobody else tries."""

UNIQUE_VIOLATION: Final = "23505"
_READ_ONLY: Final = "25006"
_CONFLICTS: Final = {
    "40001": "a serialisation failure",
    "40P01": "a deadlock",
}
_REFUSED: Final = ("28P01", "28000", "3D000", "42501")
"""Wrong password, no such role or not from here, no such database, no right to connect."""
_GONE: Final = ("08", "57P01", "57P02", "57P03", "57P05", "25P03", "25P04")
_FAULTS: Final = ("25", "40", "53", "55", "57", "58", "XX")
"""Classes of SQLSTATE that no statement of ours is to blame for."""


class Lost(DatabaseError):
    """The connection is no more; what it had not committed has had no effect."""


class Server:
    """One PostgreSQL server, as one service of one process knows it: says once that it cannot be reached,
    and once that it can again.
    """

    def __init__(self, settings: DatabaseSettings, service: str, host: Host) -> None:
        self.name = f"PostgreSQL at {settings.host}:{settings.port}"
        self.statement_s = settings.statement_timeout_s
        self.clock = host.clock
        self.random = host.random
        self._settings = settings
        self._service = service
        self._engine: AsyncEngine | None = None
        self._fault: DatabaseError | None = None
        self._quiet_until = 0.0

    async def connect(self) -> Link:
        """A new connection. Raises `DatabaseError`, and at once where another has just failed."""
        if self._fault and self.clock.monotonic() < self._quiet_until:
            raise type(self._fault)(str(self._fault))
        if self._engine is None:
            self._engine = engine(self._settings, self._service, self.statement_s)
        try:
            link = await dial(self._engine, self._settings, self.name)
        except DatabaseError as fault:
            self._quiet_until = self.clock.monotonic() + QUIET_S
            self.gone(fault)
            raise
        if self._fault:
            log.warning("%s is back", self.name)
            self._fault = None
        return link

    def gone(self, fault: DatabaseError) -> None:
        """Say so, once."""
        if self._fault is None:
            log.error("%s; until it is back every transaction fails", fault)
        self._fault = fault

    async def close(self) -> None:
        """Let go of it."""
        if self._engine is not None:
            await self._engine.dispose()


class Link:
    """One connection, that is in no transaction until somebody says BEGIN to it."""

    def __init__(self, connection: AsyncConnection, driver: asyncpg.Connection, name: str) -> None:
        self._connection = connection
        self._driver = driver
        self._name = name

    @property
    def usable(self) -> bool:
        """Whether the server has not hung up."""
        return not self._driver.is_closed()

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction was begun and not ended."""
        return bool(self._driver.is_in_transaction())

    async def execute(self, statement: str) -> str:
        """Execute a statement without parameters; what the server says of it."""
        return str(await self._driver.execute(statement))

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction's function."""
        return await self._connection.run_sync(work)

    def fault(self, error: BaseException, *, writable: bool = True) -> DatabaseError | None:
        """The error as a fault of the database in plain words; None where the statement itself is wrong.

        On a connection that is not `writable` an attempt to write is the statement's own fault.
        """
        if isinstance(error, DatabaseError):
            return error
        code = sqlstate(error)
        if isinstance(error, TimeoutError):
            return DatabaseError(f"{self._name} does not answer")
        if isinstance(_origin(error).__cause__, asyncpg.InvalidCachedStatementError):
            return Lost(f"{self._name} has another schema than before")
        if code.startswith(_GONE) or isinstance(error, OSError) or not self.usable:
            return Lost(f"{self._name} has closed the connection ({first_line(error)})")
        if code in _CONFLICTS:
            return Conflict(f"{self._name}: {_CONFLICTS[code]} ({first_line(error)})")
        if code.startswith(_FAULTS) and (writable or code != _READ_ONLY):
            return DatabaseError(f"{self._name}: {first_line(error)}")
        return None

    async def drop(self) -> None:
        """Hang up without a word: nothing more is known of the connection."""
        self._driver.terminate()
        await self._connection.close()

    async def close(self) -> None:
        """Hang up; a server that hangs is not waited for."""
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await self._driver.close(timeout=PATIENCE_S)
        await self._connection.close()


def engine(settings: DatabaseSettings, service: str, statement_s: float | None) -> AsyncEngine:
    """Makes connections whose schema is the service's. `statement_s`: None = a statement may take for ever.

    SQLAlchemy is told that it autocommits: transactions are the caller's.
    """
    limit = str(int((statement_s or 0) * 1000))
    return create_async_engine(
        "postgresql+asyncpg://",
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,  # an error that is logged shows the statement and no row
        poolclass=NullPool,
        connect_args={
            "host": settings.host,
            "port": settings.port,
            "database": settings.name,
            "user": settings.user,
            "password": settings.password.get_secret_value(),
            "ssl": _tls(settings),
            "timeout": settings.connect_timeout_s,
            "command_timeout": statement_s + PATIENCE_S if statement_s else None,
            "server_settings": {
                "application_name": f"freehold-{service}",
                "search_path": service,
                "synchronous_commit": "on",
                "statement_timeout": limit,
                # Of a process that was stopped in the midst, whose locks others wait for.
                "idle_in_transaction_session_timeout": limit,
            },
        },
    )


def _tls(settings: DatabaseSettings) -> ssl.SSLContext | str:
    """Raises `DatabaseRefused` for files that cannot be used."""
    if not (settings.tls or settings.ca or settings.certificate):
        return "prefer"
    try:
        return client_context(TlsFiles(settings.ca, settings.certificate, settings.key))
    except TlsInvalid as error:
        raise DatabaseRefused(str(error)) from error


async def dial(made: AsyncEngine, settings: DatabaseSettings, name: str) -> Link:
    """A connection. Raises `DatabaseError`, `DatabaseRefused` where an operator must mend something."""
    try:
        async with asyncio.timeout(settings.connect_timeout_s):
            connection = await made.connect()
            raw = await connection.get_raw_connection()
    except TimeoutError as error:
        raise DatabaseError(f"{name} does not answer") from error
    except ssl.SSLError as error:
        raise DatabaseRefused(f"{name} cannot be trusted: {error.reason or error}") from error
    except OSError as error:
        if "rejected SSL" in str(error):
            raise DatabaseRefused(f"{name} offers no TLS") from error
        raise DatabaseError(f"{name} cannot be reached: {error.strerror or error}") from error
    except (DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if sqlstate(error) in _REFUSED:
            raise DatabaseRefused(f"{name} refuses: {first_line(error)}") from error
        raise DatabaseError(f"{name} cannot be used: {first_line(error)}") from error
    return Link(connection, cast(asyncpg.Connection, raw.driver_connection), name)


def sqlstate(error: BaseException) -> str:
    """The server's code for an error; empty where it does not come from there."""
    return str(getattr(_origin(error), "sqlstate", None) or "")


def first_line(error: BaseException) -> str:
    """What went wrong, without the statement and its parameters."""
    origin: Any = _origin(error)
    text = str(origin.__cause__ or origin) or type(origin).__name__
    return text.splitlines()[0]


def _origin(error: BaseException) -> BaseException:
    origin = error.orig if isinstance(error, DBAPIError) else error
    return origin if origin is not None else error
