"""What an operator sees of audit: a short span a request, its batch's where it joins several, and metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.audit.log import Log
from services.audit.mender import Mender
from shared.clock import Clock
from shared.telemetry import Telemetry, Turn
from shared.telemetry import semconv as names


class Observer:
    """Records spans and metrics of batches."""

    def __init__(self, telemetry: Telemetry, clock: Clock) -> None:
        metrics = telemetry.metrics("audit")
        self._telemetry = telemetry
        self._recorder = telemetry.recorder("audit")
        self._clock = clock
        self._appended = metrics.counter("entries", "Entries appended to the log.")
        self._repeated = metrics.counter("repeated", "Facts that were in the log already.")
        self._parked = metrics.counter("unfit", "Records of facts that no entry can be made of: an alarm.")
        self._seconds = metrics.seconds("append_seconds", "From a batch's turn to its durable leaves.")

    def turn(self) -> Turn:
        """A batch begins."""
        return self._telemetry.turn(self._recorder, "facts", "append", publishes=False)

    def now(self) -> int:
        """Nanoseconds since the Unix epoch."""
        return self._clock.time_ns()

    def appended(
        self, turn: Turn, requests: Sequence[tuple[str, int, bytes]], appended: int, unfit: int
    ) -> None:
        """Note a batch whose effect is durable: (request, seq, traceparent) of its facts, and how many of
        these were new, how many records were none.
        """
        self._appended.inc(appended)
        self._repeated.inc(len(requests) - appended)
        self._parked.inc(unfit)
        self._seconds.observe(max(0, self._clock.time_ns() - turn.begun) / 1e9)
        for request, seq, traceparent in requests:
            turn.note(traceparent, ((names.FREEHOLD_SEQ, seq),), request)


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
