"""When refused clients may come back: a promise that is kept. Pure but for a drawn number.

Each refusal is given its own time, one after the other at the pace at which room comes free, so that clients
do not return in one wave, and whoever returns in time is let in before newcomers.
"""

from __future__ import annotations

import random
from collections import deque
from typing import NamedTuple

MOST_S = 60.0
"""Nobody is told to wait longer: common clients ignore what is above, and nobody can see that far."""
GRACE_S = 3.0
"""A client may be so much later than it was told; `Retry-After` is in whole seconds."""
JITTER = 0.1
"""Of the time that is told, at most: drawn, and added."""
HEADROOM = 1.1
"""Promises are this much wider apart than room comes free, if all who were told come back."""
LEAST_SHOWN = 0.02
LEARNED = 0.05
"""Weight of each promise that was kept or has lapsed."""
MOST_PROMISES = 10_000
"""Of one scope."""


class _Promise(NamedTuple):
    due: float
    until: float
    key: str


class _Calendar:
    __slots__ = ("due", "future", "last", "shown")

    def __init__(self) -> None:
        self.last = 0.0
        self.shown = 1.0
        """Share of those who were told that come back, as of late."""
        self.future: deque[_Promise] = deque()
        self.due: list[_Promise] = []

    def look(self, now: float) -> None:
        while self.future and self.future[0].due <= now:
            self.due.append(self.future.popleft())
        if self.due and self.due[0].until < now:
            left = [promise for promise in self.due if promise.until >= now]
            for _ in range(len(self.due) - len(left)):
                self.learn(0.0)
            self.due = left

    def learn(self, shown: float) -> None:
        self.shown += (shown - self.shown) * LEARNED


class Returns:
    """Promises by scope: a tenant, a key, or all."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._calendars: dict[str, _Calendar] = {}

    def promise(self, scope: str, key: str, after_s: float, spacing_s: float, now: float) -> float:
        """Seconds after which this key may come back: not before `after_s`, nor before those that were told
        earlier have had their room, of which each takes `spacing_s`. At most `MOST_S`; what would come later
        is told that and promised nothing.
        """
        calendar = self._calendars.setdefault(scope, _Calendar())
        calendar.look(now)
        # Promises to those who do not come back are made again to others.
        due = max(now + after_s, calendar.last + spacing_s * HEADROOM * max(LEAST_SHOWN, calendar.shown))
        jitter = JITTER * self._chance.random()
        if due - now > MOST_S * (1 - JITTER) or len(calendar.future) >= MOST_PROMISES:
            return MOST_S * (1 - jitter)
        told = (due - now) * (1 + jitter)
        calendar.last = due
        calendar.future.append(_Promise(due, now + told + GRACE_S, key))
        return told

    def due(self, scope: str, now: float) -> int:
        """Promises whose time has come and that are not yet kept."""
        if (calendar := self._calendars.get(scope)) is None:
            return 0
        calendar.look(now)
        return len(calendar.due)

    def keep(self, scope: str, key: str, now: float) -> bool:
        """Whether a promise to this key is due; it is none afterwards."""
        if not self.due(scope, now):
            return False
        due = self._calendars[scope].due
        for number, promise in enumerate(due):
            if promise.key == key:
                del due[number]
                self._calendars[scope].learn(1.0)
                return True
        return False

    def forget(self, now: float) -> None:
        """Drop calendars without promises; call now and then."""
        for calendar in self._calendars.values():
            calendar.look(now)
        self._calendars = {
            scope: calendar
            for scope, calendar in self._calendars.items()
            if calendar.future or calendar.due or calendar.last > now
        }
