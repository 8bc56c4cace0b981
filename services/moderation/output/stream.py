"""One attempt at one choice: its window, how long text waited in it, and where a successor begins."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from services.moderation.output.window import Delta, Window, WindowError
from services.moderation.policy import Policy
from shared.contracts.freehold.inference.v1.frame_pb2 import Open


class Read(NamedTuple):
    """A record of the lane's log."""

    offset: int
    ms: int
    """The broker's time of it."""


class _Opened(NamedTuple):
    """An `Open` that a successor cannot begin at yet."""

    read: Read
    next_index: int
    """Text before it must be released,"""
    taken: int
    """and these folded characters decided: a successor looks at no match that ends within them."""


class Stream:
    """Times are monotonic seconds, where not said otherwise."""

    __slots__ = (
        "_opened",
        "_told",
        "_waiting",
        "attempt",
        "begins",
        "begun",
        "held_ids",
        "held_s",
        "policy",
        "seen_ms",
        "traceparent",
        "window",
    )

    def __init__(self, attempt: int, policy: Policy, opened: Open, read: Read, now: float) -> None:
        self.attempt = attempt
        self.policy = policy
        self.window = Window(policy, opened.next_index, opened.context)
        self.traceparent = opened.traceparent
        self.begun = now
        self.seen_ms = read.ms
        """The log's time of its last delta."""
        self.begins = read
        """The newest `Open` at which a successor can begin: what lies before it was released and is
        acknowledged."""
        self._opened: deque[_Opened] = deque()
        self._told = 0
        self.held_ids = 0
        """Most ids that waited at a time."""
        self.held_s = 0.0
        """Longest that one waited."""
        self._waiting: deque[tuple[int, float]] = deque()

    def reopen(self, opened: Open, read: Read) -> None:
        """Take an `Open` that came again. Raises `WindowError` for a gap."""
        self._check(opened.next_index)
        self._opened.append(_Opened(read, self.window.next_index, self.window.taken))

    def settle(self) -> bool:
        """All that was released is acknowledged; whether a successor can begin at the last `Open`."""
        window, opened = self.window, self._opened
        while opened and opened[0].next_index <= window.released and opened[0].taken <= window.decided:
            self.begins = opened.popleft().read
        return not opened

    def stricter(self) -> bool:
        """Whether the verdict has grown since this was asked last."""
        told, self._told = self._told, len(self.window.verdict.hits)
        return self._told > told

    def push(
        self, index: int, ids: Sequence[int], lengths: Sequence[int], text: str, now: float
    ) -> Delta | None:
        """Take a delta; of what was taken before nothing is taken again. Raises `WindowError` for a gap."""
        self._check(index)
        known = self.window.next_index - index
        if known:
            if known >= len(ids):
                return None
            text = text[sum(lengths[:known]) :]
            ids, lengths = ids[known:], lengths[known:]
        delta = self.window.push(ids, lengths, text)
        if delta is None or self._waiting or self.window.held:
            self._measure(delta, now)
        return delta

    def finish(self, now: float) -> Delta | None:
        """The text has ended; the rest of it."""
        delta = self.window.finish()
        self._measure(delta, now)
        return delta

    def _check(self, index: int) -> None:
        if index > self.window.next_index:
            raise WindowError("ids are missing")

    def _measure(self, delta: Delta | None, now: float) -> None:
        waiting = self._waiting
        if delta is not None and waiting:
            self.held_s = max(self.held_s, now - waiting[0][1])
            released = delta.first + len(delta.ids)
            while waiting and waiting[0][0] <= released:
                waiting.popleft()
        held = self.window.held
        if held:
            self.held_ids = max(self.held_ids, held)
            if not waiting or waiting[-1][0] < self.window.next_index:
                waiting.append((self.window.next_index, now))
