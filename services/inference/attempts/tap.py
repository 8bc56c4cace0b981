"""Where a diagnostic generation goes: ids and times, never text, and never onto the bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

from services.inference.attempts.attempt import Stream
from services.inference.scheduler import Finish


class Drop(NamedTuple):
    """What came since the last."""

    ids: list[int]
    finish: Finish | None
    """Set in the last one, once its usage is durable."""


class Tap:
    """An `Outlet` for one stream that one call reads."""

    def __init__(self) -> None:
        self._stream: Stream | None = None
        self._wake = asyncio.Event()

    def touch(self, stream: Stream, urgent: bool) -> None:
        """See `Outlet.touch`."""
        del urgent
        self._stream = stream

    def poke(self, now: float) -> None:
        """See `Outlet.poke`."""
        del now
        self._wake.set()

    async def drops(self) -> AsyncIterator[Drop]:
        """Until the end."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            stream = self._stream
            if stream is None:
                continue
            ids, ended = stream.ids, stream.end
            stream.flushed("")
            if ids or ended:
                yield Drop(ids, stream.finish if ended else None)
            if ended:
                return
