"""What a service's migrations make is what its code thinks is there."""

from __future__ import annotations

import importlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table

from shared.storage.migrations import ROOT, migrate, version_table
from tests.contract.schema_world import PostgresSchema, Schema, SqliteSchema

SERVICES = sorted(path.parent.name for path in (ROOT / "services").glob("*/migrations"))


def metadata_of(service: str) -> MetaData:
    found = importlib.import_module(f"services.{service}.tables").metadata
    assert isinstance(found, MetaData)
    return found


def tables_in(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {name for (name,) in rows if not name.startswith("sqlite_")}


def test_exactly_the_owners_of_durable_state_have_migrations() -> None:
    assert SERVICES == ["audit", "billing", "control"]


@pytest.fixture(params=["sqlite", "postgres"])
def schema(request: pytest.FixtureRequest, tmp_path: Path) -> Schema:
    if request.param == "sqlite":
        return SqliteSchema(tmp_path)
    return PostgresSchema(request.getfixturevalue("postgres").settings())


@pytest.mark.parametrize("service", SERVICES)
def test_the_migrated_schema_is_the_one_in_the_code(service: str, schema: Schema) -> None:
    assert schema.drift(service, metadata_of(service)) == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_migration_makes_the_tables_and_no_others(service: str, tmp_path: Path) -> None:
    path = tmp_path / "service.db"
    migrate(path, service)
    assert tables_in(path) == {*metadata_of(service).tables, version_table(service)}


@pytest.mark.parametrize("service", SERVICES)
def test_migrating_twice_changes_nothing(service: str, tmp_path: Path) -> None:
    path = tmp_path / "service.db"
    migrate(path, service)
    before = path.read_bytes()
    migrate(path, service)
    assert path.read_bytes() == before


@pytest.mark.parametrize("service", SERVICES)
def test_migrations_go_back_to_nothing_and_forward_again(service: str, schema: Schema) -> None:
    schema.migrate(service)
    schema.migrate(service, "base")
    assert schema.tables(service) == []
    assert schema.drift(service, metadata_of(service)) == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_table_that_no_migration_makes_is_found(service: str, schema: Schema) -> None:
    metadata = MetaData()
    for table in metadata_of(service).tables.values():
        table.to_metadata(metadata)
    Table("forgotten", metadata, Column("id", Integer, primary_key=True))
    assert any("forgotten" in found for found in schema.drift(service, metadata))
