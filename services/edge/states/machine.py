"""A request's states (proto/README.md, section 3): one method an event, each returns what to carry out.

Pure: time comes in with the events, as monotonic seconds. After the terminal state nothing has an effect.
The rows before `ready` stand in `preparing`, those of an attempt in `running`, the rest here.
"""

from __future__ import annotations

from services.edge.states import failures
from services.edge.states.attempts import Attempt
from services.edge.states.effects import NOTHING, Dispatch, Effects
from services.edge.states.running import Running
from services.edge.states.transitions import State, Terms

__all__ = ["Machine", "State", "Terms"]

NO_SEAT_S = 30.0


class Machine(Running):
    """One request from acceptance to its terminal state."""

    __slots__ = ()

    def seated(self, now: float, worker: int, seat: int) -> Effects:
        """A worker with room was chosen for the next attempt."""
        if self.state is not State.READY:
            return NOTHING
        attempt = Attempt(len(self.attempts) + 1, worker, seat, now, self.choices)
        self.attempts.append(attempt)
        self._k = attempt.number
        self.state = State.DISPATCHED
        return (Dispatch(attempt.number),)

    def unfit(self) -> Effects:
        """No live worker's whole pool holds the request."""
        return self._fail(failures.too_many_cells(self.cells)) if self.state is State.READY else NOTHING

    def left(self, reason: str) -> Effects:
        """The client is gone or too slow."""
        return NOTHING if self.terminal else self._cancel(reason)

    def revoked(self) -> Effects:
        """The client's key counts no more. A plain answer that is being sent cannot be taken back."""
        return NOTHING if self.terminal or self.state is State.SENDING else self._cancel("key_revoked")

    def sent(self) -> Effects:
        """A plain answer's body was handed to the transport whole."""
        return self._end(State.COMPLETED, None) if self.state is State.SENDING else NOTHING

    def shut_down(self) -> Effects:
        """The owner stops."""
        return NOTHING if self.terminal else self._fail(failures.shutting_down())

    def tick(self, now: float, seat_seen: float) -> Effects:
        """Time has passed; `seat_seen` = when a live worker for the model was last known."""
        if self.terminal or self.state is State.SENDING:  # its transport says how that ends
            return NOTHING
        if now >= self.terms.deadline:
            return self._end(State.EXPIRED, failures.expired())
        if self.state is State.RUNNING:
            return self._tick_running(now)
        if self.state is State.PREPARING:
            return self._tick_preparing(now)
        if self.state is State.DISPATCHED:
            return self._tick_dispatched(now)
        if self.state is State.READY and now - max(self._ready_at, seat_seen) >= NO_SEAT_S:
            return self._fail(failures.no_worker())
        return NOTHING
