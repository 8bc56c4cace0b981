"""The local bus on a bad day, by the numbers of one seed: what a broker may do, it does often.

Sends are written twice, or not at all; acknowledgements come late, or never; offsets are stored and
said not to be; polls come back empty; partitions are taken and given back in mid-work. What a
service does on this bus it does on a broker.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass

from shared.bus.local import LocalBus
from shared.bus.ports import (
    Acknowledged,
    Assigned,
    BusError,
    BusTimeout,
    Headers,
    Position,
    Reader,
    Record,
    Revoked,
    Start,
    TopicPartition,
)
from shared.clock import Clock
from shared.lifecycle import Tasks


@dataclass(frozen=True, slots=True)
class Mischief:
    """How probable each is, for one call."""

    written_twice: float = 0.1
    not_written: float = 0.05
    """The publisher is told `BusTimeout`."""
    acknowledgement_lost: float = 0.05
    """Written, and the publisher is told `BusTimeout`."""
    late: float = 0.1
    """An acknowledgement or a poll's answer waits up to `late_s`."""
    late_s: float = 0.005
    commit_fails: float = 0.1
    """Stored or not, half and half; the reader is told `BusError`."""
    revoked: float = 0.05
    """Before a poll, for some of the reader's partitions."""


class ChaosBus:
    """A `Bus` over a started local one, which stays its owner's to close."""

    def __init__(
        self, bus: LocalBus, clock: Clock, chance: random.Random, mischief: Mischief | None = None
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._chance = chance
        self._mischief = mischief or Mischief()
        self._tasks = Tasks("chaos")

    def publish(
        self,
        topic: str,
        value: bytes,
        headers: Headers = (),
        *,
        key: bytes | None = None,
        partition: int | None = None,
    ) -> Awaitable[Position]:
        """See `Publisher.publish`."""
        mischief, chance = self._mischief, self._chance
        if chance.random() < mischief.not_written:
            # What would be refused at once still is, so a caller's mistake never looks like chance.
            self._bus.partitions(topic)
            return self._answer(None, lost=True)
        sent = self._bus.publish(topic, value, headers, key=key, partition=partition)
        if chance.random() < mischief.written_twice:
            self._bus.publish(topic, value, headers, key=key, partition=partition)
        lost = chance.random() < mischief.acknowledgement_lost
        if isinstance(sent, Acknowledged) and not lost and chance.random() >= mischief.late:
            return sent
        return self._answer(sent, lost)

    def partitions(self, topic: str) -> int:
        """See `Bus.partitions`."""
        return self._bus.partitions(topic)

    async def group(
        self, topics: Iterable[str], group: str, member: str, on_assigned: Assigned, on_revoked: Revoked
    ) -> Reader:
        """See `Bus.group`."""
        reader = await self._bus.group(topics, group, member, on_assigned, on_revoked)
        return ChaosReader(self, reader)

    async def assign(self, partitions: Iterable[TopicPartition], start: Start) -> Reader:
        """See `Bus.assign`."""
        return ChaosReader(self, await self._bus.assign(partitions, start))

    async def close(self) -> None:
        """See `Bus.close`."""
        await self._tasks.cancel()
        await self._bus.close()

    def falls(self, probability: float) -> bool:
        """Whether something of this probability happens now."""
        return self._chance.random() < probability

    async def dawdle(self) -> None:
        """Perhaps wait a little."""
        if self.falls(self._mischief.late):
            await self._clock.sleep(self._chance.random() * self._mischief.late_s)

    def trouble(self, reader: Reader) -> None:
        """Perhaps take some partitions from the reader and give them back, beside what it does."""
        if self.falls(self._mischief.revoked):
            places = [place for place in reader.positions() if self.falls(0.5)]
            self._tasks.spawn(self._bus.shake(reader, places), "revoke")

    @property
    def mischief(self) -> Mischief:
        """How probable each is."""
        return self._mischief

    def _answer(self, sent: Awaitable[Position] | None, lost: bool) -> asyncio.Future[Position]:
        answer: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._tasks.spawn(self._acknowledge(sent, lost, answer), "acknowledge")
        return answer

    async def _acknowledge(
        self, sent: Awaitable[Position] | None, lost: bool, answer: asyncio.Future[Position]
    ) -> None:
        failure: BusError | None = BusTimeout("the acknowledgement was lost, by chance")
        position = None
        try:
            await self.dawdle()
            if sent is not None:
                position = await sent
                failure = None if not lost else failure
        except BusError as error:
            failure = error
        if answer.done():
            return
        if failure is None and position is not None:
            answer.set_result(position)
        elif failure is not None:
            answer.set_exception(failure)
            answer.exception()  # nobody has to wait for it


class ChaosReader:
    """A `Reader` of a `ChaosBus`."""

    def __init__(self, bus: ChaosBus, reader: Reader) -> None:
        self._bus = bus
        self._reader = reader

    async def poll(self, max_records: int, timeout: float) -> Mapping[TopicPartition, list[Record]]:
        """See `Reader.poll`."""
        self._bus.trouble(self._reader)
        await self._bus.dawdle()
        if self._bus.falls(self._bus.mischief.late):
            return {}
        return await self._reader.poll(max_records, timeout)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """See `Reader.commit`."""
        fails = self._bus.falls(self._bus.mischief.commit_fails)
        if not fails or self._bus.falls(0.5):
            await self._reader.commit(offsets)
        if fails:
            raise BusError("the commit is unknown, by chance")

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """See `Reader.pause`."""
        self._reader.pause(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """See `Reader.resume`."""
        self._reader.resume(partitions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """See `Reader.seek`."""
        self._reader.seek(partition, offset)

    def positions(self) -> Mapping[TopicPartition, int]:
        """See `Reader.positions`."""
        return self._reader.positions()

    async def end_offsets(self) -> Mapping[TopicPartition, int]:
        """See `Reader.end_offsets`."""
        return await self._reader.end_offsets()

    async def close(self) -> None:
        """See `Reader.close`."""
        await self._reader.close()
