"""The settlement: a batch of usages and closes, in any order and however often they come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from services.billing import ledger, tables
from services.billing.books.booking import Booked, Case, Expense, book, stray
from services.billing.books.rows import (
    CLOSED,
    INSERT_LATE,
    INSERT_REQUEST,
    INSERT_USAGE,
    SETTLED,
    FactRow,
    RequestRow,
    advance,
    lock_requests,
    read_facts,
    read_usages,
    write_parked,
)
from services.billing.evidence import close_of
from services.billing.settlement import awaited
from shared.bus.ports import Record
from shared.contracts.freehold.edge.v1.events_pb2 import RequestClosed
from shared.contracts.freehold.inference.v1.events_pb2 import UsageRecorded
from shared.storage.sql import updating, write

WAIT_MS: Final = 30_000
"""Broker time, all of it read, for which a settlement waits for usages."""


class UsageEvent(NamedTuple):
    """One `UsageRecorded` as it was read."""

    request: str
    organisation: str
    usage: UsageRecorded
    origin: Record
    currency: str = ""
    """Of an operator's own generation, which has no row."""
    price: int = 0
    """Its price of 1,000 output tokens."""


class CloseEvent(NamedTuple):
    """One `RequestClosed` as it was read."""

    request: str
    organisation: str
    owner: str
    closed: RequestClosed
    traceparent: bytes
    origin: Record


@dataclass(slots=True)
class Batch:
    """What was read of one partition."""

    topic: str
    partition: int
    following: int
    """Offset after its last record."""
    usages: list[UsageEvent] = field(default_factory=list)
    closes: list[CloseEvent] = field(default_factory=list)


class Settled(NamedTuple):
    """What some batches came to."""

    booked: list[Booked]
    again: list[FactRow]
    """Facts of requests that were settled before: whether they were published is not known."""
    late: int
    parked: Sequence[Record]


def settle_batches(connection: Connection, batches: Sequence[Batch], now_ns: int) -> Settled:
    """Store what was read of some partitions, each at most once, and settle what it makes complete."""
    work = _Work(connection, batches)
    for batch in batches:
        for usage in batch.usages:
            work.usage(usage)
    for batch in batches:
        for close in batch.closes:
            work.close(close)
    booked = work.store(now_ns)
    advance(connection, [(batch.topic, batch.partition, batch.following) for batch in batches])
    again = read_facts(connection, work.again) if work.again else []
    return Settled(booked, again, len(work.late), [record for record, _ in work.parked])


class _Work:
    """Batches against the rows that they touch."""

    def __init__(self, connection: Connection, batches: Iterable[Batch]) -> None:
        self._connection = connection
        requests = {event.request for batch in batches for event in batch.usages}
        requests |= {event.request for batch in batches for event in batch.closes}
        self._rows = lock_requests(connection, requests)
        self._stored = frozenset(self._rows)
        self._usages = {
            request: {attempt: UsageRecorded.FromString(value) for attempt, value in found.items()}
            for request, found in read_usages(connection, requests).items()
        }
        self._fresh: list[tuple[Any, ...]] = []
        self._touched: set[str] = set()
        self._closing: dict[str, RequestClosed] = {}
        self._expenses: list[Expense] = []
        self.again: set[str] = set()
        self.late: list[tuple[Any, ...]] = []
        self.parked: list[tuple[Record, str]] = []

    def usage(self, event: UsageEvent) -> None:
        """Take one usage in."""
        row, usage = self._rows.get(event.request), event.usage
        if row is not None and row.organisation != event.organisation:
            self._foreign(event.origin)
            return
        if usage.diagnostic != (row is None):
            # Work is never sent before its reservation is durable, and an operator's own generation has none:
            # whoever writes this is no worker of ours.
            found = "for an operator's own generation" if usage.diagnostic else "for the request"
            self.parked.append((event.origin, f"{'something' if row else 'nothing'} was reserved {found}"))
            return
        settled = row is not None and row.state == SETTLED
        known = self._usages.setdefault(event.request, {})
        if usage.attempt in known:
            if settled:
                self.again.add(event.request)
            return
        known[usage.attempt] = usage
        origin = event.origin
        self._fresh.append((event.request, usage.attempt, origin.value, origin.timestamp_ms))
        if usage.diagnostic:
            self._expenses.append(_diagnostic(event))
        elif row is not None and settled:
            self._late(event.request, "UsageRecorded", usage.attempt, origin)
            self._expenses.append(stray(row, usage))
        else:
            self._touched.add(event.request)

    def close(self, event: CloseEvent) -> None:
        """Take one close in."""
        row = self._rows.get(event.request)
        if row is None:
            if self._usages.get(event.request):
                self.parked.append((event.origin, "an operator's own generation has no close"))
                return
            row = _unreserved(event)
        elif row.organisation != event.organisation:
            self._foreign(event.origin)
            return
        elif row.owner != event.owner:
            self._foreign(event.origin, "owner")
            return
        elif row.state == SETTLED:
            self.again.add(event.request)
            if row.owner_lost:
                self._late(event.request, "RequestClosed", 0, event.origin)
            return
        elif row.state == CLOSED:
            return
        self._rows[event.request] = row._replace(
            state=CLOSED,
            closed=event.origin.value,
            settle_by_ms=event.origin.timestamp_ms + WAIT_MS,
            traceparent=event.traceparent or row.traceparent,
        )
        self._closing[event.request] = event.closed
        self._touched.add(event.request)

    def store(self, now_ns: int) -> list[Booked]:
        """Write everything, settling the requests whose evidence is whole."""
        write(self._connection, INSERT_USAGE, self._fresh)
        write(self._connection, INSERT_LATE, self.late)
        write_parked(self._connection, self.parked)
        cases: list[Case] = []
        for request in sorted(self._touched):
            row = self._rows.get(request)
            if row is None or row.state != CLOSED:
                continue
            closed = self._closing.get(request) or RequestClosed.FromString(row.closed or b"")
            usages = self._usages.get(request, {})
            close = close_of(closed)
            if awaited(close) <= usages.keys():
                cases.append(Case(row, closed, close, usages, request in self._stored))
                self._closing.pop(request, None)
        self._wait([self._rows[request] for request in sorted(self._closing)])
        return book(self._connection, cases, self._expenses, now_ns)

    def _wait(self, rows: Sequence[RequestRow]) -> None:
        write(self._connection, INSERT_REQUEST, [row for row in rows if row.request not in self._stored])
        write(
            self._connection,
            _AWAIT,
            [
                (row.closed, row.settle_by_ms, row.traceparent, row.request)
                for row in rows
                if row.request in self._stored
            ],
        )

    def _late(self, request: str, kind: str, attempt: int, origin: Record) -> None:
        self.late.append((request, kind, attempt, origin.value, origin.timestamp_ms))

    def _foreign(self, origin: Record, what: str = "tenant") -> None:
        self.parked.append((origin, f"{what} differs from the reservation's"))


_AWAIT: Final = updating(
    tables.requests, ("closed", "settle_by_ms", "traceparent"), "request", "state = 'closed'"
)


def _unreserved(event: CloseEvent) -> RequestRow:
    """The terminal row of a request whose reserve was never seen: nothing is reserved, nothing billed."""
    closed = event.closed
    scope = (event.organisation, closed.project, closed.key, closed.model)
    return RequestRow(event.request, *scope, event.owner, CLOSED)


def _diagnostic(event: UsageEvent) -> Expense:
    kind = ledger.diagnostic(event.usage.attempt)
    scope = (event.organisation, "", event.usage.model, event.currency)
    return Expense(event.request, kind, "diagnostic", *scope, event.usage, event.price)
