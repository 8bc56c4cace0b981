"""One attempt as the event loop sees it: its choices' streams, what they gave out, how it ended (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from services.inference.engine import Sampling
from services.inference.scheduler import Finish
from shared.bus.envelope import Envelope

_UNCOUNTED = frozenset("\u0640\u115f\u1160\u3164\ufcf2\ufcf3\ufcf4\ufe71\ufe77\ufe79\ufe7b\ufe7d\ufe7f\uffa0")
"""Letters to Unicode that folding ignores: fillers, and what stretches or carries a point."""
MOST_IGNORABLE = 256
"""Ignorable code points in a row that moderation lets pass; bounds the text behind W visible ones."""


class Outlet(Protocol):
    """Where streams go: a lane of an owner, or a diagnostic call."""

    def touch(self, stream: Stream, urgent: bool) -> None:
        """The stream has something to give; `urgent` where it must not wait for the next flush."""

    def poke(self, now: float) -> None:
        """All touches of a step are done."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice that is to be generated."""

    number: int
    prefix: Sequence[int]


@dataclass(frozen=True, slots=True)
class Work:
    """What an owner asks for, checked."""

    prompt: Sequence[int]
    choices: tuple[Choice, ...]
    sampling: Sampling
    seed: int
    stops: tuple[str, ...]
    most: int
    salt: bytes
    policies: tuple[str, ...] = ()
    window: int = 0


class Stream:
    """One choice of one attempt. Texts gather here between flushes."""

    __slots__ = (
        "attempt",
        "choice",
        "end",
        "finish",
        "first_index",
        "generated",
        "ids",
        "index",
        "lengths",
        "next_index",
        "opened_at",
        "started",
        "tail",
        "texts",
        "told",
    )

    def __init__(self, attempt: Attempt, choice: int, next_index: int, tail: str) -> None:
        self.attempt = attempt
        self.choice = choice
        self.first_index = next_index
        self.index = next_index
        """Of the first gathered id."""
        self.ids: list[int] = []
        self.lengths: list[int] = []
        self.texts: list[str] = []
        self.next_index = next_index
        self.opened_at: float | None = None
        self.tail = tail
        """Text that was flushed, from far enough back."""
        self.started = False
        """Whether anything was given out."""
        self.finish: Finish | None = None
        """Set when the engine has ended it."""
        self.generated = 0
        self.end = False
        """Set when the usage is durable: the end may be told."""
        self.told = False
        """Set when the frame that holds the end is acknowledged."""

    def take(self, index: int, ids: Sequence[int], lengths: Sequence[int], text: str) -> None:
        """Gather what the engine gave out."""
        if not self.ids:
            self.index = index
        self.ids += ids
        self.lengths += lengths
        self.texts.append(text)
        self.next_index = index + len(ids)

    def flushed(self, text: str) -> None:
        """The gathered text has gone out."""
        self.ids, self.lengths, self.texts = [], [], []
        self.index = self.next_index
        tail = self.tail + text
        most = (self.attempt.work.window + 1) * (MOST_IGNORABLE + 1)
        self.tail = tail[-most:] if len(tail) > 2 * most else tail


def context_of(tail: str, window: int) -> str:
    """The end of `tail` with at least `window` code points that no folding ignores, or all of it.

    Letters and digits count, but for those that folding ignores; taking more text than is needed does no
    harm to who looks back at it.
    """
    seen = 0
    for place in range(len(tail) - 1, -1, -1):
        seen += tail[place].isalnum() and tail[place] not in _UNCOUNTED
        if seen >= window:
            return tail[place:] if window else ""
    return tail


@dataclass(slots=True, eq=False)
class Attempt:
    """One accepted dispatch of one request."""

    envelope: Envelope
    work: Work
    outlet: Outlet
    cells: int
    """Reserved for it."""
    begun_ns: int
    begun: float
    """Monotonic."""
    streams: list[Stream] = field(default_factory=list)
    traceparent: bytes = b""
    """Of its own span."""
    first: float | None = None
    """When the first id was given out, monotonic."""
    cached: int = 0
    finish: Finish | None = None
    """Of the attempt: of its last choice, or what broke it off."""
    diagnostic: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """Request and attempt."""
        return self.envelope.request, self.envelope.attempt

    @property
    def ended(self) -> bool:
        """Whether the engine has ended every choice."""
        return all(stream.finish is not None for stream in self.streams)

    @property
    def told(self) -> bool:
        """Whether the bus has the end of every choice."""
        return all(stream.told for stream in self.streams)

    @property
    def generated(self) -> int:
        """Ids drawn for all choices."""
        return sum(stream.generated for stream in self.streams)
