"""What an operator sees of billing: short spans in each request's trace, and bound metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.billing.books.booking import STATES, Booked
from services.billing.books.rows import RequestRow
from services.billing.evidence import OWNER_LOST
from shared.clock import Clock
from shared.telemetry import Telemetry, Turn
from shared.telemetry import semconv as names
from shared.telemetry.metrics import Counter

NANOS: Final = 1e-9


class Observer:
    """Records spans and metrics of reservations and settlements."""

    def __init__(self, telemetry: Telemetry, clock: Clock) -> None:
        metrics = telemetry.metrics("billing")
        self._telemetry = telemetry
        self._recorder = telemetry.recorder("billing")
        self._clock = clock
        text = "Answers to reserves: reserved, or the kind of the refusal."
        self._answers = metrics.counter("reservations", text, ("outcome",))
        self._reserve_seconds = metrics.seconds("reserve_seconds", "From a batch's arrival to its commit.")
        self._settle_seconds = metrics.seconds("settle_seconds", "From a batch's arrival to its facts.")
        settled = metrics.counter("settled", "Settled requests by terminal state.", ("state",))
        self._settled = {state: settled.labels(state) for state in (*STATES.values(), OWNER_LOST)}
        tokens = metrics.counter("tokens", "Output tokens of settled requests.", ("what",))
        self._tokens = [tokens.labels(what) for what in ("generated", "delivered", "billed")]
        money = metrics.counter("money", "Currency units that were settled.", ("what", "currency"))
        self._money = money
        self._bound_money: dict[tuple[str, str], Counter] = {}
        self._missing = metrics.counter("usage_missing", "Settlements that a usage never came for.")
        self._late = metrics.counter("late", "Usages and closes that came after the settlement.")
        self._parked = metrics.counter("parked", "Records that could not be understood.", ("topic",))

    def turn(self, topic: str) -> Turn:
        """A batch of `reserves`, `usage` or `closed` begins, or a sweep of `requests`."""
        verb = "reserve" if topic == "reserves" else "settle"
        return self._telemetry.turn(self._recorder, topic, verb)

    def now(self) -> int:
        """Nanoseconds since the Unix epoch."""
        return self._clock.time_ns()

    def reserved(self, turn: Turn, row: RequestRow, traceparent: bytes) -> bytes:
        """Note one answered reserve; the `traceparent` that its answer carries on."""
        outcome = row.refusal or "RESERVED"
        self._answers.labels(outcome).inc()
        attributes = ((names.FREEHOLD_AMOUNT_NANOS, row.reserved), (names.FREEHOLD_OUTCOME, outcome))
        return turn.note(traceparent, attributes, row.request)

    def settled(self, turn: Turn, items: Sequence[Booked]) -> list[bytes]:
        """Note settlements; the `traceparent`s that their facts carry on."""
        states: dict[str, int] = {}
        money: dict[str, tuple[int, int]] = {}
        tokens = [0, 0, 0]
        parents = []
        for fact, state, currency, account in items:
            total = account.charge.total
            states[state] = states.get(state, 0) + 1
            billed, cost = money.get(currency, (0, 0))
            money[currency] = billed + total, cost + account.operator_cost
            tokens[0] += account.generated
            tokens[1] += account.delivered
            tokens[2] += account.billed
            if account.usage_missing:
                self._missing.inc()
            attributes = ((names.FREEHOLD_STATE, state), (names.FREEHOLD_AMOUNT_NANOS, total))
            parents.append(turn.note(fact.traceparent, attributes, fact.request))
        for state, count in states.items():
            self._settled[state].inc(count)
        for counter, count in zip(self._tokens, tokens, strict=True):
            counter.inc(count)
        # Both, also where one is 0: the first cost of a currency is then an increase.
        for currency, (billed, cost) in money.items():
            self._count_money("billed", currency, billed)
            self._count_money("operator_cost", currency, cost)
        return parents

    def late(self, count: int) -> None:
        """Events came after their request's settlement."""
        if count:
            self._late.inc(count)

    def parked(self, topic: str, count: int = 1) -> None:
        """Records were parked."""
        if count:
            self._parked.labels(topic).inc(count)

    def end_reserve(self, turn: Turn) -> None:
        """A batch of reserves is committed and answered."""
        self._reserve_seconds.observe(max(0, self._clock.time_ns() - turn.begun) * NANOS)

    def end_settle(self, turn: Turn) -> None:
        """A batch of evidence is committed and its facts are durable."""
        self._settle_seconds.observe(max(0, self._clock.time_ns() - turn.begun) * NANOS)

    def _count_money(self, what: str, currency: str, amount: int) -> None:
        bound = self._bound_money.get((what, currency))
        if bound is None:
            bound = self._bound_money[what, currency] = self._money.labels(what, currency)
        bound.inc(amount * NANOS)
