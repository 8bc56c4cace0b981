"""A batch of records as spans: one in each sampled request's trace, and one more where it joins several.

The spans wait until the batch's answers are acknowledged, so that they tell how long that took; a batch that
fails is told too, because what it has published already names its spans as parents.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final, NamedTuple

from shared.clock import Clock
from shared.telemetry import semconv as names
from shared.telemetry.trace import (
    Attributes,
    Recorder,
    SpanKind,
    TraceContext,
    format_traceparent,
    parse_traceparent,
)

MOST_LINKS: Final = 32
"""Requests that a batch's own span links to; each of them links to the batch, however many they are."""
NANOS: Final = 1e-9


class _Noted(NamedTuple):
    context: TraceContext
    parent: TraceContext
    begun: int
    noted: int
    attributes: Attributes
    error: str | None
    request: str


class Turn:
    """One batch, from its arrival to its last acknowledgement; a context manager around both.

    A span of it has four attributes of its own, one for each of publishing and the database where the turn
    has them, and so at least two for its service.
    """

    __slots__ = ("_clock", "_common", "_database", "_name", "_noted", "_publishes", "_recorder", "begun")

    def __init__(
        self, recorder: Recorder, clock: Clock, system: str, topic: str, verb: str, *, publishes: bool
    ) -> None:
        """`system` is the bus's kind, `verb` what the service does with a record."""
        self._recorder = recorder
        self._clock = clock
        self._name = f"{recorder.service} {verb}"
        self._common: Attributes = (
            (names.MESSAGING_SYSTEM, system),
            (names.MESSAGING_DESTINATION_NAME, topic),
            (names.MESSAGING_OPERATION_NAME, verb),
            (names.MESSAGING_OPERATION_TYPE, "process"),
        )
        self._publishes = publishes
        self._database = 0
        self._noted: list[_Noted] = []
        self.begun = clock.time_ns()
        """Nanoseconds since the Unix epoch."""

    def stored(self, since_ns: int) -> None:
        """The batch's transaction, which began at that time, is durable."""
        self._database += self._clock.time_ns() - since_ns

    def note(
        self,
        traceparent: bytes | str,
        attributes: Attributes,
        request: str,
        *,
        begun: int = 0,
        error: str | None = None,
    ) -> bytes:
        """A request's share is done and its answer about to go out; the `traceparent` to send with it.

        What came in is returned where it is of no sampled trace. `begun` where it is not the batch's.
        """
        parent = parse_traceparent(traceparent)
        if parent is None or not parent.sampled:
            return traceparent if isinstance(traceparent, bytes) else traceparent.encode()
        context = self._recorder.child(parent)
        noted = self._clock.time_ns()
        self._noted.append(_Noted(context, parent, begun or self.begun, noted, attributes, error, request))
        return format_traceparent(context)

    def __enter__(self) -> Turn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Record everything."""
        if not self._noted:
            return
        ended = self._clock.time_ns()
        failed = kind.__name__ if kind is not None else None
        common = self._common
        if self._database:
            common += ((names.FREEHOLD_DATABASE_DURATION, self._database * NANOS),)
        links = (self._join(ended, common, failed),) if len(self._noted) > 1 else ()
        for one in self._noted:
            self._recorder.record(
                self._name,
                one.context,
                one.parent,
                one.begun,
                ended,
                SpanKind.CONSUMER,
                self._timed(common, one.noted, ended) + one.attributes,
                links,
                error=one.error or failed,
                request=one.request,
            )

    def _join(self, ended: int, common: Attributes, failed: str | None) -> TraceContext:
        batch = self._recorder.root(sampled=True)
        self._recorder.record(
            f"{self._name} batch",
            batch,
            None,
            self.begun,
            ended,
            SpanKind.CONSUMER,
            (
                *self._timed(common, self._noted[0].noted, ended),
                (names.MESSAGING_BATCH_MESSAGE_COUNT, len(self._noted)),
            ),
            tuple(one.context for one in self._noted[:MOST_LINKS]),
            error=failed,
        )
        return batch

    def _timed(self, common: Attributes, since: int, ended: int) -> Attributes:
        if not self._publishes:
            return common
        return (*common, (names.FREEHOLD_PUBLISH_DURATION, (ended - since) * NANOS))
