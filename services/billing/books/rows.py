"""Billing's rows, read and written in sets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from services.billing import tables
from shared.bus.ports import Record
from shared.money import Prices
from shared.storage.sql import (
    alone,
    change,
    concurrent,
    insertion,
    keys,
    locked,
    query,
    query_beside,
    storable,
    write,
)

RESERVED: Final = "reserved"
REFUSED: Final = "refused"
CLOSED: Final = "closed"
SETTLED: Final = "settled"

UNRESERVED: Final = "requests without a row"
"""Whoever writes of such a request goes alone by this name, and whoever makes rows beside it."""


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
    owner_lost: bool = False
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


INSERT_REQUEST: Final = insertion(tables.requests)
INSERT_USAGE: Final = insertion(tables.usages)
INSERT_FACT: Final = insertion(tables.facts)
INSERT_LATE: Final = insertion(tables.late, "ON CONFLICT DO NOTHING")
_INSERT_PARKED: Final = insertion(tables.parked, "ON CONFLICT DO NOTHING")
_ADVANCE: Final = insertion(
    tables.positions,
    "ON CONFLICT (topic, partition) DO UPDATE SET next = excluded.next WHERE excluded.next > positions.next",
)


_FOUND: Final = "SELECT * FROM requests WHERE request = ANY(?)"
_LOCKED: Final = locked(_FOUND, "request")
_KNOWN_OR_HELD: Final = f"{_FOUND} OR idempotency = ANY(?)"
_COUNTED: Final = "SELECT COUNT(*) FROM requests WHERE request = ANY(?)"


def read_requests(connection: Connection, requests: Iterable[str]) -> dict[str, RequestRow]:
    """Rows by request."""
    return _by_request(query(connection, _FOUND, keys(requests)))


def lock_requests(connection: Connection, requests: Iterable[str]) -> dict[str, RequestRow]:
    """As `read_requests`; what is read here is not changed by others before the transaction ends, and what
    they wrote of these requests before is seen by the next statement. So of requests that have no row.
    """
    wanted = set(requests)
    if concurrent(connection) and query(connection, _COUNTED, keys(wanted))[0][0] < len(wanted):
        alone(connection, UNRESERVED)
    return _by_request(query(connection, _LOCKED, keys(wanted)))


def read_beside(
    connection: Connection, requests: Iterable[str], idempotencies: Iterable[str]
) -> tuple[dict[str, RequestRow], dict[str, RequestRow]]:
    """Rows of these requests, and rows that hold these idempotency keys, by the key; for whoever makes
    rows: nobody is `UNRESERVED` until the transaction ends.
    """
    wanted, held = set(requests), list(idempotencies)
    statement, parameters = (_KNOWN_OR_HELD, (list(wanted), held)) if held else (_FOUND, keys(wanted))
    rows = [RequestRow._make(row) for row in query_beside(connection, UNRESERVED, statement, parameters)]
    known = {row.request: row for row in rows if row.request in wanted}
    return known, {row.idempotency: row for row in rows if row.idempotency in held}


def read_usages(connection: Connection, requests: Iterable[str]) -> dict[str, dict[int, bytes]]:
    """`UsageRecorded` by request and attempt."""
    found: dict[str, dict[int, bytes]] = {}
    rows = query(
        connection,
        "SELECT request, attempt, value FROM usages WHERE request = ANY(?)",
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
        " WHERE r.request = ANY(?)",
        keys(requests),
    )
    return [FactRow._make(row) for row in found]


def _by_request(found: Iterable[Iterable[Any]]) -> dict[str, RequestRow]:
    rows = map(RequestRow._make, found)
    return {row.request: row for row in rows}


def write_parked(connection: Connection, parked: Iterable[tuple[Record, str]]) -> None:
    """Keep records that cannot be settled, whole, each with the reason."""
    rows = [
        (
            *record[:6],
            json.dumps([[name, value.decode("latin-1")] for name, value in record.headers]),
            storable(reason),
        )
        for record, reason in parked
    ]
    write(connection, _INSERT_PARKED, rows)


def park(connection: Connection, record: Record, reason: str) -> None:
    """Keep one record and pass it by."""
    write_parked(connection, [(record, reason)])
    advance(connection, [(record.topic, record.partition, record.offset + 1)])


def advance(connection: Connection, positions: Sequence[tuple[str, int, int]]) -> None:
    """Store below which offset of each (topic, partition) everything has had its effect; never goes back."""
    write(connection, _ADVANCE, sorted(positions))


def read_positions(connection: Connection) -> dict[tuple[str, int], int]:
    """The next offset of each (topic, partition) that was ever handled."""
    rows = query(connection, "SELECT topic, partition, next FROM positions")
    return {(topic, partition): following for topic, partition, following in rows}


def touch(connection: Connection) -> None:
    """Take the right to write and change nothing. Raises where the database cannot be written."""
    change(connection, "UPDATE counters SET last = last WHERE name = ?", ("entry",))
