"""The states of a request, and the transitions that several rows of its table share."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from services.edge.states import failures
from services.edge.states.attempts import MOST_LOST, Attempt, resumable
from services.edge.states.chain import Choice
from services.edge.states.effects import Cancel, Close, Effect, Effects, Enqueue, Finish
from services.edge.states.evidence import Evidence
from services.edge.states.outcomes import describe
from services.edge.states.preparation import Preparation
from shared.contracts.freehold.edge.v1.events_pb2 import ACCEPTED_YES
from shared.contracts.freehold.edge.v1.request_pb2 import CompletionRequest
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.errors import FreeholdError


class State(IntEnum):
    """Where a request stands; from COMPLETED on nothing changes any more."""

    PREPARING = 1
    READY = 2
    DISPATCHED = 3
    RUNNING = 4
    SENDING = 5
    """Running of a plain answer whose text is all here, and whose body is not yet with the transport."""
    COMPLETED = 10
    REFUSED = 11
    FAILED = 12
    CANCELLED = 13
    EXPIRED = 14


TERMINAL = {
    State.COMPLETED: outcome.TERMINAL_STATE_COMPLETED,
    State.REFUSED: outcome.TERMINAL_STATE_REFUSED,
    State.FAILED: outcome.TERMINAL_STATE_FAILED,
    State.CANCELLED: outcome.TERMINAL_STATE_CANCELLED,
    State.EXPIRED: outcome.TERMINAL_STATE_EXPIRED,
}


class Terms(NamedTuple):
    """What is settled about a request when it is accepted."""

    request: CompletionRequest
    streamed: bool
    choices: int
    prompt_bound: int
    max_output: int
    context: int
    weights_digest: str
    deadline: float
    """Monotonic seconds."""


class Transitions:
    """A request's state and evidence; who knows an event decides, this only moves."""

    __slots__ = (
        "_broken",
        "_k",
        "_lost",
        "_ready_at",
        "attempts",
        "choices",
        "evidence",
        "preparation",
        "state",
        "terms",
    )

    def __init__(self, terms: Terms, now: float) -> None:
        self.terms = terms
        self.state = State.PREPARING
        self.preparation = Preparation(now)
        self.choices = [Choice(number) for number in range(terms.choices)]
        self.attempts: list[Attempt] = []
        self.evidence = Evidence()
        self._k = 0
        """The current attempt's number; 0 = none runs."""
        self._lost = 0
        self._broken = 0
        self._ready_at = now

    @property
    def terminal(self) -> bool:
        """Whether `Close` has been given out."""
        return self.state >= State.COMPLETED

    @property
    def current(self) -> Attempt | None:
        """The attempt that is dispatched or running."""
        return self.attempts[-1] if self._k else None

    @property
    def max_output(self) -> int:
        """Most output ids of a choice: what was reserved, within the context."""
        encoded = self.preparation.encoded
        return min(self.terms.max_output, self.terms.context - (encoded.count if encoded else 0))

    @property
    def cells(self) -> int:
        """Most cells of the key-value pool that the request fills: its prompt and all choices."""
        encoded = self.preparation.encoded
        return (encoded.count if encoded else 0) + self.max_output * self.terms.choices

    def _hear(self, attempt: int) -> bool:
        """Whether this is the current attempt's; its first sign of life makes it run."""
        if attempt != self._k or not attempt:
            return False
        if self.state is State.DISPATCHED:
            self.state = State.RUNNING
            self.attempts[-1].accepted = ACCEPTED_YES
        return True

    def _wait(self, now: float, *, first: bool) -> Effects:
        self.state = State.READY
        self._ready_at = now
        return (Enqueue(first),)

    def _lose(self, now: float) -> Effects:
        self._lost += 1
        return self._again(now) if self._lost < MOST_LOST else self._fail(failures.attempts_lost())

    def _break(self, now: float) -> Effects:
        self._broken += 1
        return self._again(now) if self._broken < MOST_LOST else self._fail(failures.unvetted())

    def _again(self, now: float) -> Effects:
        """Resume where something was received, else restart."""
        if any(choice.ids for choice in self.choices) and not resumable(self.terms.request):
            return self._fail(failures.not_resumable())
        return self._leave_attempt(now)

    def _leave_attempt(self, now: float) -> Effects:
        cancel = Cancel(self._k)
        self._k = 0
        for choice in self.choices:
            choice.forget()
        return (cancel, *self._wait(now, first=True))

    def _answered(self) -> Effects:
        """Every choice's end was delivered."""
        self._k = 0
        if self.terms.streamed:
            return self._end(State.COMPLETED, None)
        self.state = State.SENDING
        return (Finish(describe(self, outcome.TERMINAL_STATE_COMPLETED)),)

    def _cancel(self, reason: str) -> Effects:
        return self._end(State.CANCELLED, failures.cancelled(reason), reason)

    def _fail(self, error: FreeholdError) -> Effects:
        return self._end(State.FAILED, error)

    def _end(self, state: State, error: FreeholdError | None, code: str = "") -> Effects:
        effects: list[Effect] = [Cancel(self._k)] if self._k else []
        told = self.state is State.SENDING
        self.state = state
        self._k = 0
        self.evidence.closed(error, code)
        if not told:
            effects.append(Finish(describe(self, TERMINAL[state])))
        effects.append(Close())
        return tuple(effects)
