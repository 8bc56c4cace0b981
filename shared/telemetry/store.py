"""The latest spans of this process, for `freehold trace REQUEST`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from shared.telemetry.trace import SpanRow


class SpanStore:
    """A bounded log of spans. Adding costs one append; a query reads it all (a few ms at 20,000 spans)."""

    __slots__ = ("_rows", "add")

    def __init__(self, limit: int) -> None:
        self._rows: deque[SpanRow] = deque(maxlen=limit)
        self.add = self._rows.append
        """Keep one span, forgetting the oldest above the limit. From any thread."""

    def spans_of(self, request: str) -> list[SpanRow]:
        """All spans of the trace or traces that a request's spans belong to, by start time.

        Spans that name no request (a batch's, a parent's) are found by their trace. Empty where the
        request is unknown, was not sampled, or is forgotten.
        """
        if not request:
            return []
        rows = list(self._rows)
        return _of_traces(rows, {row.context.trace_id for row in rows if row.request == request})

    def spans_of_trace(self, trace_id: bytes) -> list[SpanRow]:
        """All spans of one trace, by start time."""
        return _of_traces(list(self._rows), {trace_id})

    def __len__(self) -> int:
        return len(self._rows)


def _of_traces(rows: Iterable[SpanRow], traces: set[bytes]) -> list[SpanRow]:
    found = [row for row in rows if row.context.trace_id in traces]
    found.sort(key=lambda row: (row.start_ns, row.end_ns))
    return found
