"""Merkle trees of RFC 6962 over SHA-256: hashes, roots, proofs and their verification. Pure.

A tree is never held in memory. Whoever wants a root or a proof brings a `Node` function that knows
the hashes of complete subtrees; every walk asks it at most two times log2(size) questions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

HASH_SIZE = 32
MAX_SIZE = 1 << 62
"""Sizes above are refused, so that a proof can never ask for more than 62 steps."""
EMPTY_ROOT = hashlib.sha256(b"").digest()

Node = Callable[[int, int], bytes]
"""`node(height, number)`: hash of the complete subtree over 2^height leaves from `number << height` on."""


class ProofInvalid(ValueError):
    """The proof does not lead to the root, or does not have the one length it can have."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash of a log entry as a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """Root of a complete subtree, given the hashes of one of its rows (a power of two of them)."""
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def root(node: Node, size: int) -> bytes:
    """Merkle tree hash of the first `size` leaves."""
    return _span(node, 0, size) if size else EMPTY_ROOT


def inclusion_proof(node: Node, index: int, size: int) -> list[bytes]:
    """Audit path of leaf `index` in the tree of `size` leaves, from the leaf's sibling upwards.

    Raises `ValueError` where the tree has no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    return [_span(node, step.low, step.high) for step in _to_leaf(index, size)]


def consistency_proof(node: Node, old: int, size: int) -> list[bytes]:
    """Proof that the tree of `old` leaves is a prefix of the tree of `size`; empty where they are equal
    or the old one is empty. Raises `ValueError` where `old` is above `size`.
    """
    if not 0 <= old <= size:
        raise ValueError(f"a tree of {size} leaves has no prefix of {old}")
    if old == 0:
        return []
    low, steps = _to_prefix(old, size)
    proof = [_span(node, step.low, step.high) for step in steps]
    return [_span(node, low, old), *proof] if low else proof


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], tree_root: bytes) -> None:
    """Return if a leaf of this hash stands at `index` in the tree of this size and root.

    Raises `ProofInvalid`.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise ProofInvalid("the index lies outside the tree")
    steps = _to_leaf(index, size)
    _check_shape(proof, len(steps))
    found = leaf
    for sibling, step in zip(proof, steps, strict=True):
        found = node_hash(sibling, found) if step.right else node_hash(found, sibling)
    if found != tree_root:
        raise ProofInvalid("the inclusion proof does not lead to the root")


def verify_consistency(
    old: int, size: int, old_root: bytes, tree_root: bytes, proof: Sequence[bytes]
) -> None:
    """Return if the tree (`old`, `old_root`) is a prefix of the tree (`size`, `tree_root`).

    Raises `ProofInvalid`.
    """
    if not 0 <= old <= size <= MAX_SIZE:
        raise ProofInvalid("the sizes are out of order")
    if old == 0:
        _check_shape(proof, 0)
        if old_root != EMPTY_ROOT or (size == 0 and tree_root != EMPTY_ROOT):
            raise ProofInvalid("the root is not that of an empty tree")
        return
    low, steps = _to_prefix(old, size)
    siblings = proof[1:] if low else proof
    _check_shape(proof, len(steps) + (low > 0))
    before = after = proof[0] if low else old_root
    for sibling, step in zip(siblings, steps, strict=True):
        if step.right:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
        else:
            after = node_hash(after, sibling)
    if before != old_root or after != tree_root:
        raise ProofInvalid("the consistency proof does not lead to both roots")


class _Step(NamedTuple):
    """One turn on the way down: the sibling that was left aside covers leaves `[low, high)`."""

    right: bool
    """The way went right, so the sibling is on the left."""
    low: int
    high: int


def _to_leaf(index: int, size: int) -> list[_Step]:
    """The turns from the root to a leaf, the lowest first."""
    low, high = 0, size
    steps = []
    while high - low > 1:
        low, high, step = _turn(index, low, high)
        steps.append(step)
    return steps[::-1]


def _to_prefix(old: int, size: int) -> tuple[int, list[_Step]]:
    """The way to the subtree that ends where the old tree ended: its first leaf, and the turns, the
    lowest first. A first leaf of 0 means that the subtree is the whole old tree.
    """
    low, high = 0, size
    steps = []
    while high != old:
        low, high, step = _turn(old - 1, low, high)
        steps.append(step)
    return low, steps[::-1]


def _turn(leaf: int, low: int, high: int) -> tuple[int, int, _Step]:
    middle = low + _split(high - low)
    if leaf < middle:
        return low, middle, _Step(False, middle, high)
    return middle, high, _Step(True, low, middle)


def _split(leaves: int) -> int:
    """Leaves in the left subtree: the largest power of two below `leaves` (two or more)."""
    return 1 << (leaves - 1).bit_length() - 1


def _span(node: Node, low: int, high: int) -> bytes:
    """Hash of the subtree over leaves `[low, high)`; `low` is a multiple of its left subtree's size."""
    leaves = high - low
    if leaves & leaves - 1 == 0:
        height = leaves.bit_length() - 1
        return node(height, low >> height)
    middle = low + _split(leaves)
    return node_hash(_span(node, low, middle), _span(node, middle, high))


def _check_shape(proof: Sequence[bytes], length: int) -> None:
    if len(proof) != length or any(len(item) != HASH_SIZE for item in proof):
        raise ProofInvalid(f"the proof must have {length} hashes of {HASH_SIZE} bytes")
