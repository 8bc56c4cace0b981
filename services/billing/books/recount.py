"""The whole ledger counted again, from the usages and closes that it was made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from google.protobuf.message import DecodeError
from sqlalchemy import Connection

from services.billing import ledger
from services.billing.books.booking import STATES
from services.billing.books.rows import RequestRow, read_usages
from services.billing.evidence import OWNER_LOST, close_of, fact, usage_of
from services.billing.settlement import awaited, settle
from shared.contracts.freehold.billing.v1.events_pb2 import RequestSettled
from shared.contracts.freehold.inference.v1.events_pb2 import UsageRecorded
from shared.money import line
from shared.storage.sql import keys, select

PAGE: Final = 500

Entries = Mapping[str, Mapping[str, tuple[Any, list[tuple[str, int]]]]]
"""By request and kind: the entry's row and its lines."""


def recount(connection: Connection, organisation: str) -> tuple[int, list[str]]:
    """How many requests and expenses were counted again, and what differs."""
    examined, found = 0, []
    for page in _pages(connection, organisation):
        usages = read_usages(connection, [row[0] for row in page])
        entries = _entries(connection, [row[0] for row in page])
        for *columns, value in page:
            row = RequestRow(*columns)
            examined += 1
            found += _differences(row, value, usages.get(row.request, {}), entries.get(row.request, {}))
    diagnostics, odd = _without_request(connection, organisation)
    return examined + diagnostics, found + odd


def _pages(connection: Connection, organisation: str) -> Iterator[Sequence[Sequence[Any]]]:
    after = ""
    while True:
        page = select(
            connection,
            "SELECT r.*, f.value FROM requests r"
            " LEFT JOIN facts f ON f.organisation = r.organisation AND f.seq = r.seq"
            " WHERE r.request > ? AND r.state = 'settled' AND (? = '' OR r.organisation = ?)"
            " ORDER BY r.request LIMIT ?",
            (after, organisation, organisation, PAGE),
        ).all()
        if not page:
            return
        yield page
        after = page[-1][0]


def _entries(connection: Connection, requests: Iterable[str]) -> Entries:
    rows = select(connection, "SELECT * FROM entries WHERE request = ANY(?)", keys(requests)).all()
    lines: dict[int, list[tuple[str, int]]] = {row.id: [] for row in rows}
    for entry, account, amount in select(
        connection,
        "SELECT l.entry, l.account, l.amount FROM entries e JOIN lines l ON l.entry = e.id"
        " WHERE e.request = ANY(?) ORDER BY l.entry, l.number",
        keys(requests),
    ):
        lines[entry].append((account, amount))
    found: dict[str, dict[str, tuple[Any, list[tuple[str, int]]]]] = {}
    for row in rows:
        found.setdefault(row.request, {})[row.kind] = (row, lines[row.id])
    return found


def _differences(
    row: RequestRow,
    value: bytes | None,
    stored: Mapping[int, bytes],
    entries: Mapping[str, tuple[Any, list[tuple[str, int]]]],
) -> list[str]:
    """What of a settled request does not follow from its close and usages."""
    try:
        said = RequestSettled.FromString(value or b"")
        usages = {attempt: UsageRecorded.FromString(usage) for attempt, usage in stored.items()}
    except DecodeError:
        return [f"{row.request}: its fact or a usage cannot be decoded"]
    counted = {item.attempt for item in said.usages}
    if missing := sorted(counted - usages.keys()):
        return [f"{row.request}: usages of attempts {missing} are gone"]
    used = {attempt: usages[attempt] for attempt in counted}
    close = close_of(said.closed)
    if not counted <= awaited(close):
        return [f"{row.request}: counts attempts that its close does not name"]
    account = settle(
        close, {attempt: usage_of(usage) for attempt, usage in used.items()}, row.prices, row.reserved
    )
    found: list[str] = []
    again = fact(row, said.closed, account, used, row.seq or 0, said.settled_ns)
    if RequestSettled.FromString(again) != said:
        found.append(f"{row.request}: its fact does not follow from its close and usages")
    if account.charge.total != row.billed:
        found.append(f"{row.request}: billed {row.billed}, should be {account.charge.total}")
    cause = OWNER_LOST if row.owner_lost else STATES[said.closed.state]
    lines = ledger.settlement_lines(row.organisation, account.charge, account.operator_cost, cause)
    counts = (account.prompt, account.cached, account.generated, account.delivered, account.billed)
    wanted = {ledger.SETTLEMENT: (row.organisation, row.project, *counts, account.charge.total, *lines)}
    for attempt in sorted(usages.keys() - counted):
        usage = usage_of(usages[attempt])
        if usage.ids:
            costs = ledger.cost_lines(line(usage.ids, row.price_output), "stray")
            counts = (usage.prompt, usage.cached, usage.ids, 0, 0)
            wanted[ledger.stray(attempt)] = (row.organisation, row.project, *counts, 0, *costs)
    return found + _compare(row.request, wanted, entries)


def _compare(
    request: str,
    wanted: Mapping[str, tuple[Any, ...]],
    entries: Mapping[str, tuple[Any, list[tuple[str, int]]]],
) -> list[str]:
    found: list[str] = []
    for kind in sorted(wanted.keys() | entries.keys()):
        if kind not in entries or kind not in wanted:
            found.append(f"{request}: entry {kind} is {'missing' if kind in wanted else 'without cause'}")
            continue
        entry, lines = entries[kind]
        if (*_columns(entry), *lines) != wanted[kind]:
            found.append(f"{request}: entry {kind} differs from what was used and delivered")
    return found


def _columns(entry: Any) -> tuple[Any, ...]:
    counts = (entry.prompt, entry.cached, entry.generated, entry.delivered, entry.billed)
    return (entry.organisation, entry.project, *counts, entry.total)


def _without_request(connection: Connection, organisation: str) -> tuple[int, list[str]]:
    """Entries of no request: an operator's own generations, each of one usage."""
    rows = select(
        connection,
        "SELECT e.request, e.kind, e.generated, u.value FROM entries e"
        " LEFT JOIN requests r ON r.request = e.request"
        " LEFT JOIN usages u ON u.request = e.request AND e.kind = 'diagnostic:' || u.attempt"
        " WHERE r.request IS NULL AND e.kind <> 'settlement' AND (? = '' OR e.organisation = ?)",
        (organisation, organisation),
    ).all()
    found = [
        f"{request}: entry {kind} follows from no usage"
        for request, kind, generated, value in rows
        if not _generated_by_an_operator(value, generated)
    ]
    return len(rows), found


def _generated_by_an_operator(value: bytes | None, generated: int) -> bool:
    try:
        usage = UsageRecorded.FromString(value or b"")
    except DecodeError:
        return False
    return usage.diagnostic and usage_of(usage).ids == generated
