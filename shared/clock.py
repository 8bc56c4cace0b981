"""Time, given to the code so that a simulator may own it."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Source of time for one process."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never goes backwards. For deadlines and durations."""

    def time_ns(self) -> int:
        """Nanoseconds since the Unix epoch; may step. For records, spans and identifiers only."""

    async def sleep(self, seconds: float) -> None:
        """Return once `monotonic()` has advanced by `seconds`."""


class SystemClock:
    """The machine's own clock and the running event loop's timers."""

    __slots__ = ()

    def monotonic(self) -> float:
        return time.monotonic()

    def time_ns(self) -> int:
        return time.time_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
