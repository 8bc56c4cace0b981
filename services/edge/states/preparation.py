"""The join of the three answers that a request needs before it is dispatched, and who refuses first."""

from __future__ import annotations

import math

from shared.contracts.freehold.billing.v1.events_pb2 import BudgetReserved
from shared.contracts.freehold.moderation.v1.events_pb2 import Screened
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.contracts.freehold.tokenizer.v1.events_pb2 import Encoded

REFUSAL_WAIT_S = 0.2
"""How long a refusal waits for a stricter one."""


class Preparation:
    """What moderation, tokenizer and billing have answered so far."""

    __slots__ = (
        "encoded",
        "refusals",
        "refuse_at",
        "reserved",
        "revision",
        "screened",
        "since",
        "unacknowledged",
    )

    def __init__(self, now: float) -> None:
        self.since = now
        self.unacknowledged = 2
        """Of the two first records, how many the bus does not have for certain."""
        self.revision = 0
        """Of the prompt that counts: 1 once a redaction was published."""
        self.screened: Screened | None = None
        self.encoded: Encoded | None = None
        self.reserved: BudgetReserved | None = None
        self.refusals: dict[outcome.Refuser, outcome.RequestRefused] = {}
        self.refuse_at = math.inf

    @property
    def complete(self) -> bool:
        """Whether all three passed the newest revision."""
        return (
            self.screened is not None
            and self.encoded is not None
            and self.reserved is not None
            and not self.refusals
        )

    @property
    def answered(self) -> bool:
        """Whether nobody is left who could still refuse."""
        return (
            (self.screened is not None or outcome.REFUSER_POLICY in self.refusals)
            and (self.encoded is not None or outcome.REFUSER_TOKENIZER in self.refusals)
            and (self.reserved is not None or outcome.REFUSER_BILLING in self.refusals)
        )

    def revise(self) -> None:
        """Another prompt takes the first one's place: what the tokenizer said of that no longer counts."""
        self.revision += 1
        self.encoded = None
        self.refusals.pop(outcome.REFUSER_TOKENIZER, None)
        if not self.refusals:
            self.refuse_at = math.inf

    def refuse(self, now: float, refusal: outcome.RequestRefused) -> None:
        """Take a refusal in; the first of its service counts."""
        self.refusals.setdefault(refusal.by, refusal)
        self.refuse_at = min(self.refuse_at, now + REFUSAL_WAIT_S)

    def refusal_due(self, now: float) -> outcome.RequestRefused | None:
        """The refusal that the client is told, once it need not wait any longer: policy, context,
        idempotency, budget.
        """
        if not self.refusals:
            return None
        first = min(self.refusals.values(), key=_rank)
        if first.by == outcome.REFUSER_POLICY or self.answered or now >= self.refuse_at:
            return first
        return None


def _rank(refusal: outcome.RequestRefused) -> int:
    if refusal.by == outcome.REFUSER_BILLING:
        return 2 if refusal.kind.startswith("REPEATED") else 3
    return 0 if refusal.by == outcome.REFUSER_POLICY else 1
