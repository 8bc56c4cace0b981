"""The durable topics of the local bus and their groups' offsets, in one SQLite file.

Everything here blocks and runs on the writer's thread. One call of `write` is one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import orjson

from shared.bus.ports import BusError, Headers, Record, TopicPartition

Offsets = Mapping[tuple[str, TopicPartition], int]
"""Next offset to read, by group and partition."""

EXPIRED_AT_ONCE = 1000
"""Most records of a partition that one transaction lets go, so that no publisher waits long."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, position INTEGER NOT NULL,
    timestamp_ms INTEGER NOT NULL, key BLOB, value BLOB NOT NULL, headers BLOB NOT NULL,
    PRIMARY KEY (topic, partition, position));
CREATE TABLE IF NOT EXISTS ends (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, position INTEGER NOT NULL,
    PRIMARY KEY (topic, partition));
CREATE TABLE IF NOT EXISTS offsets (
    name TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, position INTEGER NOT NULL,
    PRIMARY KEY (name, topic, partition));
"""
_REMOVE = "DELETE FROM records WHERE topic = ? AND partition = ? AND position = ?"
_ROWS_AT_ONCE = 128
_UPSERT = "ON CONFLICT DO UPDATE SET position = excluded.position"
_FETCH = """SELECT topic, partition, position, timestamp_ms, key, value, headers FROM records
WHERE topic = ? AND partition = ? AND position >= ? ORDER BY position LIMIT ?"""
_OLDEST = """SELECT position, timestamp_ms FROM records
WHERE topic = ? AND partition = ? ORDER BY position LIMIT 1"""
_EXPIRE = "DELETE FROM records WHERE topic = ? AND partition = ? AND position < ? AND timestamp_ms < ?"


class Entry(NamedTuple):
    """A record to be written; its offset is given in the transaction."""

    place: TopicPartition
    key: bytes | None
    value: bytes
    headers: Headers


class State(NamedTuple):
    """What a file holds when it is opened."""

    ends: Mapping[TopicPartition, int]
    offsets: Offsets


class Journal:
    """One SQLite file; `path` None keeps it in memory, for tests. `compacted` names the topics of
    which only the newest record of each key is kept. Methods raise `BusError` where the disk fails:
    the outcome of a `write` is then unknown.
    """

    def __init__(self, path: Path | None, compacted: Iterable[str]) -> None:
        self._path = path
        self._compacted = frozenset(compacted)
        self._connection: sqlite3.Connection | None = None
        self._ends: dict[TopicPartition, int] = {}
        self._newest: dict[tuple[TopicPartition, bytes], int] = {}

    def open(self) -> State:
        """Make or open the file and tell what it holds."""
        try:
            connection = self._open()
            rows = connection.execute("SELECT name, topic, partition, position FROM offsets").fetchall()
        except (sqlite3.Error, OSError) as error:
            raise self._fault(error) from error
        offsets = {(name, TopicPartition(topic, number)): position for name, topic, number, position in rows}
        return State(dict(self._ends), offsets)

    def write(
        self, entries: Sequence[Entry], offsets: Offsets, now_ms: int, cutoffs: Mapping[str, int]
    ) -> list[Record]:
        """Append the entries, store the groups' offsets, let records older than their topic's cutoff
        go, and return once all of it is on disk.
        """
        try:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            records = self._append(connection, entries, now_ms)
            if offsets:
                rows = [(name, *place, position) for (name, place), position in offsets.items()]
                _insert(connection, "offsets", rows, _UPSERT)
            for topic, cutoff in cutoffs.items():
                self._expire(connection, topic, cutoff)
            connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise self._fault(error) from error
        return records

    def fetch(self, place: TopicPartition, offset: int, limit: int) -> list[Record]:
        """At most `limit` records from `offset` on; offsets may have gaps."""
        try:
            rows = self._open().execute(_FETCH, (*place, offset, limit)).fetchall()
        except (sqlite3.Error, OSError) as error:
            raise self._fault(error) from error
        return [Record(*row)._replace(headers=_unpack(row[6])) for row in rows]

    def close(self) -> None:
        """Let the file go; the next call opens it again and reads what it truly holds."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        connection = sqlite3.connect(
            self._path or ":memory:", isolation_level=None, check_same_thread=False, timeout=1.0
        )
        try:
            for name, value in (
                ("journal_mode", "WAL"),
                ("synchronous", "FULL"),
                ("journal_size_limit", 1 << 26),
            ):
                connection.execute(f"PRAGMA {name}={value}")
            connection.executescript(_SCHEMA)
            self._load(connection)
        except sqlite3.Error:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _load(self, connection: sqlite3.Connection) -> None:
        ends = connection.execute("SELECT topic, partition, position FROM ends")
        self._ends = {TopicPartition(topic, number): position for topic, number, position in ends}
        self._newest = {}
        for topic in self._compacted:
            kept = connection.execute(
                "SELECT partition, key, position FROM records WHERE topic = ?", (topic,)
            )
            for number, key, position in kept:
                self._newest[TopicPartition(topic, number), key] = position

    def _append(self, connection: sqlite3.Connection, entries: Sequence[Entry], now_ms: int) -> list[Record]:
        records: list[Record] = []
        superseded: list[tuple[str, int, int]] = []
        ends: dict[TopicPartition, int] = {}
        for place, key, value, headers in entries:
            offset = ends.get(place)
            if offset is None:
                offset = self._ends.get(place, 0)
            ends[place] = offset + 1
            records.append(Record(place.topic, place.partition, offset, now_ms, key, value, headers))
            if key is not None and place.topic in self._compacted:
                if (before := self._newest.get((place, key))) is not None:
                    superseded.append((*place, before))
                self._newest[place, key] = offset
        _insert(connection, "records", [(*record[:6], _pack(record.headers)) for record in records])
        if superseded:
            connection.executemany(_REMOVE, superseded)
        _insert(connection, "ends", [(*place, end) for place, end in ends.items()], _UPSERT)
        self._ends.update(ends)
        return records

    def _expire(self, connection: sqlite3.Connection, topic: str, cutoff_ms: int) -> None:
        for place in [place for place in self._ends if place.topic == topic]:
            oldest = connection.execute(_OLDEST, place).fetchone()
            if oldest is not None and oldest[1] < cutoff_ms:
                connection.execute(_EXPIRE, (*place, oldest[0] + EXPIRED_AT_ONCE, cutoff_ms))

    def _fault(self, error: Exception) -> BusError:
        return BusError(f"{self._path or 'the journal in memory'}: {error}")


def _insert(
    connection: sqlite3.Connection, table: str, rows: Sequence[tuple[object, ...]], conflict: str = ""
) -> None:
    # Many rows a statement: at each step SQLite's thread gives the interpreter's lock away, and wins it
    # back from a busy event loop after 5 ms only.
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[first : first + _ROWS_AT_ONCE]
        row = "(" + ", ".join("?" * len(some[0])) + ")"
        rows_of = ", ".join([row] * len(some))
        statement = f"INSERT INTO {table} VALUES {rows_of} {conflict}"  # noqa: S608 - our own names
        connection.execute(statement, list(chain.from_iterable(some)))


def _pack(headers: Headers) -> bytes:
    return orjson.dumps([(name, content.decode("latin-1")) for name, content in headers])


def _unpack(data: bytes) -> Headers:
    return tuple((name, content.encode("latin-1")) for name, content in orjson.loads(data))
