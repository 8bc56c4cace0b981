"""Group commit for the durable topics: what gathers during one transaction makes the next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shared.bus.local_journal import Entry, Journal, State
from shared.bus.ports import BusError, BusFull, Headers, Position, Record, TopicPartition
from shared.bus.topics import Topics
from shared.executor import Executor
from shared.host import Host

log = logging.getLogger(__name__)

EXPIRY_PERIOD_S = 60.0
CLOSE_S = 10.0
TOLD_EVERY_S = 5.0
"""Least time between two words in the log about a disk that fails: publishers try often."""


class Writer:
    """Runs a `Journal` on a thread of its own. `appended` is called for each record once it is
    durable, in order, before its publisher is told; `now_ms` is the broker's time.
    """

    def __init__(
        self,
        host: Host,
        topics: Topics,
        path: Path | None,
        appended: Callable[[Record, int], None],
        now_ms: Callable[[], int],
        cap_bytes: int,
    ) -> None:
        self._host = host
        self._journal = Journal(path, [name for name, topic in topics.items() if topic.kind == "config"])
        self._retention_s = {
            name: topic.retention_s
            for name, topic in topics.items()
            if topic.durable and topic.retention_s is not None
        }
        self._appended = appended
        self._now_ms = now_ms
        self._cap = cap_bytes
        self._executor: Executor | None = None
        self._entries: list[Entry] = []
        self._sizes: list[int] = []
        self._waiters: list[asyncio.Future[Position]] = []
        self._waiting_bytes = 0
        self._offsets: dict[tuple[str, TopicPartition], int] = {}
        self._committed: asyncio.Future[None] | None = None
        self._turn: asyncio.Future[list[Record]] | None = None
        self._expire_at = 0.0
        self._tell_at = 0.0
        self.failed = 0
        """Records whose write failed, whether or not their publisher waited."""

    async def start(self) -> State:
        """Open the file; what it holds. Raises `BusError`."""
        self._executor = self._host.executor("bus-journal")
        return await self._executor.run(self._journal.open)

    def publish(
        self, place: TopicPartition, key: bytes | None, value: bytes, headers: Headers, size: int
    ) -> asyncio.Future[Position]:
        """Queue a record for the next transaction. Raises `BusFull` where too much waits already."""
        self._running()
        if self._waiting_bytes + size > self._cap:
            raise BusFull(
                f"{place.topic}: {self._waiting_bytes} bytes wait for the disk, the cap is {self._cap}"
            )
        waiter: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._entries.append(Entry(place, key, value, headers))
        self._sizes.append(size)
        self._waiters.append(waiter)
        self._waiting_bytes += size
        self._begin()
        return waiter

    async def commit(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        """Store a group's offsets with the next transaction."""
        self._running()
        for place, offset in offsets.items():
            self._offsets[group, place] = offset
        if self._committed is None:
            self._committed = asyncio.get_running_loop().create_future()
        committed = self._committed
        self._begin()
        await asyncio.shield(committed)

    async def fetch(self, place: TopicPartition, offset: int, limit: int) -> list[Record]:
        """Records that are no longer in memory. Raises `BusError`."""
        return await self._running().run(self._journal.fetch, place, offset, limit)

    async def close(self) -> None:
        """Write what was queued and let the file go. A disk that hangs is left to itself."""
        until = self._host.clock.monotonic() + CLOSE_S
        while self._turn is not None:
            left = until - self._host.clock.monotonic()
            if left <= 0:
                log.error("the disk did not answer in %.0f s; %d records wait", CLOSE_S, len(self._entries))
                return
            await asyncio.wait([self._turn], timeout=left)
        if self._executor is not None:
            executor, self._executor = self._executor, None
            await executor.run(self._journal.close)
            executor.close()

    def _running(self) -> Executor:
        if self._executor is None:
            raise BusError("the local bus is not started, or closed")
        return self._executor

    def _begin(self) -> None:
        if self._turn is not None:
            return
        entries, self._entries = self._entries, []
        sizes, self._sizes = self._sizes, []
        waiters, self._waiters = self._waiters, []
        offsets, self._offsets = self._offsets, {}
        committed, self._committed = self._committed, None
        self._waiting_bytes = 0
        now_ms = self._now_ms()
        self._turn = self._running().submit(
            self._journal.write, entries, offsets, now_ms, self._cutoffs(now_ms)
        )
        self._turn.add_done_callback(lambda turn: self._end(turn, sizes, waiters, committed))

    def _cutoffs(self, now_ms: int) -> dict[str, int]:
        if (now := self._host.clock.monotonic()) < self._expire_at:
            return {}
        self._expire_at = now + EXPIRY_PERIOD_S
        return {name: now_ms - seconds * 1000 for name, seconds in self._retention_s.items()}

    def _end(
        self,
        turn: asyncio.Future[list[Record]],
        sizes: list[int],
        waiters: list[asyncio.Future[Position]],
        committed: asyncio.Future[None] | None,
    ) -> None:
        self._turn = None
        if self._entries or self._offsets:
            self._begin()
        if (failure := turn.exception()) is not None:
            self._fail(failure, waiters, committed)
            return
        for record, size, waiter in zip(turn.result(), sizes, waiters, strict=True):
            self._appended(record, size)
            if not waiter.done():
                waiter.set_result(
                    Position(record.topic, record.partition, record.offset, record.timestamp_ms)
                )
        if committed is not None and not committed.done():
            committed.set_result(None)

    def _fail(
        self,
        failure: BaseException,
        waiters: list[asyncio.Future[Position]],
        committed: asyncio.Future[None] | None,
    ) -> None:
        self.failed += len(waiters)
        if (now := self._host.clock.monotonic()) >= self._tell_at:
            self._tell_at = now + TOLD_EVERY_S
            log.error("records were perhaps not written, %d since the start: %s", self.failed, failure)
        told: list[asyncio.Future[Any]] = [*waiters]
        if committed is not None:
            told.append(committed)
        for waiter in told:
            if not waiter.done():
                waiter.set_exception(BusError(str(failure)))
                waiter.exception()  # said above: nobody has to wait for it
