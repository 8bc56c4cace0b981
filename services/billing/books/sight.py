"""What an operator watches of the books: a few sums that stay cheap however long the books are. Read-only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, func, select, text

from services.billing import tables
from services.billing.terms import Claim
from shared.storage.sql import concurrent

_NAMES: Final = 500
"""Names in one IN list."""
MOST_ENTRIES: Final = 5000
"""Entries that one check adds up: some milliseconds."""
SETTLING_NS: Final = 60_000_000_000
"""A transaction that books takes less, or has failed."""


class Open(NamedTuple):
    """What is reserved in one currency and not settled."""

    requests: int
    amount: int
    """10^-9 of a currency unit."""


class Books(NamedTuple):
    """One look."""

    open: dict[str, Open]
    """By currency."""
    awaiting_usage: int
    """Closed requests whose worker's usage has not come."""
    parked: int
    outbox: int


class Balance(NamedTuple):
    """Entries that were added up."""

    upto: int
    """The last one's id."""
    odd: int
    """How many of them are out of balance."""
    left: int
    """How many stand behind it, at most."""


def look(connection: Connection) -> Books:
    """Sums over what is open; the conditions are those of the indexes that hold nothing else."""
    requests = tables.requests.c
    opened = connection.execute(
        select(requests.currency, func.count(), func.coalesce(func.sum(requests.reserved), 0))
        .where(text("state IN ('reserved', 'refused')"), requests.state == "reserved")
        .group_by(requests.currency)
    )
    found = {currency: Open(count, int(amount)) for currency, count, amount in opened}
    waiting = connection.execute(
        select(func.count()).where(text("state = 'closed'")).select_from(tables.requests)
    )
    return Books(
        found,
        waiting.scalar_one(),
        connection.execute(select(func.count()).select_from(tables.parked)).scalar_one(),
        connection.execute(select(func.count()).select_from(tables.outbox)).scalar_one(),
    )


def used(connection: Connection, claims: Iterable[Claim]) -> dict[str, int]:
    """Spent and reserved of these budgets, in their current periods; nothing of those never used."""
    budgets = tables.budgets.c
    found: dict[str, int] = {}
    for some in _batches([claim.budget for claim in claims]):
        rows = connection.execute(
            select(budgets.budget, budgets.spent + budgets.reserved).where(budgets.budget.in_(some))
        )
        found.update((name, int(amount)) for name, amount in rows)
    return found


def newest(connection: Connection) -> int:
    """Id of the newest entry, 0 for empty books."""
    return int(connection.execute(select(func.coalesce(func.max(tables.entries.c.id), 0))).scalar_one())


def balance(connection: Connection, after: int, now_ns: int) -> Balance:
    """Add up the lines of the next entries after this id: debits must equal credits.

    On PostgreSQL a transaction may commit entries below one that is there already, so nothing is added up
    before `SETTLING_NS` after it was booked.
    """
    entries, lines = tables.entries.c, tables.lines.c
    upto = min(newest(connection), after + MOST_ENTRIES)
    if concurrent(connection):
        young = select(func.min(entries.id)).where(
            entries.id > after, entries.id <= upto, entries.booked_ns > now_ns - SETTLING_NS
        )
        upto = (connection.execute(young).scalar() or upto + 1) - 1
    sums = (
        select(entries.id, func.coalesce(func.sum(lines.amount), 0).label("odd"))
        .select_from(tables.entries.outerjoin(tables.lines, lines.entry == entries.id))
        .where(entries.id > after, entries.id <= upto)
        .group_by(entries.id)
        .subquery()
    )
    odd = connection.execute(select(func.count()).select_from(sums).where(sums.c.odd != 0)).scalar_one()
    last = newest(connection)
    return Balance(upto, odd, last - upto)


def _batches(names: Sequence[str]) -> Iterable[Sequence[str]]:
    return (names[start : start + _NAMES] for start in range(0, len(names), _NAMES))
