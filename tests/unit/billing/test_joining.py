"""Batches that are there at the same time are handled together, and fail each for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from services.billing.joining import Joining
from shared.clock import SystemClock
from shared.storage.database import DatabaseError


class Handler:
    """Keeps what it is given; fails where a value is bad, and waits until it is let go."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.called = asyncio.Event()
        self.free = asyncio.Event()
        self.free.set()
        self.fault: Exception | None = None

    async def __call__(self, values: Sequence[str]) -> None:
        self.calls.append(list(values))
        self.called.set()
        await self.free.wait()
        if self.fault:
            raise self.fault
        if "bad" in values:
            raise ValueError("bad")


def joining(handler: Handler, interval_s: float = 0.0) -> Joining[str]:
    return Joining(handler, SystemClock(), interval_s, full=10)


async def test_what_comes_during_a_handling_shares_the_next() -> None:
    handler = Handler()
    handler.free.clear()
    joined = joining(handler)
    first = asyncio.ensure_future(joined.add("a", 1))
    await handler.called.wait()
    others = [asyncio.ensure_future(joined.add(name, 1)) for name in "bcd"]
    await asyncio.sleep(0)
    handler.free.set()
    await asyncio.gather(first, *others)
    assert handler.calls == [["a"], ["b", "c", "d"]]


async def test_a_bad_one_fails_alone() -> None:
    handler = Handler()
    joined = joining(handler)
    good, bad, late = await asyncio.gather(
        *(joined.add(name, 1) for name in ("good", "bad", "late")), return_exceptions=True
    )
    assert (good, late) == (None, None)
    assert isinstance(bad, ValueError)
    assert handler.calls == [["good", "bad", "late"], ["good"], ["bad"], ["late"]]


async def test_a_fault_of_the_database_is_everybodys_and_tried_once() -> None:
    handler = Handler()
    handler.fault = DatabaseError("gone")
    joined = joining(handler)
    found = await asyncio.gather(*(joined.add(name, 1) for name in "ab"), return_exceptions=True)
    assert [type(error) for error in found] == [DatabaseError] * 2
    assert handler.calls == [["a", "b"]]
    handler.fault = None
    await joined.add("a", 1)


async def test_few_records_wait_and_many_do_not() -> None:
    handler = Handler()
    joined = joining(handler, interval_s=3600.0)
    await joined.add("first", 1)
    few = asyncio.ensure_future(joined.add("few", 9))
    for _ in range(5):
        await asyncio.sleep(0)
    assert handler.calls == [["first"]]
    await joined.add("more", 1)
    await few
    assert handler.calls == [["first"], ["few", "more"]]


async def test_one_that_gave_up_is_not_handled_and_holds_nobody_up() -> None:
    handler = Handler()
    handler.free.clear()
    joined = joining(handler)
    first = asyncio.ensure_future(joined.add("a", 1))
    await handler.called.wait()
    left, stayed = (asyncio.ensure_future(joined.add(name, 1)) for name in "bc")
    await asyncio.sleep(0)
    left.cancel()
    first.cancel()
    await asyncio.sleep(0)
    handler.free.set()
    await stayed
    assert handler.calls == [["a"], ["c"]]


async def test_a_stop_gives_up_whoever_waits() -> None:
    handler = Handler()
    handler.free.clear()
    joined = joining(handler)
    waiting = [asyncio.ensure_future(joined.add(name, 1)) for name in "ab"]
    await handler.called.wait()
    await joined.stop()
    for one in waiting:
        with pytest.raises(asyncio.CancelledError):
            await one


async def test_a_handling_has_an_upper_bound() -> None:
    handler = Handler()
    joined = joining(handler)
    await asyncio.gather(*(joined.add(name, 25) for name in "abcd"), joined.add("e", 41))
    assert handler.calls == [["a"], ["b"], ["c"], ["d"], ["e"]]
    await asyncio.gather(*(joined.add(name, 20) for name in "fghi"))
    assert handler.calls[5:] == [["f", "g"], ["h", "i"]]
