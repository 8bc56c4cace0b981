"""The bus inside one process: transit topics in memory, record and config topics durable in SQLite.

A topic is a log that never waits for its readers. Bytes cross it, as they cross a broker; only the
delivery is cheaper: an append wakes the readers of its partition, once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from itertools import count
from pathlib import Path

from shared.bus.local_groups import Group, Member
from shared.bus.local_log import Log, TopicLog
from shared.bus.local_reader import LocalReader
from shared.bus.local_writer import Writer
from shared.bus.placing import choose
from shared.bus.ports import (
    Acknowledged,
    Assigned,
    BusError,
    Headers,
    Position,
    Reader,
    Record,
    Revoked,
    Start,
    TopicPartition,
)
from shared.bus.topics import Topics
from shared.host import Host
from shared.lifecycle import Tasks

CAP_BYTES = 64 << 20
"""Most that a topic holds unread in memory before `publish` raises `BusFull`."""
KEPT_BYTES = 1 << 19
"""What a topic keeps in memory of records that everybody has read."""


class LocalBus:
    """A `Bus` for the embedded mode. `path` is the file of the durable topics; None keeps them in
    memory too, for tests. One process at a time may use a file.
    """

    def __init__(
        self,
        host: Host,
        topics: Topics,
        path: Path | None,
        *,
        cap_bytes: int = CAP_BYTES,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._host = host
        self._path = path
        self._monotonic = host.clock.monotonic
        self._epoch_s = host.clock.time_ns() / 1e9 - self._monotonic()
        self._topics = {
            name: TopicLog(topic, self._needed, cap_bytes, kept_bytes) for name, topic in topics.items()
        }
        self._writer = Writer(host, topics, path, self._appended, self.now_ms, cap_bytes)
        self._groups: dict[str, Group] = {}
        self._members: dict[LocalReader, tuple[Group, Member]] = {}
        self._readers: set[LocalReader] = set()
        self._offsets: dict[str, dict[TopicPartition, int]] = {}
        self._tasks = Tasks("bus")
        self._any = count()
        self._open = False

    async def start(self) -> None:
        """Open the file of the durable topics; before anything else. Raises `BusError`."""
        if self._path is not None:
            try:
                self._host.files.make_folder(self._path.parent)
            except OSError as error:
                raise BusError(f"{self._path.parent}: {error.strerror or error}") from error
        state = await self._writer.start()
        for place, end in state.ends.items():
            if place.topic in self._topics and place.partition < self.partitions(place.topic):
                self._topics[place.topic].logs[place.partition] = Log(place, durable=True, end=end)
        for (name, place), offset in state.offsets.items():
            self._offsets.setdefault(name, {})[place] = offset
        self._open = True

    def publish(
        self,
        topic: str,
        value: bytes,
        headers: Headers = (),
        *,
        key: bytes | None = None,
        partition: int | None = None,
    ) -> Awaitable[Position]:
        """See `Publisher.publish`. Raises `ValueError` for a partition that is not there, and for a
        record without key on a compacted topic.
        """
        shelf = self._topics[topic]
        self._check_open()
        size = shelf.measure(value, key, headers)
        number = choose(shelf.topic, key, partition, self._any)
        log = shelf.logs[number]
        if shelf.durable:
            return self._writer.publish(log.place, key, value, headers, size)
        now_ms, offset = self.now_ms(), log.end
        shelf.make_room(size, now_ms)
        shelf.append(Record(topic, number, offset, now_ms, key, value, headers), size)
        return Acknowledged(Position(topic, number, offset, now_ms))

    def now_ms(self) -> int:
        """The broker's time: the wall's at the start, advanced by the monotonic clock, because ages
        and expiries are counted by it and a step of the wall clock would end them all.
        """
        return int((self._epoch_s + self._monotonic()) * 1000)

    def partitions(self, topic: str) -> int:
        """See `Bus.partitions`."""
        return self._topics[topic].topic.partitions

    async def group(
        self, topics: Iterable[str], group: str, member: str, on_assigned: Assigned, on_revoked: Revoked
    ) -> Reader:
        """See `Bus.group`. Returns once the member has its share."""
        self._check_open()
        wanted = frozenset(topics)
        for topic in wanted:
            self.partitions(topic)
        joined = self._groups.get(group)
        if joined is None:
            joined = Group(group, self._places, self._offsets.pop(group, {}), self._tasks)
            self._groups[group] = joined

        async def commit(offsets: Mapping[TopicPartition, int]) -> None:
            durable = {place: at for place, at in offsets.items() if self._topics[place.topic].topic.durable}
            if durable:
                await self._writer.commit(group, durable)
            joined.committed.update(offsets)

        reader = LocalReader(self._log, self._writer.fetch, commit, lambda: self._leave(reader))
        self._members[reader] = joined, Member(reader, wanted, on_assigned, on_revoked)
        await joined.join(member, self._members[reader][1])
        return reader

    async def assign(self, partitions: Iterable[TopicPartition], start: Start) -> Reader:
        """See `Bus.assign`."""
        self._check_open()
        logs = [self._log(place) for place in partitions]
        reader = LocalReader(self._log, self._writer.fetch, None, lambda: self._readers.discard(reader))
        self._readers.add(reader)
        from_end = start is Start.END
        reader.give({log.place: log.end if from_end else 0 for log in logs})
        return reader

    async def close(self) -> None:
        """See `Bus.close`."""
        if not self._open:
            return
        self._open = False
        for reader in (*self._members, *self._readers):
            reader.end("the bus is closed")
        await self._tasks.cancel()
        await self._writer.close()

    async def shake(self, reader: Reader, places: Iterable[TopicPartition]) -> None:
        """Take partitions from a group's reader and give them back, as a rebalance does. For tests."""
        if isinstance(reader, LocalReader) and reader in self._members:
            group, member = self._members[reader]
            await group.shake(member, places)

    def _check_open(self) -> None:
        if not self._open:
            raise BusError("the local bus is not started, or closed")

    def _appended(self, record: Record, size: int) -> None:
        shelf = self._topics[record.topic]
        shelf.trim(size, record.timestamp_ms)
        shelf.append(record, size)

    def _log(self, place: TopicPartition) -> Log:
        if not 0 <= place.partition < self.partitions(place.topic):
            raise KeyError(f"{place.topic} has no partition {place.partition}")
        return self._topics[place.topic].logs[place.partition]

    def _places(self, topic: str) -> list[TopicPartition]:
        return [log.place for log in self._topics[topic].logs]

    def _leave(self, reader: LocalReader) -> None:
        if reader in self._members:
            group, member = self._members.pop(reader)
            group.leave(member)

    def _needed(self, log: Log) -> int:
        """The first offset that somebody may still want from memory."""
        if log.durable:
            return log.end
        place = log.place
        reading = [reader.positions().get(place, log.end) for reader in self._readers]
        joined = [one.committed.get(place, 0) for one in self._groups.values() if place.topic in one.topics]
        declared = self._topics[place.topic].topic.groups
        missing = [0 for name in declared if name not in self._groups]
        return min((log.end, *reading, *joined, *missing))
