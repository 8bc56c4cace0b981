"""Control's tables: every value with its version, every change as a fact, the numbers, the outbox."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, String, Table

from shared.storage.lease import lease_table
from shared.storage.outbox import outbox_table

metadata = MetaData()

values = Table(
    "configuration_values",
    metadata,
    Column("kind", String, primary_key=True),
    Column("id", String, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("value", LargeBinary, nullable=False),
)

facts = Table(
    "facts",
    metadata,
    Column("seq", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False),
    Column("fact", LargeBinary, nullable=False),
)

numbers = Table(
    "numbers",
    metadata,
    Column("kind", Integer, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("incarnation", String, nullable=False),
    Column("renewed_ms", BigInteger, nullable=False),
)

epochs = Table(
    "epochs",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, nullable=False),
)

outbox = outbox_table(metadata)

lease = lease_table(metadata)
