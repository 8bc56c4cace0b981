"""Audit's statements: plain functions of a connection, each within the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from services.audit import tables
from services.audit.facts import Fact
from services.audit.stream import Gap, Stream
from services.audit.tlog.merkle import leaf_hash
from services.audit.tlog.tiles import WIDTH, ReadTile, extend
from shared.bus.ports import Record
from shared.storage.sql import alone, storable

_HEAD = 1
_REASON = 500
_BATCH = 500
"""Names in one IN list; SQLite allows many more, PostgreSQL plans this many well."""


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
    if connection.execute(select(tables.head.c.id)).first() is None:
        connection.execute(insert(tables.head).values(id=_HEAD, size=0, checkpoint=""))


def read_head(connection: Connection, *, lock: bool = False) -> Head:
    """The log's head; with `lock`, no other transaction moves it before this one ends."""
    statement = select(tables.head.c.size, tables.head.c.checkpoint)
    row = connection.execute(statement.with_for_update() if lock else statement).one()
    return Head(int(row.size), row.checkpoint)


def store_checkpoint(connection: Connection, note: str) -> None:
    """Remember what was signed last."""
    connection.execute(update(tables.head).values(checkpoint=note))


def append(connection: Connection, facts: Sequence[Fact], now_ns: int) -> int:
    """Append the facts that are not in the log yet, in their order; how many those were."""
    if not facts:
        return 0
    size = read_head(connection, lock=True).size
    known = read_streams(connection, list(dict.fromkeys(fact.stream for fact in facts)))
    before = {name: list(stream.gaps) for name, stream in known.items()}
    found = {fact.stream: known.get(fact.stream) or Stream() for fact in facts}
    fresh = [fact for fact in facts if found[fact.stream].take(fact.seq, now_ns)]
    if not fresh:
        return 0
    connection.execute(
        insert(tables.leaves),
        [{"number": size + place, **fact._asdict()} for place, fact in enumerate(fresh)],
    )
    _write_tiles(connection, size, [leaf_hash(fact.entry) for fact in fresh])
    for name, stream in found.items():
        _write_stream(connection, name, stream, known=name in known, gaps=before.get(name, []))
    connection.execute(update(tables.head).values(size=size + len(fresh)))
    return len(fresh)


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
    found: dict[str, Stream] = {}
    for start in range(0, len(names), _BATCH):
        part = names[start : start + _BATCH]
        for row in connection.execute(select(tables.streams).where(tables.streams.c.name.in_(part))):
            found[row.name] = Stream(int(row.next))
        for row in connection.execute(select(tables.gaps).where(tables.gaps.c.stream.in_(part))):
            found[row.stream].gaps.append(Gap(row.first, row.last, row.since_ns))
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
            where = (tables.tiles.c.level == level) & (tables.tiles.c.number == number)
            content = connection.execute(select(tables.tiles.c.hashes).where(where)).scalar()
            if content is None:
                raise ValueError(f"tile {level}/{number} is missing")
            cache[level, number] = bytes(content)
        return cache[level, number]

    return read


def read_entries(connection: Connection, first: int, stop: int) -> list[bytes]:
    """Entries of the leaves `[first, stop)`. Raises `ValueError` where one is missing."""
    number = tables.leaves.c.number
    statement = select(tables.leaves.c.entry).where(number >= first, number < stop).order_by(number)
    entries = [bytes(entry) for entry in connection.execute(statement).scalars()]
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
    begun = {(level, number) for level, number in changed if size >> 8 * level > number * WIDTH}
    if begun:
        where = (tables.tiles.c.level == bindparam("at_level")) & (
            tables.tiles.c.number == bindparam("at_number")
        )
        connection.execute(
            update(tables.tiles).where(where).values(hashes=bindparam("content")),
            [
                {"at_level": level, "at_number": number, "content": changed[level, number]}
                for level, number in begun
            ],
        )
    rows = [
        {"level": level, "number": number, "hashes": content}
        for (level, number), content in changed.items()
        if (level, number) not in begun
    ]
    if rows:
        connection.execute(insert(tables.tiles), rows)


def _write_stream(connection: Connection, name: str, stream: Stream, *, known: bool, gaps: list[Gap]) -> None:
    if known:
        where = tables.streams.c.name == name
        connection.execute(update(tables.streams).where(where).values(next=stream.next))
    else:
        connection.execute(insert(tables.streams).values(name=name, next=stream.next))
    if stream.gaps != gaps:
        connection.execute(delete(tables.gaps).where(tables.gaps.c.stream == name))
        if stream.gaps:
            connection.execute(
                insert(tables.gaps), [{"stream": name, **gap._asdict()} for gap in stream.gaps]
            )
