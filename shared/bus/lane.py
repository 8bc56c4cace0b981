"""One partition as a consumer sees it, from its assignment to its revocation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from shared.bus.ports import TopicPartition
from shared.bus.topics import Topic
from shared.bus.watermark import Watermark
from shared.clock import Clock


class Lane:
    """What is handed out of a partition and not finished."""

    __slots__ = (
        "_recovering",
        "_running",
        "_tasks",
        "concurrent",
        "idle",
        "leaving",
        "perishable",
        "place",
        "watermark",
    )

    def __init__(self, place: TopicPartition, topic: Topic) -> None:
        self.place = place
        self.concurrent = topic.order == "none"
        self.perishable = not topic.durable
        self.watermark = Watermark()
        self.leaving = False
        """Nothing more is begun, and at the end of the drain nothing more is committed."""
        self.idle = asyncio.Event()
        self.idle.set()
        self._running = 0
        # In the order of their start: a set's would be that of addresses.
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._recovering: dict[asyncio.Task[None], None] = {}

    def begin(self, task: asyncio.Task[None] | None = None) -> None:
        """A batch is being handled, by a task of its own or by the poll loop."""
        self._running += 1
        self.idle.clear()
        if task is not None:
            self._tasks[task] = None
            task.add_done_callback(self._done)

    def end(self) -> None:
        """The poll loop's own batch has ended."""
        self._running -= 1
        if not self._running:
            self.idle.set()

    def recovers(self, task: asyncio.Task[None] | None) -> None:
        """A batch has failed: its task is not worth waiting for when the partition goes."""
        if task is not None:
            self._recovering[task] = None

    def leave(self) -> None:
        """Begin nothing more and give up what had failed."""
        self.leaving = True
        for task in list(self._recovering):
            task.cancel()

    async def abandon(self) -> None:
        """Cancel what still runs in tasks and wait for their end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._recovering.pop(task, None)
        self.end()


async def drain(lanes: Iterable[Lane], clock: Clock, deadline: float) -> None:
    """Finish what runs on these lanes by the deadline (monotonic seconds), abandon the rest."""
    leaving = list(lanes)
    for lane in leaving:
        lane.leave()
    try:
        async with asyncio.timeout(max(0.0, deadline - clock.monotonic())):
            for lane in leaving:
                await lane.idle.wait()
    except TimeoutError:
        for lane in leaving:
            await lane.abandon()
