"""Bad days of a SQLite file: every fault is a `DatabaseError` that says what is wrong."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Connection

from shared.host import system_host
from shared.storage.database import DatabaseError
from shared.storage.sqlite import SqliteDatabase


def create(connection: Connection) -> None:
    connection.exec_driver_sql("CREATE TABLE blobs (data BLOB)")


def count(connection: Connection) -> int:
    return int(connection.exec_driver_sql("SELECT count(*) FROM blobs").scalar_one())


def add(connection: Connection) -> None:
    connection.exec_driver_sql("INSERT INTO blobs VALUES (randomblob(100))")


async def test_a_full_disk_fails_all_of_the_shared_commit_and_mends(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "full.db", system_host())
    await database.transact(create)

    def limit(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count=8")

    def fill(connection: Connection) -> None:
        connection.exec_driver_sql("INSERT INTO blobs VALUES (randomblob(100000))")

    await database.transact(limit)
    alone, *shared = await asyncio.gather(
        *(database.transact(work) for work in (add, add, fill, add)), return_exceptions=True
    )
    assert alone is None
    assert [type(result) for result in shared] == [DatabaseError] * 3
    assert "the disk is full" in str(shared[0])
    assert await database.read(count) == 1
    await database.transact(add)
    assert await database.read(count) == 2
    await database.close()


async def test_a_file_locked_by_another_process_is_said_so_and_mends(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "locked.db", system_host())
    await database.transact(create)
    other = sqlite3.connect(tmp_path / "locked.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseError, match="locked by another process"):
        await database.transact(add)
    other.rollback()
    await database.transact(add)
    other.close()
    await database.close()


async def test_a_file_that_is_no_database_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "garbage.db").write_bytes(b"not what you think" * 1000)
    database = SqliteDatabase(tmp_path / "garbage.db", system_host())
    with pytest.raises(DatabaseError, match="not a database"):
        await database.transact(create)
    await database.close()


async def test_a_folder_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    database = SqliteDatabase(tmp_path / "file" / "a.db", system_host())
    with pytest.raises(DatabaseError, match="file"):
        await database.transact(create)
    await database.close()


async def test_a_work_that_commits_by_itself_is_refused(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "own.db", system_host())
    await database.transact(create)
    with pytest.raises(DatabaseError, match="ended the shared one"):
        await database.transact(lambda connection: connection.commit())
    await database.close()


async def test_what_waits_during_a_commit_shares_the_next(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    database = SqliteDatabase(path, system_host())
    await database.transact(create)
    begun: list[str] = []

    def trace(connection: Connection) -> None:
        raw = connection.connection.dbapi_connection
        assert isinstance(raw, sqlite3.Connection)
        raw.set_trace_callback(lambda text: begun.append(text) if text.startswith("BEGIN") else None)

    await database.transact(trace)
    await asyncio.gather(*(database.transact(add) for _ in range(100)))
    assert await database.read(count) == 100
    assert len(begun) == 2  # the first went alone, the others gathered meanwhile
    await database.close()
