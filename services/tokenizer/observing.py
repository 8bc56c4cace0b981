"""What an operator sees of the tokenizer: one span a request, and bound metrics."""

from __future__ import annotations

from services.tokenizer.encoding import Outcome, Refusal
from shared.bus.envelope import Envelope
from shared.clock import Clock
from shared.telemetry import Recorder, SpanKind, Telemetry, format_traceparent, parse_traceparent
from shared.telemetry import semconv as names


class Observer:
    """Records spans and metrics of encoded requests."""

    def __init__(self, telemetry: Telemetry, clock: Clock) -> None:
        metrics = telemetry.metrics("tokenizer")
        self._recorder: Recorder = telemetry.recorder("tokenizer")
        self._clock = clock
        self._tokens = metrics.tokens("prompt_tokens", "Tokens of encoded prompts.")
        self._seconds = metrics.seconds("encode_seconds", "From a batch's arrival to its ids.")
        self._refused = metrics.counter("refused", "Requests that were refused, by kind.", ("kind",))

    def now(self) -> int:
        """Nanoseconds since the Unix epoch."""
        return self._clock.time_ns()

    def observe(self, asked: Envelope, model: str, begun: int, outcome: Outcome) -> bytes:
        """Note one finished request; returns the `traceparent` that its answer carries on."""
        ended = self._clock.time_ns()
        self._seconds.observe(max(0, ended - begun) / 1e9)
        result: tuple[str, str | int]
        if isinstance(outcome, Refusal):
            # The client's fault, so the span has not failed.
            result = (names.ERROR_TYPE, outcome.kind.value)
            self._refused.labels(outcome.kind.name).inc()
        else:
            result = (names.GEN_AI_USAGE_INPUT_TOKENS, len(outcome))
            self._tokens.observe(len(outcome))
        parent = parse_traceparent(asked.traceparent)
        if parent is None:
            return asked.traceparent
        context = self._recorder.child(parent)
        self._recorder.record(
            "tokenizer encode",
            context,
            parent,
            begun,
            ended,
            SpanKind.CONSUMER,
            (
                (names.MESSAGING_DESTINATION_NAME, "requests"),
                (names.MESSAGING_OPERATION_TYPE, "process"),
                (names.GEN_AI_REQUEST_MODEL, model),
                result,
            ),
            request=asked.request,
        )
        return format_traceparent(context)
