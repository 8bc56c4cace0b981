"""Records are sent until acknowledged, in the end exactly those that were not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from services.edge.owner.insisting import Insistence, Letter
from shared.bus.ports import Acknowledged, BusFull, BusTimeout, Headers, Position, RecordTooLarge

DONE = Position("t", 0, 7, 0)
LETTER = Letter("t", b"v", (("a", b"b"),), b"k", None)


class Publisher:
    """Answers as a test says, and remembers what it was given."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.answer: Exception | Acknowledged | None = Acknowledged(DONE)
        self.pending: list[asyncio.Future[Position]] = []

    def publish(
        self,
        topic: str,
        value: bytes,
        headers: Headers = (),
        *,
        key: bytes | None = None,
        partition: int | None = None,
    ) -> Awaitable[Position]:
        assert (topic, headers, key, partition) == (LETTER.topic, LETTER.headers, LETTER.key, None)
        self.seen.append(value)
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            return self.answer
        future: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self.pending.append(future)
        return future


async def test_what_is_acknowledged_is_not_sent_again() -> None:
    bus = Publisher()
    insistence = Insistence(bus)
    insistence.send(LETTER)
    insistence.retry()
    assert (len(bus.seen), len(insistence)) == (1, 0)


async def test_what_the_bus_refuses_is_sent_at_the_next_turn() -> None:
    bus = Publisher()
    insistence = Insistence(bus)
    bus.answer = BusFull("full")
    insistence.send(LETTER)
    insistence.retry()
    assert (len(bus.seen), len(insistence)) == (2, 1)
    bus.answer = Acknowledged(DONE)
    insistence.retry()
    insistence.retry()
    assert (len(bus.seen), len(insistence)) == (3, 0)


async def test_an_unknown_acknowledgement_is_sent_again_and_a_pending_one_is_not() -> None:
    bus = Publisher()
    insistence = Insistence(bus)
    bus.answer = None
    insistence.send(LETTER)
    insistence.retry()
    assert (len(bus.seen), len(insistence)) == (1, 1)
    bus.pending[0].set_exception(BusTimeout("late"))
    await asyncio.sleep(0)
    insistence.retry()
    assert (len(bus.seen), len(insistence)) == (2, 1)
    bus.pending[1].set_result(DONE)
    await asyncio.sleep(0)
    assert len(insistence) == 0


async def test_a_cancelled_publication_is_sent_again() -> None:
    bus = Publisher()
    insistence = Insistence(bus)
    bus.answer = None
    insistence.send(LETTER)
    bus.pending[0].cancel()
    await asyncio.sleep(0)
    insistence.retry()
    assert (len(bus.seen), len(insistence)) == (2, 1)


async def test_a_record_that_can_never_be_taken_is_given_up() -> None:
    bus = Publisher()
    insistence = Insistence(bus)
    bus.answer = RecordTooLarge("5 MiB")
    insistence.send(LETTER)
    assert len(insistence) == 0
