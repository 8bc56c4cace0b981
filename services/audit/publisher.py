"""Signs and shows a checkpoint soon after leaves were appended, at most one in an interval."""

from __future__ import annotations

import asyncio
import logging

from services.audit.log import Log
from shared.clock import Clock
from shared.lifecycle import READY, Readiness, Tasks
from shared.storage.database import DatabaseError

log = logging.getLogger(__name__)

BACKOFF_S = 1.0


class Publisher:
    """One task. A fault of disk or database delays checkpoints, never the taking of facts."""

    def __init__(self, log_: Log, clock: Clock, interval_s: float) -> None:
        self._log = log_
        self._clock = clock
        self._interval_s = interval_s
        self._wanted = asyncio.Event()
        self._loop = Tasks("audit.publisher")
        self._turns = Tasks("audit.publisher.turn")
        self._one = asyncio.Lock()
        self._fault = ""

    def start(self) -> None:
        """Begin."""
        self._loop.spawn(self._run(), "loop")

    async def stop(self, deadline: float) -> None:
        """Show what was appended, by the deadline (monotonic seconds); else the next start does."""
        await self._loop.cancel()
        self._turns.spawn(self._turn(), "last")
        await self._turns.drain(self._clock, deadline)

    def wake(self) -> None:
        """Say that leaves were appended."""
        self._wanted.set()

    def readiness(self) -> Readiness:
        """Ready unless the last attempt failed."""
        return Readiness(False, self._fault) if self._fault else READY

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            # A task of its own: a stop ends the loop and lets a turn that has begun come to its end.
            await asyncio.shield(self._turns.spawn(self._turn(), "turn"))
            await self._clock.sleep(BACKOFF_S if self._fault else self._interval_s)

    async def _turn(self) -> None:
        async with self._one:
            self._wanted.clear()
            try:
                await self._log.publish()
            except DatabaseError as error:
                self._wanted.set()
                self._fault = f"no checkpoint can be signed: {error}"
                log.error("%s", self._fault)
            else:
                self._fault = ""
