"""What ends without an event: reservations whose owner is gone, and waits for usages that never come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from services.billing.books.booking import Booked, Case, book
from services.billing.books.rows import CLOSED, RequestRow, query, read_usages
from services.billing.evidence import close_of, lost
from shared.contracts.freehold.edge.v1.events_pb2 import RequestClosed
from shared.contracts.freehold.inference.v1.events_pb2 import UsageRecorded

BATCH: Final = 500


def expire(connection: Connection, horizon_ms: int, now_ns: int) -> list[Booked]:
    """Settle at most `BATCH` rows whose time is over.

    `horizon_ms` is a broker time up to which `closed` and `usage` have been read and have had their
    effect. Fewer than `BATCH` in the result: there are no more.
    """
    return _end(
        connection,
        query(
            connection,
            "SELECT * FROM requests WHERE state IN ('reserved', 'refused') AND expires_ms < ?"
            " UNION ALL SELECT * FROM requests WHERE state = 'closed' AND settle_by_ms < ? LIMIT ?",
            (horizon_ms, horizon_ms, BATCH),
        ),
        now_ns,
    )


def expire_earlier(connection: Connection, incarnation: int, now_ns: int) -> list[Booked]:
    """Settle at most `BATCH` open rows of other incarnations than this.

    Right only where all owners and workers live in one process, and everything that was on `closed` and
    `usage` at its start has had its effect: no more can come.
    """
    return _end(
        connection,
        query(
            connection,
            "SELECT * FROM requests WHERE state IN ('reserved', 'refused') AND owner <> ?"
            " UNION ALL SELECT * FROM requests WHERE state = 'closed' AND owner <> ? LIMIT ?",
            (str(incarnation), str(incarnation), BATCH),
        ),
        now_ns,
    )


def _end(connection: Connection, found: Iterable[Sequence[Any]], now_ns: int) -> list[Booked]:
    rows = [RequestRow._make(row) for row in found]
    stored = read_usages(connection, [row.request for row in rows]) if rows else {}
    return book(connection, [_case(row, stored.get(row.request, {}), now_ns) for row in rows], (), now_ns)


def _case(row: RequestRow, values: Mapping[int, bytes], now_ns: int) -> Case:
    usages = {attempt: UsageRecorded.FromString(value) for attempt, value in values.items()}
    if row.state == CLOSED:
        closed = RequestClosed.FromString(row.closed or b"")
        return Case(row, closed, close_of(closed), usages, stored=True)
    closed = lost(row, usages, now_ns)
    return Case(row._replace(owner_lost=1), closed, close_of(closed), usages, stored=True)
