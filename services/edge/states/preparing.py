"""Rows of the table before `ready`: acceptance, the three answers, refusals."""

from __future__ import annotations

from services.edge.states import failures
from services.edge.states.effects import NOTHING, Effects, PublishRedacted, PublishRequest, PublishReserve
from services.edge.states.transitions import State, Transitions
from shared.contracts.freehold.billing.v1.events_pb2 import BudgetReserved
from shared.contracts.freehold.moderation.v1.events_pb2 import Screened
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.contracts.freehold.tokenizer.v1.events_pb2 import Encoded
from shared.errors import Kind

ACKNOWLEDGED_S = 2.0
PREPARED_S = 20.0

_PASSED = (outcome.VERDICT_ALLOW, outcome.VERDICT_FLAG, outcome.VERDICT_REDACT)


class Preparing(Transitions):
    """Events until moderation, tokenizer and billing have answered."""

    __slots__ = ()

    def begin(self) -> Effects:
        """The request was accepted."""
        return PublishRequest(), PublishReserve()

    def acknowledged(self) -> Effects:
        """The bus has one of the two first records."""
        self.preparation.unacknowledged -= 1
        return NOTHING

    def not_acknowledged(self) -> Effects:
        """The bus refused a record of the preparation, or it is not certain that it has it."""
        return self._fail(failures.not_acknowledged()) if self.state is State.PREPARING else NOTHING

    def screened(self, now: float, answer: Screened) -> Effects:
        """Moderation passed the input, perhaps with spans to replace."""
        preparation = self.preparation
        if self.state is not State.PREPARING or preparation.screened is not None:
            return NOTHING
        redacts = answer.verdict == outcome.VERDICT_REDACT
        if answer.verdict not in _PASSED or redacts != bool(answer.spans):
            return self._fail(failures.step_failed("moderation"))
        preparation.screened = answer
        self.evidence.judged(answer.verdict, answer.matches, answer.policy_versions)
        if redacts:
            preparation.revise()
            if not preparation.refusals:
                return (PublishRedacted(preparation.revision),)
        return self._join(now)

    def encoded(self, now: float, answer: Encoded) -> Effects:
        """The tokenizer encoded a revision of the prompt."""
        preparation = self.preparation
        if (
            self.state is not State.PREPARING
            or preparation.encoded is not None
            or answer.revision != preparation.revision
        ):
            return NOTHING
        if answer.count > self.terms.prompt_bound:
            return self._fail(failures.above_bound(answer.count, self.terms.prompt_bound))
        if answer.count != len(answer.ids) or answer.count >= self.terms.context:
            return self._fail(failures.step_failed("tokenizer"))
        preparation.encoded = answer
        return self._join(now)

    def reserved(self, now: float, answer: BudgetReserved) -> Effects:
        """Billing reserved the worst case."""
        if self.state is not State.PREPARING or self.preparation.reserved is not None:
            return NOTHING
        self.preparation.reserved = answer
        return self._join(now)

    def refused(self, now: float, refusal: outcome.RequestRefused) -> Effects:
        """A service refused the request. The tokenizer's counts for the newest revision only."""
        stale = refusal.by == outcome.REFUSER_TOKENIZER and refusal.revision != self.preparation.revision
        if self.state is not State.PREPARING or stale:
            return NOTHING
        if refusal.by == outcome.REFUSER_UNSPECIFIED or refusal.kind not in Kind.__members__:
            return self._fail(failures.step_failed("refusal"))
        self.preparation.refuse(now, refusal)
        return self._join(now)

    def unredactable(self) -> Effects:
        """The spans that moderation named do not lie in the request."""
        return self._fail(failures.step_failed("moderation")) if self.state is State.PREPARING else NOTHING

    def _join(self, now: float) -> Effects:
        refusal = self.preparation.refusal_due(now)
        if refusal is not None:
            self.evidence.refused(refusal)
            return self._end(State.REFUSED, failures.refused(refusal))
        return self._wait(now, first=False) if self.preparation.complete else NOTHING

    def _tick_preparing(self, now: float) -> Effects:
        waited = now - self.preparation.since
        if waited >= ACKNOWLEDGED_S and self.preparation.unacknowledged > 0:
            return self._fail(failures.not_acknowledged())
        if now >= self.preparation.refuse_at:
            return self._join(now)
        return self._fail(failures.late()) if waited >= PREPARED_S else NOTHING
