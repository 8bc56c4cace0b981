"""Migrations on PostgreSQL: whole or not at all, one after the other, and never passed over."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import inspect

from shared.host import system_host
from shared.storage import migrations
from shared.storage.database import DatabaseError, DatabaseRefused
from shared.storage.migrations import version_table
from shared.storage.postgres import open_postgres
from shared.storage.postgres_migrations import Migrated, migrate_postgres
from shared.storage.settings import DatabaseSettings
from tests.servers.postgres import Postgres
from tests.unit.storage.test_migrations import BROKEN, FIRST, SECOND

HOST = system_host()
ROOT = Path(__file__).resolve().parents[2]
SLOW = SECOND.replace("def upgrade():", 'def upgrade():\n    op.execute("SELECT pg_sleep(60)")')
PROGRAM = """
import sys
from pathlib import Path
from shared.storage.postgres_migrations import migrate_postgres
from shared.storage.settings import DatabaseSettings
folder = Path(sys.argv[2]) if len(sys.argv) > 2 else None
print(*migrate_postgres(DatabaseSettings(), sys.argv[1], folder))
"""


@pytest.fixture
def settings(postgres: Postgres) -> DatabaseSettings:
    return postgres.settings()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Revisions of the service `sample`."""
    made = tmp_path / "services" / "sample" / "migrations"
    made.mkdir(parents=True)
    (made / "0001_first.py").write_text(FIRST)
    (tmp_path / "shared").symlink_to(ROOT / "shared")
    monkeypatch.setattr(migrations, "ROOT", tmp_path)
    return made


def start(settings: DatabaseSettings, *arguments: str) -> subprocess.Popen[str]:
    environment = {
        f"FREEHOLD_DATABASE_{name.upper()}": str(getattr(settings, name))
        for name in ("host", "port", "name", "user")
    }
    environment["FREEHOLD_DATABASE_PASSWORD"] = settings.password.get_secret_value()
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**os.environ, **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> str:
    said, complaint = process.communicate(timeout=60)
    assert process.returncode == 0, complaint
    return said.strip()


async def test_racing_migrators_wait_for_each_other(settings: DatabaseSettings) -> None:
    racing = [start(settings, "billing") for _ in range(3)]
    said = [await asyncio.to_thread(ended, process) for process in racing]
    assert sorted(said) == ["0002", "0002 0002", "0002 0002"]
    await (await open_postgres(settings, "billing", HOST)).close()


async def test_a_migration_killed_in_its_midst_leaves_the_old_schema_and_is_done_again(
    postgres: Postgres, settings: DatabaseSettings, folder: Path
) -> None:
    await asyncio.to_thread(migrate_postgres, settings, "sample", folder)
    (folder / "0002_name.py").write_text(SLOW)
    process = start(settings, "sample", str(folder))
    sleeping = f"SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = '{settings.name}'"
    async with asyncio.timeout(30):
        while not await postgres.execute(sleeping):  # noqa: ASYNC110 - what is waited for is the server
            await asyncio.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    await asyncio.to_thread(process.communicate)
    await postgres.execute(  # which it would do by itself when the sleep is over
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{settings.name}'"  # noqa: S608
    )
    with pytest.raises(DatabaseRefused, match="older than 0002: run `freehold migrate`"):
        await open_postgres(settings, "sample", HOST)
    (folder / "0002_name.py").write_text(SECOND)
    assert await asyncio.to_thread(migrate_postgres, settings, "sample", folder) == Migrated("0001", "0002")
    await (await open_postgres(settings, "sample", HOST)).close()


async def test_a_failed_migration_changes_nothing(settings: DatabaseSettings, folder: Path) -> None:
    await asyncio.to_thread(migrate_postgres, settings, "sample", folder)
    (folder / "0002_broken.py").write_text(BROKEN)
    with pytest.raises(DatabaseError, match="nowhere"):
        await asyncio.to_thread(migrate_postgres, settings, "sample", folder)
    (folder / "0002_broken.py").unlink()
    database = await open_postgres(settings, "sample", HOST)
    assert await database.read(
        lambda connection: connection.exec_driver_sql("SELECT to_regclass('half') IS NULL").scalar_one()
    )
    await database.close()


async def test_a_schema_of_a_newer_version_is_neither_opened_nor_migrated(
    settings: DatabaseSettings, folder: Path
) -> None:
    (folder / "0002_name.py").write_text(SECOND)
    await asyncio.to_thread(migrate_postgres, settings, "sample", folder)
    (folder / "0002_name.py").unlink()
    with pytest.raises(DatabaseRefused, match="0002, which a newer version of Freehold made"):
        await open_postgres(settings, "sample", HOST)
    with pytest.raises(DatabaseRefused, match="cannot be migrated by this version"):
        await asyncio.to_thread(migrate_postgres, settings, "sample", folder)


async def test_services_lie_side_by_side_in_one_database(settings: DatabaseSettings) -> None:
    for service in ("control", "billing", "audit"):
        await asyncio.to_thread(migrate_postgres, settings, service)
    for service in ("control", "billing", "audit"):
        database = await open_postgres(settings, service, HOST)
        tables = await database.read(lambda connection: inspect(connection).get_table_names())
        assert [name for name in tables if "schema_version" in name] == [version_table(service)]
        await database.close()


def test_the_command_says_one_line_a_service(settings: DatabaseSettings) -> None:
    def freehold(*arguments: str) -> list[str]:
        program = "from services.cli.main import main; main()"
        environment = {
            f"FREEHOLD_DATABASE_{name.upper()}": str(getattr(settings, name))
            for name in ("host", "port", "name", "user")
        }
        environment["FREEHOLD_DATABASE_PASSWORD"] = settings.password.get_secret_value()
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env={**os.environ, **environment},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        return (done.stdout + done.stderr).splitlines()

    assert freehold("migrate", "control", "billing") == [
        "control: from nothing to 0002",
        "billing: from nothing to 0002",
    ]
    assert freehold("migrate", "billing", "--down-to", "base") == ["billing: from 0002 to nothing"]
    assert [line.split(": ")[1] for line in freehold("migrate")][:2] == ["is at 0002", "from nothing to 0002"]
    (refused,) = freehold("migrate", "--down-to", "base")
    assert "--down-to is of one service" in refused
