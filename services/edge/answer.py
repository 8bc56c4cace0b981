"""The seam between a request's owner and whoever holds the client: vetted pieces one way, leaving the other.

The owner puts pieces in and never waits for a socket; a transport takes all that is ready at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from shared.contracts.freehold.edge.v1.request_pb2 import CompletionRequest
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.errors import FreeholdError
from shared.telemetry.trace import TraceContext

BUFFER_BYTES = 256 * 1024
"""Text that may wait for one client; more means that its reader is too slow."""


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
    """10^-9 of a currency unit; equals the settlement."""
    currency: str = ""
    price_version: str = ""
    weights_digest: str = ""
    tokenizer_digest: str = ""
    template_digest: str = ""
    policy_versions: tuple[str, ...] = ()
    verdict: outcome.Verdict = outcome.VERDICT_UNSPECIFIED
    rules: tuple[str, ...] = ()
    limited: bool = False


@dataclass(slots=True)
class Answer:
    """One request's way out. Written by its owner, read by one transport, in one event loop."""

    request: str
    on_leave: Callable[[str], None]
    """Owner's own: called with a reason once the client is gone or was too slow."""
    on_sent: Callable[[], None]
    """Owner's own: a plain answer's body was handed to the transport whole."""
    outcome: Outcome | None = None
    _pieces: list[Piece] = field(default_factory=list)
    _bytes: int = 0
    _waiter: asyncio.Future[None] | None = None

    def put(self, piece: Piece) -> bool:
        """Owner: add a piece. False = the buffer is full and the piece was not taken."""
        size = len(piece.text.encode())
        if self._bytes + size > BUFFER_BYTES:
            return False
        self._bytes += size
        self._pieces.append(piece)
        self._wake()
        return True

    def finish(self, end: Outcome) -> None:
        """Owner: nothing comes after this; pieces not yet taken stay."""
        self.outcome = end
        self._wake()

    async def ready(self) -> None:
        """Transport: return once there are pieces or the outcome."""
        if self._pieces or self.outcome is not None:
            return
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def take(self) -> list[Piece]:
        """Transport: all pieces that are ready; they count as out of the buffer."""
        pieces, self._pieces, self._bytes = self._pieces, [], 0
        return pieces

    def leave(self, reason: str) -> None:
        """Transport: the client is gone; the owner cancels what still runs."""
        if self.outcome is None:
            self.on_leave(reason)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
