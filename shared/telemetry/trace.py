"""Spans as tuples: recorded at their end on the request's path, encoded later by somebody else.

A stock SDK span costs 85 us over all threads, this one about 1; see speed.md, section 2.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

AttributeValue = str | int | float | bool | tuple[str, ...]
Attributes = tuple[tuple[str, AttributeValue], ...]


class SpanKind(IntEnum):
    """Which side of a call a span is; the numbers are OTLP's."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class TraceContext(NamedTuple):
    """What one span hands to the next, in memory or as a `traceparent`."""

    trace_id: bytes
    """16 bytes, not all zero."""
    span_id: bytes
    """8 bytes, not all zero."""
    sampled: bool
    """Decided once, where the trace began. Unsampled spans are never recorded."""


class SpanRow(NamedTuple):
    """One finished span."""

    service: str
    name: str
    context: TraceContext
    parent: bytes
    """Span id of the parent in the same trace; empty for a root."""
    start_ns: int
    """Nanoseconds since the Unix epoch, as `end_ns`."""
    end_ns: int
    kind: int
    attributes: Attributes
    links: tuple[TraceContext, ...]
    error: str | None
    request: str
    """Request id, or empty."""


# Version ff is invalid; a later version may carry more fields after the flags (W3C Trace Context, 3.2).
_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]*)?")
_NO_TRACE = bytes(16)
_NO_SPAN = bytes(8)
_DRAWN = 256
"""Span ids that are drawn together."""


# Every service of a process reads the same few values while a request runs.
@lru_cache(maxsize=2048)
def parse_traceparent(value: str | bytes | None) -> TraceContext | None:
    """The context of a W3C `traceparent`; None where there is none or it breaks the standard in any way."""
    if not value or len(value) > 256:
        return None
    try:
        text = value if isinstance(value, str) else value.decode("ascii")
    except UnicodeDecodeError:
        return None
    found = _TRACEPARENT.fullmatch(text)
    if found is None:
        return None
    version, trace, span, flags, rest = found.groups()
    if rest is not None and version == "00":
        return None
    trace_id, span_id = bytes.fromhex(trace), bytes.fromhex(span)
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & 1))


def format_traceparent(ctx: TraceContext) -> bytes:
    """The header's value, version 00."""
    flags = "01" if ctx[2] else "00"
    return f"00-{ctx[0].hex()}-{ctx[1].hex()}-{flags}".encode()


class Recorder:
    """Makes contexts and records finished spans for one service. Never raises, never waits."""

    __slots__ = ("_bits", "_bound", "_chance", "_ids", "_sinks", "service")

    def __init__(
        self,
        service: str,
        chance: random.Random,
        ratio: float,
        sinks: Sequence[Callable[[SpanRow], object]],
    ) -> None:
        self.service = service
        self._bits = chance.getrandbits
        self._chance = chance
        self._ids: list[bytes] = []
        # The same rule as OpenTelemetry's TraceIdRatioBased: the low 8 bytes against a bound.
        self._bound = round(ratio * (1 << 64))
        self._sinks = tuple(sinks)

    def root(self, sampled: bool | None = None) -> TraceContext:
        """The context of a new trace's first span; `sampled` None = by the configured ratio."""
        number = self._bits(128) or 1
        if sampled is None:
            sampled = number & 0xFFFFFFFFFFFFFFFF < self._bound
        return TraceContext(number.to_bytes(16, "big"), self._span_id(), sampled)

    def child(self, parent: TraceContext) -> TraceContext:
        """The context of a new span in the parent's trace; the parent itself where it is unsampled."""
        if not parent[2]:
            return parent
        return TraceContext(parent[0], self._span_id(), True)

    def _span_id(self) -> bytes:
        if not self._ids:
            drawn = self._chance.randbytes(8 * _DRAWN)
            cut = (drawn[at : at + 8] for at in range(0, len(drawn), 8))
            self._ids = [one for one in cut if one != _NO_SPAN] or [b"\0\0\0\0\0\0\0\1"]
        return self._ids.pop()

    def record(
        self,
        name: str,
        ctx: TraceContext,
        parent: TraceContext | None,
        start_ns: int,
        end_ns: int,
        kind: int = SpanKind.INTERNAL,
        attributes: Attributes = (),
        links: tuple[TraceContext, ...] = (),
        error: str | None = None,
        request: str = "",
    ) -> None:
        """Keep one finished span; nothing where `ctx` is unsampled.

        Times are `host.clock.time_ns()`. `error` marks the span as failed, with a short text that holds
        neither prompt nor key. At most 8 attributes, given here once; none from user text.
        """
        if ctx[2]:
            span = parent[1] if parent is not None else b""
            row = SpanRow(
                self.service, name, ctx, span, start_ns, end_ns, kind, attributes, links, error, request
            )
            for sink in self._sinks:
                sink(row)
