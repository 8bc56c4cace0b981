"""What a service's migrations make is what its code thinks is there."""

from __future__ import annotations

import importlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table

from shared.storage.migrations import ROOT, drift, migrate, version_table

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


@pytest.mark.parametrize("service", SERVICES)
def test_the_migrated_schema_is_the_one_in_the_code(service: str, tmp_path: Path) -> None:
    path = tmp_path / "service.db"
    metadata = metadata_of(service)
    assert drift(path, service, metadata) == []
    assert tables_in(path) == {*metadata.tables, version_table(service)}


@pytest.mark.parametrize("service", SERVICES)
def test_migrating_twice_changes_nothing(service: str, tmp_path: Path) -> None:
    path = tmp_path / "service.db"
    migrate(path, service)
    before = path.read_bytes()
    migrate(path, service)
    assert path.read_bytes() == before


@pytest.mark.parametrize("service", SERVICES)
def test_a_table_that_no_migration_makes_is_found(service: str, tmp_path: Path) -> None:
    metadata = MetaData()
    for table in metadata_of(service).tables.values():
        table.to_metadata(metadata)
    Table("forgotten", metadata, Column("id", Integer, primary_key=True))
    assert any("forgotten" in found for found in drift(tmp_path / "service.db", service, metadata))
