"""Runs a scheduler on the engine's own thread; the event loop hands jobs over and never waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from services.inference.engine import Engine
from services.inference.scheduler import Job, Scheduler, Step
from shared.clock import Clock
from shared.executor import Executor

log = logging.getLogger(__name__)

TURN_S = 0.001
"""Steps that are done within this time are handed over together: one wake-up of the loop for them."""
TURN_STEPS = 32
AHEAD = 2
"""Turns given to the thread at a time while there is more to do than one turn does: it has the next one
while the loop handles the last."""

OnSteps = Callable[[list[Step]], None]


class Worker:
    """The only user of its scheduler and engine, which live on `executor`'s thread.

    Between thread and loop go one queue of commands and one list of results a turn. A command that was
    given before a step begins is obeyed before it.
    """

    def __init__(self, engine: Engine, scheduler: Scheduler, executor: Executor, clock: Clock) -> None:
        self._engine = engine
        self._scheduler = scheduler
        self._executor = executor
        self._clock = clock
        self._pace = engine.capabilities.step_seconds
        self._commands: deque[Callable[[], Step | None]] = deque()
        self._wake = asyncio.Event()
        self._turns = 0
        self.turn = 0
        """Number of the turn that the engine's thread is at, read anywhere; 0 = at none."""
        self.stalled = False
        """Set once the engine is given up in a step."""
        self.steps = 0
        """Steps of the engine so far, read anywhere."""
        self.busy_seconds = 0.0
        """Time that the engine's thread has spent on turns, read anywhere."""

    @property
    def held_cells(self) -> int:
        """Cells in use, those kept for their prefixes included; read anywhere."""
        return self._scheduler.pool.cells - self._scheduler.pool.free

    def submit(self, job: Job) -> None:
        """Take a job: all that it gives out, and its end, come with the steps."""
        self._command(lambda: self._scheduler.submit(job))

    def cancel(self, key: object) -> None:
        """End the job within one step, if it has not ended; its end comes as any other."""
        self._command(lambda: self._scheduler.cancel(key))

    def hold(self, key: object, held: bool) -> None:
        """Leave the job out of the steps for now, or take it in again."""
        self._command(lambda: self._scheduler.hold(key, held))

    def _command(self, command: Callable[[], Step | None]) -> None:
        self._commands.append(command)
        self._wake.set()

    async def run(self, on_steps: OnSteps) -> None:
        """Step while there is work, for ever. An error that is not the engine's own ends it and is raised."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await (self._run_paced(on_steps) if self._pace else self._run_ahead(on_steps))

    async def _run_ahead(self, on_steps: OnSteps) -> None:
        ahead = deque([self._executor.submit(self._turn)])
        while ahead:
            steps, busy = await ahead.popleft()
            busy = busy or bool(self._commands)
            while busy and len(ahead) < AHEAD:
                ahead.append(self._executor.submit(self._turn))
            on_steps(steps)

    async def _run_paced(self, on_steps: OnSteps) -> None:
        busy = True
        while busy:
            begun = self._clock.monotonic()
            steps, busy = await self._executor.run(self._turn, 1)
            on_steps(steps)
            await self._clock.sleep(max(0.0, begun + self._pace - self._clock.monotonic()))
            busy = busy or bool(self._commands)

    def _turn(self, most: int = TURN_STEPS) -> tuple[list[Step], bool]:
        """On the engine's thread: obey, and step while it is quick. Results, and whether there is more."""
        self._turns += 1
        self.turn = self._turns
        begun = self._clock.monotonic()
        try:
            return self._take_steps(begun, most), self._scheduler.busy
        finally:
            self.busy_seconds += self._clock.monotonic() - begun
            self.turn = 0

    def _take_steps(self, begun: float, most: int) -> list[Step]:
        results = []
        for _ in range(most):
            while self._commands:
                found = self._commands.popleft()()
                if found is not None:
                    results.append(found)
            if not self._scheduler.busy:
                break
            results.append(self._scheduler.step())
            self.steps += 1
            if self._clock.monotonic() >= begun + TURN_S:
                break
        return results

    async def close(self) -> None:
        """Release the engine, once `run` has been cancelled; not one that does not come back from a step:
        its thread ends with the process.
        """
        if self.stalled:
            return
        await self._executor.run(self._engine.close)
        self._executor.close()
