"""What becomes of a batch whose handler failed.

    BusError, DatabaseError   a fault of the surroundings: back off and try again, for ever
    Later                     not yet: back off and try again, for `Patience.later` at most
    anything else             a record's own: found by handing over half of them, and half of these, then
                              dead-lettered (transit), parked (record) or left aside (config)

Handlers are idempotent, so records may be handed again after a part of them had its effect.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple, Protocol

from google.protobuf.message import DecodeError

from shared.bus.envelope import EnvelopeError
from shared.bus.observer import Observer
from shared.bus.patience import Faults, Patience, surroundings_failed
from shared.bus.ports import Publisher, Record, RecordInvalid, TopicPartition
from shared.bus.topics import DEAD_LETTERS, Topics
from shared.errors import FreeholdError
from shared.host import Host

log = logging.getLogger(__name__)


class Batch(NamedTuple):
    """Records of one partition, in order; never empty."""

    topic: str
    partition: int
    records: list[Record]


Handler = Callable[[Batch], Awaitable[None]]
"""Returns once the effect of every record is durable; may be handed the same records again."""
Disposal = Callable[[Record, Exception], Awaitable[None]]
"""Told of a record that its handler could not handle, and why; may be told again."""


class Memory(Protocol):
    """What a handler remembers of partitions, made from records that it has finished. Whoever has a partition
    after it makes the same again from the records themselves, so they are not committed before it is no
    longer needed.
    """

    def back_to(self, place: TopicPartition, finished: int) -> int:
        """Where a successor has to begin for nothing to be missing: `finished`, or before. Of a batch that
        is still being handled nothing counts.
        """

    def forget(self, place: TopicPartition) -> None:
        """The partition was taken away, or begins anew: nothing of it is remembered."""


class Later(Exception):
    """Raised by a handler that cannot handle a batch yet, such as one behind its `config_offset`."""


class FuseBlown(Exception):
    """So many records in a row failed, by errors that no handler foresaw, that the fault is ours: the
    consumer stops.
    """


_SAYS_NOTHING_OF_US = (Later, RecordInvalid, DecodeError, FreeholdError)
"""What others are late with, and what a handler has judged: a stranger who floods a topic stops nobody."""


class Handling:
    """Hands batches to the handler, and brings to an end what it could not handle. One instance
    serves all partitions of a consumer.
    """

    def __init__(
        self,
        handler: Handler,
        bus: Publisher,
        host: Host,
        topics: Topics,
        faults: Faults,
        observer: Observer,
        patience: Patience,
        on_poison: Disposal | None,
        park: Disposal | None,
    ) -> None:
        self._handler = handler
        self._bus = bus
        self._clock = host.clock
        self._topics = topics
        self._faults = faults
        self._observer = observer
        self._patience = patience
        self._on_poison = on_poison
        self._park = park
        self._failed_in_a_row = 0

    async def attempt(self, batch: Batch) -> Exception | None:
        """Hand the batch over once; what went wrong, or None."""
        try:
            await self._handler(batch)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return Later("something that the handler waited for was cancelled")
        except Exception as error:  # noqa: BLE001 - the caller decides what it means
            return error
        self._failed_in_a_row = 0
        return None

    async def recover(self, batch: Batch, error: Exception, until: float | None = None) -> None:
        """Return once every record of a failed batch is handled or disposed of. `until`, in monotonic
        seconds, bounds `Later`. Raises `FuseBlown`, and what `park` raises of its own.
        """
        until = until or self._clock.monotonic() + self._patience.later
        lasting = await self._outlast(batch, error, until)
        if lasting is None:
            return
        if len(batch.records) == 1:
            await self._dispose(batch.records[0], lasting)
            return
        middle = len(batch.records) // 2
        for records in (batch.records[:middle], batch.records[middle:]):
            half = batch._replace(records=records)
            own = await self.attempt(half)
            if own is not None:
                await self.recover(half, own, until)

    async def _outlast(self, batch: Batch, error: Exception, until: float) -> Exception | None:
        """Try again while it can help; what went wrong at last, or None."""
        failed: Exception | None = error
        with self._faults.backoff(batch.topic) as backoff:
            while failed is not None and self._may_pass(failed, until):
                await backoff.wait(failed)
                failed = await self.attempt(batch)
        return failed

    def _may_pass(self, error: Exception, until: float) -> bool:
        if isinstance(error, Later):
            return self._clock.monotonic() < until
        return surroundings_failed(error)

    async def _dispose(self, record: Record, error: Exception) -> None:
        if not isinstance(error, _SAYS_NOTHING_OF_US):
            self._failed_in_a_row += 1
        if self._failed_in_a_row > self._patience.fuse:
            raise FuseBlown(f"{self._failed_in_a_row} records in a row failed, the last with {error!r}")
        where = f"{record.topic}/{record.partition}/{record.offset}"
        log.error("%s cannot be handled: %.500r", where, error)
        kind = self._topics[record.topic].kind
        if kind == "transit":
            await self._insist(record, partial(self._dead_letter, record, where, error))
            self._observer.dead_lettered(record.topic)
            await self._answer(record, error)
        elif kind == "record" and self._park is not None:
            await self._insist(record, partial(self._park, record, error))
            self._observer.parked(record.topic)
        else:
            self._observer.kept_last_good(record.topic)

    async def _dead_letter(self, record: Record, where: str, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}".encode("utf-8", "replace")[:512]
        headers = (*record.headers, ("origin", where.encode()), ("reason", reason))
        await self._bus.publish(DEAD_LETTERS, record.value, headers, key=record.key)

    async def _answer(self, record: Record, error: Exception) -> None:
        if self._on_poison is None:
            return
        try:
            await self._insist(record, partial(self._on_poison, record, error))
        except EnvelopeError as nobody:
            log.warning("%s: nobody is told of a dead letter: %s", record.topic, nobody)
        except Exception:
            log.exception("%s: nobody could be told of a dead letter", record.topic)

    async def _insist(self, record: Record, step: Callable[[], Awaitable[None]]) -> None:
        with self._faults.backoff(record.topic) as backoff:
            while True:
                try:
                    await step()
                except Exception as error:
                    if not surroundings_failed(error):
                        raise
                    await backoff.wait(error)
                else:
                    return
