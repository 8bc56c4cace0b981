"""Publishing to the brokers: order, bounds and deadlines that are ours, over one producer at a time.

A record waits in our own queue while there is no producer, and is then handed over at once. It is told
`BusTimeout` by its deadline, whatever the library does with it. A producer is replaced that failed one
batch, that lost all brokers for as long as a deadline, or that holds a record for much longer: what it
held is of unknown fate and told so, what waited in our queue goes to the next one, in order.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from shared.bus.kafka import TOO_LARGE, Place, told
from shared.bus.kafka_sending import Batch, ProducerLife, Sending
from shared.bus.kafka_timing import Timing
from shared.bus.placing import choose, measure
from shared.bus.ports import BusError, BusFull, BusTimeout, Headers, Position, RecordTooLarge
from shared.bus.topics import Topic, Topics
from shared.host import Host
from shared.lifecycle import Tasks

log = logging.getLogger(__name__)

SWEEP_S = 0.1
TOLD_EVERY_S = 5.0


class KafkaPublisher:
    """The producing half of a `Bus`."""

    def __init__(
        self, host: Host, topics: Topics, prefix: str, given: Mapping[str, Any], timing: Timing, tasks: Tasks
    ) -> None:
        self._clock = host.clock
        self._given = given
        self._timing = timing
        self._tasks = tasks
        self._shelves: dict[str, tuple[Topic, list[Any]]] = {
            name: (topic, [Place(f"{prefix}{name}", number) for number in range(topic.partitions)])
            for name, topic in topics.items()
        }
        self._wire = [f"{prefix}{name}" for name in topics]
        self._names = {f"{prefix}{name}": name for name in topics}
        self._hidden: frozenset[str] = frozenset()
        self._spread = count()
        self._life: ProducerLife | None = None
        self._queue: deque[Sending] = deque()
        self._unanswered: deque[Sending] = deque()
        self._records = self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._without_since = 0.0
        self._why = ""
        self._last_acknowledged = 0.0
        self._closed = "the bus is not started"
        self._untold = 0
        self._told_at = 0.0
        self._settled = asyncio.Event()

    async def start(self, hidden: frozenset[str]) -> None:
        """Open, with a producer. `hidden` are topics that this user has no right to. Raises `BusError`."""
        self._hidden = hidden
        self._life = await self._born()
        self._closed = ""

    def publish(
        self, name: str, value: bytes, headers: Headers, key: bytes | None, partition: int | None
    ) -> asyncio.Future[Position]:
        """See `Publisher.publish`."""
        topic, places = self._shelves[name]
        if self._closed:
            raise BusError(self._closed)
        size = measure(topic, value, key, headers)
        number = choose(topic, key, partition, self._spread)
        if name in self._hidden:
            raise BusError(f"no right to publish to {name}")
        if self._records >= self._timing.waiting_records or self._bytes + size > self._timing.waiting_bytes:
            raise BusFull(f"{self._records} records with {self._bytes} bytes wait for the brokers already")
        loop = asyncio.get_running_loop()
        now = self._clock.monotonic()
        sending = Sending(loop.create_future(), places[number], key, value, headers, size, now)
        self._records += 1
        self._bytes += size
        self._unanswered.append(sending)
        if self._life is None:
            self._queue.append(sending)
        else:
            self._life.take(sending, now)
        if self._timer is None:
            self._timer = loop.call_later(SWEEP_S, self._sweep)
        return sending.future

    def without_producer(self) -> tuple[float, str]:
        """For how long there has been none, and why; zero where there is one."""
        if self._life is not None or self._closed:
            return 0.0, ""
        return self._clock.monotonic() - self._without_since, self._why

    async def close(self) -> None:
        """Refuse what comes, wait for what is on its way, by a deadline. Idempotent."""
        if self._closed:
            return
        self._closed = "the bus is closed"
        self._settled.clear()
        if self._records and self._life is not None:
            await asyncio.wait(
                (self._tasks.spawn(self._settled.wait(), "flush"),), timeout=self._timing.flush
            )
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait((self._renewing,))
        life, self._life = self._life, None
        self._drop(life, "the bus was closed before it was acknowledged")
        for sending in self._queue:
            self._fail(sending, BusTimeout("the bus was closed before it was sent"))
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
        if life is not None:
            await life.end()

    # What a life of a producer tells.

    def _acknowledged(self, batch: Batch, base_offset: int, timestamp: int | None) -> None:
        self._release(len(batch.sendings), batch.size)
        self._last_acknowledged = self._clock.monotonic()
        topic, number = self._names[batch.tp.topic], batch.tp.partition
        if base_offset < 0:
            # A repetition that the brokers remember having, but no longer where.
            for sending in batch.sendings:
                self._fail(sending, BusTimeout(f"{topic}/{number}: written, where is not known"))
            return
        stamp = timestamp if timestamp is not None and timestamp >= 0 else self._clock.time_ns() // 1_000_000
        for offset, sending in enumerate(batch.sendings, base_offset):
            if not sending.future.done():
                sending.future.set_result(Position(topic, number, offset, stamp))

    def _failed(self, batch: Batch, error: BaseException) -> None:
        self._release(len(batch.sendings), batch.size)
        failure = told(error, f"{self._names[batch.tp.topic]}/{batch.tp.partition}")
        if not isinstance(error, TOO_LARGE):
            failure = BusTimeout(f"perhaps written: {failure}")
        for sending in batch.sendings:
            self._fail(sending, failure)
        # The sequence of this partition has a hole now, which the brokers would refuse to go past.
        self._renew(str(failure))

    # Deadlines.

    def _sweep(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        late = now - self._timing.acknowledge
        unanswered = self._unanswered
        while unanswered and (unanswered[0].future.done() or unanswered[0].since <= late):
            sending = unanswered.popleft()
            if not sending.future.done():
                self._fail(sending, BusTimeout(f"no acknowledgement in {self._timing.acknowledge:g} s"))
        queue = self._queue
        while queue and queue[0].future.done():
            self._release(1, queue.popleft().size)
        if self._life is not None and (oldest := self._life.oldest()) is not None:
            if oldest <= late and self._last_acknowledged < oldest and not self._life.connected():
                self._renew(f"nothing was acknowledged for {now - oldest:.0f} s")
            elif oldest <= now - self._timing.stuck:
                self._renew(f"a record was not acknowledged for {now - oldest:.0f} s")
        if self._records:
            self._timer = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _release(self, records: int, size: int) -> None:
        self._records -= records
        self._bytes -= size
        if not self._records:
            self._settled.set()

    def _fail(self, sending: Sending, error: BusError) -> None:
        if sending.future.done():
            return
        sending.future.set_exception(error)
        sending.future.exception()  # nobody has to wait for it
        self._untold += 1
        now = self._clock.monotonic()
        if not isinstance(error, RecordTooLarge) and now >= self._told_at + TOLD_EVERY_S:
            log.warning("%d records were perhaps not written, the last: %s", self._untold, error)
            self._told_at, self._untold = now, 0

    # Another producer.

    def _renew(self, why: str) -> None:
        if self._life is None or self._closed:
            return
        life, self._life = self._life, None
        self._without_since, self._why = self._clock.monotonic(), why
        self._drop(life, why)
        self._renewing = self._tasks.spawn(self._replace(life), "renew")

    def _drop(self, life: ProducerLife | None, why: str) -> None:
        for batch in life.abandoned() if life is not None else ():
            self._release(len(batch.sendings), batch.size)
            for sending in batch.sendings:
                self._fail(sending, BusTimeout(f"perhaps written: {why}"))

    async def _replace(self, old: ProducerLife) -> None:
        await old.end()
        pause, failing = self._timing.backoff, False
        while True:
            try:
                life = await self._born()
                break
            except BusError as error:
                if not failing:
                    log.warning("no producer (%s), the next waits: %s", self._why, error)
                self._why, failing = str(error), True
            await self._clock.sleep(pause)
            pause = min(pause * 2, self._timing.backoff_most)
        log.info("another producer, after: %s", self._why)
        now = self._clock.monotonic()
        for sending in self._queue:
            if sending.future.done():
                self._release(1, sending.size)
            else:
                life.take(sending, now)
        self._queue.clear()
        self._life = life

    async def _born(self) -> ProducerLife:
        life = ProducerLife(self._given, self._timing, self._clock, self._acknowledged, self._failed)
        await life.start(self._wire, self._broken(life))
        return life

    def _broken(self, life: ProducerLife) -> Callable[[], None]:
        def broken() -> None:
            if self._life is life:
                self._renew("the library's sender has ended")

        return broken
