"""What ends without an event: reservations whose owner is gone, and waits for usages that never come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Connection

from services.billing.books.booking import Booked, Case, book
from services.billing.books.rows import CLOSED, RequestRow, read_usages
from services.billing.evidence import close_of, lost
from shared.contracts.freehold.edge.v1.events_pb2 import RequestClosed
from shared.contracts.freehold.inference.v1.events_pb2 import UsageRecorded
from shared.storage.sql import query, unless_locked

BATCH: Final = 500


_OPEN: Final = "SELECT * FROM requests WHERE state IN ('reserved', 'refused') AND "
_WAITING: Final = "SELECT * FROM requests WHERE state = 'closed' AND "


def _over(condition: str) -> str:
    return unless_locked(f"{condition} LIMIT ?")


def expire(connection: Connection, horizon_ms: int, now_ns: int) -> list[Booked]:
    """Settle at most `BATCH` rows whose time is over and that nobody else is settling.

    `horizon_ms` is a broker time up to which `closed` and `usage` have been read and have had their
    effect. Fewer than `BATCH` in the result: there are no more.
    """
    ended = (_over(_OPEN + "expires_ms < ?"), _over(_WAITING + "settle_by_ms < ?"))
    return _end(connection, ended, horizon_ms, now_ns)


def expire_earlier(connection: Connection, incarnation: int, now_ns: int) -> list[Booked]:
    """Settle at most `BATCH` open rows of other incarnations than this.

    Right only where all owners and workers live in one process, and everything that was on `closed` and
    `usage` at its start has had its effect: no more can come.
    """
    earlier = (_over(_OPEN + "owner <> ?"), _over(_WAITING + "owner <> ?"))
    return _end(connection, earlier, str(incarnation), now_ns)


def _end(connection: Connection, statements: Sequence[str], limit: str | int, now_ns: int) -> list[Booked]:
    rows: list[RequestRow] = []
    for statement in statements:
        if len(rows) < BATCH:
            rows += map(RequestRow._make, query(connection, statement, (limit, BATCH - len(rows))))
    stored = read_usages(connection, [row.request for row in rows]) if rows else {}
    return book(connection, [_case(row, stored.get(row.request, {}), now_ns) for row in rows], (), now_ns)


def _case(row: RequestRow, values: Mapping[int, bytes], now_ns: int) -> Case:
    usages = {attempt: UsageRecorded.FromString(value) for attempt, value in values.items()}
    if row.state == CLOSED:
        closed = RequestClosed.FromString(row.closed or b"")
        return Case(row, closed, close_of(closed), usages, stored=True)
    closed = lost(row, usages, now_ns)
    return Case(row._replace(owner_lost=True), closed, close_of(closed), usages, stored=True)
