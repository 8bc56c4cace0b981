"""An engine that does not come back from a step: a device that hangs kills no thread and raises nothing."""

from __future__ import annotations

from services.inference.worker import Worker
from shared.clock import Clock

PERIOD_S = 1.0


class EngineStalled(Exception):
    """The engine has been in one step for too long."""


async def watch(worker: Worker, clock: Clock, most_s: float) -> None:
    """Look once a second, for ever. Raises `EngineStalled` after `most_s` in one turn.

    Looks are counted, not time: a process that was itself stopped blames nobody.
    """
    seen, looks = 0, 0
    while True:
        await clock.sleep(PERIOD_S)
        turn = worker.turn
        looks = looks + 1 if turn and turn == seen else 0
        seen = turn
        if looks * PERIOD_S >= most_s:
            worker.stalled = True
            raise EngineStalled(f"the engine has not come back from a step for {looks * PERIOD_S:.0f} s")
