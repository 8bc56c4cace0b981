"""The highest contiguous finished offset of one partition: the only thing that is ever committed."""

from __future__ import annotations

from collections import deque


class Span:
    """A run of offsets handed out together; `end` is the offset after its last."""

    __slots__ = ("end", "finished")

    def __init__(self, end: int) -> None:
        self.end = end
        self.finished = False


class Watermark:
    """Spans begin in the order of their offsets and finish in any order."""

    __slots__ = ("_open", "committed", "position")

    def __init__(self) -> None:
        self._open: deque[Span] = deque()
        self.position = -1
        """Everything below it is finished; -1 before the first span."""
        self.committed = -1
        """The position that was stored last."""

    @property
    def idle(self) -> bool:
        """Whether nothing is handed out and not finished."""
        return not self._open

    def begin(self, first: int, end: int) -> Span:
        """Hand out the offsets from `first` up to, not including, `end`."""
        if self.position < 0:
            self.position = self.committed = first
        span = Span(end)
        self._open.append(span)
        return span

    def finish(self, span: Span) -> None:
        """Say that a span's effects are durable."""
        span.finished = True
        while self._open and self._open[0].finished:
            self.position = self._open.popleft().end
