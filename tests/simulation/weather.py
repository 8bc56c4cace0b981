"""What is wrong with broker and disks right now: windows of trouble, opened and closed by the plan."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

NOT_WRITTEN, ACK_LOST, SLOW, DOWN = "not written", "ack lost", "slow", "down"
TWICE, AGAIN = "twice", "again later"
COMMIT_LOST, EMPTY = "commit lost", "empty poll"
FAILS_BEFORE, FAILS_AFTER, DISK_SLOW, FULL = "fails before", "fails after", "slow disk", "full disk"


@dataclass(frozen=True)
class Trouble:
    """One kind of fault with a probability for each operation that it can strike."""

    kind: str
    scope: str
    """A topic or a database; empty = all."""
    probability: float
    seconds: float = 0.0
    """Longest delay."""


class Weather:
    """Asked before every operation; counts what it does."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.troubles: list[Trouble] = []
        self.done: Counter[str] = Counter()

    def strikes(self, kind: str, scope: str) -> bool:
        """Whether a fault of this kind strikes now."""
        for trouble in self.troubles:
            if (
                trouble.kind == kind
                and (not trouble.scope or trouble.scope == scope)
                and self._chance.random() < trouble.probability
            ):
                self.done[kind] += 1
                return True
        return False

    def delay(self, kind: str, scope: str, usual: float) -> float:
        """Seconds that an operation takes: the usual, by chance, or a troubled one."""
        seconds = self._chance.random() * usual
        for trouble in self.troubles:
            if (
                trouble.kind == kind
                and (not trouble.scope or trouble.scope == scope)
                and self._chance.random() < trouble.probability
            ):
                self.done[kind] += 1
                return seconds + self._chance.random() * trouble.seconds
        return seconds

    def coin(self) -> bool:
        """Heads or tails."""
        return self._chance.random() < 0.5

    def random(self) -> float:
        """In [0, 1)."""
        return self._chance.random()
