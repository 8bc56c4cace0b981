"""What a worker looks after twice a second: owners that are gone, frames that stand, streams to reopen."""

from __future__ import annotations

import logging
from collections.abc import Callable

from services.inference.attempts.attempt import Attempt
from services.inference.attempts.generation import Generation
from services.inference.streams.frames import REOPEN_S, Frames, Lane
from shared.clock import Clock

log = logging.getLogger(__name__)

PERIOD_S = 0.5
STANDING_S = 1.0
"""A frame that is not acknowledged for so long rests its owner's attempts."""


class Watch:
    """Looks after the attempts of owners."""

    def __init__(
        self, clock: Clock, generation: Generation, frames: Frames, owner_gone: Callable[[int], bool]
    ) -> None:
        self._clock = clock
        self._generation = generation
        self._frames = frames
        self._owner_gone = owner_gone
        self._resting: set[Lane] = set()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._clock.sleep(PERIOD_S)
            self.look()

    def look(self) -> None:
        """Once."""
        now = self._clock.monotonic()
        attempts: dict[Lane, list[Attempt]] = {}
        for attempt in self._generation.attempts():
            if isinstance(attempt.outlet, Lane):
                attempts.setdefault(attempt.outlet, []).append(attempt)
        for lane in self._frames.lanes():
            of_lane = attempts.get(lane, [])
            if self._owner_gone(lane.owner):
                self._give_up(lane, of_lane)
                continue
            self._rest(lane, of_lane, now)
            for attempt in of_lane:
                for stream in attempt.streams:
                    if stream.opened_at is not None and now - stream.opened_at >= REOPEN_S and not stream.end:
                        lane.touch(stream, urgent=True)
            lane.poke(now)

    def _give_up(self, lane: Lane, attempts: list[Attempt]) -> None:
        if attempts:
            log.warning("owner %016x is gone: %d attempts end", lane.owner, len(attempts))
        self._frames.close(lane)
        self._resting.discard(lane)
        for attempt in attempts:
            self._generation.abandon(attempt)

    def _rest(self, lane: Lane, attempts: list[Attempt], now: float) -> None:
        standing = lane.sent_at is not None and now - lane.sent_at >= STANDING_S
        rested = lane in self._resting
        if standing and not rested:
            log.warning("frames for lane %d are not acknowledged: its attempts rest", lane.lane)
            self._resting.add(lane)
        elif rested and not standing:
            self._resting.discard(lane)
        if standing or rested:  # at every look: attempts are taken meanwhile
            for attempt in attempts:
                self._generation.rest(attempt, standing)
