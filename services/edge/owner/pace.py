"""How fast something is worked off, by Little's law: what is under way over how long it stays. Pure."""

from __future__ import annotations

import math

MEMORY_S = 30.0
"""Time after which an observation counts 1/e."""


class Pace:
    """Amounts that begin, stay for a while and end. An amount is tokens, or 1 a request."""

    __slots__ = ("_amount", "_amount_seconds", "_at", "under_way")

    def __init__(self) -> None:
        self.under_way = 0.0
        self._amount = 0.0
        """Of what has ended, fading."""
        self._amount_seconds = 0.0
        """The same, each times how long it stayed."""
        self._at = 0.0

    def stayed(self, amount: float, seconds: float, now: float) -> None:
        """So much has ended, and stayed so long."""
        kept = math.exp(min(0.0, self._at - now) / MEMORY_S)
        self._amount = self._amount * kept + amount
        self._amount_seconds = self._amount_seconds * kept + amount * max(0.0, seconds)
        self._at = now

    @property
    def stay_s(self) -> float:
        """How long a unit of what is under way stays, as of late; 0 = nothing has ended yet."""
        return self._amount_seconds / self._amount if self._amount else 0.0

    def seconds(self, amount: float) -> float:
        """In which so much ends while as much is under way as now; 0 = not known."""
        return amount * self.stay_s / self.under_way if self.under_way else 0.0
