"""One life of the library's producer.

Records go straight into its accumulator, in the order of the calls and without a task each: that is
what its own `send` does once the metadata is there, except that ours never waits for a full batch but
puts another behind it. The batches tell us of all their records at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from shared.bus.kafka import AIOKafkaProducer, KafkaError, MessageBatch, told
from shared.bus.kafka_ending import ended
from shared.bus.kafka_pace import pace
from shared.bus.kafka_timing import Timing
from shared.bus.ports import Headers, Position
from shared.clock import Clock

BATCH_BYTES = 256 << 10
"""With 16 KiB, the library's default, a batch is full at some 20 records."""
CANCELS = 50


IN_FLIGHT = 2
"""Requests to one broker that are not answered yet. The library sends one at a time, so that a record waits
for the answer to another's; with more, batches are smaller. Of one partition there is never more than one.
"""


class Flights:
    """Which brokers have as many requests as they may have; takes the place of the library's set."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, node: int) -> None:
        """A request goes out."""
        self._counts[node] += 1

    def remove(self, node: int) -> None:
        """One has ended."""
        self._counts[node] -= 1

    def __contains__(self, node: int) -> bool:
        return self._counts[node] >= IN_FLIGHT


class Sending:
    """A record from its publishing to its acknowledgement."""

    __slots__ = ("future", "headers", "key", "place", "since", "size", "value")

    def __init__(
        self,
        future: asyncio.Future[Position],
        place: Any,
        key: bytes | None,
        value: bytes,
        headers: Headers,
        size: int,
        since: float,
    ) -> None:
        self.future = future
        self.place = place
        self.key = key
        self.value = value
        self.headers = headers
        self.size = size
        self.since = since
        """Monotonic seconds."""


class Batch(MessageBatch):  # type: ignore[misc]
    """The library's batch, with one word to us for all its records."""

    def __init__(self, owner: ProducerLife, place: Any, builder: Any, since: float) -> None:
        super().__init__(place, builder, owner.patience, 0.0)
        self.since = since
        self.size = 0
        self.sendings: list[Sending] = []
        self._owner = owner

    def add(self, sending: Sending) -> bool:
        """Whether it went in; not where the batch is full or on its way."""
        headers = list(sending.headers)
        if (
            self._builder.append(timestamp=None, key=sending.key, value=sending.value, headers=headers)
            is None
        ):
            return False
        self.sendings.append(sending)
        self.size += sending.size
        sending.value = b""
        return True

    def done(
        self, base_offset: int, timestamp: int | None = None, log_start_offset: int | None = None
    ) -> None:
        """The brokers have it."""
        if not self.future.done():
            self.future.set_result(None)
            self._owner.acknowledged(self, base_offset, timestamp)

    def failure(self, exception: BaseException) -> None:
        """It is not known whether they have."""
        first = not self.future.done()
        super().failure(exception)
        self.future.exception()
        if not self._drain_waiter.cancelled():
            self._drain_waiter.exception()
        if first:
            self._owner.failed(self, exception)


class ProducerLife:
    """From its start until it is stuck, refused or no longer wanted; then another takes its place."""

    def __init__(
        self,
        given: Mapping[str, Any],
        timing: Timing,
        clock: Clock,
        acknowledged: Callable[[Batch, int, int | None], None],
        failed: Callable[[Batch, BaseException], None],
    ) -> None:
        self.patience = timing.stuck * 2
        self._timing = timing
        self._acknowledged = acknowledged
        self._failed = failed
        self._over = False
        self._producer = AIOKafkaProducer(
            **given,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=int(timing.request * 1000),
            retry_backoff_ms=50,
            metadata_max_age_ms=60_000,
        )
        pace(self._producer.client, clock)
        self._producer._sender._in_flight = Flights()
        self._accumulator = self._producer._message_accumulator

    async def start(self, topics: Iterable[str], broken: Callable[[], None]) -> None:
        """Return once records can be taken; `broken` is called when they no longer can. Raises `BusError`."""
        try:
            async with asyncio.timeout(self._timing.request * 2):
                await self._producer.start()
                await self._producer.client.set_topics(topics)
        except (KafkaError, TimeoutError) as error:
            await self.end()
            raise told(error, "connecting") from error
        except BaseException:
            await self.end()
            raise

        def ended(_: asyncio.Task[None]) -> None:
            if not self._over:
                broken()

        self._producer._sender.sender_task.add_done_callback(ended)

    def take(self, sending: Sending, now: float) -> None:
        """Hand a record over, behind all that was handed over before for its partition."""
        accumulator, place = self._accumulator, sending.place
        batches = accumulator._batches.get(place)
        if batches and batches[-1].add(sending):
            return
        batch = Batch(self, place, accumulator.create_builder(), now)
        batch.add(sending)
        accumulator._batches[place].append(batch)
        if not accumulator._waiter_future.done():
            accumulator._waiter_future.set_result(None)

    def connected(self) -> bool:
        """Whether any broker is connected; one that only hangs is."""
        return any(connection.connected() for connection in self._producer.client._conns.values())

    def oldest(self) -> float | None:
        """Since when the record that has waited longest is here; None where nothing waits."""
        return min((batch.since for batch in self._batches()), default=None)

    def abandoned(self) -> list[Batch]:
        """Nothing more is told of what is here; these are the batches of unknown fate."""
        self._over = True
        return list(self._batches())

    async def end(self) -> None:
        """Close the connections and leave no task behind; what was not sent is not. Never hangs."""
        self._over = True
        producer = self._producer
        producer._closed = True
        await ended(producer.client.close(), self._timing.stop)
        task = producer._sender.sender_task
        for _ in range(CANCELS):  # it waits for its own tasks one after another: each cancel ends one wait
            if task is None or task.done():
                break
            task.cancel()
            await asyncio.wait((task,), timeout=0.02)
        if task is not None and task.done() and not task.cancelled():
            task.exception()

    def acknowledged(self, batch: Batch, base_offset: int, timestamp: int | None) -> None:
        """See `Batch.done`."""
        if not self._over:
            self._acknowledged(batch, base_offset, timestamp)

    def failed(self, batch: Batch, error: BaseException) -> None:
        """See `Batch.failure`."""
        if not self._over:
            self._failed(batch, error)

    def _batches(self) -> Iterable[Batch]:
        for waiting in self._accumulator._batches.values():
            yield from waiting
        yield from self._accumulator._pending_batches
