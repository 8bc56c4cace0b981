"""The log over a real database and a real folder, in a process that may die between any two steps."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from services.audit.facts import Fact, billing_stream
from services.audit.log import Log
from services.audit.site import Site
from services.audit.tlog import merkle
from services.audit.tlog.checkpoint import Checkpoint, open_checkpoint
from services.audit.tlog.merkle import leaf_hash
from services.audit.tlog.note import Signer
from services.audit.tlog.tiles import bundle_path, decode_bundle, tile_path, tiles_between
from shared.files import SystemFiles
from shared.host import Host, system_host
from shared.storage.database import Database
from tests.integration.stores import open_store

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
    database = await open_store(home, "audit", host)
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
