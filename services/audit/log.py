"""The transparency log: appends facts, makes the static files, signs checkpoints, gives proofs.

The database is the one source of truth. A fact is in the log once the transaction that appends it is
committed: leaf, tiles, stream and size change together, and (stream, seq) is unique, so a repeated fact
finds its leaf. Static files are a projection that can be written again at any time. A checkpoint comes
about in this order, and a crash between any two steps is mended by doing them again from the first:

1. the leaves are committed (`append`);
2. tiles and bundles that the new size needs are written to disk;
3. root and consistency with the last signed checkpoint are computed from the stored tiles, the new one is
   signed, and it is committed as the last signed (no second process can commit another: the head is locked);
4. it is shown: written as the file `checkpoint` and given out in receipts.

So two signatures can never contradict each other: what is signed is durable before it is signed, and a
signature that was lost before step 3 ended covers a prefix of what will be signed next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar, TypeVarTuple

from sqlalchemy import Connection

from services.audit import repository
from services.audit.facts import Fact
from services.audit.repository import GapOf
from services.audit.site import Part, Site
from services.audit.tlog import merkle
from services.audit.tlog.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from services.audit.tlog.merkle import ProofInvalid
from services.audit.tlog.note import NoteInvalid, Signer
from services.audit.tlog.tiles import WIDTH, nodes, tiles_between
from shared.bus.ports import Record
from shared.clock import Clock
from shared.executor import Executor
from shared.storage.database import Database, DatabaseError

T = TypeVar("T")
Args = TypeVarTuple("Args")

_STRIDE = 16 * WIDTH
"""Leaves that one checkpoint adds at most: what is held in memory while catching up."""


class LogInconsistent(DatabaseError):
    """The stored log contradicts what was signed, or the key is not its own. Nothing may be signed, and
    trying again does not help: an operator restores the database or the key.
    """


class Unfit(NamedTuple):
    """A record of `facts` that no entry can be made of."""

    record: Record
    reason: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of a receipt but the answer."""

    entry: bytes
    index: int
    proof: list[bytes]
    checkpoint: str


class Leaf(NamedTuple):
    """A request that is in the log, with its evidence once a checkpoint holds it."""

    organisation: str
    project: str
    evidence: Evidence | None


class Log:
    """One log with one key. `append` and `publish` are called by one task at a time."""

    def __init__(
        self, database: Database, site: Site, executor: Executor, signer: Signer, clock: Clock
    ) -> None:
        self._database = database
        self._site = site
        self._executor = executor
        self._signer = signer
        self._verifier = signer.verifier
        self._clock = clock
        # A note and what it says, so that its signature is checked once. Replaced as one: threads share it.
        self._last = "", Checkpoint(signer.name, 0, merkle.EMPTY_ROOT)
        self._shown = ""
        self.size = 0
        """Leaves in the log, and of these under a signed checkpoint, as far as this process knows."""
        self.signed = 0
        self.signed_at = clock.monotonic()
        """When a checkpoint was last signed here, or the log was opened."""

    @property
    def public_key(self) -> str:
        """The verifier key in its textual form."""
        return str(self._verifier)

    async def open(self) -> None:
        """Check the stored log against its last checkpoint and finish what a crash left half done.

        Raises `LogInconsistent`; `DatabaseError` where database or folder cannot be used.
        """
        await self._database.transact(repository.make_head)
        shown = await self._on_disk(self._site.shown)
        last, note, start = await self._database.read(partial(self._check, shown=shown))
        if shown != note:
            for old in range(start, last.size, _STRIDE):
                await self._write_between(old, min(last.size, old + _STRIDE))
            await self._on_disk(self._site.show, note)
        self._shown = note
        await self.publish()

    async def append(self, facts: Sequence[Fact], unfit: Sequence[Unfit] = ()) -> int:
        """Put the facts into the log, and beside it the records that are none, durably and in one
        transaction; how many facts were new. Raises `DatabaseError`.
        """
        now = self._clock.time_ns()

        def work(connection: Connection) -> int:
            for record, reason in unfit:
                repository.park(connection, record, reason)
            return repository.append(connection, facts, now)

        new = await self._database.transact(work)
        self.size += new
        return new

    async def publish(self) -> str:
        """Sign and show checkpoints until all leaves are under one; the newest, empty for an empty log.

        Raises `DatabaseError`, also for a fault of the disk, and `LogInconsistent`.
        """
        while True:
            head = await self._database.read(repository.read_head)
            old = self._opened(head.checkpoint)
            self.size, self.signed = head.size, old.size
            if head.checkpoint != self._shown:  # to sign or to show it was said to have failed
                await self._show(head.checkpoint)
            if old.size == head.size:
                return head.checkpoint
            size = min(head.size, old.size // WIDTH * WIDTH + _STRIDE)
            await self._write_between(old.size, size)
            await self._show(await self._database.transact(partial(self._sign, old=old, size=size)))

    async def checkpoint(self) -> str:
        """The last signed checkpoint; empty before the first."""
        return (await self._database.read(repository.read_head)).checkpoint

    async def find(self, request: str) -> Leaf | None:
        """What the log holds of a request; None where it holds nothing."""
        return await self._database.read(lambda connection: self._find(connection, request))

    async def inclusion(self, index: int, size: int) -> tuple[list[bytes], int]:
        """Proof of a leaf in the tree of `size` leaves (0 = the last signed), and that size.

        Raises `ValueError` where no signed tree is so large or the leaf lies outside it.
        """
        return await self._prove(size, lambda node, at: merkle.inclusion_proof(node, index, at))

    async def consistency(self, old: int, size: int) -> tuple[list[bytes], int]:
        """Proof that the tree of `old` leaves is a prefix of that of `size`; as `inclusion`."""
        return await self._prove(size, lambda node, at: merkle.consistency_proof(node, old, at))

    async def gaps(self, before_ns: int, limit: int) -> list[GapOf]:
        """Gaps noticed before a time, the oldest first."""
        return await self._database.read(partial(repository.old_gaps, before_ns=before_ns, limit=limit))

    async def _prove(
        self, size: int, proof: Callable[[merkle.Node, int], list[bytes]]
    ) -> tuple[list[bytes], int]:
        def work(connection: Connection) -> tuple[list[bytes], int]:
            signed = self._opened(repository.read_head(connection).checkpoint).size
            if size > signed:
                raise ValueError(f"the last checkpoint has {signed} leaves, not {size}")
            at = size or signed
            return proof(nodes(repository.tile_reader(connection)), at), at

        return await self._database.read(work)

    def _find(self, connection: Connection, request: str) -> Leaf | None:
        leaf = repository.find_request(connection, request)
        if leaf is None:
            return None
        note = repository.read_head(connection).checkpoint
        size = self._opened(note).size
        if leaf.number >= size:
            return Leaf(leaf.organisation, leaf.project, None)
        node = nodes(repository.tile_reader(connection))
        proof = merkle.inclusion_proof(node, leaf.number, size)
        return Leaf(leaf.organisation, leaf.project, Evidence(leaf.entry, leaf.number, proof, note))

    def _sign(self, connection: Connection, old: Checkpoint, size: int) -> str:
        head = repository.read_head(connection, lock=True)
        if self._opened(head.checkpoint) != old:
            raise DatabaseError("another process signed a checkpoint of this log")
        node = nodes(repository.tile_reader(connection))
        new = Checkpoint(old.origin, size, merkle.root(node, size))
        proof = merkle.consistency_proof(node, old.size, size)
        try:
            merkle.verify_consistency(old.size, size, old.root, new.root, proof)
        except ProofInvalid as error:
            raise LogInconsistent(f"the tree of {size} leaves contradicts that of {old.size}") from error
        note = sign_checkpoint(new, self._signer)
        repository.store_checkpoint(connection, note)
        return note

    async def _show(self, note: str) -> None:
        await self._on_disk(self._site.show, note)
        self._shown = note
        self.signed_at = self._clock.monotonic()

    async def _write_between(self, old: int, size: int) -> None:
        parts = await self._database.read(partial(_parts, old=old, size=size))
        await self._on_disk(self._site.write_parts, parts)

    async def _on_disk(self, call: Callable[[*Args], T], *args: *Args) -> T:
        try:
            return await self._executor.run(call, *args)
        except OSError as error:
            raise DatabaseError(f"the log's folder: {error}") from error

    def _check(self, connection: Connection, shown: str) -> tuple[Checkpoint, str, int]:
        """The last checkpoint, its note, and how many leaves the folder holds for sure: those of the
        checkpoint it shows, if that is of this log; a folder that is new or strange is written anew.
        """
        note = repository.read_head(connection).checkpoint
        last = self._opened(note)
        try:
            found = open_checkpoint(shown, self._verifier)
        except NoteInvalid:
            found = Checkpoint(last.origin, 0, merkle.EMPTY_ROOT)
        if found.size > last.size:
            raise LogInconsistent(
                f"a checkpoint of {found.size} leaves was shown and the database signed {last.size}: "
                "going on would fork the log; restore the newer database"
            )
        node = nodes(repository.tile_reader(connection))
        try:
            whole = all(merkle.root(node, signed.size) == signed.root for signed in (last, found))
        except ValueError as error:
            raise LogInconsistent(f"the stored tree is not whole: {error}") from error
        if not whole:
            raise LogInconsistent("the stored tree is not the one that was signed")
        return last, note, found.size

    def _opened(self, note: str) -> Checkpoint:
        last = self._last
        if note != last[0]:
            try:
                self._last = last = note, open_checkpoint(note, self._verifier)
            except NoteInvalid as error:
                raise LogInconsistent(f"the last checkpoint is not of this log and key: {error}") from error
        return last[1]


def _parts(connection: Connection, old: int, size: int) -> list[Part]:
    """What must be on disk for the tree of `size` leaves and is not for that of `old`."""
    read = repository.tile_reader(connection)
    parts = []
    for tile in tiles_between(old, size):
        hashes = read(tile.level, tile.number)[: tile.width * merkle.HASH_SIZE]
        first = tile.number * WIDTH
        entries = repository.read_entries(connection, first, first + tile.width) if tile.level == 0 else []
        parts.append(Part(tile, hashes, entries))
    return parts
