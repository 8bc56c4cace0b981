"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

TURNS = 40
"""Of the event loop, until nothing more happens without time."""


class SteppedClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self._now = 1_000.0
        self._sleeping: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def monotonic(self) -> float:
        return self._now

    def time_ns(self) -> int:
        return 1_700_000_000_000_000_000 + round((self._now - 1_000) * 1e9)

    async def sleep(self, seconds: float) -> None:
        waiter = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleeping, (self._now + seconds, next(self._numbers), waiter))
        await waiter

    @property
    def sleeping(self) -> int:
        """How many wait for time to pass."""
        return sum(not waiter.done() for _, _, waiter in self._sleeping)

    async def advance(self, seconds: float) -> None:
        """Move, and let everybody act whose time has come, in order."""
        until = self._now + seconds
        await settled()
        while self._sleeping and self._sleeping[0][0] <= until + 1e-9:
            self._now, _, waiter = heapq.heappop(self._sleeping)
            if not waiter.done():
                waiter.set_result(None)
                await settled()
        self._now = until
        await settled()

    def leap(self, seconds: float) -> None:
        """Stand still for so long as a stopped process does: every sleep that is due then ends late."""
        self._now += seconds
        self._sleeping = [(max(at, self._now), number, waiter) for at, number, waiter in self._sleeping]
        heapq.heapify(self._sleeping)


async def settled() -> None:
    """Let the loop run until nothing moves without time."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Return once the condition holds: for what a thread does."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event to wait for
            await asyncio.sleep(0.001)
