"""What billing tells from its books. Read-only; the caller has decided whose they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection

from services.billing.books.rows import FactRow
from services.billing.ledger import SETTLEMENT
from shared.contracts.freehold.billing.v1 import billing_pb2 as pb
from shared.storage.sql import keys, select

MOST_ENTRIES: Final = 1000
USUAL_ENTRIES: Final = 100
MOST_FACTS: Final = 500
NEWEST: Final = (1 << 63) - 1


class Scope(NamedTuple):
    """Whose books; empty = any."""

    organisation: str
    project: str = ""


def balance(connection: Connection, budget: str) -> tuple[int, int]:
    """(spent, reserved) of a budget's row; nothing where nothing was ever reserved under it."""
    found = select(connection, "SELECT spent, reserved FROM budgets WHERE budget = ?", (budget,))
    row = found.first()
    return (row[0], row[1]) if row else (0, 0)


def unlimited_balance(connection: Connection, organisation: str, project: str, key: str) -> tuple[int, int]:
    """(spent, reserved) over all time of an object without a budget; empty = all of the level above."""
    found = select(
        connection,
        "SELECT CAST(COALESCE(SUM(billed), 0) AS BIGINT),"
        " CAST(COALESCE(SUM(CASE WHEN state <> 'settled' THEN reserved END), 0) AS BIGINT)"
        " FROM requests WHERE organisation = ? AND (? = '' OR project = ?) AND (? = '' OR key_id = ?)",
        (organisation, project, project, key, key),
    ).one()
    return found[0], found[1]


def entries(
    connection: Connection, scope: Scope, request: str, limit: int, before: int
) -> list[pb.LedgerEntry]:
    """Entries with their lines, newest first, of one request or of all."""
    most = min(limit or USUAL_ENTRIES, MOST_ENTRIES)
    before = min(before or NEWEST, NEWEST)
    organisation, project = scope
    rest = (before, project, project, most)
    parameters: tuple[str | int, ...]
    if request:
        statement, parameters = _OF_REQUEST, (request, organisation, organisation, *rest)
    elif organisation:
        statement, parameters = _OF_ORGANISATION, (organisation, *rest)
    else:
        statement, parameters = _OF_ALL, rest
    found = [
        pb.LedgerEntry(
            id=row.id,
            request=row.request,
            organisation=row.organisation,
            project=row.project,
            currency=row.currency,
            generated=row.generated,
            delivered=row.delivered,
            billed=row.billed,
            booked_ns=row.booked_ns,
        )
        for row in select(connection, statement, parameters)
    ]
    by_id = {entry.id: entry for entry in found}
    lines = select(
        connection,
        "SELECT entry, account, amount FROM lines WHERE entry = ANY(?) ORDER BY entry, number",
        keys(by_id),
    )
    for entry, account, amount in lines:
        by_id[entry].lines.add(account=account, amount=amount)
    return found


# Three statements, because one with every condition optional could use no index.
_OF_ALL: Final = "SELECT * FROM entries WHERE id < ? AND (? = '' OR project = ?) ORDER BY id DESC LIMIT ?"
_OF_ORGANISATION: Final = (
    "SELECT * FROM entries WHERE organisation = ? AND id < ?"
    " AND (? = '' OR project = ?) ORDER BY id DESC LIMIT ?"
)
_OF_REQUEST: Final = (
    "SELECT * FROM entries WHERE request = ? AND (? = '' OR organisation = ?) AND id < ?"
    " AND (? = '' OR project = ?) ORDER BY id DESC LIMIT ?"
)


def usage(connection: Connection, scope: Scope, model: str, from_day: str, to_day: str) -> list[pb.UsageRow]:
    """Settled requests summed by UTC day of their booking, and model; both days inclusive, empty = open."""
    found = select(
        connection,
        "SELECT day, model, currency, COUNT(*), SUM(prompt), SUM(cached), SUM(generated), SUM(delivered),"
        " SUM(billed), CAST(SUM(total) AS BIGINT) FROM entries"
        " WHERE organisation = ? AND (? = '' OR project = ?) AND day >= ? AND day <= ?"
        " AND (? = '' OR model = ?) AND kind = ?"
        " GROUP BY day, model, currency ORDER BY day, model, currency",
        (
            scope.organisation,
            scope.project,
            scope.project,
            from_day,
            to_day or "9999-12-31",
            model,
            model,
            SETTLEMENT,
        ),
    )
    names = ("day", "model", "currency", "requests", "prompt", "cached", "generated", "delivered", "billed")
    return [pb.UsageRow(**dict(zip((*names, "total"), row, strict=True))) for row in found]


def facts_between(connection: Connection, organisation: str, first: int, last: int) -> Sequence[FactRow]:
    """Facts of one organisation by `seq`, both inclusive, at most `MOST_FACTS` of them."""
    found = select(
        connection,
        "SELECT * FROM facts WHERE organisation = ? AND seq >= ? AND seq <= ? ORDER BY seq LIMIT ?",
        (organisation, first, min(last, NEWEST), MOST_FACTS),
    )
    return [FactRow(*row) for row in found]
