"""One answer of a request: the ids received vetted, in order, each index once."""

from __future__ import annotations

from typing import NamedTuple

from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome


class Delta(NamedTuple):
    """Vetted text from index `start` on; `lengths` are the code points that each id ended."""

    start: int
    ids: list[int]
    lengths: list[int]
    text: str

    def after(self, start: int) -> Delta:
        """The part from that index on; empty where there is none."""
        skip = start - self.start
        if skip <= 0:
            return self
        return Delta(start, self.ids[skip:], self.lengths[skip:], self.text[sum(self.lengths[:skip]) :])


class Ending(NamedTuple):
    """A choice's vetted `End`, and the index after its last id."""

    reason: outcome.FinishReason
    stop: int
    prompt: int
    cached: int


class Choice:
    """The chain of one choice over all attempts, and what came too early for it."""

    __slots__ = ("ended", "ending", "gap_since", "ids", "kept", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.ids: list[int] = []
        """Ids whose text was received vetted: the prefix of a re-send."""
        self.ended = False
        self.ending: Ending | None = None
        self.kept: dict[int, Delta] = {}
        """Deltas of a higher index than the next, by index."""
        self.gap_since: float | None = None
        """When something began to wait for a missing index."""

    def offer(self, now: float, delta: Delta) -> Delta | None:
        """What is next of this delta and of those kept, as one; None where nothing is.

        The chain itself grows by `add` only.
        """
        known = len(self.ids)
        if delta.start > known:
            self.kept[delta.start] = delta
            self._wait(now)
            return None
        if delta.start < known:
            delta = delta.after(known)
        if self.kept:
            delta = self._join(delta)
        return delta if delta.ids else None

    def add(self, now: float, ids: list[int]) -> None:
        """Append ids whose text is delivered."""
        self.ids += ids
        if self.gap_since is not None:
            self.gap_since = now if self.kept or self.ending else None

    def end(self, now: float, ending: Ending) -> None:
        """Take the `End` in; it holds once every id before it is there."""
        self.ending = ending
        if not self.complete:
            self._wait(now)

    @property
    def complete(self) -> bool:
        """Whether the `End` came and no id before it is missing."""
        return self.ending is not None and len(self.ids) >= self.ending.stop

    def forget(self) -> None:
        """Drop what an attempt left behind beyond the chain."""
        self.kept.clear()
        self.ending = None
        self.gap_since = None

    def _wait(self, now: float) -> None:
        if self.gap_since is None:
            self.gap_since = now

    def _join(self, delta: Delta) -> Delta:
        parts = [delta]
        following = delta.start + len(delta.ids)
        while self.kept and (first := min(self.kept)) <= following:
            part = self.kept.pop(first).after(following)
            parts.append(part)
            following += len(part.ids)
        return Delta(
            delta.start,
            [number for part in parts for number in part.ids],
            [length for part in parts for length in part.lengths],
            "".join(part.text for part in parts),
        )
