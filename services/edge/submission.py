"""What a request's owner is given, and what it gives back: values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from shared.contracts.freehold.control.v1.config_pb2 import PRIORITY_UNSPECIFIED, Priority
from shared.contracts.freehold.edge.v1.request_pb2 import CompletionRequest
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.errors import FreeholdError
from shared.telemetry.trace import TraceContext


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: the key that was shown, and what it may do."""

    key: str
    organisation: str
    project: str
    roles: frozenset[str]
    deadline_s: float
    models: frozenset[str]
    """Empty = all."""
    max_in_flight: int
    priority: Priority = PRIORITY_UNSPECIFIED


@dataclass(frozen=True, slots=True)
class Submission:
    """A validated request with all that its owner needs beside it."""

    request: CompletionRequest
    principal: Principal
    fingerprint: bytes
    """SHA-256 of the body as it was sent."""
    body_bytes: int
    streamed: bool
    idempotency_key: str = ""
    trace: TraceContext | None = None
    """The transport's server span."""


class Piece(NamedTuple):
    """Vetted text of one choice, and the number of ids that it ends."""

    choice: int
    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the request ended, and under what."""

    state: outcome.TerminalState
    finish: outcome.FinishReason
    error: FreeholdError | None = None
    """What a client is told where the state is not COMPLETED."""
    prompt: int = 0
    cached: int = 0
    generated: int = 0
    delivered: int = 0
    billed: int = 0
    price: int = 0
    """10^-9 of a currency unit. Of a completed request it equals the settlement; of any other it is 0,
    because what a cancelled or refused one is billed depends on usage that its owner does not see."""
    currency: str = ""
    price_version: str = ""
    weights_digest: str = ""
    tokenizer_digest: str = ""
    template_digest: str = ""
    policy_versions: tuple[str, ...] = ()
    verdict: outcome.Verdict = outcome.VERDICT_UNSPECIFIED
    rules: tuple[str, ...] = ()
    limited: bool = False
