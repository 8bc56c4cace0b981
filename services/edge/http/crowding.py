"""Too many connections: which of them are needed least. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from operator import attrgetter
from typing import Protocol

SPARE_S = 1.0
ROOM = 64
"""Connections that are closed at a time: finding them looks at all."""


class Held(Protocol):
    """A connection."""

    @property
    def closing(self) -> bool:
        """Whether it is on its way out."""

    @property
    def needed(self) -> bool:
        """Whether a request is being answered or its body read."""

    @property
    def since(self) -> float:
        """Monotonic seconds: since when it is what it is."""

    def hang_up(self) -> None:
        """Close it."""


def make_room(connections: Iterable[Held], most: int, now: float) -> bool:
    """Close what has longest been without a request, or slow to say one, so that connections that are only
    held do not keep clients out. False = every one of them is needed.
    """
    open_ones = [one for one in connections if not one.closing]
    if len(open_ones) <= most:
        return True
    spare = [one for one in open_ones if not one.needed and now - one.since > SPARE_S]
    for one in heapq.nsmallest(ROOM, spare, key=attrgetter("since")):
        one.hang_up()
    return bool(spare)
