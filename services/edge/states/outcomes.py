"""How a request ended, as its client is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.edge.submission import Outcome
from shared.contracts.freehold.edge.v1.events_pb2 import ACCEPTED_YES
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.money import Prices, charge

if TYPE_CHECKING:
    from services.edge.states.transitions import Transitions


def describe(machine: Transitions, state: outcome.TerminalState) -> Outcome:
    """The outcome at this moment; the price by the rule that billing settles by."""
    evidence = machine.evidence
    encoded, reserved = machine.preparation.encoded, machine.preparation.reserved
    delivered = sum(len(choice.ids) for choice in machine.choices)
    completed = state == outcome.TERMINAL_STATE_COMPLETED
    price = 0
    if completed and reserved is not None:
        prices = Prices(reserved.prices.prompt, reserved.prices.cached, reserved.prices.output)
        price = charge(prices, evidence.prompt, evidence.cached, delivered, reserved.amount).total
    ran = any(attempt.accepted == ACCEPTED_YES for attempt in machine.attempts)
    return Outcome(
        state=state,
        finish=evidence.finish if completed else _CUT.get(state, outcome.FINISH_REASON_UNSPECIFIED),
        error=evidence.error,
        prompt=evidence.prompt or (encoded.count if encoded else 0),
        cached=evidence.cached,
        generated=delivered,
        delivered=delivered,
        billed=delivered if completed else 0,
        price=price,
        currency=reserved.currency if reserved else "",
        price_version=reserved.price_version if reserved else "",
        weights_digest=machine.terms.weights_digest if ran else "",
        tokenizer_digest=encoded.tokenizer_digest if encoded else "",
        template_digest=encoded.template_digest if encoded else "",
        policy_versions=tuple(evidence.policy_versions),
        verdict=evidence.verdict,
        rules=tuple(dict.fromkeys(match.rule for match in evidence.matches)),
        limited=reserved.limited if reserved else False,
    )


_CUT = {
    outcome.TERMINAL_STATE_FAILED: outcome.FINISH_REASON_FAILED,
    outcome.TERMINAL_STATE_CANCELLED: outcome.FINISH_REASON_CANCELLED,
    outcome.TERMINAL_STATE_EXPIRED: outcome.FINISH_REASON_CANCELLED,
}
