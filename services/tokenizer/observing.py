"""What an operator sees of the tokenizer: one span a request, and bound metrics."""

from __future__ import annotations

from services.tokenizer.encoding import Outcome, Refusal
from shared.bus.envelope import Envelope
from shared.clock import Clock
from shared.telemetry import Telemetry, Turn
from shared.telemetry import semconv as names


class Observer:
    """Records spans and metrics of encoded requests."""

    def __init__(self, telemetry: Telemetry, clock: Clock) -> None:
        metrics = telemetry.metrics("tokenizer")
        self._telemetry = telemetry
        self._recorder = telemetry.recorder("tokenizer")
        self._clock = clock
        self._tokens = metrics.tokens("prompt_tokens", "Tokens of encoded prompts.")
        self._seconds = metrics.seconds("encode_seconds", "From a batch's arrival to its ids.")
        self._refused = metrics.counter("refused", "Requests that were refused, by kind.", ("kind",))

    def turn(self) -> Turn:
        """A batch begins."""
        return self._telemetry.turn(self._recorder, "requests", "encode")

    def observe(self, turn: Turn, asked: Envelope, model: str, outcome: Outcome) -> bytes:
        """Note one finished request; returns the `traceparent` that its answer carries on."""
        self._seconds.observe(max(0, self._clock.time_ns() - turn.begun) / 1e9)
        result: tuple[str, str | int]
        if isinstance(outcome, Refusal):
            # The client's fault, so the span has not failed.
            result = (names.ERROR_TYPE, outcome.kind.value)
            self._refused.labels(outcome.kind.name).inc()
        else:
            result = (names.GEN_AI_USAGE_INPUT_TOKENS, len(outcome))
            self._tokens.observe(len(outcome))
        attributes = ((names.GEN_AI_REQUEST_MODEL, model), result)
        return turn.note(asked.traceparent, attributes, asked.request)
