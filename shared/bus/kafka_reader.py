"""A reader over one consumer at a time: a task that fetches, and one that watches that it does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from shared.bus.doze import Doze
from shared.bus.kafka_fetching import ConsumerLife
from shared.bus.kafka_shelf import Shelf
from shared.bus.kafka_timing import Timing
from shared.bus.ports import BusError, Record, TopicPartition
from shared.clock import Clock
from shared.lifecycle import READY, Readiness, Tasks

log = logging.getLogger(__name__)

FETCH_S = 5.0
WATCH_S = 1.0
REFUSED_S = 0.2

Born = Callable[["KafkaReader"], Awaitable[ConsumerLife]]
"""Makes a consumer that reads what the reader is to read, from its positions where it has any."""
Ends = Callable[[Iterable[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]]


class KafkaReader:
    """A `Reader`. `born` makes its consumers; `ends` asks where partitions end."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        timing: Timing,
        born: Born,
        ends: Ends,
        on_close: Callable[[KafkaReader], None],
        *,
        grouped: bool,
    ) -> None:
        """`grouped` says whether there is a group to commit for. Without one nothing is fetched before the
        first poll: some readers are only asked where their partitions end.
        """
        self.name = name
        self.grouped = grouped
        self.shelf = Shelf(self._pause_fetching)
        self._clock = clock
        self._timing = timing
        self._born = born
        self._ends = ends
        self._on_close = on_close
        self._doze = Doze()
        self._tasks = Tasks(f"reader.{name}")
        self._life: ConsumerLife | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._stamps: dict[TopicPartition, int] = {}
        self._silences: dict[TopicPartition, float] = {}
        self._silent = 0.0
        self._begun = False
        self._watched_at = 0.0
        self._fault = ""
        self._ended = ""
        self._closing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return once the partitions are known. Raises `BusError`."""
        if self.grouped:
            self._use(await self._born(self))
            self._begin()

    # What the consumer loop sees; see `Reader`.

    async def poll(self, max_records: int, timeout: float) -> Mapping[TopicPartition, list[Record]]:
        """See `Reader.poll`. Cancelling it loses nothing."""
        if self._ended:
            raise BusError(self._ended)
        if not self._begun:
            self._tasks.spawn(self._make(), "begin")
            self._begin()
        if self.shelf.ready:
            await asyncio.sleep(0)  # a reader that lags must not keep the loop to itself
        else:
            await self._doze.sleep(timeout)
        if self._ended:
            raise BusError(self._ended)
        if not self.shelf.ready and (reason := self._trouble()):
            raise BusError(reason)
        return self.shelf.take(max_records)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """See `Reader.commit`."""
        own = {place: offset for place, offset in offsets.items() if place in self.shelf.positions}
        if not own or not self.grouped:
            return
        if self._life is None:
            raise BusError(f"{self.name} has no consumer at the moment")
        await self._life.commit(own)

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """See `Reader.pause`."""
        self.shelf.pause(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """See `Reader.resume`."""
        self.shelf.resume(partitions)
        if self.shelf.ready:
            self._doze.wake()

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """See `Reader.seek`. Raises `KeyError` where the partition is not assigned."""
        if partition not in self.shelf.positions:
            raise KeyError(f"{partition} is not assigned")
        self.shelf.seek(partition, offset)
        if self._life is not None:
            self._life.seek(partition, offset)

    def positions(self) -> Mapping[TopicPartition, int]:
        """See `Reader.positions`."""
        return {place: self._position(place, offset) for place, offset in self.shelf.positions.items()}

    async def end_offsets(self) -> Mapping[TopicPartition, int]:
        """See `Reader.end_offsets`."""
        if self._ended:
            raise BusError(self._ended)
        return await self._ends(self.shelf.positions)

    async def close(self) -> None:
        """See `Reader.close`."""
        self.end("the reader is closed", leave=True)
        if self._closing is not None:
            await asyncio.wait((self._closing,))

    # What the bus sees.

    def readiness(self) -> Readiness:
        """Not while nothing comes back from the brokers, nor after the end."""
        reason = self._ended or self._trouble()
        return Readiness(False, f"{self.name}: {reason}") if reason else READY

    def end(self, reason: str, *, leave: bool) -> None:
        """Lose everything; from now on `poll` raises `BusError` with this reason."""
        if self._ended:
            return
        self._ended = reason
        self.shelf.lose(self.shelf.positions)
        self._doze.end()
        self._on_close(self)
        self._closing = Tasks(f"reader.{self.name}").spawn(self._finish(leave), "close")

    def give(self, positions: Mapping[TopicPartition, int]) -> None:
        """These partitions are the reader's from now on."""
        if not self._ended:
            self.shelf.give(positions)
            for place in positions:
                self._stamps.pop(place, None)
                self._silences[place] = 0.0

    def wake(self) -> None:
        """There may be something to take."""
        self._doze.wake()

    async def _finish(self, leave: bool) -> None:
        await self._tasks.cancel()
        life, self._life = self._life, None
        if life is not None:
            await life.end(leave=leave)

    def _position(self, place: TopicPartition, offset: int) -> int:
        # Compaction may leave nothing to read between the last record and where the fetching stands.
        if self._life is None or self.shelf.waiting(place):
            return offset
        return max(offset, self._life.state(place)[0])

    def _pause_fetching(self, place: TopicPartition, paused: bool) -> None:
        if self._life is not None and self._life.state(place)[0] >= 0:
            self._life.pause(place, paused)

    def _trouble(self) -> str:
        if self._life is None:
            return f"the consumer is made anew: {self._fault}" if self._fault else ""
        if self._silent >= self._timing.silent:
            return f"no answer from the brokers for {self._silent:.0f} s"
        return self._fault

    def _begin(self) -> None:
        self._begun = True
        self._watched_at = self._clock.monotonic()
        self._tasks.spawn(self._watch(), "watch")

    def _use(self, life: ConsumerLife) -> None:
        self._life = life
        self._fetching = self._tasks.spawn(self._fetch(life), "fetch")

    async def _fetch(self, life: ConsumerLife) -> None:
        while True:
            try:
                fetched = await life.fetch(FETCH_S)
            except BusError as error:
                self._fault = str(error)
                self._doze.wake()
                await self._clock.sleep(REFUSED_S)
                continue
            self._fault = ""
            if fetched:
                self.shelf.put(fetched)
                if self.shelf.ready:
                    self._doze.wake()

    # The watchdog.

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(WATCH_S)
            if self._life is None:
                continue
            self._silent = self._listen(self._life)
            if self._life.dead():
                await self._renew("a task of the library has ended")
            elif self._silent >= self._timing.renew:
                await self._renew(f"no answer from the brokers for {self._silent:.0f} s")

    def _listen(self, life: ConsumerLife) -> float:
        """For how long the quietest partition has had no answer. A loop that stood still for a while
        counts as two turns at most: then it was us who did not listen.
        """
        now = self._clock.monotonic()
        passed, self._watched_at = min(now - self._watched_at, 2 * WATCH_S), now
        if not self.shelf.positions:
            return self._silent + passed if life.out_of_touch() else 0.0
        for place in self.shelf.positions:
            stamp = life.state(place)[1]
            if self.shelf.waiting(place) or stamp != self._stamps.get(place, -1):
                self._stamps[place], self._silences[place] = stamp, 0.0
            else:
                self._silences[place] = self._silences.get(place, 0.0) + passed
        return max(self._silences[place] for place in self.shelf.positions)

    async def _renew(self, why: str) -> None:
        log.warning("%s: another consumer, as %s", self.name, why)
        life, self._life, self._fault = self._life, None, why
        self._doze.wake()
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait((self._fetching,))
        if life is not None:
            await life.end(leave=False)
        await self._make()
        log.info("%s: reads again", self.name)

    async def _make(self) -> None:
        pause = self._timing.backoff
        while True:
            try:
                self._use(await self._born(self))
                break
            except BusError as error:
                self._fault = str(error)
            await self._clock.sleep(pause)
            pause = min(pause * 2, self._timing.backoff_most)
        self._silent, self._fault = 0.0, ""
        self._silences.clear()
        self._stamps.clear()
