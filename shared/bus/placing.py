"""What a record takes, and the partition it goes to: the same on every bus."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import chain

from shared.bus.ports import Headers, RecordInvalid, RecordTooLarge
from shared.bus.topics import Topic


class NoSuchPartition(RecordInvalid):
    """A record that is to go, or whose answer is to go, where there is nothing."""


def measure(topic: Topic, value: bytes, key: bytes | None, headers: Headers) -> int:
    """Bytes of key, value and headers. Raises `RecordTooLarge`."""
    size = len(value) + sum(map(len, chain.from_iterable(headers)))
    if key is not None:
        size += len(key)
    if size > topic.max_bytes:
        raise RecordTooLarge(f"{topic.name}: {size} bytes, at most {topic.max_bytes}")
    return size


def choose(topic: Topic, key: bytes | None, partition: int | None, spread: Iterator[int]) -> int:
    """The number of a record's partition; `spread` counts those that may go anywhere. Raises
    `NoSuchPartition` for a partition that is not there, and for a record without key on a compacted topic.
    """
    if partition is not None:
        if not 0 <= partition < topic.partitions:
            raise NoSuchPartition(f"{topic.name} has no partition {partition}")
        return partition
    if key is not None:
        return zlib.crc32(key) % topic.partitions
    if topic.kind == "config":
        raise ValueError(f"{topic.name} is compacted: its records need a key")
    return next(spread) % topic.partitions
