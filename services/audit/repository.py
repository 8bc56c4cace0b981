"""Audit's statements: plain functions of a connection, each within the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, insert, select

from services.audit import tables
from services.audit.facts import Fact
from services.audit.stream import Gap, Stream
from services.audit.tlog.merkle import leaf_hash
from services.audit.tlog.tiles import ReadTile, extend
from shared.bus.ports import Record
from shared.storage.sql import alone, change, insertion, keys, query, storable, write

_HEAD = 1
_REASON = 500


class Head(NamedTuple):
    """How long the log is, and what was last signed."""

    size: int
    checkpoint: str
    """Signed note; empty before the first."""


class GapOf(NamedTuple):
    """A gap and the stream that has it."""

    stream: str
    gap: Gap


class Leaf(NamedTuple):
    """Where a request's entry stands."""

    number: int
    organisation: str
    project: str
    entry: bytes


def make_head(connection: Connection) -> None:
    """Begin an empty log, where there is none yet."""
    alone(connection, "head")
    write(connection, _MAKE_HEAD, [(_HEAD, 0, "")])


def read_head(connection: Connection, *, lock: bool = False) -> Head:
    """The log's head; with `lock`, no other transaction moves it before this one ends."""
    ((size, checkpoint),) = query(connection, _LOCKED_HEAD if lock else _READ_HEAD)
    return Head(size, checkpoint)


def store_checkpoint(connection: Connection, note: str) -> None:
    """Remember what was signed last."""
    change(connection, "UPDATE head SET checkpoint = ?", (note,))


def append(connection: Connection, facts: Sequence[Fact], now_ns: int) -> int:
    """Append the facts that are not in the log yet, in their order; how many those were."""
    if not facts:
        return 0
    size = read_head(connection, lock=True).size
    names = list(dict.fromkeys(fact.stream for fact in facts))
    known = read_streams(connection, names)
    before = {name: list(stream.gaps) for name, stream in known.items()}
    found = {name: known.get(name) or Stream() for name in names}
    fresh = [fact for fact in facts if found[fact.stream].take(fact.seq, now_ns)]
    if not fresh:
        return 0
    write(connection, _INSERT_LEAF, [(number, *fact) for number, fact in enumerate(fresh, size)])
    _write_tiles(connection, size, [leaf_hash(fact.entry) for fact in fresh])
    _write_streams(connection, found, before)
    change(connection, "UPDATE head SET size = ?", (size + len(fresh),))
    return len(fresh)


_MAKE_HEAD: Final = insertion(tables.head, "ON CONFLICT DO NOTHING")
_READ_HEAD: Final = "SELECT size, checkpoint FROM head"
_LOCKED_HEAD: Final = f"{_READ_HEAD} FOR UPDATE"
_INSERT_LEAF: Final = insertion(tables.leaves)


def park(connection: Connection, record: Record, reason: str) -> None:
    """Keep a record that is no fact, once, for an operator to look at."""
    table = tables.parked
    where = (
        (table.c.topic == record.topic)
        & (table.c.partition == record.partition)
        & (table.c.offset == record.offset)
    )
    if connection.execute(select(table.c.offset).where(where)).first() is not None:
        return
    headers = json.dumps([[name, value.decode("latin-1")] for name, value in record.headers])
    values = record._asdict() | {"headers": headers, "reason": storable(reason[:_REASON])}
    connection.execute(insert(table).values(values))


def read_streams(connection: Connection, names: Sequence[str]) -> dict[str, Stream]:
    """The streams of these names that have begun."""
    rows = query(connection, "SELECT name, next FROM streams WHERE name = ANY(?)", keys(names))
    found = {name: Stream(following) for name, following in rows}
    for stream, first, last, since_ns in query(
        connection,
        "SELECT stream, first, last, since_ns FROM gaps WHERE stream = ANY(?) ORDER BY stream, first",
        keys(names),
    ):
        found[stream].gaps.append(Gap(first, last, since_ns))
    return found


def old_gaps(connection: Connection, before_ns: int, limit: int) -> list[GapOf]:
    """The longest known gaps of those noticed before a time."""
    table = tables.gaps
    statement = select(table).where(table.c.since_ns <= before_ns).order_by(table.c.since_ns).limit(limit)
    rows = connection.execute(statement)
    return [GapOf(row.stream, Gap(row.first, row.last, row.since_ns)) for row in rows]


def tile_reader(connection: Connection) -> ReadTile:
    """Reads tiles, each once. The function it returns raises `ValueError` for one that is not there."""
    cache: dict[tuple[int, int], bytes] = {}

    def read(level: int, number: int) -> bytes:
        if (level, number) not in cache:
            rows = query(connection, _READ_TILE, (level, number))
            if not rows:
                raise ValueError(f"tile {level}/{number} is missing")
            cache[level, number] = bytes(rows[0][0])
        return cache[level, number]

    return read


_READ_TILE: Final = "SELECT hashes FROM tiles WHERE level = ? AND number = ?"
_READ_ENTRIES: Final = "SELECT entry FROM leaves WHERE number >= ? AND number < ? ORDER BY number"


def read_entries(connection: Connection, first: int, stop: int) -> list[bytes]:
    """Entries of the leaves `[first, stop)`. Raises `ValueError` where one is missing."""
    entries = [bytes(entry) for (entry,) in query(connection, _READ_ENTRIES, (first, stop))]
    if len(entries) != stop - first:
        raise ValueError(f"of the leaves from {first} to {stop} only {len(entries)} are there")
    return entries


def find_request(connection: Connection, request: str) -> Leaf | None:
    """The leaf of a request."""
    table = tables.leaves
    statement = select(table.c.number, table.c.organisation, table.c.project, table.c.entry)
    row = connection.execute(statement.where(table.c.request == request)).first() if request else None
    return Leaf(int(row.number), row.organisation, row.project, bytes(row.entry)) if row else None


def _write_tiles(connection: Connection, size: int, hashes: Sequence[bytes]) -> None:
    changed = extend(tile_reader(connection), size, hashes)
    write(connection, _KEEP_TILE, [(*place, content) for place, content in changed.items()])


def _write_streams(
    connection: Connection, streams: Mapping[str, Stream], before: Mapping[str, list[Gap]]
) -> None:
    write(connection, _KEEP_STREAM, [(name, stream.next) for name, stream in streams.items()])
    other = [name for name, stream in streams.items() if stream.gaps != before.get(name, [])]
    if other:
        change(connection, "DELETE FROM gaps WHERE stream = ANY(?)", keys(other))
        write(connection, _INSERT_GAP, [(name, *gap) for name in other for gap in streams[name].gaps])


_KEEP_TILE: Final = insertion(
    tables.tiles, "ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes"
)
_KEEP_STREAM: Final = insertion(tables.streams, "ON CONFLICT (name) DO UPDATE SET next = excluded.next")
_INSERT_GAP: Final = insertion(tables.gaps)
