"""The log is mended after a death at any step, a lost folder and a fault of the disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from services.audit.tlog import merkle
from services.audit.tlog.checkpoint import open_checkpoint
from shared.storage.database import DatabaseError
from tests.integration.audit_log_world import SIGNER, Crash, Fuse, check_folder, facts, life


async def test_a_death_between_any_two_steps_is_mended(tmp_path: Path) -> None:
    """250 leaves are shown; 20 more, which fill a tile, come; the process dies at each step in turn."""
    before, after = facts(1, 250), facts(251, 20)
    template = tmp_path / "template"
    async with life(template) as log:
        await log.append(before)
        shown = open_checkpoint(await log.publish(), SIGNER.verifier)
    deaths = 0
    for step in range(1, 200):
        home = tmp_path / str(step)
        shutil.copytree(template, home)
        fuse = Fuse(step)
        try:
            async with life(home, fuse) as log:
                await log.append(after)
                await log.publish()
        except Crash:
            deaths += 1
        survived = open_checkpoint((home / "log" / "checkpoint").read_text(), SIGNER.verifier)
        async with life(home) as log:
            await log.append(after)  # the bus delivers again what was not committed
            note = await log.publish()
            last = open_checkpoint(note, SIGNER.verifier)
            for earlier in (shown, survived):
                proof, _ = await log.consistency(earlier.size, 0)
                merkle.verify_consistency(earlier.size, last.size, earlier.root, last.root, proof)
        check_folder(home, [fact.entry for fact in before + after])
        shutil.rmtree(home)
        if fuse.left > 0:
            break
    assert fuse.left > 0
    assert deaths == step - 1
    assert deaths > 20


async def test_a_death_before_the_first_checkpoint_is_mended(tmp_path: Path) -> None:
    for step in range(1, 100):
        home = tmp_path / str(step)
        fuse = Fuse(step)
        try:
            async with life(home, fuse) as log:
                await log.append(facts(1, 3))
                await log.publish()
        except Crash:
            pass
        async with life(home) as log:
            await log.append(facts(1, 3))
            await log.publish()
        check_folder(home, [fact.entry for fact in facts(1, 3)])
        if fuse.left > 0:
            return
    pytest.fail("the run never ended")


async def test_a_lost_or_older_folder_is_written_anew(tmp_path: Path) -> None:
    async with life(tmp_path) as log:
        await log.append(facts(1, 300))
        await log.publish()
        shutil.copytree(tmp_path / "log", tmp_path / "older")
        await log.append(facts(301, 300))
        await log.publish()
    shutil.rmtree(tmp_path / "log")
    async with life(tmp_path):
        check_folder(tmp_path, [fact.entry for fact in facts(1, 600)])
    shutil.rmtree(tmp_path / "log")
    (tmp_path / "older").rename(tmp_path / "log")
    async with life(tmp_path):
        check_folder(tmp_path, [fact.entry for fact in facts(1, 600)])


async def test_a_fault_of_the_disk_is_one_to_wait_out(tmp_path: Path) -> None:
    async with life(tmp_path) as log:
        await log.append(facts(1, 3))
        (tmp_path / "log").write_text("in the way")
        with pytest.raises(DatabaseError, match="folder"):
            await log.publish()
        (tmp_path / "log").unlink()
        await log.publish()
    check_folder(tmp_path, [fact.entry for fact in facts(1, 3)])


async def test_a_checkpoint_that_was_signed_and_could_not_be_shown_is_shown_later(tmp_path: Path) -> None:
    async with life(tmp_path) as log:
        await log.append(facts(1, 3))
        (tmp_path / "log" / "checkpoint").mkdir(parents=True)
        with pytest.raises(DatabaseError, match="folder"):
            await log.publish()
        signed = await log.checkpoint()
        assert open_checkpoint(signed, SIGNER.verifier).size == 3
        (tmp_path / "log" / "checkpoint").rmdir()
        assert await log.publish() == signed
        check_folder(tmp_path, [fact.entry for fact in facts(1, 3)])
