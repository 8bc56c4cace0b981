"""Writing settlements into the books: sequence numbers, entries and their lines, budgets, facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from services.billing import ledger, tables
from services.billing.books.rows import (
    INSERT_FACT,
    INSERT_REQUEST,
    SETTLED,
    FactRow,
    RequestRow,
)
from services.billing.evidence import OWNER_LOST, fact, usage_of
from services.billing.ledger import Line
from services.billing.settlement import Close, Settlement, awaited, settle
from shared.contracts.freehold.edge.v1.events_pb2 import RequestClosed
from shared.contracts.freehold.inference.v1.events_pb2 import UsageRecorded
from shared.contracts.freehold.platform.v1.outcome_pb2 import TerminalState
from shared.money import line
from shared.storage.sql import concurrent, insertion, keys, locked, query, updating, write


class Case(NamedTuple):
    """A request that is to be settled now, with what is known of it."""

    row: RequestRow
    closed: RequestClosed
    close: Close
    """The same, as the rules read it."""
    usages: Mapping[int, UsageRecorded]
    """All that came, by attempt; the settlement counts those of the close's attempts."""
    stored: bool
    """Whether the request has a row already."""


class Expense(NamedTuple):
    """Output that no settlement counts, booked on its own."""

    request: str
    kind: str
    cause: str
    organisation: str
    project: str
    model: str
    currency: str
    usage: UsageRecorded
    price: int
    """Of 1,000 output tokens."""


class Booked(NamedTuple):
    """A settlement as it stands in the books."""

    fact: FactRow
    state: str
    """Terminal state in lower case, or `owner_lost`."""
    currency: str
    settlement: Settlement


def stray(row: RequestRow, usage: UsageRecorded) -> Expense:
    """The expense of an attempt that its request's settlement does not count."""
    kind = ledger.stray(usage.attempt)
    scope = (row.organisation, row.project, row.model, row.currency)
    return Expense(row.request, kind, "stray", *scope, usage, row.price_output)


def book(
    connection: Connection, cases: Sequence[Case], expenses: Sequence[Expense], now_ns: int
) -> list[Booked]:
    """Settle each case and book each expense, once, in the running transaction."""
    if not cases and not expenses:
        return []
    books = _Books(connection, {case.row.organisation for case in cases}, now_ns)
    booked = [books.settle(case) for case in cases]
    for expense in expenses:
        books.expense(expense)
    books.store(connection)
    return booked


_SPEND: Final = "UPDATE budgets SET reserved = reserved - ?, spent = spent + ? WHERE budget = ?"
_SETTLE: Final = updating(
    tables.requests,
    ("billed", "seq", "owner_lost", "traceparent"),
    "request",
    "state = 'settled', closed = NULL, settle_by_ms = NULL",
)
_LAST: Final = locked("SELECT name, last FROM counters WHERE name = ANY(?)", "name")
_MAKE: Final = insertion(tables.counters, "ON CONFLICT DO NOTHING")
_COUNT: Final = updating(tables.counters, ("last",), "name")
_FOLLOWING: Final = "SELECT nextval('entry_numbers') FROM generate_series(1, ?)"
STATES: Final = {
    number: name.removeprefix("TERMINAL_STATE_").lower() for name, number in TerminalState.items()
}
_INSERT_ENTRY: Final = insertion(tables.entries)
_INSERT_LINE: Final = insertion(tables.lines)


_ENTRY: Final = "entry"


class _Counters:
    """Numbers that are given in the transaction that uses them: an organisation's have no gap, and until
    the transaction ends nobody else gets any.
    """

    def __init__(self, connection: Connection, organisations: set[str]) -> None:
        names = sorted(f"seq/{organisation}" for organisation in organisations)
        if not concurrent(connection):
            names.append(_ENTRY)
        found = query(connection, _LAST, keys(names))
        if len(found) < len(names):
            write(connection, _MAKE, [(name, 0) for name in names])
            found = query(connection, _LAST, keys(names))
        self._connection = connection
        self._last: dict[str, int] = dict(found)

    def seq(self, organisation: str) -> int:
        """The next number of an organisation."""
        name = f"seq/{organisation}"
        self._last[name] += 1
        return self._last[name]

    def entries(self, count: int) -> Sequence[int]:
        """Numbers of new entries. On PostgreSQL a sequence's: settlements of two organisations do not
        wait for each other, and a number that was given to a transaction that failed is not given again.
        """
        if _ENTRY in self._last:
            self._last[_ENTRY] += count
            return range(self._last[_ENTRY] - count + 1, self._last[_ENTRY] + 1)
        return [number for (number,) in query(self._connection, _FOLLOWING, (count,))]

    def store(self) -> None:
        """Write where the numbers stand now."""
        write(self._connection, _COUNT, [(last, name) for name, last in self._last.items()])


class _Books:
    """What one transaction adds to the books."""

    def __init__(self, connection: Connection, organisations: set[str], now_ns: int) -> None:
        self._counters = _Counters(connection, organisations)
        self._now_ns = now_ns
        self._day = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).date().isoformat()
        self._entries: list[tuple[Any, ...]] = []
        self._lines: list[Sequence[Line]] = []
        self._facts: list[FactRow] = []
        self._fresh: list[RequestRow] = []
        self._settled: list[tuple[Any, ...]] = []
        self._budgets: dict[str, tuple[int, int]] = {}

    def settle(self, case: Case) -> Booked:
        """Add the one settlement of a request, and its usages that the settlement does not count."""
        row = case.row
        account = settle(
            case.close,
            {attempt: usage_of(usage) for attempt, usage in case.usages.items()},
            row.prices,
            row.reserved,
        )
        state = OWNER_LOST if row.owner_lost else STATES[case.closed.state]
        seq = self._counters.seq(row.organisation)
        counted = awaited(case.close)
        used = {attempt: usage for attempt, usage in case.usages.items() if attempt in counted}
        value = fact(row, case.closed, account, used, seq, self._now_ns)
        found = FactRow(row.organisation, seq, row.request, row.traceparent, value)
        self._facts.append(found)
        self._entry(row, account, state)
        for attempt, usage in case.usages.items():
            if attempt not in counted:
                self.expense(stray(row, usage))
        self._end(row, account.charge.total, seq, case.stored)
        return Booked(found, state, row.currency, account)

    def expense(self, item: Expense) -> None:
        """Add output at the operator's expense; nothing where nothing was generated."""
        usage = usage_of(item.usage)
        if not usage.ids:
            return
        lines = ledger.cost_lines(line(usage.ids, item.price), item.cause)
        scope = (item.request, item.kind, item.organisation, item.project, item.model, item.currency)
        self._add(scope, (usage.prompt, usage.cached, usage.ids, 0, 0), 0, lines)

    def _entry(self, row: RequestRow, account: Settlement, cause: str) -> None:
        lines = ledger.settlement_lines(row.organisation, account.charge, account.operator_cost, cause)
        scope = (row.request, ledger.SETTLEMENT, row.organisation, row.project, row.model, row.currency)
        counts = (account.prompt, account.cached, account.generated, account.delivered, account.billed)
        self._add(scope, counts, account.charge.total, lines)

    def _add(
        self, scope: tuple[str, ...], counts: tuple[int, ...], total: int, lines: Sequence[Line]
    ) -> None:
        self._entries.append((*scope, self._day, *counts, total, self._now_ns))
        self._lines.append(lines)

    def _end(self, row: RequestRow, total: int, seq: int, stored: bool) -> None:
        if stored:
            self._settled.append((total, seq, row.owner_lost, row.traceparent, row.request))
        else:
            ended = row._replace(state=SETTLED, billed=total, seq=seq, closed=None, settle_by_ms=None)
            self._fresh.append(ended)
        for budget in row.budgets:
            released, spent = self._budgets.get(budget, (0, 0))
            self._budgets[budget] = (released + row.reserved, spent + total)

    def store(self, connection: Connection) -> None:
        """Write it; budget rows sorted by (level, id)."""
        numbers = self._counters.entries(len(self._entries))
        self._counters.store()
        entries = [(number, *entry) for number, entry in zip(numbers, self._entries, strict=True)]
        lines = [
            (number, place, account, amount)
            for number, some in zip(numbers, self._lines, strict=True)
            for place, (account, amount) in enumerate(some, 1)
        ]
        write(connection, _INSERT_ENTRY, entries)
        write(connection, _INSERT_LINE, lines)
        write(connection, INSERT_FACT, self._facts)
        write(connection, _SPEND, [(*self._budgets[budget], budget) for budget in sorted(self._budgets)])
        write(connection, INSERT_REQUEST, self._fresh)
        write(connection, _SETTLE, self._settled)
