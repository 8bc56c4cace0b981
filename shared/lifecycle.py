"""Start in order, stop in reverse, drain by a deadline; the only place where tasks are started."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

from shared.clock import Clock

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Readiness:
    """Whether a service may take work, and if not, why, in words for an operator."""

    ready: bool
    reason: str = ""


READY = Readiness(True)


class Service(Protocol):
    """One service, as `app.build` makes it and a process runs it."""

    name: str
    """Folder, package, compose service and `service.name`: one name everywhere."""

    async def start(self) -> None:
        """Return when consumers and loops run. Readiness may come later. Raises `FreeholdError`."""

    async def stop(self, deadline: float) -> None:
        """Take nothing new, finish or abandon what runs until `deadline` (monotonic seconds)."""

    def readiness(self) -> Readiness:
        """Cheap; called at any time between start and stop."""

    def register(self, server: grpc.aio.Server) -> list[str]:
        """Add the gRPC servicers and return their full names; an empty list where there are none."""


class Tasks:
    """The tasks of one owner. A task that fails unasked is reported once to `on_failure`."""

    def __init__(self, name: str, on_failure: Callable[[str, BaseException], None] | None = None) -> None:
        self._name = name
        self._tasks: dict[asyncio.Task[Any], None] = {}
        """In the order of their start: a set's would be that of addresses, and no two runs would be alike."""
        self._on_failure = on_failure

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Start a task that is cancelled by `cancel` at the latest."""
        task = asyncio.get_running_loop().create_task(coroutine, name=f"{self._name}.{name}")
        self._tasks[task] = None
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if task.cancelled() or (failure := task.exception()) is None:
            return
        log.error("task %s failed", task.get_name(), exc_info=failure)
        if self._on_failure:
            self._on_failure(task.get_name(), failure)

    async def drain(self, clock: Clock, deadline: float) -> None:
        """Wait for all tasks until the deadline, then cancel the rest and wait for their end."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=max(0.0, deadline - clock.monotonic()))
        await self.cancel()

    async def cancel(self) -> None:
        """Cancel all tasks and wait for their end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def start_all(services: list[Service], clock: Clock, grace: float = 10.0) -> None:
    """Start in order; where one fails, stop those that run, in reverse, and raise its error."""
    started: list[Service] = []
    try:
        for service in services:
            await service.start()
            started.append(service)
    except BaseException:
        await stop_all(started, clock, grace)
        raise


async def stop_all(services: list[Service], clock: Clock, grace: float = 10.0) -> None:
    """Stop in reverse order. An error of one is logged and does not keep the others from stopping."""
    deadline = clock.monotonic() + grace
    for service in reversed(services):
        try:
            await service.stop(deadline)
        except Exception:
            log.exception("%s did not stop cleanly", service.name)
