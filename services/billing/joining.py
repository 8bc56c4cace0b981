"""Batches that come from several partitions at the same time, handled together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from shared.bus.patience import surroundings_failed
from shared.clock import Clock
from shared.lifecycle import Tasks

T = TypeVar("T")

MOST: Final = 4
"""Full batches of one handling: what it locks, others wait for."""


class _Item(NamedTuple, Generic[T]):
    value: T
    size: int
    done: asyncio.Future[None]


class Joining(Generic[T]):
    """Runs one handling at a time, over everything that was handed in until it began.

    Twelve partitions of two topics that have a few records each are one transaction so, and evidence whose
    two halves are there at the same time is read and written once.
    """

    def __init__(
        self,
        handle: Callable[[Sequence[T]], Awaitable[None]],
        clock: Clock,
        interval_s: float,
        full: int,
    ) -> None:
        """Less than `full` records wait until `interval_s` after the last handling; `handle` may be given the
        same value again, alone, where it failed for a reason that may be another's.
        """
        self._handle = handle
        self._clock = clock
        self._interval_s = interval_s
        self._full = full
        self._next = 0.0
        self._waiting: list[_Item[T]] = []
        self._size = 0
        self._enough = asyncio.Event()
        self._tasks = Tasks("joining")
        self._running = False

    async def add(self, value: T, size: int) -> None:
        """Hand in a batch of `size` records; return once it is handled. Raises what `handle` raises."""
        item = _Item(value, size, asyncio.get_running_loop().create_future())
        self._waiting.append(item)
        self._size += size
        if self._size >= self._full:
            self._enough.set()
        if not self._running:
            self._running = True
            self._tasks.spawn(self._run(), "run")
        await item.done

    async def stop(self) -> None:
        """Give up what runs and what waits: it comes again."""
        await self._tasks.cancel()

    async def _run(self) -> None:
        taken: list[_Item[T]] = []
        try:
            while self._waiting:
                await self._gather()
                taken = self._oldest()
                await self._take([item for item in taken if not item.done.done()])
                self._next = self._clock.monotonic() + self._interval_s
        finally:
            self._running = False
            for item in (*taken, *self._waiting):
                item.done.cancel()
            self._waiting, self._size = [], 0

    def _oldest(self) -> list[_Item[T]]:
        """At most `MOST` times a full batch, and one batch at least."""
        count, room = 0, MOST * self._full
        while count < len(self._waiting) and (not count or self._waiting[count].size <= room):
            room -= self._waiting[count].size
            count += 1
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        self._size = sum(item.size for item in self._waiting)
        if self._size < self._full:
            self._enough.clear()
        return taken

    async def _gather(self) -> None:
        rest = self._next - self._clock.monotonic()
        if rest > 0 and not self._enough.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await self._enough.wait()

    async def _take(self, items: Sequence[_Item[T]]) -> None:
        if not items:
            return
        failed: Exception | None = None
        try:
            await self._handle([item.value for item in items])
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            failed = error
        if failed is not None and len(items) > 1 and not surroundings_failed(failed):
            for item in items:  # the fault is one record's: each batch by itself
                await self._take([item])
            return
        for item in items:
            if item.done.done():  # whoever waited has given up; the effect stands
                continue
            if failed is None:
                item.done.set_result(None)
            else:
                item.done.set_exception(failed)
