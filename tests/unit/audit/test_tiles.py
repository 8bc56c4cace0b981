"""C2SP tlog-tiles: names, widths, growth, bundles."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.audit.tlog import merkle
from services.audit.tlog.merkle import leaf_hash
from services.audit.tlog.tiles import (
    TILE_BYTES,
    Tile,
    bundle_path,
    decode_bundle,
    encode_bundle,
    extend,
    nodes,
    tile_path,
    tiles_between,
)

HASHES = [leaf_hash(b"%d" % number) for number in range(70_000)]


class Store:
    """Tiles by (level, number), as a database keeps them."""

    def __init__(self) -> None:
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.size = 0

    def read(self, level: int, number: int) -> bytes:
        return self.tiles[level, number]

    def append(self, count: int) -> None:
        self.tiles |= extend(self.read, self.size, HASHES[self.size : self.size + count])
        self.size += count


def plain_root(hashes: list[bytes]) -> bytes:
    return merkle.root(lambda height, number: merkle.fold(hashes[number << height : number + 1 << height]),
                       len(hashes))  # fmt: skip


def test_paths_of_the_specification() -> None:
    assert tile_path(Tile(0, 1234067, 256)) == "tile/0/x001/x234/067"
    assert tile_path(Tile(1, 0, 1)) == "tile/1/000.p/1"
    assert tile_path(Tile(3, 999, 255)) == "tile/3/999.p/255"
    assert bundle_path(1000, 256) == "tile/entries/x001/000"
    assert bundle_path(273, 112) == "tile/entries/273.p/112"


def test_widths_of_the_specifications_examples() -> None:
    tiles = list(tiles_between(0, 70_000))
    assert [tile for tile in tiles if tile.level == 0 and tile.width == 256] == [
        Tile(0, number, 256) for number in range(273)
    ]
    assert [tile for tile in tiles if tile.level or tile.width < 256] == [
        Tile(0, 273, 112),
        Tile(1, 0, 256),
        Tile(1, 1, 17),
        Tile(2, 0, 1),
    ]
    assert list(tiles_between(0, 256)) == [Tile(0, 0, 256), Tile(1, 0, 1)]


def test_tiles_between_two_sizes_are_only_those_that_grew() -> None:
    assert list(tiles_between(256, 256)) == []
    assert list(tiles_between(255, 256)) == [Tile(0, 0, 256), Tile(1, 0, 1)]
    assert list(tiles_between(256, 257)) == [Tile(0, 1, 1)]
    assert list(tiles_between(500, 513)) == [Tile(0, 1, 256), Tile(0, 2, 1), Tile(1, 0, 2)]


def test_a_large_tree_has_the_right_root_and_proofs() -> None:
    store = Store()
    store.append(70_000)
    node = nodes(store.read)
    tree_root = merkle.root(node, 70_000)
    assert tree_root == plain_root(HASHES)
    for index in (0, 255, 256, 65_535, 65_536, 69_999):
        proof = merkle.inclusion_proof(node, index, 70_000)
        merkle.verify_inclusion(HASHES[index], index, 70_000, proof, tree_root)
    for old in (1, 255, 256, 257, 65_536, 69_998):
        proof = merkle.consistency_proof(node, old, 70_000)
        merkle.verify_consistency(old, 70_000, merkle.root(node, old), tree_root, proof)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 700), max_size=6))
def test_batches_make_the_same_tree_as_one(batches: list[int]) -> None:
    store, whole = Store(), Store()
    for count in batches:
        old = store.size
        store.append(count)
        # A partial tile is a prefix of every wider one, so what was proved stays provable.
        assert merkle.root(nodes(store.read), old) == plain_root(HASHES[:old])
        for tile in tiles_between(old, store.size):
            assert len(store.read(tile.level, tile.number)) == tile.width * 32
    if sum(batches):
        whole.append(sum(batches))
    assert store.tiles == whole.tiles
    assert all(len(content) <= TILE_BYTES for content in store.tiles.values())


def test_a_narrow_tile_is_noticed() -> None:
    store = Store()
    store.append(10)
    with pytest.raises(ValueError, match="narrower"):
        extend(store.read, 11, HASHES[11:12])
    with pytest.raises(ValueError, match="does not hold"):
        merkle.root(nodes(store.read), 11)


@given(st.lists(st.binary(max_size=300), max_size=256))
def test_bundles_come_back(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries)) == entries


def test_bundle_bytes() -> None:
    assert encode_bundle([b"", b"ab", b"x" * 65_535]) == b"\0\0\0\2ab\xff\xff" + b"x" * 65_535
    with pytest.raises(ValueError, match="above 65535"):
        encode_bundle([b"x" * 65_536])


@pytest.mark.parametrize("data", [b"\0", b"\0\1", b"\0\3ab", b"\0\0" * 257])
def test_broken_bundles(data: bytes) -> None:
    with pytest.raises(ValueError, match="bundle"):
        decode_bundle(data)
