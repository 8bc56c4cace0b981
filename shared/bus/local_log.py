"""The logs of the local bus: what each topic holds in memory, and what it may let go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from shared.bus.placing import measure
from shared.bus.ports import BusFull, Headers, Record, TopicPartition
from shared.bus.topics import Topic

RECORD_OVERHEAD = 256
"""Bytes of memory that a record takes beside its own, so that many small ones count too."""
AGE_CHECK_MS = 10_000


class Follower(Protocol):
    """A reader that has a partition."""

    def notify(self, place: TopicPartition) -> None:
        """A record was appended."""


class Log:
    """One partition: contiguous records from `first` up to, not including, `end`."""

    __slots__ = ("_records", "_sizes", "durable", "end", "first", "followers", "place")

    def __init__(self, place: TopicPartition, durable: bool, end: int = 0) -> None:
        self.place = place
        self.durable = durable
        """Whether what is no longer here is still on disk."""
        self.first = self.end = end
        self.followers: list[Follower] = []
        self._records: list[Record] = []
        self._sizes: list[int] = []

    def append(self, record: Record, size: int) -> None:
        """Make the record at `end` visible and wake its readers."""
        self._records.append(record)
        self._sizes.append(size)
        self.end += 1
        for follower in self.followers:
            follower.notify(self.place)

    def restart(self, offset: int) -> int:
        """Let all go, for the next record is at `offset`; the bytes they took."""
        freed = self.drop(len(self._records))
        self.first = self.end = offset
        return freed

    def read(self, offset: int, limit: int) -> list[Record]:
        """At most `limit` records from `offset` on, which must not lie before `first`."""
        start = offset - self.first
        return self._records[start : start + limit]

    def drop(self, count: int) -> int:
        """Let the oldest `count` records go; the bytes they took."""
        freed = sum(self._sizes[:count])
        del self._records[:count], self._sizes[:count]
        self.first += count
        return freed

    def droppable(self, before: int, want: int) -> int:
        """How many of the oldest records, all with offsets below `before`, free `want` bytes."""
        freed = count = 0
        most = min(before - self.first, len(self._sizes))
        while count < most and freed < want:
            freed += self._sizes[count]
            count += 1
        return count

    def older(self, cutoff_ms: int) -> int:
        """How many of the oldest records were appended before `cutoff_ms`."""
        count = 0
        while count < len(self._records) and self._records[count].timestamp_ms < cutoff_ms:
            count += 1
        return count


class TopicLog:
    """The partitions of one topic under one bound on memory."""

    def __init__(
        self,
        topic: Topic,
        needed: Callable[[Log], int],
        cap_bytes: int,
        kept_bytes: int,
    ) -> None:
        self.topic = topic
        self.durable = topic.durable
        self.logs = [
            Log(TopicPartition(topic.name, number), topic.durable) for number in range(topic.partitions)
        ]
        self._needed = needed
        self._cap = cap_bytes
        self._kept = kept_bytes if topic.groups or topic.assigned else cap_bytes
        self._trim_at = self._kept
        self._age_check_at = 0
        self._taken = 0
        """Bytes of memory."""

    def measure(self, value: bytes, key: bytes | None, headers: Headers) -> int:
        """What a record takes. Raises `RecordTooLarge`."""
        return measure(self.topic, value, key, headers) + RECORD_OVERHEAD

    def append(self, record: Record, size: int) -> None:
        """Make a record visible in its partition.

        Where its offset is not the next one, a write of unknown outcome did succeed: the memory
        begins anew, and readers find the rest on disk.
        """
        log = self.logs[record.partition]
        if record.offset != log.end:
            self._taken -= log.restart(record.offset)
        self._taken += size
        log.append(record, size)

    def make_room(self, size: int, now_ms: int) -> None:
        """Let go what nobody needs. Raises `BusFull` where what is still to be read leaves no room
        for `size` bytes.
        """
        if (taken := self.trim(size, now_ms)) > self._cap:
            raise BusFull(f"{self.topic.name}: {taken} bytes are still to be read, the cap is {self._cap}")

    def trim(self, size: int, now_ms: int) -> int:
        """Let go what is old or what nobody needs, seldom enough to cost nothing; returns the bytes
        taken once `size` more have come.
        """
        if now_ms >= self._age_check_at:
            self._age_check_at = now_ms + AGE_CHECK_MS
            self._drop_old(now_ms)
        taken = self._taken + size
        if taken > self._trim_at:
            taken -= self._drop_read(taken - self._kept * 3 // 4)
            self._trim_at = min(self._cap, max(self._kept, taken + self._kept // 4))
        return taken

    def _drop_old(self, now_ms: int) -> None:
        if self.topic.retention_s is None:
            return
        cutoff = now_ms - self.topic.retention_s * 1000
        for log in self.logs:
            self._taken -= log.drop(log.older(cutoff))

    def _drop_read(self, want: int) -> int:
        freed = 0
        for log in self.logs:
            if freed < want:
                freed += log.drop(log.droppable(self._needed(log), want - freed))
        self._taken -= freed
        return freed
