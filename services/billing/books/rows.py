"""Reading and writing rows in sets, by the driver's own cursor and with parameters only.

Core costs twenty times as much an event, and SQLAlchemy's results alone more than all of a small batch's
SQL. A set of keys travels as one JSON array.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import Connection, Table, insert
from sqlalchemy.dialects import sqlite

from services.billing import tables
from shared.bus.ports import Record
from shared.money import Prices

RESERVED: Final = "reserved"
REFUSED: Final = "refused"
CLOSED: Final = "closed"
SETTLED: Final = "settled"


class RequestRow(NamedTuple):
    """A row of `requests`, its columns in the table's order."""

    request: str
    organisation: str
    project: str
    key_id: str
    model: str
    owner: str
    state: str
    idempotency: str | None = None
    fingerprint: bytes = b""
    reserved: int = 0
    price_prompt: int = 0
    price_cached: int = 0
    price_output: int = 0
    price_version: str = ""
    currency: str = ""
    period: str = ""
    organisation_budget: str | None = None
    project_budget: str | None = None
    key_budget: str | None = None
    refusal: str | None = None
    refusal_code: str | None = None
    refusal_message: str | None = None
    first_request: str | None = None
    reserved_ms: int | None = None
    expires_ms: int = 0
    traceparent: bytes = b""
    closed: bytes | None = None
    settle_by_ms: int | None = None
    owner_lost: int = 0
    billed: int = 0
    seq: int | None = None

    @property
    def prices(self) -> Prices:
        """Unit prices that it was reserved at."""
        return Prices(self.price_prompt, self.price_cached, self.price_output)

    @property
    def budgets(self) -> tuple[str, ...]:
        """Budgets that it counts against."""
        found = (self.organisation_budget, self.project_budget, self.key_budget)
        return tuple(budget for budget in found if budget is not None)


class FactRow(NamedTuple):
    """A row of `facts`."""

    organisation: str
    seq: int
    request: str
    traceparent: bytes
    value: bytes


def insertion(table: Table) -> str:
    """An INSERT of all columns, in the table's order."""
    return str(insert(table).compile(dialect=sqlite.dialect()))


INSERT_REQUEST: Final = insertion(tables.requests)
INSERT_USAGE: Final = insertion(tables.usages)
INSERT_FACT: Final = insertion(tables.facts)
INSERT_LATE: Final = insertion(tables.late) + " ON CONFLICT DO NOTHING"
_INSERT_PARKED: Final = insertion(tables.parked) + " ON CONFLICT DO NOTHING"


def query(connection: Connection, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """All rows of a statement, in the running transaction."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement, parameters)
        return cast(list[tuple[Any, ...]], cursor.fetchall())
    finally:
        cursor.close()


def change(connection: Connection, statement: str, parameters: Sequence[Any]) -> int:
    """Execute a statement; how many rows it changed."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement, parameters)
        return cursor.rowcount
    finally:
        cursor.close()


def write(connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Execute a statement once for each row of parameters."""
    if not rows:
        return
    cursor = connection.connection.cursor()
    try:
        cursor.executemany(statement, rows)
    finally:
        cursor.close()


def keys(values: Iterable[str | int]) -> tuple[str]:
    """The parameter of `IN (SELECT value FROM json_each(?))`."""
    return (json.dumps(list(values)),)


def read_requests(connection: Connection, requests: Iterable[str]) -> dict[str, RequestRow]:
    """Rows by request."""
    found = query(
        connection,
        "SELECT * FROM requests WHERE request IN (SELECT value FROM json_each(?))",
        keys(requests),
    )
    return {row[0]: RequestRow._make(row) for row in found}


def read_holders(connection: Connection, idempotencies: Iterable[str]) -> dict[str, RequestRow]:
    """Rows that hold these idempotency keys."""
    found = query(
        connection,
        "SELECT * FROM requests WHERE idempotency IN (SELECT value FROM json_each(?))",
        keys(idempotencies),
    )
    rows = [RequestRow._make(row) for row in found]
    return {row.idempotency: row for row in rows if row.idempotency is not None}


def read_usages(connection: Connection, requests: Iterable[str]) -> dict[str, dict[int, bytes]]:
    """`UsageRecorded` by request and attempt."""
    found: dict[str, dict[int, bytes]] = {}
    rows = query(
        connection,
        "SELECT request, attempt, value FROM usages WHERE request IN (SELECT value FROM json_each(?))",
        keys(requests),
    )
    for request, attempt, value in rows:
        found.setdefault(request, {})[attempt] = value
    return found


def read_facts(connection: Connection, requests: Iterable[str]) -> list[FactRow]:
    """Facts of settled requests."""
    found = query(
        connection,
        "SELECT f.* FROM requests r JOIN facts f ON f.organisation = r.organisation AND f.seq = r.seq"
        " WHERE r.request IN (SELECT value FROM json_each(?))",
        keys(requests),
    )
    return [FactRow._make(row) for row in found]


def write_parked(connection: Connection, parked: Iterable[tuple[Record, str]]) -> None:
    """Keep records that cannot be settled, whole, each with the reason."""
    rows = [
        (*record[:6], json.dumps([[name, value.decode("latin-1")] for name, value in record.headers]), reason)
        for record, reason in parked
    ]
    write(connection, _INSERT_PARKED, rows)


def park(connection: Connection, record: Record, reason: str) -> None:
    """Keep one record and pass it by."""
    write_parked(connection, [(record, reason)])
    advance(connection, record.topic, record.partition, record.offset + 1)


def advance(connection: Connection, topic: str, partition: int, following: int) -> None:
    """Store that everything below offset `following` has had its effect; never goes back."""
    change(
        connection,
        "INSERT INTO positions (topic, partition, next) VALUES (?, ?, ?) ON CONFLICT (topic, partition)"
        " DO UPDATE SET next = excluded.next WHERE excluded.next > next",
        (topic, partition, following),
    )


def read_positions(connection: Connection) -> dict[tuple[str, int], int]:
    """The next offset of each (topic, partition) that was ever handled."""
    rows = query(connection, "SELECT topic, partition, next FROM positions")
    return {(topic, partition): following for topic, partition, following in rows}


def touch(connection: Connection) -> None:
    """Take the right to write and change nothing. Raises where the database cannot be written."""
    change(connection, "UPDATE counters SET last = last WHERE name = ?", ("entry",))
