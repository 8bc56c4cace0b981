"""Many histories: a ready world of each shape is made once, and every history is a fork of it.

A fork costs milliseconds where a start costs most of a second, and leaves nothing behind: what a history
did to its world ends with its process.
"""

from __future__ import annotations

import gc
import logging
import os
import pickle
import select
import signal
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.simulation import cast
from tests.simulation.history import Result, a_world, run
from tests.simulation.plan import SHAPES, Plan, draw
from tests.simulation.world import World

TOLD = ("task %s failed",)
"""What the services log when something of theirs broke that nobody waits for."""


WARM_SEEDS = (0, 2, 3, 9)
"""Played before the first fork, so that what is compiled at first use is compiled once."""


class _Listener(logging.Handler):
    """Turns such words into complaints of the world."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg in TOLD or record.levelno >= logging.CRITICAL:
            failure = record.exc_info[1] if record.exc_info else ""
            self._world.complaints.append(f"{record.getMessage()} {failure!r}")


def _played(seed: int) -> World:
    plan = draw(seed)
    world = a_world(plan.shape)
    run(plan, world)
    return world


@dataclass
class _Child:
    pid: int
    plan: Plan
    read: int
    parts: list[bytes] = field(default_factory=list)


class Stage:
    """Ready worlds, and as many histories at a time as there are to be."""

    def __init__(self, jobs: int = 1) -> None:
        self._jobs = jobs
        cast.load()
        logging.disable(logging.WARNING)
        self._worlds = [a_world(number) for number in range(len(SHAPES))]
        self._warm = [_played(seed) for seed in WARM_SEEDS]
        """Kept: what a dead world's tasks would do at their end must not happen."""
        gc.collect()
        gc.freeze()

    def play(self, plans: Iterable[Plan]) -> Iterator[Result]:
        """The results, as they come."""
        children: dict[int, _Child] = {}
        try:
            yield from self._play(iter(plans), children)
        finally:
            for child in children.values():
                os.kill(child.pid, signal.SIGTERM)

    def _play(self, waiting: Iterator[Plan], children: dict[int, _Child]) -> Iterator[Result]:
        more = True
        while more or children:
            while more and len(children) < self._jobs:
                plan = next(waiting, None)
                if plan is None:
                    more = False
                    break
                child = self._fork(plan)
                children[child.read] = child
            if children:
                yield from self._gather(children)

    def play_one(self, plan: Plan) -> Result:
        """The result of one."""
        return next(iter(self.play([plan])))

    def _fork(self, plan: Plan) -> _Child:
        read, write = os.pipe()
        pid = os.fork()
        if pid:
            os.close(write)
            return _Child(pid, plan, read)
        try:
            os.close(read)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            gc.disable()
            world = self._worlds[plan.shape]
            logging.getLogger().addHandler(_Listener(world))
            with os.fdopen(write, "wb") as pipe:
                pickle.dump(run(plan, world), pipe)
            os._exit(0)
        except BaseException:  # noqa: BLE001 - whatever it was, no second parent may go on from here
            traceback.print_exc()
            os._exit(1)

    def _gather(self, children: dict[int, _Child]) -> Iterator[Result]:
        for read in select.select(list(children), [], [])[0]:
            child = children[read]
            if part := os.read(read, 1 << 20):
                child.parts.append(part)
                continue
            os.close(read)
            del children[read]
            _, status = os.waitpid(child.pid, 0)
            if status:
                yield Result(child.plan, [f"the simulator itself failed: status {status}"])
            else:
                yield pickle.loads(b"".join(child.parts))  # noqa: S301 - of our own fork
