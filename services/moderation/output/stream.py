"""One attempt at one choice: its window, and how long text waited in it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from services.moderation.output.window import Delta, Window, WindowError
from services.moderation.policy import Policy
from shared.contracts.freehold.inference.v1.frame_pb2 import Open


class Stream:
    """All times are monotonic seconds."""

    __slots__ = (
        "_waiting",
        "attempt",
        "begun",
        "held_ids",
        "held_s",
        "policy",
        "seen",
        "traceparent",
        "window",
    )

    def __init__(self, attempt: int, policy: Policy, opened: Open, now: float) -> None:
        self.attempt = attempt
        self.policy = policy
        self.window = Window(policy, opened.next_index, opened.context)
        self.traceparent = opened.traceparent
        self.begun = now
        self.seen = now
        self.held_ids = 0
        """Most ids that waited at a time."""
        self.held_s = 0.0
        """Longest that one waited."""
        self._waiting: deque[tuple[int, float]] = deque()

    def push(
        self, index: int, ids: Sequence[int], lengths: Sequence[int], text: str, now: float
    ) -> Delta | None:
        """Take a delta; of what was taken before nothing is taken again. Raises `WindowError` for a gap."""
        self.seen = now
        known = self.window.next_index - index
        if known < 0:
            raise WindowError("ids are missing")
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
