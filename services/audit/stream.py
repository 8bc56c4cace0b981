"""Which numbers of one gap-free stream have arrived. Pure.

It is how a repeated fact is told from a new one, and how a missing one is noticed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Gap(NamedTuple):
    """Numbers that are missing while a later one is there; both ends inclusive."""

    first: int
    last: int
    since_ns: int
    """When it was noticed, nanoseconds since the Unix epoch."""


@dataclass(slots=True)
class Stream:
    """Everything below `next` has arrived, except what lies in `gaps`."""

    next: int = 1
    gaps: list[Gap] = field(default_factory=list)

    def take(self, seq: int, now_ns: int) -> bool:
        """Note that `seq` (from 1) arrived; False where it had arrived before."""
        if seq >= self.next:
            if seq > self.next:
                self.gaps.append(Gap(self.next, seq - 1, now_ns))
            self.next = seq + 1
            return True
        for place, gap in enumerate(self.gaps):
            if gap.first <= seq <= gap.last:
                below = Gap(gap.first, seq - 1, gap.since_ns)
                above = Gap(seq + 1, gap.last, gap.since_ns)
                self.gaps[place : place + 1] = [part for part in (below, above) if part.first <= part.last]
                return True
        return False
