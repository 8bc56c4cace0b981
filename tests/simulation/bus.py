"""One process's connection to the brokers, and all that can go wrong on the way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from itertools import count

from shared.bus.placing import choose, measure
from shared.bus.ports import (
    Assigned,
    BusError,
    BusTimeout,
    Headers,
    Position,
    Reader,
    Revoked,
    Start,
    TopicPartition,
)
from tests.simulation import weather as bad
from tests.simulation.broker import Broker, Member
from tests.simulation.process import Process
from tests.simulation.reader import SimReader

WAY_S = 0.003
"""Longest usual way to a broker, and back."""
ACKNOWLEDGE_S = 2.0
"""Without an acknowledgement for so long a publisher is told `BusTimeout`; the record may yet be written."""
STUCK_S = 10.0
"""A record that has waited for longer is given up."""
AGAIN_S = 4.0
"""How much later a record comes once more, out of order: more than a broker does, and what every event
identifier promises to bear. Not on `config`, where an older value is another value."""
CONFIG = "config"
ASK_S = 5.0
FLUSHES = 50


class _Sent:
    """A record on its way."""

    __slots__ = ("answer", "begun", "headers", "key", "value")

    def __init__(
        self,
        answer: asyncio.Future[Position],
        begun: float,
        key: bytes | None,
        value: bytes,
        headers: Headers,
    ) -> None:
        self.answer = answer
        self.begun = begun
        self.key = key
        self.value = value
        self.headers = headers


class SimBus:
    """A `Bus`. Records of one partition leave in order, as an idempotent producer's do."""

    def __init__(self, process: Process, broker: Broker, on_publish: Callable[[str], None]) -> None:
        """`on_publish` is called with the topic before each record is taken; the process may die there."""
        self.process = process
        self._on_publish = on_publish
        self.broker = broker
        self._loop = process.loop
        self._weather = broker.weather
        self._any = count()
        self._sending: dict[TopicPartition, deque[_Sent]] = {}
        self._closed = False
        self._torn: set[TopicPartition] = set()
        """Where a dead process's records no longer get through."""

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
        declared = self.broker.topics[topic]
        if self._closed:
            raise BusError("the bus is closed")
        measure(declared, value, key, headers)
        place = TopicPartition(topic, choose(declared, key, partition, self._any))
        answer: asyncio.Future[Position] = self._loop.create_future()
        self._on_publish(topic)
        if not self.process.alive:
            return answer  # what a process does after its death has no effect
        sent = _Sent(answer, self._loop.now, key, value, headers)
        waiting = self._sending.setdefault(place, deque())
        waiting.append(sent)
        if len(waiting) == 1:
            self._send(place)
        self._loop.after(ACKNOWLEDGE_S, _fail, answer, BusTimeout(f"{topic}: not acknowledged in time"))
        return answer

    def partitions(self, topic: str) -> int:
        """See `Bus.partitions`."""
        return self.broker.topics[topic].partitions

    async def group(
        self, topics: Iterable[str], group: str, member: str, on_assigned: Assigned, on_revoked: Revoked
    ) -> Reader:
        """See `Bus.group`."""
        await self.reach()
        reader = SimReader(self.process, self.broker, self.reach, group)
        reader.member = Member(member, reader, frozenset(topics), on_assigned, on_revoked)
        await self.broker.join(group, reader.member)
        return reader

    async def assign(self, partitions: Iterable[TopicPartition], start: Start) -> Reader:
        """See `Bus.assign`."""
        places = list(partitions)
        await self.reach()
        reader = SimReader(self.process, self.broker, self.reach)
        ends = {place: len(self.broker.logs[place]) if start is Start.END else 0 for place in places}
        self.broker.follow(reader, ends)
        return reader

    async def close(self) -> None:
        """See `Bus.close`."""
        for _ in range(FLUSHES):
            if not any(self._sending.values()):
                break
            await asyncio.sleep(ASK_S / FLUSHES)
        self._closed = True

    @property
    def unreachable(self) -> bool:
        """Whether the brokers cannot be reached from here."""
        return self.broker.unreachable(self.process)

    async def reach(self) -> None:
        """One way to the brokers and back. Raises `BusError` where there is none."""
        if self.unreachable:
            await asyncio.sleep(self._weather.random() * ASK_S)
            if self.unreachable:
                raise BusError("the brokers cannot be reached")
        await asyncio.sleep(self._weather.random() * WAY_S)

    def _send(self, place: TopicPartition) -> None:
        delay = self._weather.delay(bad.SLOW, place.topic, WAY_S)
        self._loop.after(delay, self._arrive, place)

    def _arrive(self, place: TopicPartition) -> None:
        """All that gathered for a partition reaches the brokers, as one batch; in the world's lane."""
        waiting = self._sending[place]
        if self.unreachable and self.process.alive:
            while waiting and self._loop.now - waiting[0].begun >= STUCK_S:
                waiting.popleft()
            if waiting:
                self._loop.after(0.1, self._arrive, place)
            return
        while waiting:
            sent = waiting.popleft()
            if not self.process.alive and (place in self._torn or self.broker.down or self._weather.coin()):
                self._torn.add(place)  # what was still in the producer's buffer dies with it, and all behind
                continue
            self._write(place, sent)

    def _write(self, place: TopicPartition, sent: _Sent) -> None:
        topic, weather = place.topic, self._weather
        back = weather.delay(bad.SLOW, topic, WAY_S)
        if weather.strikes(bad.NOT_WRITTEN, topic):
            self._loop.after(back, _fail, sent.answer, BusTimeout(f"{topic}: not acknowledged"))
            return
        position = self.broker.append(place, sent.key, sent.value, sent.headers)
        if weather.strikes(bad.TWICE, topic):
            self.broker.append(place, sent.key, sent.value, sent.headers)
        if topic != CONFIG and weather.strikes(bad.AGAIN, topic):
            later = weather.random() * AGAIN_S
            self._loop.after(later, self.broker.append, place, sent.key, sent.value, sent.headers)
        if weather.strikes(bad.ACK_LOST, topic):
            self._loop.after(back, _fail, sent.answer, BusTimeout(f"{topic}: the acknowledgement was lost"))
        else:
            self._loop.after(back, _succeed, sent.answer, position)


def _succeed(answer: asyncio.Future[Position], position: Position) -> None:
    if not answer.done():
        answer.set_result(position)


def _fail(answer: asyncio.Future[Position], error: BusError) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # nobody has to wait for it
