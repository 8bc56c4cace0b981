"""Audit's tables. They are the log's one source of truth; the static files are made from them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()
_number = BigInteger().with_variant(Integer, "sqlite")

head = Table(
    "head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("size", _number, nullable=False),
    Column("checkpoint", Text, nullable=False),  # last signed note; empty before the first
)

leaves = Table(
    "leaves",
    metadata,
    Column("number", _number, primary_key=True, autoincrement=False),
    Column("stream", String, nullable=False),
    Column("seq", _number, nullable=False),
    Column("organisation", String, nullable=False),
    Column("project", String, nullable=False),
    Column("request", String, nullable=False),
    Column("entry", LargeBinary, nullable=False),
    UniqueConstraint("stream", "seq", name="leaves_once"),
    Index("leaves_request", "request"),
)

tiles = Table(
    "tiles",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("number", _number, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
)

streams = Table(
    "streams",
    metadata,
    Column("name", String, primary_key=True),
    Column("next", _number, nullable=False),
)

parked = Table(
    "parked",
    metadata,
    Column("topic", String, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("offset", _number, primary_key=True, autoincrement=False),
    Column("timestamp_ms", BigInteger, nullable=False),
    Column("key", LargeBinary),
    Column("value", LargeBinary, nullable=False),
    # JSON: [[name, value in Latin-1]].
    Column("headers", String, nullable=False),
    Column("reason", String, nullable=False),
)

gaps = Table(
    "gaps",
    metadata,
    Column("stream", String, primary_key=True),
    Column("first", _number, primary_key=True, autoincrement=False),
    Column("last", _number, nullable=False),
    Column("since_ns", BigInteger, nullable=False),
)
