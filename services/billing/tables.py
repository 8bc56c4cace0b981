"""Billing's tables. Amounts are integers of 10^-9 of a currency unit, `_ms` is broker time.

A request's row is `reserved | refused -> closed -> settled` and never goes back; `closed` is only seen
while a usage is awaited.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)

from shared.storage.outbox import outbox_table

metadata = MetaData()

_ROW_ID = BigInteger().with_variant(Integer(), "sqlite")
"""In SQLite only INTEGER makes a primary key the row's own number."""


def _partial(name: str, column: str, where: str, *, unique: bool = False) -> Index:
    return Index(name, column, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


budgets = Table(
    "budgets",
    metadata,
    # LEVEL/ID/CURRENCY/PERIOD, the level as its number: transactions take rows in this order.
    Column("budget", String, primary_key=True),
    Column("level", Integer, nullable=False),
    Column("id", String, nullable=False),
    Column("currency", String, nullable=False),
    Column("period", String, nullable=False),
    Column("spent", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    # Highest limit under which anything was reserved: an operator may lower a limit below what is spent.
    Column("cap", BigInteger, nullable=False),
    CheckConstraint("spent >= 0 AND reserved >= 0", name="budgets_not_negative"),
    CheckConstraint("spent + reserved <= cap", name="budgets_not_overspent"),
)

requests = Table(
    "requests",
    metadata,
    Column("request", String, primary_key=True),
    Column("organisation", String, nullable=False),
    Column("project", String, nullable=False),
    Column("key_id", String, nullable=False),
    Column("model", String, nullable=False),
    # Incarnation of the edge, in decimal: 64 bits without a sign.
    Column("owner", String, nullable=False),
    Column("state", String, nullable=False),
    # SHA-256 of (organisation, project, Idempotency-Key); NULL where none is held.
    Column("idempotency", String),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("price_prompt", BigInteger, nullable=False),
    Column("price_cached", BigInteger, nullable=False),
    Column("price_output", BigInteger, nullable=False),
    Column("price_version", String, nullable=False),
    Column("currency", String, nullable=False),
    # First day of the shortest period of its budgets; empty = none.
    Column("period", String, nullable=False),
    Column("organisation_budget", String),
    Column("project_budget", String),
    Column("key_budget", String),
    # Of a refusal: member of `Kind`, code, message, and whose idempotency key it repeats.
    Column("refusal", String),
    Column("refusal_code", String),
    Column("refusal_message", String),
    Column("first_request", String),
    # NULL: closed before any reserve was seen.
    Column("reserved_ms", BigInteger),
    # When nobody can own it any more.
    Column("expires_ms", BigInteger, nullable=False),
    # Trace context of the newest record of its owner.
    Column("traceparent", LargeBinary, nullable=False),
    # The RequestClosed and the end of the wait, while usages are awaited.
    Column("closed", LargeBinary),
    Column("settle_by_ms", BigInteger),
    Column("owner_lost", Boolean, nullable=False),
    Column("billed", BigInteger, nullable=False),
    Column("seq", BigInteger),
    CheckConstraint("billed >= 0 AND billed <= reserved", name="requests_within_reservation"),
    CheckConstraint("(state = 'settled') = (seq IS NOT NULL)", name="requests_settled_with_seq"),
    Index("requests_by_key", "organisation", "project", "key_id"),
    _partial("requests_idempotent", "idempotency", "idempotency IS NOT NULL", unique=True),
    _partial("requests_open", "expires_ms", "state IN ('reserved', 'refused')"),
    _partial("requests_waiting", "settle_by_ms", "state = 'closed'"),
)

usages = Table(
    "usages",
    metadata,
    Column("request", String, primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    # The UsageRecorded as it came.
    Column("value", LargeBinary, nullable=False),
    Column("arrived_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

entries = Table(
    "entries",
    metadata,
    # Rising: on SQLite without a gap by `counters`, on PostgreSQL of the sequence `entry_numbers`.
    Column("id", _ROW_ID, primary_key=True, autoincrement=False),
    Column("request", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("organisation", String, nullable=False),
    Column("project", String, nullable=False),
    Column("model", String, nullable=False),
    Column("currency", String, nullable=False),
    # UTC day of the booking, ISO 8601.
    Column("day", String, nullable=False),
    Column("prompt", Integer, nullable=False),
    Column("cached", Integer, nullable=False),
    Column("generated", Integer, nullable=False),
    Column("delivered", Integer, nullable=False),
    Column("billed", Integer, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("booked_ns", BigInteger, nullable=False),
    UniqueConstraint("request", "kind", name="entries_once"),
    Index("entries_by_organisation", "organisation", "id"),
    Index("entries_by_day", "organisation", "project", "day"),
)

lines = Table(
    "lines",
    metadata,
    # Of an entry in the same transaction. No foreign key: it would be looked up for each line again, and
    # `ledger verify` finds a line without entry (ops/adr/0025).
    Column("entry", _ROW_ID, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("account", String, nullable=False),
    Column("amount", BigInteger, nullable=False),
    CheckConstraint("amount <> 0", name="lines_not_zero"),
    sqlite_with_rowid=False,
)

facts = Table(
    "facts",
    metadata,
    Column("organisation", String, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("request", String, nullable=False),
    Column("traceparent", LargeBinary, nullable=False),
    # The RequestSettled as it was and is published.
    Column("value", LargeBinary, nullable=False),
)

counters = Table(
    "counters",
    metadata,
    # `seq/ORGANISATION`; on SQLite `entry` too.
    Column("name", String, primary_key=True),
    Column("last", BigInteger, nullable=False),
)

late = Table(
    "late",
    metadata,
    Column("request", String, primary_key=True),
    Column("type", String, primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("value", LargeBinary, nullable=False),
    Column("arrived_ms", BigInteger, nullable=False),
)

parked = Table(
    "parked",
    metadata,
    Column("topic", String, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("timestamp_ms", BigInteger, nullable=False),
    Column("key", LargeBinary),
    Column("value", LargeBinary, nullable=False),
    # JSON: [[name, value in Latin-1]].
    Column("headers", String, nullable=False),
    Column("reason", String, nullable=False),
)

positions = Table(
    "positions",
    metadata,
    Column("topic", String, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    # Everything below it has had its effect.
    Column("next", BigInteger, nullable=False),
)

outbox = outbox_table(metadata)
