"""The bus: one port for publishing, one for reading. Bytes cross it, never objects.

Two adapters stand behind it: `local` in one process, `kafka` over Apache Kafka. The contract suite
in `tests/contract` runs against both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from enum import Enum
from typing import NamedTuple, Protocol

Headers = tuple[tuple[str, bytes], ...]


class TopicPartition(NamedTuple):
    """One ordered log."""

    topic: str
    partition: int


class Position(NamedTuple):
    """Where a published record stands."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    """The broker's own time of the append (LogAppendTime)."""


class Acknowledged:
    """The awaitable of a record that is acknowledged already: no future, no turn of the loop."""

    __slots__ = ("position",)

    def __init__(self, position: Position) -> None:
        self.position = position

    def __await__(self) -> Generator[None, None, Position]:
        return self.position
        yield  # makes this a generator, which is what `await` wants


class Record(NamedTuple):
    """A record as it was read."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes
    headers: Headers


class Start(Enum):
    """Where an assigned reader begins."""

    BEGINNING = "beginning"
    END = "end"
    """After the last record at the time of the call (`end_offsets` then `seek`)."""


class BusError(Exception):
    """A fault of the bus, not of a record. Back off and try again; what was sent may have been written."""


class BusFull(BusError):
    """A local topic is over its byte cap, or the producer's own queue is."""


class BusTimeout(BusError):
    """No acknowledgement by the deadline: the record is perhaps written."""


class BusRefused(BusError):
    """The brokers refuse the credentials, or lack what is declared: no waiting helps, a person must act."""


class RecordTooLarge(BusError):
    """The record is above the topic's `max_bytes`; nothing was written."""


class RecordInvalid(ValueError):
    """A record that its handler has looked at and found wrong, which says nothing of the handler."""


class Publisher(Protocol):
    """Writes records. The order of calls for one partition is the order of the records in it."""

    def publish(
        self,
        topic: str,
        value: bytes,
        headers: Headers = (),
        *,
        key: bytes | None = None,
        partition: int | None = None,
    ) -> Awaitable[Position]:
        """Take the record now; the awaitable ends when it is acknowledged.

        Acknowledged means durable on `record` and `config` topics, in memory (or on the brokers) on
        `transit`. The partition is `partition`, else by hash of `key`, else any. Not awaiting is
        allowed: the failure is then counted and logged by the adapter. Cancelling the wait does not
        take the record back. It is an `Acknowledged` where nothing has to be waited for, else a future.
        Raises, at the call or when awaited, `BusFull`, `BusTimeout`, `RecordTooLarge`; `KeyError` for a
        topic that is not declared.
        """


Assigned = Callable[[Iterable[TopicPartition]], Awaitable[None]]
"""Called before the first record of new partitions."""
Revoked = Callable[[Iterable[TopicPartition]], Awaitable[None]]
"""Called before partitions go to another reader; drain and commit inside, then nothing more of them."""


class Reader(Protocol):
    """Reads records of some partitions. One task polls it; the consumer loop is that task."""

    async def poll(self, max_records: int, timeout: float) -> Mapping[TopicPartition, list[Record]]:
        """Records in partition order, at most `max_records` in all; empty after `timeout` seconds.

        Cancelling it loses nothing. Raises `BusError` where the bus cannot be reached.
        """

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Durably store, for the group, the *next* offset to read of each partition.

        Partitions no longer assigned are ignored. A reader without a group ignores all. Raises
        `BusError`: the commit is then unknown and may be repeated.
        """

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Give no more records of these until `resume`, or until they are taken away; polling goes on."""

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Undo `pause`."""

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """The next record of the partition that `poll` gives is the one at `offset`."""

    def positions(self) -> Mapping[TopicPartition, int]:
        """Next offset that `poll` will give, of each partition now assigned."""

    async def end_offsets(self) -> Mapping[TopicPartition, int]:
        """Offset after the last record, now, of each partition assigned."""

    async def close(self) -> None:
        """Leave the group and forget. Idempotent; never hangs."""


class Bus(Publisher, Protocol):
    """A connection of one process to the bus."""

    async def group(
        self, topics: Iterable[str], group: str, member: str, on_assigned: Assigned, on_revoked: Revoked
    ) -> Reader:
        """Join a group: partitions are shared among its members; a new group starts at the beginning."""

    async def assign(self, partitions: Iterable[TopicPartition], start: Start) -> Reader:
        """Read these partitions without a group; nothing is committed."""

    def partitions(self, topic: str) -> int:
        """How many partitions a declared topic has. Raises `KeyError`."""

    async def close(self) -> None:
        """Flush what was published, by an own deadline, and release everything."""
