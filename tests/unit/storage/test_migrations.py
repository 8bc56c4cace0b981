"""Migrations run by the process: whole or not at all, and equal to the declared tables."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import CheckConstraint, Column, Connection, Integer, MetaData, String, Table

from shared.host import system_host
from shared.storage.database import DatabaseError
from shared.storage.migrations import drift, migrate, open_database

FIRST = """
import sqlalchemy as sa
from alembic import op
revision = "0001"
down_revision = None

def upgrade():
    op.create_table(
        "things",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.CheckConstraint("id > 0", name="positive"),
    )
"""
SECOND = """
import sqlalchemy as sa
from alembic import op
revision = "0002"
down_revision = "0001"

def upgrade():
    op.add_column("things", sa.Column("name", sa.String))
"""
BROKEN = SECOND.replace(
    'op.add_column("things"', 'op.create_table("half", sa.Column("id", sa.Integer)); op.add_column("nowhere"'
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "50% migrations"
    made.mkdir()
    (made / "0001_first.py").write_text(FIRST)
    return made


def columns(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return [row[1] for row in connection.execute("PRAGMA table_info(things)")]
    finally:
        connection.close()


def things(*more: Column[str], check: str = "positive") -> MetaData:
    metadata = MetaData()
    Table(
        "things",
        metadata,
        Column("id", Integer, CheckConstraint("id > 0", name=check), primary_key=True),
        *more,
    )
    return metadata


def test_a_file_is_brought_to_the_newest_revision_and_stays_there(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "a.db"
    migrate(path, "sample", folder)
    migrate(path, "sample", folder)
    assert columns(path) == ["id"]
    (folder / "0002_name.py").write_text(SECOND)
    migrate(path, "sample", folder)
    assert columns(path) == ["id", "name"]


def test_a_failed_migration_leaves_the_old_schema_whole(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "a.db"
    migrate(path, "sample", folder)
    (folder / "0002_broken.py").write_text(BROKEN)
    with pytest.raises(DatabaseError, match="nowhere"):
        migrate(path, "sample", folder)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'half'").fetchall() == []
    assert connection.execute("SELECT version_num FROM sample_schema_version").fetchall() == [("0001",)]
    connection.close()


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "a.db"
    (folder / "0002_name.py").write_text(SECOND)
    migrate(path, "sample", folder)
    (folder / "0002_name.py").unlink()
    with pytest.raises(DatabaseError, match="cannot be migrated by this version of sample"):
        migrate(path, "sample", folder)


def test_drift_finds_what_the_migrations_forgot(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "a.db"
    assert drift(path, "sample", things(), folder) == []
    assert any("name" in line for line in drift(path, "sample", things(Column("name", String)), folder))
    assert len(drift(path, "sample", things(check="other"), folder)) == 2


async def test_an_opened_database_has_the_services_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "services" / "sample" / "migrations"
    made.mkdir(parents=True)
    (made / "0001_first.py").write_text(FIRST)
    (tmp_path / "shared").symlink_to(Path(__file__).parents[3] / "shared")
    monkeypatch.setattr("shared.storage.migrations.ROOT", tmp_path)
    database = await open_database(tmp_path / "home" / "sample.db", "sample", system_host())

    def tables(connection: Connection) -> list[str]:
        return [row[0] for row in connection.exec_driver_sql("SELECT name FROM sqlite_master ORDER BY 1")]

    assert await database.read(tables) == [
        "sample_schema_version",
        "sqlite_autoindex_sample_schema_version_1",
        "things",
    ]
    await database.close()
