"""History that contradicts what was signed is refused, never signed over."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sqlalchemy import text

from services.audit.log import LogInconsistent
from services.audit.tlog.note import Signer
from shared.host import system_host
from shared.storage.migrations import open_database
from tests.integration.audit_log_world import SIGNER, facts, life


async def test_an_older_database_would_fork_the_log_and_is_refused(tmp_path: Path) -> None:
    async with life(tmp_path) as log:
        await log.append(facts(1, 3))
        await log.publish()
    shutil.copytree(tmp_path, tmp_path.with_name("backup"))
    async with life(tmp_path) as log:
        await log.append(facts(4, 3))
        await log.publish()
    for name in ("audit.db", "audit.db-wal", "audit.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.copy(tmp_path.with_name("backup") / "audit.db", tmp_path / "audit.db")
    with pytest.raises(LogInconsistent, match="fork"):
        async with life(tmp_path):
            pass


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE tiles SET hashes = zeroblob(length(hashes))",
        "DELETE FROM tiles",
        "UPDATE head SET checkpoint = replace(checkpoint, '3', '4')",
    ],
)
async def test_a_changed_database_is_not_signed_over(tmp_path: Path, damage: str) -> None:
    async with life(tmp_path) as log:
        await log.append(facts(1, 3))
        shown = await log.publish()
    database = await open_database(tmp_path / "audit.db", "audit", system_host())
    await database.transact(lambda connection: connection.execute(text(damage)))
    await database.close()
    with pytest.raises(LogInconsistent):
        async with life(tmp_path):
            pass
    assert (tmp_path / "log" / "checkpoint").read_text() == shown


async def test_history_changed_while_running_is_not_signed_over(tmp_path: Path) -> None:
    async with life(tmp_path) as log:
        await log.append(facts(1, 3))
        shown = await log.publish()
        database = await open_database(tmp_path / "audit.db", "audit", system_host())
        damage = text("UPDATE tiles SET hashes = zeroblob(length(hashes))")
        await database.transact(lambda connection: connection.execute(damage))
        await database.close()
        await log.append(facts(4, 1))
        with pytest.raises(LogInconsistent, match="contradicts"):
            await log.publish()
        assert await log.checkpoint() == shown


async def test_another_key_is_refused(tmp_path: Path) -> None:
    async with life(tmp_path) as log:
        await log.append(facts(1, 3))
        await log.publish()
    with pytest.raises(LogInconsistent, match="log and key"):
        async with life(tmp_path, signer=Signer(SIGNER.name, bytes(32))):
            pass
