"""What waits for one model, how fast it is served, and so how long a newcomer would wait. Pure."""

from __future__ import annotations

from typing import Generic, TypeVar

from services.edge.owner.admission import Delay
from services.edge.owner.pace import Pace
from services.edge.owner.ready_queue import Ask, ReadyQueue

T = TypeVar("T")

LEARNED = 0.1
"""Weight of the newest request."""


class Line(Generic[T]):
    """A fair queue, and the pace of those that it has let go."""

    __slots__ = ("_pace", "_share", "queue", "seat_seen")

    def __init__(self) -> None:
        self.queue: ReadyQueue[T] = ReadyQueue()
        self._pace = Pace()
        """In tokens, as asked for: what a request does not use shortens its stay."""
        self._share = 1.0
        """Of the tokens that requests might cost by their bytes: what they turned out to ask for."""
        self.seat_seen = 0.0
        """When a live worker for the model was last noted, monotonic seconds; 0 = never."""

    def foreseen(self, ask: Ask) -> Ask:
        """What a request will ask for once it is encoded, as far as others tell; its tokens are a bound by
        its bytes, some four times too high for English.
        """
        return ask._replace(tokens=max(1, round(ask.tokens * self._share)))

    def encoded(self, bound: int, tokens: int) -> None:
        """A request asks for so many tokens, and its bound was this."""
        self._share += (min(1.0, tokens / max(1, bound)) - self._share) * LEARNED

    def seated(self, ask: Ask) -> None:
        """A request got a worker."""
        self._pace.under_way += ask.tokens

    def left(self, ask: Ask) -> None:
        """It has lost its worker, or has ended."""
        self._pace.under_way -= ask.tokens

    def ended(self, ask: Ask, used: float, stayed_s: float, now: float) -> None:
        """It has ended, after so long with its last worker, and has cost so many tokens."""
        self._pace.stayed(ask.tokens, stayed_s, now)
        self.queue.settle(ask, used)

    def delay(self, ask: Ask, slots: int, cells: int) -> Delay:
        """For a request that came now, as `foreseen`; `slots`, `cells`: what is free on the workers."""
        ahead, stay = self.queue.ahead(ask), self._pace.stay_s
        # Some of them, perhaps all, begin at once; the rest wait for these and for what runs already.
        begin = min(1.0, slots / (ahead.requests + 1), cells / (ahead.tokens + ask.tokens))
        running = self._pace.under_way + begin * ahead.tokens
        if not running:
            return Delay()
        waiting = (1 - begin) * (ahead.tokens + ask.tokens)
        return Delay(
            wait_s=waiting * stay / running, stay_s=stay, spacing_s=ask.tokens * ahead.crowd * stay / running
        )
