"""The static files of a C2SP tlog-tiles log: which there are, how they are named and what they hold. Pure.

A tile of level L holds up to 256 hashes of complete subtrees of 256^L leaves; a bundle holds the entries
of a level-0 tile. Tiles only ever grow at the right edge of their level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from services.audit.tlog.merkle import HASH_SIZE, Node, fold

WIDTH = 256
"""Hashes in a full tile, entries in a full bundle."""
TILE_BYTES = WIDTH * HASH_SIZE
MAX_ENTRY = 0xFFFF
"""Bytes; a bundle prefixes each entry with its length in 16 bits."""

ReadTile = Callable[[int, int], bytes]
"""`read(level, number)`: the tile's hashes as far as there are any; may hold more than a smaller tree has."""


class Tile(NamedTuple):
    """One tile of a tree of some size."""

    level: int
    number: int
    width: int
    """1 to 256; below 256 the tile is partial."""


def tile_path(tile: Tile) -> str:
    """Where a tile is served, below the log's prefix."""
    return f"tile/{tile.level}/{_number(tile.number, tile.width)}"


def bundle_path(number: int, width: int) -> str:
    """Where a bundle of `width` entries is served, below the log's prefix."""
    return f"tile/entries/{_number(number, width)}"


def _number(number: int, width: int) -> str:
    """Path elements of three digits, all but the last with an `x` before them."""
    elements = [f"{number % 1000:03}"]
    while number := number // 1000:
        elements.append(f"x{number % 1000:03}")
    path = "/".join(reversed(elements))
    return path if width == WIDTH else f"{path}.p/{width}"


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """The bytes of a bundle. Raises `ValueError` where an entry is too large."""
    if any(len(entry) > MAX_ENTRY for entry in entries):
        raise ValueError(f"an entry is above {MAX_ENTRY} bytes")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(data: bytes) -> list[bytes]:
    """The entries of a bundle. Raises `ValueError` where it is cut or too wide."""
    entries = []
    at = 0
    while at < len(data):
        start = at + 2
        at = start + int.from_bytes(data[at:start], "big")
        if start > len(data) or at > len(data):
            raise ValueError("the bundle is cut")
        entries.append(data[start:at])
    if len(entries) > WIDTH:
        raise ValueError(f"the bundle has more than {WIDTH} entries")
    return entries


def tiles_between(old: int, size: int) -> Iterator[Tile]:
    """Tiles of the tree of `size` leaves that the tree of `old` leaves has not, or not so wide."""
    level = 0
    while size > old:
        for number in range(old // WIDTH, (size + WIDTH - 1) // WIDTH):
            yield Tile(level, number, min(WIDTH, size - number * WIDTH))
        old, size, level = old // WIDTH, size // WIDTH, level + 1


def extend(read: ReadTile, size: int, hashes: Sequence[bytes]) -> dict[tuple[int, int], bytes]:
    """New content of each tile, by (level, number), that changes when leaves of these hashes are
    appended to a tree of `size` leaves.
    """
    changed: dict[tuple[int, int], bytes] = {}
    level, row = 0, list(hashes)
    while row:
        number, width = divmod(size, WIDTH)
        tile = read(level, number)[: width * HASH_SIZE] if width else b""
        if len(tile) != width * HASH_SIZE:
            raise ValueError(f"tile {level}/{number} is narrower than {width}")
        above = []
        for start in range(-width, len(row), WIDTH):
            content = tile + b"".join(row[max(start, 0) : start + WIDTH])
            changed[level, number] = content
            if len(content) == TILE_BYTES:
                above.append(fold(_split(content)))
            number, tile = number + 1, b""
        row, size, level = above, size // WIDTH, level + 1
    return changed


def nodes(read: ReadTile) -> Node:
    """The hash of any complete subtree, folded from tiles. The function it returns raises `ValueError`
    where the tiles are too narrow.
    """

    def node(height: int, number: int) -> bytes:
        level, rest = divmod(height, 8)
        tile, first = divmod(number << rest, WIDTH)
        hashes = read(level, tile)[first * HASH_SIZE : (first + (1 << rest)) * HASH_SIZE]
        if len(hashes) != HASH_SIZE << rest:
            raise ValueError(f"tile {level}/{tile} does not hold subtree {number} of height {height}")
        return fold(_split(hashes))

    return node


def _split(hashes: bytes) -> list[bytes]:
    return [hashes[at : at + HASH_SIZE] for at in range(0, len(hashes), HASH_SIZE)]
