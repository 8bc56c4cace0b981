"""An event loop that owns time and the order in which processes run.

Every callback belongs to the simulated process in whose context it was scheduled. Within a process the
order is asyncio's own, first come first served; between processes the seed decides at every step. Time
stands still while anything can run and then jumps to the next timer, so an hour costs what happens in it.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

T = TypeVar("T")


class Lane:
    """What one process may run next, in order. The world itself has a lane too."""

    __slots__ = ("dead", "name", "queue", "stopped", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.queue: deque[Handle] = deque()
        self.dead = False
        """Nothing of it ever runs again, not even what its tasks would do at their end."""
        self.stopped = False
        """Nothing of it runs for now, as after SIGSTOP; its timers fire all at once later."""
        self.waiting = False
        """Whether it is among those that the scheduler chooses from."""


LANE: ContextVar[Lane] = ContextVar("lane")


class Handle:
    """A callback that waits for its turn or its time."""

    __slots__ = ("_when", "args", "callback", "context", "gone", "lane")

    def __init__(
        self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context, lane: Lane, when: float
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.lane = lane
        self._when = when
        self.gone = False

    def cancel(self) -> None:
        """As `asyncio.Handle.cancel`."""
        self.gone = True

    def cancelled(self) -> bool:
        """As `asyncio.Handle.cancelled`."""
        return self.gone

    def when(self) -> float:
        """As `asyncio.TimerHandle.when`."""
        return self._when


class SimLoop(asyncio.AbstractEventLoop):
    """Runs until a condition holds or nothing is left; never touches a socket, a thread or a real clock."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.now = 0.0
        """Seconds since the world began."""
        self.steps = 0
        """Callbacks that have run."""
        self.world = Lane("world")
        self.on_step: Callable[[Lane], None] | None = None
        """Called before each callback of a process: the place where one can be killed at any await."""
        self.failures: list[str] = []
        """What asyncio could tell nobody else."""
        self.tasks: list[asyncio.Task[Any]] = []
        """All that were ever begun: a dead process's must not be collected, or their ends would run."""
        self._ready: list[Lane] = []
        self._timers: list[tuple[float, int, Handle]] = []
        self._number = 0

    # What asyncio asks of a loop

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[T]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self.tasks.append(task)
        return task

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Handle:
        context = context or copy_context()
        handle = Handle(callback, args, context, context.get(LANE, self.world), self.now)
        self._put(handle)
        return handle

    def call_soon_threadsafe(self, callback: Callable[..., Any], *args: Any, **_: Any) -> Handle:  # type: ignore[override]
        raise RuntimeError(f"a thread calls into the simulation: {callback!r}")

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Handle:
        context = context or copy_context()
        handle = Handle(callback, args, context, context.get(LANE, self.world), when)
        self._number += 1
        heapq.heappush(self._timers, (when, self._number, handle))
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Handle:
        return self.call_at(self.now + max(0.0, delay), callback, *args, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        lane = LANE.get(self.world)
        if not lane.dead:
            self.failures.append(f"{lane.name}: {context.get('message')}: {context.get('exception')!r}")

    # What the world does with it

    def after(self, delay: float, callback: Callable[..., Any], *args: Any) -> Handle:
        """Let the world itself do something later, whoever asks."""
        return self.call_at(self.now + delay, callback, *args, context=_of(self.world))

    def spawn(self, lane: Lane, coroutine: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Begin a task in a process."""
        return self.create_task(coroutine, name=name, context=_of(lane))

    def kill(self, lane: Lane) -> None:
        """Nothing of the lane runs from now on."""
        lane.dead = True
        lane.queue.clear()

    def stop_lane(self, lane: Lane) -> None:
        """Nothing of the lane runs until `continue_lane`."""
        lane.stopped = True

    def continue_lane(self, lane: Lane) -> None:
        """What has gathered runs."""
        lane.stopped = False
        if lane.queue and not lane.waiting and not lane.dead:
            lane.waiting = True
            self._ready.append(lane)

    def run(self, until: Callable[[], bool], most_steps: int, upto: float = float("inf")) -> bool:
        """Run until the condition holds; False where time, steps or things to do run out before."""
        asyncio._set_running_loop(self)
        try:
            while not until():
                if self.steps >= most_steps or not self._turn(upto):
                    return False
            return True
        finally:
            asyncio._set_running_loop(None)

    def _turn(self, upto: float) -> bool:
        ready = self._ready
        while not ready:
            if not self._jump(upto):
                return False
        place = int(self.chance.random() * len(ready)) if len(ready) > 1 else 0
        lane = ready[place]
        queue = lane.queue
        if not queue or lane.stopped:
            lane.waiting = False
            ready[place] = ready[-1]
            ready.pop()
            return True
        if self.on_step is not None and lane is not self.world:
            self.on_step(lane)
            if lane.dead or lane.stopped:
                return True
        handle = queue.popleft()
        if not queue:
            lane.waiting = False
            ready[place] = ready[-1]
            ready.pop()
        if not handle.gone:
            self.steps += 1
            try:
                handle.context.run(handle.callback, *handle.args)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # noqa: BLE001 - as asyncio does
                self.failures.append(f"{lane.name}: a callback failed: {error!r}")
        return True

    def _jump(self, upto: float) -> bool:
        """Move time to the next timer and make all that are due ready. False where there is none."""
        timers = self._timers
        while timers and (timers[0][2].gone or timers[0][2].lane.dead):
            heapq.heappop(timers)
        if not timers or timers[0][0] > upto:
            if upto != float("inf"):
                self.now = max(self.now, upto)
            return False
        self.now = max(self.now, timers[0][0])
        while timers and timers[0][0] <= self.now:
            handle = heapq.heappop(timers)[2]
            if not handle.gone:
                self._put(handle)
        return True

    def _put(self, handle: Handle) -> None:
        lane = handle.lane
        if lane.dead:
            return
        lane.queue.append(handle)
        if not lane.waiting and not lane.stopped:
            lane.waiting = True
            self._ready.append(lane)


def _of(lane: Lane) -> Context:
    """A context in which everything belongs to the lane."""
    context = Context()
    context.run(LANE.set, lane)
    return context
