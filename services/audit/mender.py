"""Asks for facts that are missing: a gap that does not close by itself is published again by its writer."""

from __future__ import annotations

import logging
from typing import Protocol

from services.audit.repository import GapOf
from services.audit.stream import Gap
from shared.clock import Clock
from shared.lifecycle import Tasks
from shared.storage.database import DatabaseError

log = logging.getLogger(__name__)

MOST = 500
"""Facts asked for at once, so that one answer fits the writer's own batch."""
MOST_GAPS = 100
"""Gaps looked at in one turn, the oldest first."""


class RepublishFailed(Exception):
    """The writer did not publish again; ask later."""


class Republish(Protocol):
    """Whoever can make a stream's facts come again."""

    async def republish(self, stream: str, first: int, last: int) -> None:
        """Have the facts numbered `first` to `last` published again; they come by the bus like all others.

        Raises `RepublishFailed`. Returning does not mean that they have arrived.
        """


class Gaps(Protocol):
    """What the mender needs of the log."""

    async def gaps(self, before_ns: int, limit: int) -> list[GapOf]:
        """Gaps noticed before a time, the oldest first. Raises `DatabaseError`."""


class Mender:
    """Looks for gaps older than `age_s` every `period_s`, and asks for each at most once in `age_s`."""

    def __init__(self, gaps: Gaps, republish: Republish, clock: Clock, age_s: float, period_s: float) -> None:
        self._gaps = gaps
        self._republish = republish
        self._clock = clock
        self._age_s = age_s
        self._period_s = period_s
        self._asked: dict[tuple[str, int], float] = {}
        self._tasks = Tasks("audit.mender")
        self.open = 0
        """Gaps that were too old at the last look, `MOST_GAPS` at most."""

    def start(self) -> None:
        """Begin to look."""
        self._tasks.spawn(self._run(), "loop")

    async def stop(self) -> None:
        """Stop; the gaps stay known."""
        await self._tasks.cancel()

    async def turn(self) -> None:
        """Look once, and ask for what is due."""
        before = self._clock.time_ns() - int(self._age_s * 1e9)
        gaps = await self._gaps.gaps(before, MOST_GAPS)
        self.open = len(gaps)
        now = self._clock.monotonic()
        due = now - self._age_s
        self._asked = {key: at for key, at in self._asked.items() if at > due}
        for stream, gap in gaps:
            if (stream, gap.first) not in self._asked:
                self._asked[stream, gap.first] = now
                await self._ask(stream, gap)

    async def _ask(self, stream: str, gap: Gap) -> None:
        last = min(gap.last, gap.first + MOST - 1)
        log.warning("facts %d to %d of %s are missing; asking for them again", gap.first, last, stream)
        try:
            await self._republish.republish(stream, gap.first, last)
        except RepublishFailed as error:
            log.warning("facts of %s were not published again: %s", stream, error)

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(self._period_s)
            try:
                await self.turn()
            except DatabaseError as error:
                log.warning("gaps cannot be looked for: %s", error)
