"""`ledger verify`: what must hold of the books, each rule checked over all rows of one snapshot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from sqlalchemy import Connection

from services.billing.books.recount import recount
from shared.storage.sql import select

SHOWN: Final = 10
"""Violations that a check names; there may be more."""


class Check(NamedTuple):
    """One rule and what was found."""

    name: str
    examined: int
    violations: list[str]

    @property
    def passed(self) -> bool:
        """Whether the rule holds."""
        return not self.violations


def verify(connection: Connection, organisation: str) -> list[Check]:
    """Check the books of one organisation, or of all where it is empty."""
    return [
        _entries_balance(connection, organisation),
        _books_balance(connection, organisation),
        _settled_once(connection, organisation),
        _no_gap(connection, organisation),
        _check("usage, closes and ledger agree", *recount(connection, organisation)),
        _within_reservation(connection, organisation),
        _budgets(connection, organisation),
    ]


def _check(name: str, examined: int, violations: Iterable[str]) -> Check:
    found: list[str] = []
    for violation in violations:
        found.append(violation)
        if len(found) == SHOWN:
            break
    return Check(name, examined, found)


def _count(connection: Connection, statement: str, organisation: str) -> int:
    return int(select(connection, statement, (organisation, organisation)).scalar_one())


def _entries_balance(connection: Connection, organisation: str) -> Check:
    examined = _count(
        connection, "SELECT COUNT(*) FROM entries WHERE ? = '' OR organisation = ?", organisation
    )
    rows = select(
        connection,
        "SELECT e.id, e.request, CAST(SUM(l.amount) AS BIGINT) FROM entries e JOIN lines l ON l.entry = e.id"
        " WHERE ? = '' OR e.organisation = ? GROUP BY e.id, e.request HAVING SUM(l.amount) <> 0",
        (organisation, organisation),
    )
    violations = (f"entry {entry} of {request} is out of balance by {odd}" for entry, request, odd in rows)
    return _check("each entry's debits equal its credits", examined, violations)


def _books_balance(connection: Connection, organisation: str) -> Check:
    rows = select(
        connection,
        "SELECT e.currency, COUNT(*), CAST(SUM(l.amount) AS BIGINT), COUNT(*) - COUNT(e.id) FROM lines l"
        " LEFT JOIN entries e ON e.id = l.entry WHERE ? = '' OR e.organisation = ? GROUP BY e.currency",
        (organisation, organisation),
    ).all()
    found = [f"{row[0]}: debits and credits differ by {row[2]}" for row in rows if row[2]]
    found += [f"{row[3]} lines belong to no entry" for row in rows if row[3]]
    return _check("debits equal credits", sum(row[1] for row in rows), found)


def _settled_once(connection: Connection, organisation: str) -> Check:
    examined = _count(
        connection,
        "SELECT COUNT(*) FROM requests WHERE state = 'settled' AND (? = '' OR organisation = ?)",
        organisation,
    )
    rows = select(
        connection,
        "SELECT r.request, COUNT(e.id) FROM requests r"
        " LEFT JOIN entries e ON e.request = r.request AND e.kind = 'settlement'"
        " WHERE (? = '' OR r.organisation = ?) GROUP BY r.request, r.state"
        " HAVING COUNT(e.id) <> CASE WHEN r.state = 'settled' THEN 1 ELSE 0 END",
        (organisation, organisation),
    ).all()
    found = [f"{request} has {count} settlements" for request, count in rows]
    orphans = select(
        connection,
        "SELECT e.request FROM entries e LEFT JOIN requests r ON r.request = e.request"
        " WHERE e.kind = 'settlement' AND r.request IS NULL AND (? = '' OR e.organisation = ?)",
        (organisation, organisation),
    )
    found += [f"{request} is settled and not known" for (request,) in orphans]
    return _check("one settlement a request", examined, found)


def _no_gap(connection: Connection, organisation: str) -> Check:
    rows = select(
        connection,
        "SELECT r.organisation, COUNT(*), COUNT(DISTINCT r.seq), MIN(r.seq), MAX(r.seq), MAX(c.last),"
        " COUNT(f.seq) FROM requests r"
        " LEFT JOIN counters c ON c.name = 'seq/' || r.organisation"
        " LEFT JOIN facts f ON f.organisation = r.organisation AND f.seq = r.seq AND f.request = r.request"
        " WHERE r.state = 'settled' AND (? = '' OR r.organisation = ?) GROUP BY r.organisation",
        (organisation, organisation),
    ).all()
    found: list[str] = []
    for name, count, distinct, first, last, given, facts in rows:
        if (distinct, first, last, given) != (count, 1, count, count):
            found.append(
                f"{name}: {count} settlements have {distinct} numbers from {first} to {last}, {given} given"
            )
        if facts != count:
            found.append(f"{name}: {count} settlements have {facts} facts")
    extra = select(
        connection,
        "SELECT f.organisation, f.seq FROM facts f LEFT JOIN requests r ON r.request = f.request"
        " AND r.seq = f.seq WHERE r.request IS NULL AND (? = '' OR f.organisation = ?)",
        (organisation, organisation),
    )
    found += [f"{name}: fact {seq} is of no settled request" for name, seq in extra]
    return _check("no gap in seq", sum(row[1] for row in rows), found)


def _within_reservation(connection: Connection, organisation: str) -> Check:
    examined = _count(
        connection, "SELECT COUNT(*) FROM requests WHERE ? = '' OR organisation = ?", organisation
    )
    rows = select(
        connection,
        "SELECT request, billed, reserved FROM requests"
        " WHERE (billed < 0 OR billed > reserved OR (state <> 'settled' AND billed <> 0))"
        " AND (? = '' OR organisation = ?)",
        (organisation, organisation),
    )
    violations = (
        f"{request} is billed {billed} of {reserved} reserved" for request, billed, reserved in rows
    )
    return _check("nothing is billed above its reservation", examined, violations)


def _budgets(connection: Connection, organisation: str) -> Check:
    held: dict[str, tuple[int, int]] = {}
    for statement in _HELD:
        for budget, spent, reserved in select(connection, statement, (organisation, organisation)):
            before = held.get(budget, (0, 0))
            held[budget] = (before[0] + spent, before[1] + reserved)
    rows = {row[0]: row for row in select(connection, "SELECT * FROM budgets")}
    chosen = sorted(held.keys() if organisation else held.keys() | rows.keys())
    found: list[str] = []
    for budget in chosen:
        row, (spent, reserved) = rows.get(budget), held.get(budget, (0, 0))
        if row is None:
            found.append(f"budget {budget} has no row")
            continue
        if (row.spent, row.reserved) != (spent, reserved):
            found.append(
                f"budget {budget} says {row.spent} spent and {row.reserved} reserved,"
                f" its requests {spent} and {reserved}"
            )
        if row.spent + row.reserved > row.cap:
            found.append(f"budget {budget} is overspent: {row.spent + row.reserved} of {row.cap}")
    return _check("budgets equal their requests", len(chosen), found)


_HELD: Final = (
    "SELECT organisation_budget, CAST(SUM(billed) AS BIGINT),"
    " CAST(SUM(CASE WHEN state = 'settled' THEN 0 ELSE reserved END) AS BIGINT)"
    " FROM requests WHERE organisation_budget IS NOT NULL AND (? = '' OR organisation = ?) GROUP BY 1",
    "SELECT project_budget, CAST(SUM(billed) AS BIGINT),"
    " CAST(SUM(CASE WHEN state = 'settled' THEN 0 ELSE reserved END) AS BIGINT)"
    " FROM requests WHERE project_budget IS NOT NULL AND (? = '' OR organisation = ?) GROUP BY 1",
    "SELECT key_budget, CAST(SUM(billed) AS BIGINT),"
    " CAST(SUM(CASE WHEN state = 'settled' THEN 0 ELSE reserved END) AS BIGINT)"
    " FROM requests WHERE key_budget IS NOT NULL AND (? = '' OR organisation = ?) GROUP BY 1",
)
