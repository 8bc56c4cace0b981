"""The pool of cells: which sequence holds which tokens, and what may be shared (pure).

Tokens are shared in blocks. A full block has a digest, chained over all blocks before it and begun with
the tenant's salt, so that equal ids of two tenants never meet. Sequences that ended stay as *kept* ones
and are given up, the longest unused first, when cells or sequence numbers are needed.
"""

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

BLOCK = 16
"""Tokens that are shared or not shared together."""


class Memory(Protocol):
    """What the pool needs of an engine."""

    def copy(self, source: int, target: int, length: int) -> None:
        """See `engine.Engine`."""

    def remove(self, sequence: int, start: int = 0) -> None:
        """See `engine.Engine`."""


class Lease(NamedTuple):
    """A sequence number with the positions it already holds."""

    sequence: int
    shared: int


class _Block:
    __slots__ = ("digest", "holders")

    def __init__(self, digest: bytes, holder: int) -> None:
        self.digest = digest
        self.holders = {holder}


class _Chain:
    """Blocks of one sequence, and how far its digests are made."""

    __slots__ = ("blocks", "digests", "length")

    def __init__(self, salt: bytes) -> None:
        self.blocks: list[_Block] = []
        self.length = 0
        self.digests = [hashlib.sha256(b"freehold.prefix" + salt).digest()]
        """The salt's, then one per block."""


class NoRoom(Exception):
    """Not enough cells or sequence numbers, even with nothing kept."""


class Pool:
    """Accounting of one engine's cells. `free` + used = `cells`; kept blocks count as used."""

    def __init__(self, memory: Memory, cells: int, sequences: int) -> None:
        self._memory = memory
        self._numbers = list(range(sequences - 1, -1, -1))
        self._index: dict[bytes, _Block] = {}
        self._chains: dict[int, _Chain] = {}
        self._kept: dict[int, None] = {}
        self.cells = cells
        self.free = cells

    @property
    def kept(self) -> int:
        """How many ended sequences are held for their prefixes."""
        return len(self._kept)

    def open(self, salt: bytes, ids: Sequence[int]) -> Lease:
        """A sequence for these ids, with the longest known beginning already in it.

        At least the last id is never shared: its logits are wanted. Raises NoRoom.
        """
        chain = _Chain(salt)
        found: list[_Block] = []
        for digest in _digests(chain.digests[0], ids, (len(ids) - 1) // BLOCK):
            block = self._index.get(digest)
            if block is None:
                break
            found.append(block)
            chain.digests.append(digest)
        source = self._source(found)
        number = self._number(source)
        if source is not None:
            chain.blocks = self._chains[source].blocks[: len(found)]
            for block in chain.blocks:
                block.holders.add(number)
            chain.length = len(found) * BLOCK
            self._memory.copy(source, number, chain.length)
        self._chains[number] = chain
        return Lease(number, chain.length)

    def _source(self, found: list[_Block]) -> int | None:
        """A sequence that holds all found blocks; a kept one of them becomes the last used."""
        if not found:
            return None
        source = min(found[-1].holders)
        for holder in found[-1].holders:
            if holder in self._kept:
                del self._kept[holder]
                self._kept[holder] = None
                return holder
        return source

    def _number(self, spared: int | None) -> int:
        if not self._numbers:
            self._evict(spared)
        return self._numbers.pop()

    def grow(self, sequence: int, count: int) -> None:
        """Take cells for `count` tokens about to be added to the sequence. Raises NoRoom."""
        while self.free < count:
            self._evict(None)
        self.free -= count
        self._chains[sequence].length += count

    def publish(self, sequence: int, ids: Sequence[int]) -> None:
        """Let others share the full blocks of `ids`, which the sequence now holds from position 0."""
        chain = self._chains[sequence]
        done = len(chain.blocks)
        full = min(len(ids), chain.length) // BLOCK
        for digest in _digests(chain.digests[-1], ids[done * BLOCK :], full - done):
            block = _Block(digest, sequence)
            chain.blocks.append(block)
            chain.digests.append(digest)
            self._index.setdefault(digest, block)

    def close(self, sequence: int, ids: Sequence[int], keep: bool = True) -> None:
        """The sequence ended with these ids in its cells. Keep it where others can share something new."""
        self.publish(sequence, ids)
        chain = self._chains[sequence]
        full = len(chain.blocks) * BLOCK
        if keep and any(self._is_alone(block) for block in chain.blocks):
            if chain.length > full:
                self._memory.remove(sequence, full)
                self.free += chain.length - full
                chain.length = full
            self._kept[sequence] = None
        else:
            self._release(sequence)

    def _is_alone(self, block: _Block) -> bool:
        """Whether only one sequence holds the block that others would share."""
        return len(block.holders) == 1 and self._index.get(block.digest) is block

    def _evict(self, spared: int | None) -> None:
        victim = next((number for number in self._kept if number != spared), None)
        if victim is None:
            raise NoRoom
        del self._kept[victim]
        self._release(victim)

    def _release(self, sequence: int) -> None:
        chain = self._chains.pop(sequence)
        self._memory.remove(sequence)
        self.free += chain.length - len(chain.blocks) * BLOCK
        for block in chain.blocks:
            block.holders.discard(sequence)
            if not block.holders:
                self.free += BLOCK
                if self._index.get(block.digest) is block:
                    del self._index[block.digest]
        self._numbers.append(sequence)

    def clear(self) -> None:
        """Give up everything kept."""
        while self._kept:
            self._evict(None)


def _digests(before: bytes, ids: Sequence[int], count: int) -> Iterator[bytes]:
    """Chained digests of the first `count` blocks of `ids`."""
    borders = range(0, (count + 1) * BLOCK, BLOCK)
    for start, end in pairwise(borders):
        before = hashlib.sha256(before + array("I", ids[start:end]).tobytes()).digest()
        yield before
