"""RFC 6962: the published roots, and every proof of small trees against the recursive definitions."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.audit.tlog import merkle
from services.audit.tlog.merkle import ProofInvalid

CT_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
MOST = 40
LEAVES = [b"leaf %d" % number for number in range(MOST)]


def defined_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word by word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + defined_root(leaves[:k]) + defined_root(leaves[k:])).digest()


def defined_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m < k:
        return [*defined_path(m, leaves[:k]), defined_root(leaves[k:])]
    return [*defined_path(m - k, leaves[k:]), defined_root(leaves[:k])]


def defined_consistency(m: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    """RFC 6962, 2.1.2."""
    if m == len(leaves):
        return [] if whole else [defined_root(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*defined_consistency(m, leaves[:k], whole), defined_root(leaves[k:])]
    return [*defined_consistency(m - k, leaves[k:], False), defined_root(leaves[:k])]


def node_of(leaves: list[bytes]) -> merkle.Node:
    def node(height: int, number: int) -> bytes:
        part = leaves[number << height : (number + 1) << height]
        assert len(part) == 1 << height, "only complete subtrees may be asked for"
        return merkle.fold([merkle.leaf_hash(leaf) for leaf in part])

    return node


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_of_certificate_transparency(size: int) -> None:
    assert merkle.root(node_of(CT_LEAVES), size).hex() == CT_ROOTS[size - 1]


def test_root_of_nothing() -> None:
    assert merkle.root(node_of([]), 0) == hashlib.sha256(b"").digest()


@pytest.mark.parametrize("size", range(1, MOST + 1))
def test_proofs_are_those_of_the_definition(size: int) -> None:
    leaves = LEAVES[:size]
    node = node_of(leaves)
    tree_root = defined_root(leaves)
    assert merkle.root(node, size) == tree_root
    for index in range(size):
        path = merkle.inclusion_proof(node, index, size)
        assert path == defined_path(index, leaves)
        merkle.verify_inclusion(merkle.leaf_hash(leaves[index]), index, size, path, tree_root)
    for old in range(1, size + 1):
        proof = merkle.consistency_proof(node, old, size)
        assert proof == defined_consistency(old, leaves)
        merkle.verify_consistency(old, size, defined_root(leaves[:old]), tree_root, proof)


def test_inclusion_refuses_every_other_index_and_size() -> None:
    leaves = LEAVES[:13]
    node = node_of(leaves)
    for index in range(13):
        path = merkle.inclusion_proof(node, index, 13)
        leaf = merkle.leaf_hash(leaves[index])
        for claimed in [*range(index), *range(index + 1, 20)]:
            with pytest.raises(ProofInvalid):
                merkle.verify_inclusion(leaf, claimed, 13, path, defined_root(leaves))
        with pytest.raises(ProofInvalid):
            merkle.verify_inclusion(leaf, index, 13, [*path, path[0]], defined_root(leaves))
        with pytest.raises(ProofInvalid):
            merkle.verify_inclusion(leaf, index, 13, path[:-1], defined_root(leaves))


def test_empty_old_tree_is_a_prefix_of_all() -> None:
    assert merkle.consistency_proof(node_of(LEAVES), 0, 7) == []
    merkle.verify_consistency(0, 7, merkle.EMPTY_ROOT, defined_root(LEAVES[:7]), [])
    with pytest.raises(ProofInvalid):
        merkle.verify_consistency(0, 7, defined_root(LEAVES[:1]), defined_root(LEAVES[:7]), [])
    with pytest.raises(ProofInvalid):
        merkle.verify_consistency(0, 0, merkle.EMPTY_ROOT, defined_root(LEAVES[:1]), [])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 3), (3, 3)])
def test_no_proof_of_what_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="has no"):
        merkle.inclusion_proof(node_of(LEAVES), index, size)
    with pytest.raises(ProofInvalid):
        merkle.verify_inclusion(bytes(32), index, size, [], bytes(32))


@given(st.data())
def test_a_changed_proof_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, MOST))
    old = data.draw(st.integers(1, size - 1))
    at = data.draw(st.integers(0, 10**6))
    bit = data.draw(st.integers(0, 255))
    node = node_of(LEAVES[:size])
    proof = merkle.consistency_proof(node, old, size)
    place = at % len(proof)
    wrong = int.from_bytes(proof[place], "big") ^ 1 << bit
    proof[place] = wrong.to_bytes(32, "big")
    with pytest.raises(ProofInvalid):
        merkle.verify_consistency(old, size, defined_root(LEAVES[:old]), defined_root(LEAVES[:size]), proof)


@given(st.integers(1, MOST), st.integers(1, MOST), st.integers(0, MOST - 1))
def test_a_rewritten_history_is_refused(one: int, other: int, changed: int) -> None:
    old, size = sorted((one, other))
    changed %= old
    rewritten = [*LEAVES[:changed], b"another", *LEAVES[changed + 1 : size]]
    proof = merkle.consistency_proof(node_of(rewritten), old, size)
    with pytest.raises(ProofInvalid):
        merkle.verify_consistency(old, size, defined_root(LEAVES[:old]), defined_root(rewritten), proof)
