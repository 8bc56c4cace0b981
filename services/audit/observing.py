"""What an operator sees of audit: one short span a request, linked to its batch's, and bound metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.audit.log import Log
from services.audit.mender import Mender
from shared.clock import Clock
from shared.telemetry import Recorder, SpanKind, Telemetry, TraceContext, parse_traceparent
from shared.telemetry import semconv as names

_PROCESS = (
    (names.MESSAGING_DESTINATION_NAME, "facts"),
    (names.MESSAGING_CONSUMER_GROUP_NAME, "audit"),
    (names.MESSAGING_OPERATION_TYPE, "process"),
)


class Observer:
    """Records spans and metrics of batches."""

    def __init__(self, telemetry: Telemetry, clock: Clock) -> None:
        metrics = telemetry.metrics("audit")
        self._recorder: Recorder = telemetry.recorder("audit")
        self._clock = clock
        self._appended = metrics.counter("entries", "Entries appended to the log.")
        self._repeated = metrics.counter("repeated", "Facts that were in the log already.")
        self._parked = metrics.counter("unfit", "Records of facts that no entry can be made of: an alarm.")
        self._seconds = metrics.seconds("append_seconds", "From a batch's turn to its durable leaves.")

    def now(self) -> int:
        """Nanoseconds since the Unix epoch."""
        return self._clock.time_ns()

    def appended(
        self, requests: Sequence[tuple[str, bytes]], facts: int, appended: int, unfit: int, begun: int
    ) -> None:
        """Note a batch whose effect is durable: (request, traceparent) of its records, and how many of
        its facts were new, how many records were none.
        """
        ended = self._clock.time_ns()
        self._appended.inc(appended)
        self._repeated.inc(facts - appended)
        self._parked.inc(unfit)
        self._seconds.observe(max(0, ended - begun) / 1e9)
        batch: TraceContext | None = None
        for request, traceparent in requests:
            parent = parse_traceparent(traceparent)
            if parent is None or not parent.sampled:
                continue
            if batch is None:
                batch = self._batch(facts, begun, ended)
            self._recorder.record(
                "audit append",
                self._recorder.child(parent),
                parent,
                begun,
                ended,
                SpanKind.CONSUMER,
                _PROCESS,
                (batch,),
                request=request,
            )

    def _batch(self, facts: int, begun: int, ended: int) -> TraceContext:
        context = self._recorder.root(sampled=True)
        attributes = (*_PROCESS, (names.MESSAGING_BATCH_MESSAGE_COUNT, facts))
        self._recorder.record(
            "audit append batch", context, None, begun, ended, SpanKind.CONSUMER, attributes
        )
        return context


def tell(telemetry: Telemetry, clock: Clock, log: Log, mender: Mender, free_bytes: Callable[[], int]) -> None:
    """Show the log's state at each scrape."""
    metrics = telemetry.metrics("audit")
    metrics.read("log_size", "Entries in the transparency log.", lambda: log.size)
    metrics.read(
        "unsigned_entries", "Entries that no signed checkpoint holds yet.", lambda: log.size - log.signed
    )
    metrics.read(
        "checkpoint_age_seconds",
        "Since a checkpoint was signed; an idle log needs none.",
        lambda: clock.monotonic() - log.signed_at,
    )
    metrics.read("gaps", "Gaps in the facts that are overdue, and asked for again.", lambda: mender.open)
    metrics.read("disk_free_bytes", "Free on the disk of the log's folder.", free_bytes)
