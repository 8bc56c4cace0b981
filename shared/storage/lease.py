"""Whose turn it is to publish an outbox that several processes share: a row, for as long as there is
something to publish, and a few seconds where its holder is gone.

A lease alone keeps nobody from acting late: a process may be stopped after it has looked. So its holder
also learns, afterwards, that it was not the only one. Time is the database's, which all of them share.
SQLite's file has one process, which needs none.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Connection, Integer, MetaData, String, Table

from shared.storage.sql import change, concurrent, query

LEASE_MS: Final = 5_000


def lease_table(metadata: MetaData) -> Table:
    """The table `lease` of a service's schema: no row, or one."""
    return Table(
        "lease",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("holder", String, nullable=False),
        # Milliseconds since the Unix epoch by the database's clock.
        Column("until_ms", BigInteger, nullable=False),
    )


def hold(connection: Connection, holder: str, lease_ms: int = LEASE_MS) -> bool:
    """Take the lease for `lease_ms` from now; False where another holds it."""
    return not concurrent(connection) or bool(query(connection, _HOLD, (holder, lease_ms)))


def keep(connection: Connection, holder: str, lease_ms: int = LEASE_MS) -> bool:
    """Keep it for `lease_ms` from now; False where it is not ours, and somebody else may have acted."""
    return not concurrent(connection) or bool(query(connection, _KEEP, (lease_ms, holder)))


def release(connection: Connection, holder: str) -> None:
    """Let another have it at once, if it is ours."""
    if concurrent(connection):
        change(connection, "DELETE FROM lease WHERE holder = ?", (holder,))


_NOW: Final = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
_HOLD: Final = (
    f"INSERT INTO lease (id, holder, until_ms) VALUES (1, ?, {_NOW} + ?)"  # noqa: S608
    " ON CONFLICT (id) DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms"
    f" WHERE lease.until_ms < {_NOW} RETURNING id"
)
_KEEP: Final = f"UPDATE lease SET until_ms = {_NOW} + ? WHERE holder = ? RETURNING id"  # noqa: S608
