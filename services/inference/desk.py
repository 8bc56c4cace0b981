"""What clients and operators may ask a worker directly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import NamedTuple, Protocol

from services.inference.attempts.admission import Refusal
from services.inference.attempts.asking import NotServed
from services.inference.attempts.attempt import Work
from services.inference.attempts.generation import Generation
from services.inference.attempts.tap import Drop, Tap
from shared.bus.envelope import Envelope
from shared.contracts.freehold.edge.v1 import events_pb2 as edge
from shared.contracts.freehold.platform.v1 import pulse_pb2 as pulse
from shared.errors import FreeholdError, Kind
from shared.ids import Ids

SALT = b"diagnostic"


class Loaded(NamedTuple):
    """A worker that has its engine."""

    generation: Generation
    understand: Callable[[edge.GenerateTokens], Work]
    model: pulse.ServedModel


class Holder(Protocol):
    """The service that has the engine, once it is loaded."""

    def loaded(self) -> Loaded | None:
        """None before the engine is loaded."""

    def load(self) -> pulse.WorkerLoad:
        """What a pulse says."""


class Desk:
    """Answers by the state of its service; every refusal is a `FreeholdError`."""

    def __init__(self, holder: Holder, ids: Ids, diagnostics: bool) -> None:
        self._holder = holder
        self._ids = ids
        self._diagnostics = diagnostics

    def load(self) -> pulse.WorkerLoad:
        """What the last pulse said, or would have. Raises NOT_READY."""
        self._loaded()
        return self._holder.load()

    def models(self) -> list[pulse.ServedModel]:
        """The models that are loaded. Raises NOT_READY."""
        return [self._loaded().model]

    async def generate(self, asked: edge.GenerateTokens) -> AsyncIterator[Drop]:
        """Generate for an operator, booked as operator cost; closing the iterator cancels."""
        if not self._diagnostics:
            raise FreeholdError(Kind.FORBIDDEN, "diagnostic generation is off on this worker")
        generation, understand, model = self._loaded()
        if asked.model != model.name:
            raise FreeholdError(Kind.MODEL_UNKNOWN, f"this worker serves {model.name}", param="model")
        asked.weights_digest, asked.tokenizer_digest = model.weights_digest, model.tokenizer_digest
        asked.tenant_salt = SALT
        try:
            work = understand(asked)
        except NotServed as error:
            raise FreeholdError(Kind.BAD_REQUEST, str(error)) from error
        tap = Tap()
        envelope = Envelope("GenerateTokens", "", 0, request=self._ids.request(), attempt=1)
        attempt = generation.accept(envelope, work, tap, diagnostic=True)
        if isinstance(attempt, Refusal):
            raise FreeholdError(Kind.OVERLOADED, f"the worker is full: {attempt.value}")
        try:
            async for drop in tap.drops():
                yield drop
        finally:
            generation.abandon(attempt)

    def _loaded(self) -> Loaded:
        found = self._holder.loaded()
        if found is None:
            raise FreeholdError(Kind.NOT_READY, "the engine is not loaded yet")
        return found
