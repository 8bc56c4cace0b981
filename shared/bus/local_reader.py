"""One reader of the local bus: positions, a set of partitions with something to read, one wake-up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

from shared.bus.doze import Doze
from shared.bus.local_log import Log
from shared.bus.ports import BusError, Record, TopicPartition

Fetch = Callable[[TopicPartition, int, int], Awaitable[list[Record]]]
Commit = Callable[[Mapping[TopicPartition, int]], Awaitable[None]]

FETCHED_AT_ONCE = 500
"""Records taken from disk in one go."""


class LocalReader:
    """A `Reader` over logs in memory, and their durable part on disk.

    `commit_offsets` stores offsets for the group; None where there is none. Each `close`
    calls `on_close`.
    """

    def __init__(
        self,
        log_of: Callable[[TopicPartition], Log],
        fetch: Fetch,
        commit_offsets: Commit | None,
        on_close: Callable[[], None],
    ) -> None:
        self._log_of = log_of
        self._fetch = fetch
        self._commit_offsets = commit_offsets
        self._on_close = on_close
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._frozen: set[TopicPartition] = set()
        self._ready: dict[TopicPartition, None] = {}
        self._doze = Doze()
        self._ended = ""

    # What the consumer loop sees; see `Reader`.

    async def poll(self, max_records: int, timeout: float) -> Mapping[TopicPartition, list[Record]]:
        """See `Reader.poll`. Cancelling it loses nothing."""
        if self._ended:
            raise BusError(self._ended)
        if self._ready:
            await asyncio.sleep(0)  # a reader that lags must not keep the loop to itself
        else:
            await self._doze.sleep(timeout)
        found, cold = self._take(max_records)
        for place in cold:
            await self._take_cold(place, max_records - sum(map(len, found.values())), found)
        return found

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """See `Reader.commit`."""
        if self._commit_offsets is None:
            return
        own = {place: offset for place, offset in offsets.items() if place in self._positions}
        if own:
            await self._commit_offsets(own)

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """See `Reader.pause`."""
        for place in partitions:
            self._paused.add(place)
            self._ready.pop(place, None)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """See `Reader.resume`."""
        for place in partitions:
            self._paused.discard(place)
            self._look(place)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """See `Reader.seek`. Raises `KeyError` where the partition is not assigned."""
        if partition not in self._positions:
            raise KeyError(f"{partition} is not assigned")
        self._positions[partition] = offset
        self._ready.pop(partition, None)
        self._look(partition)

    def positions(self) -> Mapping[TopicPartition, int]:
        """See `Reader.positions`."""
        return dict(self._positions)

    async def end_offsets(self) -> Mapping[TopicPartition, int]:
        """See `Reader.end_offsets`."""
        if self._ended:
            raise BusError(self._ended)
        return {place: self._log_of(place).end for place in self._positions}

    async def close(self) -> None:
        """See `Reader.close`."""
        if not self._ended:
            self.end("the reader is closed")
        self._on_close()

    # What the bus sees.

    def notify(self, place: TopicPartition) -> None:
        """A record was appended to a partition that this reader has."""
        if place not in self._paused and place not in self._frozen:
            self._ready[place] = None
            self._doze.wake()

    def give(self, positions: Mapping[TopicPartition, int]) -> None:
        """These partitions are the reader's from now on, from these offsets."""
        for place, offset in positions.items():
            self._positions[place] = offset
            self._frozen.discard(place)
            log = self._log_of(place)
            if self not in log.followers:
                log.followers.append(self)
            self._look(place)

    def freeze(self, places: Iterable[TopicPartition]) -> None:
        """Give no more records of these: they are about to be taken."""
        for place in places:
            self._frozen.add(place)
            self._ready.pop(place, None)

    def take(self, places: Iterable[TopicPartition]) -> None:
        """These partitions are no longer the reader's."""
        for place in places:
            if self._positions.pop(place, None) is not None:
                self._log_of(place).followers.remove(self)
            self._frozen.discard(place)
            self._paused.discard(place)
            self._ready.pop(place, None)

    def end(self, reason: str) -> None:
        """Take everything; from now on `poll` raises `BusError` with this reason."""
        self.take(list(self._positions))
        self._ended = reason
        self._doze.end()

    def _look(self, place: TopicPartition) -> None:
        position = self._positions.get(place)
        if position is not None and position < self._log_of(place).end:
            self.notify(place)

    def _take(self, limit: int) -> tuple[dict[TopicPartition, list[Record]], list[TopicPartition]]:
        found: dict[TopicPartition, list[Record]] = {}
        cold: list[TopicPartition] = []
        for place in tuple(self._ready):
            if limit <= 0:
                break
            log = self._log_of(place)
            position = self._positions[place]
            if position < log.first:
                if log.durable:
                    cold.append(place)
                    continue
                position = log.first  # retention has let them go
            del self._ready[place]
            if records := log.read(position, limit):
                found[place] = records
                limit -= len(records)
                position = records[-1].offset + 1
            self._positions[place] = position
            if position < log.end:
                self._ready[place] = None  # behind the others: each gets its turn
        return found, cold

    async def _take_cold(
        self, place: TopicPartition, limit: int, found: dict[TopicPartition, list[Record]]
    ) -> None:
        position = self._positions.get(place)
        if position is None or limit <= 0:
            return
        log = self._log_of(place)
        first = log.first
        records = await self._fetch(place, position, min(limit, FETCHED_AT_ONCE))
        if self._positions.get(place) != position or place not in self._ready:
            return  # sought, paused or taken away meanwhile
        if records:
            found[place] = records
            position = records[-1].offset + 1
        else:
            position = first  # compaction or retention has let go of everything up to memory
        self._positions[place] = position
        if position >= log.end:
            del self._ready[place]
