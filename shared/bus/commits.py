"""Commits in the background: explicit, never beyond a watermark, one at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from shared.bus.handling import Memory
from shared.bus.ports import BusError, TopicPartition
from shared.bus.watermark import Watermark
from shared.clock import Clock
from shared.lifecycle import Tasks

log = logging.getLogger(__name__)

PERIOD_S = 0.1
"""A commit is a request to the broker or an fsync, a redelivered record a lookup: a crash repeats so much."""
RETRY_S = 1.0
AT_ONCE = 100
"""Finished records that do not wait for the clock."""


class Commits:
    """Gathers watermarks that moved and stores them soon after. Nothing runs while nothing moves."""

    def __init__(
        self,
        commit: Callable[[Mapping[TopicPartition, int]], Awaitable[None]],
        tasks: Tasks,
        clock: Clock,
        memory: Memory | None = None,
    ) -> None:
        self._commit = commit
        self._memory = memory
        self._tasks = tasks
        self._clock = clock
        self._moved: dict[TopicPartition, Watermark] = {}
        self._finished = 0
        self._one_at_a_time = asyncio.Lock()
        self._timer: asyncio.Task[None] | None = None
        self._sooner: asyncio.Task[None] | None = None

    def note(self, place: TopicPartition, watermark: Watermark, records: int) -> None:
        """So many records of a partition are finished."""
        self._moved[place] = watermark
        self._finished += records
        if self._finished >= AT_ONCE:
            if self._sooner is None:
                self._sooner = self._tasks.spawn(self._soon(), "commit")
        elif self._timer is None:
            self._timer = self._tasks.spawn(self._in(PERIOD_S), "commit.later")

    def forget(self, place: TopicPartition) -> None:
        """Commit nothing more of this partition."""
        self._moved.pop(place, None)

    async def flush(self) -> None:
        """Commit what has moved. Raises `BusError`; what moved is then tried again with the next."""
        async with self._one_at_a_time:
            moved, self._moved = self._moved, {}
            self._finished = 0
            offsets = {
                place: offset
                for place, mark in moved.items()
                if (offset := self._begin(place, mark)) != mark.committed
            }
            if not offsets:
                return
            try:
                await self._commit(offsets)
            except BaseException:  # a cancelled commit is unknown too
                self._moved = moved | self._moved
                raise
            for place, offset in offsets.items():
                moved[place].committed = offset

    def _begin(self, place: TopicPartition, mark: Watermark) -> int:
        return self._memory.back_to(place, mark.position) if self._memory else mark.position

    async def _soon(self) -> None:
        try:
            await self._try()
        finally:
            self._sooner = None
            if self._moved and self._timer is None:
                self._timer = self._tasks.spawn(self._in(PERIOD_S), "commit.later")

    async def _in(self, seconds: float) -> None:
        try:
            while self._moved:
                await self._clock.sleep(seconds)
                seconds = PERIOD_S if await self._try() else RETRY_S
        finally:
            self._timer = None

    async def _try(self) -> bool:
        try:
            await self.flush()
        except BusError as error:
            log.warning("offsets were perhaps not committed: %s", error)
            return False
        return True
