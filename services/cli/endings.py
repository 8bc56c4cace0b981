"""What a process does at its end, in reverse order of its start."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from shared.clock import Clock

log = logging.getLogger(__name__)


class Endings(AsyncExitStack):
    """An exit stack that knows stops with a deadline."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def within(self, seconds: float, stop: Callable[[float], Awaitable[None]]) -> None:
        """Call the stop with a deadline that is counted from then; an error keeps no other from its own."""

        async def stop_now() -> None:
            try:
                await stop(self._clock.monotonic() + seconds)
            except Exception:
                log.exception("a part did not stop cleanly")

        self.push_async_callback(stop_now)
