"""The consumer loop: polls one reader, hands batches to one handler, commits what is finished.

1. Commits are explicit, of the highest contiguous finished offset, or behind it: see `Memory`.
2. Topics of order `none` run concurrently behind that watermark; others one batch of a partition at a time.
3. Faults of the bus and the database pause and try again, and in the end fail the readiness; a
   handler's own error is the record's (see `handling`).
4. A handler never waits for inference and the loop does no work of its own.
5. On revoke: drain, commit, forget. On stop: nothing new, finish or abandon by the deadline; what was
   abandoned is neither committed nor dead-lettered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shared.bus.commits import Commits
from shared.bus.handling import Batch, Disposal, Handler, Handling, Memory
from shared.bus.lane import Lane, drain
from shared.bus.observer import Observer, Unobserved
from shared.bus.patience import Faults, Patience
from shared.bus.ports import Bus, BusError, Reader, Record, Start, TopicPartition
from shared.bus.staleness import Staleness
from shared.bus.topics import Topics
from shared.bus.watermark import Span
from shared.host import Host
from shared.lifecycle import READY, Readiness, Tasks

log = logging.getLogger(__name__)

POLL_S = 1.0
LAG_PERIOD_S = 5.0


@dataclass(frozen=True, slots=True)
class InGroup:
    """Read as a member of a group."""

    topics: tuple[str, ...]
    group: str
    member: str
    """Keeps its share over a restart; unique in the group."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """Read these partitions, without a group and without commits."""

    partitions: tuple[TopicPartition, ...]
    start: Start


class Consumer:
    """One reader and one handler. `on_poison` is told of dead letters of transit topics so that the
    owner can be answered; `park` must store a record of a record topic that cannot be handled, and
    has to be given where such a topic is read. `memory` is the handler's, where it has any.
    """

    def __init__(
        self,
        bus: Bus,
        host: Host,
        topics: Topics,
        source: InGroup | Assigned,
        handler: Handler,
        *,
        on_poison: Disposal | None = None,
        park: Disposal | None = None,
        memory: Memory | None = None,
        observer: Observer | None = None,
        patience: Patience | None = None,
        concurrency: int = 16,
        max_records: int = 500,
    ) -> None:
        """`concurrency` bounds the batches of order `none` that run at a time, `max_records` those of
        one poll. Raises `KeyError` for a topic that is not declared, `ValueError` without `park`.
        """
        self._grouped = isinstance(source, InGroup)
        if isinstance(source, InGroup):
            self._name, names = source.group, set(source.topics)
        else:
            names = {place.topic for place in source.partitions}
            self._name = "+".join(sorted(names))
        if park is None and any(topics[name].kind == "record" for name in names):
            raise ValueError(f"{self._name}: who reads a record topic has to park what it cannot handle")
        self._bus = bus
        self._clock = host.clock
        self._topics = topics
        self._source = source
        self._memory = memory
        self._observer = observer or Unobserved()
        self._patience = patience or Patience()
        self._max_records = max_records
        self._faults = Faults(host, self._patience, self._observer)
        self._handling = Handling(
            handler, bus, host, topics, self._faults, self._observer, self._patience, on_poison, park
        )
        self._tasks = Tasks(f"consumer.{self._name}", self._broke)
        self._commits = Commits(self._commit, self._tasks, host.clock, memory)
        self._staleness = Staleness()
        self._lanes: dict[TopicPartition, Lane] = {}
        self._slots = asyncio.Semaphore(concurrency)
        self._reader: Reader | None = None
        self._loop: asyncio.Task[None] | None = None
        self._inline = False
        self._stopping = False
        self._broken = ""

    async def start(self) -> None:
        """Return once the partitions are known, positions resolved and the loop runs. Raises `BusError`."""
        source = self._source
        if isinstance(source, InGroup):
            self._reader = await self._bus.group(
                source.topics, source.group, source.member, self._on_assigned, self._on_revoked
            )
        else:
            await self._on_assigned(source.partitions)
            self._reader = await self._bus.assign(source.partitions, source.start)
        self._loop = self._tasks.spawn(self._run(self._reader), "poll")
        self._tasks.spawn(self._watch_lag(), "lag")

    async def stop(self, deadline: float) -> None:
        """Take nothing new, finish or abandon by the deadline (monotonic seconds), commit, close."""
        self._stopping = True
        if self._reader is None or self._loop is None:
            return
        if not self._inline:
            self._loop.cancel()
        await drain(self._lanes.values(), self._clock, deadline)
        await self._tasks.cancel()
        await self._last_commit(max(1.0, deadline - self._clock.monotonic()))
        await self._reader.close()

    def readiness(self) -> Readiness:
        """Not before the start, while a fault lasts too long, nor after the fuse has blown."""
        if self._loop is None:
            return Readiness(False, f"{self._name} has not joined the bus")
        reason = self._broken or self._faults.reason()
        return Readiness(False, f"{self._name}: {reason}") if reason else READY

    def positions(self) -> Mapping[TopicPartition, int]:
        """Of each partition now assigned, the offset below which everything is finished."""
        if self._reader is None:
            return {}
        read = self._reader.positions()
        lanes = self._lanes.items()
        return {
            place: read[place] if lane.watermark.idle else lane.watermark.position
            for place, lane in lanes
            if place in read
        }

    async def end_offsets(self) -> Mapping[TopicPartition, int]:
        """See `Reader.end_offsets`. Raises `BusError`, also before the start."""
        if self._reader is None:
            raise BusError(f"{self._name} has not joined the bus")
        return await self._reader.end_offsets()

    async def _run(self, reader: Reader) -> None:
        with self._faults.backoff(self._name) as backoff:
            while not self._stopping:
                try:
                    polled = await reader.poll(self._max_records, POLL_S)
                except BusError as error:
                    await backoff.wait(error)
                    continue
                backoff.reset()
                if polled:
                    await self._dispatch(reader, polled)

    async def _dispatch(self, reader: Reader, polled: Mapping[TopicPartition, list[Record]]) -> None:
        self._staleness.read(polled)
        work = [
            (lane, lane.watermark.begin(records[0].offset, records[-1].offset + 1), records)
            for place, records in polled.items()
            if (lane := self._lanes.get(place)) is not None and not lane.leaving
        ]
        for lane, span, records in work:
            fresh = self._staleness.fresh(records) if lane.perishable else records
            if len(fresh) < len(records):
                self._observer.stale(lane.place.topic, len(records) - len(fresh))
            if fresh:
                batch = Batch(lane.place.topic, lane.place.partition, fresh)
                await self._start(reader, lane, span, batch, alone=len(work) == 1)
            else:
                self._finish(lane, span, 0)

    async def _start(self, reader: Reader, lane: Lane, span: Span, batch: Batch, alone: bool) -> None:
        if lane.concurrent:
            await self._slots.acquire()
            if lane.leaving:
                self._slots.release()
                return
            lane.begin(self._tasks.spawn(self._handle_beside(lane, span, batch), "batch"))
        elif lane.leaving:  # while another waited for its slot
            return
        elif alone:
            await self._handle_inline(reader, lane, span, batch)
        else:
            reader.pause((lane.place,))
            lane.begin(self._tasks.spawn(self._handle_paused(reader, lane, span, batch, None), "batch"))

    async def _handle_inline(self, reader: Reader, lane: Lane, span: Span, batch: Batch) -> None:
        # The usual case: no task, no pause. Only a failure moves the batch out of the poll loop.
        lane.begin()
        self._inline = True
        try:
            error = await self._handling.attempt(batch)
        finally:
            self._inline = False
            lane.end()
        if error is None:
            self._finish(lane, span, len(batch.records))
        elif not lane.leaving:
            reader.pause((lane.place,))
            lane.begin(self._tasks.spawn(self._handle_paused(reader, lane, span, batch, error), "recover"))

    async def _handle_paused(
        self, reader: Reader, lane: Lane, span: Span, batch: Batch, error: Exception | None
    ) -> None:
        await self._handle(lane, span, batch, error)
        if not lane.leaving:
            reader.resume((lane.place,))

    async def _handle_beside(self, lane: Lane, span: Span, batch: Batch) -> None:
        try:
            await self._handle(lane, span, batch, None)
        finally:
            self._slots.release()

    async def _handle(self, lane: Lane, span: Span, batch: Batch, error: Exception | None) -> None:
        failed = error or await self._handling.attempt(batch)
        if failed is not None:
            lane.recovers(asyncio.current_task())
            await self._handling.recover(batch, failed)
        self._finish(lane, span, len(batch.records))

    def _finish(self, lane: Lane, span: Span, records: int) -> None:
        lane.watermark.finish(span)
        if records:
            self._observer.handled(lane.place.topic, records)
        # A lane that was taken away is no longer in the table, or another has its place.
        if self._grouped and self._lanes.get(lane.place) is lane:
            self._commits.note(lane.place, lane.watermark, max(records, 1))

    async def _on_assigned(self, partitions: Iterable[TopicPartition]) -> None:
        for place in partitions:
            self._forget(place)
            self._lanes[place] = Lane(place, self._topics[place.topic])

    async def _on_revoked(self, partitions: Iterable[TopicPartition]) -> None:
        lanes = [lane for place in partitions if (lane := self._lanes.get(place)) is not None]
        await drain(lanes, self._clock, self._clock.monotonic() + self._patience.revoke)
        await self._last_commit(self._patience.revoke)
        for lane in lanes:
            if self._lanes.get(lane.place) is lane:
                self._forget(lane.place)

    def _forget(self, place: TopicPartition) -> None:
        self._lanes.pop(place, None)
        self._commits.forget(place)
        if self._memory is not None:
            self._memory.forget(place)

    async def _last_commit(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._commits.flush()
        except (BusError, TimeoutError) as error:
            log.warning("%s: last offsets were perhaps not committed: %r", self._name, error)

    async def _commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if self._reader is not None:
            await self._reader.commit(offsets)

    async def _watch_lag(self) -> None:
        while True:
            await self._clock.sleep(LAG_PERIOD_S)
            try:
                ends = await self.end_offsets()
            except BusError:
                continue  # the poll loop meets the same fault and tells of it
            lags: dict[str, int] = {}
            for place, position in self.positions().items():
                lags[place.topic] = lags.get(place.topic, 0) + max(0, ends.get(place, position) - position)
            for topic, records in lags.items():
                self._observer.lag(topic, records)

    def _broke(self, task: str, failure: BaseException) -> None:
        self._broken = f"stopped for good: {failure}"
        log.critical("%s has stopped for good in %s: %s", self._name, task, failure)
        self._stopping = True
        if self._loop is not None and not self._inline:
            self._loop.cancel()
