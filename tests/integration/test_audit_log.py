"""The log over a real database and a real folder, also when the process dies between any two steps."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection, text

from services.audit import tables
from services.audit.facts import CONTROL, Fact, billing_stream
from services.audit.log import Log, LogInconsistent
from services.audit.repository import old_gaps
from services.audit.site import Site
from services.audit.tlog import merkle
from services.audit.tlog.checkpoint import Checkpoint, open_checkpoint
from services.audit.tlog.merkle import leaf_hash
from services.audit.tlog.note import Signer
from services.audit.tlog.tiles import bundle_path, decode_bundle, tile_path, tiles_between
from shared.files import SystemFiles
from shared.host import Host, system_host
from shared.storage.database import Database, DatabaseError
from shared.storage.migrations import drift, open_database

T = TypeVar("T")
SIGNER = Signer("example.com/log", bytes(range(32)))


def facts(first: int, count: int, organisation: str = "org") -> list[Fact]:
    return [
        Fact(
            billing_stream(organisation),
            seq,
            organisation,
            "project",
            f"{organisation}-{seq}",
            b'{"format":1,"kind":"RequestSettled","seq":%d,"who":"%s"}' % (seq, organisation.encode()),
        )
        for seq in range(first, first + count)
    ]


class Crash(Exception):
    """The process dies here."""


class Fuse:
    """Burns at every step, and through at one of them."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def burn(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Crash


class CrashingFiles(SystemFiles):
    """Dies before a write, in its midst, after it, before and after a removal."""

    def __init__(self, fuse: Fuse) -> None:
        self._fuse = fuse

    def write_durably(self, path: Path, data: bytes, mode: int = 0o644) -> None:
        self._fuse.burn()
        try:
            self._fuse.burn()
        except Crash:
            path.with_name(f".{path.name}.part").write_bytes(data[: len(data) // 2])
            raise
        super().write_durably(path, data, mode)
        self._fuse.burn()

    def remove_folder(self, path: Path) -> None:
        self._fuse.burn()
        super().remove_folder(path)
        self._fuse.burn()


class CrashingDatabase:
    """Dies before a transaction, inside it after its work, and after its commit."""

    def __init__(self, inner: Database, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    async def transact(self, work: Callable[[Connection], T]) -> T:
        def dying(connection: Connection) -> T:
            result = work(connection)
            self._fuse.burn()
            return result

        self._fuse.burn()
        found = await self._inner.transact(dying)
        self._fuse.burn()
        return found

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._inner.read(work)

    async def close(self) -> None:
        await self._inner.close()


@asynccontextmanager
async def life(home: Path, fuse: Fuse | None = None, signer: Signer = SIGNER) -> AsyncIterator[Log]:
    """One life of a process that owns the log; it may end by `Crash`."""
    host: Host = system_host()
    database = await open_database(home / "audit.db", "audit", host)
    executor = host.executor("audit")
    used: Database = database
    if fuse:
        host = dataclasses.replace(host, files=CrashingFiles(fuse))
        used = CrashingDatabase(database, fuse)
    try:
        log = Log(used, Site(host.files, home / "log"), executor, signer, host.clock)
        await log.open()
        yield log
    finally:
        executor.close()
        await database.close()


def check_folder(home: Path, entries: list[bytes]) -> Checkpoint:
    """The static files alone must prove these entries, and no file of the newest tree may be missing."""
    checkpoint = open_checkpoint((home / "log" / "checkpoint").read_text(), SIGNER.verifier)
    assert checkpoint.size == len(entries)
    hashes = [leaf_hash(entry) for entry in entries]
    root = merkle.root(
        lambda height, number: merkle.fold(hashes[number << height : number + 1 << height]), len(hashes)
    )
    assert checkpoint.root == root
    for tile in tiles_between(0, len(entries)):
        path = home / "log" / tile_path(tile)
        width = 256**tile.level
        first = tile.number * 256
        rows = [merkle.fold(hashes[at * width : (at + 1) * width]) for at in range(first, first + tile.width)]
        assert path.read_bytes() == b"".join(rows)
        if tile.level == 0:
            bundle = (home / "log" / bundle_path(tile.number, tile.width)).read_bytes()
            assert decode_bundle(bundle) == entries[first : first + tile.width]
    return checkpoint


async def test_facts_become_leaves_files_and_a_signed_checkpoint(tmp_path: Path) -> None:
    given = facts(1, 600)
    async with life(tmp_path) as log:
        assert await log.checkpoint() == ""
        assert not (tmp_path / "log" / "checkpoint").exists()
        for start in range(0, 600, 37):
            assert await log.append(given[start : start + 37]) == len(given[start : start + 37])
            await log.publish()
        assert await log.publish() == await log.checkpoint()
    check_folder(tmp_path, [fact.entry for fact in given])
    full = tmp_path / "log" / "tile" / "0"
    assert not (full / "000.p").exists(), "partial forms go once the full tile is there"
    assert (full / "002.p" / "88").exists()
    assert (full / "002.p" / "80").exists(), "a size that was signed keeps its partial tiles until then"


async def test_the_same_fact_twice_has_one_leaf(tmp_path: Path) -> None:
    given = facts(1, 5)
    async with life(tmp_path) as log:
        assert await log.append(given[:3]) == 3
        assert await log.append(given) == 2
        assert await log.append([given[0], given[0], *facts(6, 1), *facts(6, 1)]) == 1
        assert await log.append(given) == 0
        await log.publish()
    async with life(tmp_path) as log:
        assert await log.append(given) == 0
        await log.publish()
    check_folder(tmp_path, [fact.entry for fact in facts(1, 6)])


async def test_evidence_once_a_checkpoint_holds_the_entry(tmp_path: Path) -> None:
    async with life(tmp_path) as log:
        await log.append(facts(1, 300))
        await log.publish()
        await log.append(facts(301, 1))
        found = await log.find("org-301")
        assert found is not None
        assert found.evidence is None
        assert await log.find("nobody") is None
        assert await log.find("") is None
        note = await log.publish()
        found = await log.find("org-301")
        assert found is not None
        assert (found.organisation, found.project) == ("org", "project")
        evidence = found.evidence
        assert evidence is not None
        assert evidence.checkpoint == note
        checkpoint = open_checkpoint(note, SIGNER.verifier)
        merkle.verify_inclusion(
            leaf_hash(evidence.entry), evidence.index, checkpoint.size, evidence.proof, checkpoint.root
        )


async def test_proofs_between_signed_sizes_only(tmp_path: Path) -> None:
    async with life(tmp_path) as log:
        await log.append(facts(1, 300))
        first = open_checkpoint(await log.publish(), SIGNER.verifier)
        await log.append(facts(301, 300))
        with pytest.raises(ValueError, match="300 leaves"):
            await log.consistency(300, 600)
        second = open_checkpoint(await log.publish(), SIGNER.verifier)
        proof, size = await log.consistency(300, 0)
        assert size == 600
        merkle.verify_consistency(300, 600, first.root, second.root, proof)
        proof, size = await log.inclusion(299, 300)
        merkle.verify_inclusion(leaf_hash(facts(300, 1)[0].entry), 299, 300, proof, first.root)
        with pytest.raises(ValueError, match="no leaf"):
            await log.inclusion(300, 300)


async def test_gaps_are_known_and_filled(tmp_path: Path) -> None:
    async with life(tmp_path) as log:
        await log.append([*facts(1, 2), *facts(5, 2), *facts(9, 1)])
        await log.append([Fact(CONTROL, 1, "", "", "", b"{}")])
    async with life(tmp_path) as log:
        assert await log.append(facts(6, 1)) == 0
        assert await log.append(facts(3, 1)) == 1
        host = system_host()
        database = await open_database(tmp_path / "audit.db", "audit", host)
        found = await database.read(lambda connection: old_gaps(connection, host.clock.time_ns(), 10))
        assert [(gap.stream, *gap.gap[:2]) for gap in found] == [("billing/org", 4, 4), ("billing/org", 7, 8)]
        assert await database.read(lambda connection: old_gaps(connection, 0, 10)) == []
        await log.append([*facts(7, 2), *facts(4, 1)])
        assert await database.read(lambda connection: old_gaps(connection, host.clock.time_ns(), 10)) == []
        await database.close()
        await log.publish()
    order = [1, 2, 5, 6, 9, None, 3, 7, 8, 4]
    check_folder(tmp_path, [facts(seq, 1)[0].entry if seq else b"{}" for seq in order])


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


async def test_a_fault_of_the_disk_is_one_to_wait_out(tmp_path: Path) -> None:
    async with life(tmp_path) as log:
        await log.append(facts(1, 3))
        (tmp_path / "log").write_text("in the way")
        with pytest.raises(DatabaseError, match="folder"):
            await log.publish()
        (tmp_path / "log").unlink()
        await log.publish()
    check_folder(tmp_path, [fact.entry for fact in facts(1, 3)])


async def test_many_leaves_are_published_in_strides(tmp_path: Path) -> None:
    async with life(tmp_path) as log:
        await log.append(facts(1, 9000))
        await log.publish()
    check_folder(tmp_path, [fact.entry for fact in facts(1, 9000)])


def test_the_schema_is_that_of_the_tables(tmp_path: Path) -> None:
    assert drift(tmp_path / "audit.db", "audit", tables.metadata) == []
