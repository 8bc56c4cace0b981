"""What an operator sees of the owner: one span a request, and bound metrics."""

from __future__ import annotations

from collections.abc import Callable, Collection

from services.edge.owner.entry import Entry
from services.edge.states.closing import was_out
from services.edge.states.failures import ABOVE_BOUND
from services.edge.states.machine import State
from shared.clock import Clock
from shared.contracts.freehold.platform.v1.outcome_pb2 import FinishReason, Verdict
from shared.errors import FreeholdError, Kind
from shared.pulses import Seen
from shared.telemetry import SpanKind, Telemetry
from shared.telemetry import semconv as names
from shared.telemetry.metrics import Bounded
from shared.telemetry.trace import AttributeValue

SPAN = "edge.request"
TENANTS = 50
"""Organisations that are counted by name; those that come later are `other`."""
_VERDICTS = {
    Verdict.VERDICT_ALLOW: "allow",
    Verdict.VERDICT_FLAG: "flag",
    Verdict.VERDICT_REDACT: "redact",
    Verdict.VERDICT_REFUSE: "refuse",
}
TERMINAL_STATES = (State.COMPLETED, State.REFUSED, State.FAILED, State.CANCELLED, State.EXPIRED)


class Observer:
    """Notes a request's times as they come, and all of it at its end."""

    def __init__(self, telemetry: Telemetry, clock: Clock) -> None:
        metrics = telemetry.metrics("edge")
        self._metrics = metrics
        self._recorder = telemetry.recorder("edge")
        self._clock = clock
        self._first = metrics.seconds("first_token_seconds", "From acceptance to the first vetted text.")
        self._each = metrics.seconds("token_seconds", "Between two tokens of an answer, its mean.")
        self._held_s = metrics.seconds("held_seconds", "Longest time that text of an answer was held back.")
        self._held = metrics.tokens("held_tokens", "Most tokens of an answer that were held back.")
        self._queued = metrics.seconds("queue_seconds", "From ready to dispatched.")
        requests = metrics.counter("requests", "Requests by how they ended.", ("state",))
        self._states = {state: requests.labels(state.name.lower()) for state in TERMINAL_STATES}
        tokens = metrics.counter("tokens", "Tokens of answered requests.", ("kind",))
        self._prompt, self._cached, self._output = (
            tokens.labels(kind) for kind in ("prompt", "cached", "delivered")
        )
        self._attempts = metrics.counter("attempts", "Dispatches to workers.")
        text = "Requests that were judged, by organisation and the stricter verdict of input and output."
        self._verdicts = metrics.counter("verdicts", text, ("tenant", "verdict"))
        self._tenants = Bounded(TENANTS)
        self._bounds = metrics.counter(
            "bound_alarms", "Prompts with more tokens than their bound: a fault of the model's manifest."
        )
        self._not_taken = metrics.counter(
            "not_taken",
            "Requests that were not taken at all: for load, or because somebody is missing.",
            ("code",),
        )
        for kind in (Kind.OVERLOADED, Kind.RATE, Kind.NOT_READY):
            self._not_taken.labels(kind.value)  # so that its first is an increase from 0
        self.late = metrics.counter("late_records", "Answers to requests that had ended.")
        self.undecodable = metrics.counter("undecodable_records", "Records that could not be understood.")
        self.in_flight = metrics.gauge("in_flight", "Requests that have not ended.")
        self.waiting = metrics.gauge("queue_length", "Requests that wait for a worker.")
        self.unacknowledged = metrics.gauge(
            "unacknowledged_records", "Closes and cancels that the bus has not acknowledged."
        )

    def tell(self, workers: Callable[[], Collection[Seen]]) -> None:
        """Show, at each scrape, the workers that work may be sent to."""

        def slots() -> float:
            return sum(seen.load.free_slots for seen in workers() if seen.load is not None)

        self._metrics.read("workers", "Ready workers that this edge hears.", lambda: len(workers()))
        self._metrics.read("free_slots", "Slots that they say are free.", slots)

    def not_taken(self, error: FreeholdError) -> None:
        """A submission was refused before it became a request."""
        self._not_taken.labels(error.code).inc()

    def begin(self, entry: Entry) -> None:
        """A request was accepted: gives it its span."""
        entry.accepted_ns = self._clock.time_ns()
        entry.parent = entry.submission.trace
        parent = entry.parent
        entry.span = self._recorder.root() if parent is None else self._recorder.child(parent)

    def dispatched(self, entry: Entry, now: float) -> None:
        """It was sent to a worker."""
        self._attempts.inc()
        self._queued.observe(now - entry.ready_at)

    def first_text(self, entry: Entry, now: float) -> None:
        """Its first text is in the buffer."""
        entry.first_at = now
        entry.first_ns = self._clock.time_ns()
        self._first.observe(now - entry.accepted_at)

    def closed(self, entry: Entry) -> None:
        """It has its terminal state."""
        machine, evidence = entry.machine, entry.machine.evidence
        delivered = sum(len(choice.ids) for choice in machine.choices)
        if verdict := _VERDICTS.get(evidence.verdict):
            self._verdicts.labels(self._tenants(entry.submission.principal.organisation), verdict).inc()
        self._states[machine.state].inc()
        if delivered:
            self._prompt.inc(evidence.prompt)
            self._cached.inc(evidence.cached)
            self._output.inc(delivered if was_out(machine) else 0)
            self._held.observe(evidence.held_tokens)
            self._held_s.observe(evidence.held_ms / 1000)
            if delivered > 1:
                self._each.observe((entry.last_at - entry.first_at) / (delivered - 1))
        if evidence.code == ABOVE_BOUND:
            self._bounds.inc()
        if entry.span is not None:
            self._record(entry, delivered)

    def _record(self, entry: Entry, delivered: int) -> None:
        machine, evidence = entry.machine, entry.machine.evidence
        span = entry.span
        if span is None or not span.sampled:
            return
        chat = bool(entry.submission.request.messages)
        attributes: tuple[tuple[str, AttributeValue], ...] = (
            (
                names.GEN_AI_OPERATION_NAME,
                names.GEN_AI_OPERATION_CHAT if chat else names.GEN_AI_OPERATION_TEXT_COMPLETION,
            ),
            (names.GEN_AI_REQUEST_MODEL, entry.model.name),
            (names.GEN_AI_USAGE_INPUT_TOKENS, evidence.prompt),
            (names.GEN_AI_USAGE_OUTPUT_TOKENS, delivered),
            (names.GEN_AI_RESPONSE_FINISH_REASONS, (_finish(evidence.finish),)),
            (names.FREEHOLD_STATE, machine.state.name.lower()),
            (names.FREEHOLD_TENANT, entry.submission.principal.organisation),
            (names.FREEHOLD_PUBLISH_DURATION, entry.published_s),
        )
        self._recorder.record(
            SPAN,
            span,
            entry.parent,
            entry.accepted_ns,
            self._clock.time_ns(),
            SpanKind.INTERNAL,
            attributes,
            error=evidence.code if machine.state is State.FAILED else None,
            request=entry.request,
        )


def _finish(reason: FinishReason) -> str:
    return FinishReason.Name(reason).removeprefix("FINISH_REASON_").lower()
