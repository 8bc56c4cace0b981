"""How a reader waits for records: one waiter, and one timer that outlives many polls."""

from __future__ import annotations

import asyncio


class Doze:
    """One task sleeps at a time; others wake it."""

    __slots__ = ("_deadline", "_timer", "_waiter")

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0

    async def sleep(self, seconds: float) -> None:
        """Return when woken, or after so many seconds."""
        loop = asyncio.get_running_loop()
        self._deadline = loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(self._deadline, self._expire, loop)
        self._waiter = loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def wake(self) -> None:
        """End the sleep, where there is one."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def end(self) -> None:
        """Wake the sleeper and leave no timer behind."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.wake()

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        # One timer outlives many sleeps, so that a poll that finds something sets and cancels none.
        self._timer = None
        if self._waiter is None:
            return
        if loop.time() < self._deadline:
            self._timer = loop.call_at(self._deadline, self._expire, loop)
        else:
            self.wake()
