"""Threads, given to the code: one named executor is one thread and runs its calls in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar, TypeVarTuple

T = TypeVar("T")
Args = TypeVarTuple("Args")


class Executor(Protocol):
    """Runs blocking or CPU-bound calls beside the event loop, one at a time, in the order given."""

    async def run(self, call: Callable[[*Args], T], *args: *Args) -> T:
        """Return what `call(*args)` returns, or raise what it raises.

        A cancelled wait does not stop a call that has begun.
        """

    def submit(self, call: Callable[[*Args], T], *args: *Args) -> asyncio.Future[T]:
        """As `run`, but the call is queued before this returns."""

    def close(self) -> None:
        """Refuse new calls and wait for the running one."""


class ThreadExecutor:
    """An `Executor` on one operating-system thread."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, call: Callable[[*Args], T], *args: *Args) -> T:
        return await self.submit(call, *args)

    def submit(self, call: Callable[[*Args], T], *args: *Args) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._pool, call, *args)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
