"""Entries numbered by a sequence on PostgreSQL; no key on what is null; no foreign key of lines.

See ops/adr/0025.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_UNIQUE = "UNIQUE (idempotency)"
_FOREIGN = "FOREIGN KEY(entry) REFERENCES entries (id)"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE SEQUENCE entry_numbers OWNED BY entries.id")
        op.execute("SELECT setval('entry_numbers', last) FROM counters WHERE name = 'entry' AND last > 0")
        op.execute("DELETE FROM counters WHERE name = 'entry'")
        op.drop_constraint("lines_entry_fkey", "lines")
        op.drop_constraint("requests_idempotency_key", "requests")
    else:
        _rebuild("lines", f", \n\t{_FOREIGN}", "")
        _rebuild("requests", f", \n\t{_UNIQUE}", "")
    _index()


def downgrade() -> None:
    op.drop_index("requests_idempotent", "requests")
    if op.get_bind().dialect.name == "postgresql":
        op.create_unique_constraint("requests_idempotency_key", "requests", ["idempotency"])
        op.create_foreign_key("lines_entry_fkey", "lines", "entries", ["entry"], ["id"])
        op.execute("INSERT INTO counters SELECT 'entry', COALESCE(MAX(id), 0) FROM entries")
        op.execute("DROP SEQUENCE entry_numbers")
    else:
        _rebuild("requests", "\n)", f", \n\t{_UNIQUE}\n)")
        _rebuild("lines", "\n)", f", \n\t{_FOREIGN}\n)")


def _index() -> None:
    where = sa.text("idempotency IS NOT NULL")
    op.create_index(
        "requests_idempotent",
        "requests",
        ["idempotency"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )


def _rebuild(table: str, old: str, new: str) -> None:
    """Make a table of SQLite anew with other constraints, which it cannot change in place."""
    bind = op.get_bind()
    made = "SELECT sql FROM sqlite_master WHERE tbl_name = :table AND type = :kind AND sql IS NOT NULL"
    (statement,) = bind.execute(sa.text(made), {"table": table, "kind": "table"}).scalars()
    indexes = list(bind.execute(sa.text(made), {"table": table, "kind": "index"}).scalars())
    if statement.count(old) != 1:
        raise RuntimeError(f"the table {table} is not the one that the first revision made")
    bind.exec_driver_sql("PRAGMA legacy_alter_table = ON")  # what refers to it keeps its name
    bind.exec_driver_sql(f"ALTER TABLE {table} RENAME TO {table}_before")
    bind.exec_driver_sql("PRAGMA legacy_alter_table = OFF")
    bind.exec_driver_sql(statement.replace(old, new))
    bind.exec_driver_sql(f"INSERT INTO {table} SELECT * FROM {table}_before")  # noqa: S608
    bind.exec_driver_sql(f"DROP TABLE {table}_before")
    for index in indexes:
        bind.exec_driver_sql(index)
