"""What an operator sees of generation: one span an attempt, and bound metrics."""

from __future__ import annotations

from services.inference.attempts.admission import Admission
from services.inference.attempts.attempt import Attempt
from services.inference.scheduler import Finish, Step
from services.inference.worker import Worker
from shared.clock import Clock
from shared.telemetry import (
    Recorder,
    SpanKind,
    Telemetry,
    TraceContext,
    format_traceparent,
    parse_traceparent,
)
from shared.telemetry import semconv as names


class Observer:
    """Records spans and metrics of attempts and steps."""

    def __init__(self, telemetry: Telemetry, clock: Clock, model: str) -> None:
        metrics = telemetry.metrics("inference")
        self._recorder: Recorder = telemetry.recorder("inference")
        self._clock = clock
        self._model = model
        self._spans: dict[Attempt, tuple[TraceContext, TraceContext]] = {}
        self._ended: dict[Attempt, int] = {}
        self._first = metrics.seconds("time_to_first_token_seconds", "From work to its first id.")
        self._pace = metrics.seconds("time_per_output_token_seconds", "Mean of an attempt, after the first.")
        tokens = metrics.counter("tokens", "Tokens by kind.", ("kind",))
        self._prefilled = tokens.labels("prefilled")
        self._cached = tokens.labels("cached")
        self._generated = tokens.labels("generated")
        ends = metrics.counter("attempts", "Attempts that ended, by reason.", ("reason",))
        self._ends = {finish: ends.labels(finish.value) for finish in Finish}
        rejected = metrics.counter("rejected", "Work that was not taken, by reason.", ("reason",))
        self._rejected = {reason: rejected.labels(reason) for reason in ("full", "cells", "model")}
        self._foreign = metrics.counter("foreign_cancels", "Cancels by who does not own the attempt.")
        self._running = metrics.gauge("running", "Attempts that run or wait for a slot.")
        self._failures = metrics.counter("failed_steps", "Steps that the engine failed.")

    def begin(self, attempt: Attempt) -> bytes:
        """The attempt was taken; returns the `traceparent` that its frames and usage carry on."""
        self._running.inc()
        parent = parse_traceparent(attempt.envelope.traceparent)
        if parent is None:
            return attempt.envelope.traceparent
        context = self._recorder.child(parent)
        self._spans[attempt] = (context, parent)
        return format_traceparent(context)

    def rejected(self, reason: str) -> None:
        """Work was not taken."""
        self._rejected[reason].inc()

    def foreign(self) -> None:
        """A cancel came from who does not own the attempt."""
        self._foreign.inc()

    def first(self, attempt: Attempt) -> None:
        """The attempt's first id was given out."""
        if attempt.first is not None:
            self._first.observe(attempt.first - attempt.begun)

    def step(self, step: Step) -> None:
        """A step of the engine."""
        if step.prefilled:
            self._prefilled.inc(step.prefilled)
        if step.drawn:
            self._generated.inc(step.drawn)
        if step.error:
            self._failures.inc()

    def end(self, attempt: Attempt) -> None:
        """The engine has ended the attempt."""
        self._running.dec()
        finish = attempt.finish or Finish.FAILED
        self._ends[finish].inc()
        self._cached.inc(attempt.cached)
        generated = attempt.generated
        if attempt.first is not None and generated > 1:
            self._pace.observe((self._clock.monotonic() - attempt.first) / (generated - 1))
        if attempt in self._spans:
            self._ended[attempt] = self._clock.time_ns()

    def durable(self, attempt: Attempt) -> None:
        """Its usage is acknowledged, so its end is told."""
        span = self._spans.pop(attempt, None)
        if span is None:
            return
        now = self._clock.time_ns()
        finish, number = attempt.finish or Finish.FAILED, attempt.envelope.attempt
        # Of the two, what is out of the ordinary: eight attributes are the most.
        said = (
            (names.FREEHOLD_ATTEMPT, number)
            if number > 1
            else (names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, attempt.cached)
        )
        self._recorder.record(
            "inference generate",
            *span,
            attempt.begun_ns,
            now,
            SpanKind.CONSUMER,
            (
                (names.GEN_AI_OPERATION_NAME, names.GEN_AI_OPERATION_TEXT_COMPLETION),
                (names.GEN_AI_PROVIDER_NAME, names.GEN_AI_PROVIDER_FREEHOLD),
                (names.GEN_AI_REQUEST_MODEL, self._model),
                (names.GEN_AI_USAGE_INPUT_TOKENS, len(attempt.work.prompt)),
                (names.GEN_AI_USAGE_OUTPUT_TOKENS, attempt.generated),
                (names.GEN_AI_RESPONSE_FINISH_REASONS, (finish.value,)),
                (names.FREEHOLD_PUBLISH_DURATION, (now - self._ended.pop(attempt, now)) * 1e-9),
                said,
            ),
            error="the engine failed" if finish is Finish.FAILED else None,
            request=attempt.envelope.request,
        )


def tell(telemetry: Telemetry, admission: Admission, worker: Worker) -> None:
    """Show slots, cells and the engine's thread at each scrape."""
    metrics = telemetry.metrics("inference")
    metrics.read("slots", "Sequences that may run at a time.", lambda: admission.slots)
    metrics.read("free_slots", "Of these, free.", lambda: admission.free_slots)
    metrics.read("queued", "Sequences that wait for a slot.", lambda: admission.queued)
    metrics.read("cells", "Tokens that all sequences together may hold.", lambda: admission.cells)
    metrics.read("free_cells", "Of these, not promised to anything taken.", lambda: admission.free_cells)
    metrics.read("held_cells", "Cells that hold a token, for prefixes too.", lambda: worker.held_cells)
    metrics.read_total("steps", "Steps of the engine.", lambda: worker.steps)
    metrics.read_total("busy_seconds", "Time that the engine's thread worked.", lambda: worker.busy_seconds)
