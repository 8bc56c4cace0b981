"""Rows of the table for one attempt: dispatched and running.

What is not the current attempt's has no effect; the first sign of the current one makes it run.
"""

from __future__ import annotations

from services.edge.states import failures
from services.edge.states.attempts import MISSING_REPORTS, Attempt, Listed
from services.edge.states.chain import Choice, Delta, Ending
from services.edge.states.effects import NOTHING, Deliver, Effects
from services.edge.states.preparing import ACKNOWLEDGED_S, Preparing
from services.edge.states.transitions import State
from services.edge.submission import Piece
from shared.contracts.freehold.edge.v1.events_pb2 import ACCEPTED_NO
from shared.contracts.freehold.inference.v1.events_pb2 import (
    REJECT_REASON_CELLS,
    REJECT_REASON_FULL,
    RejectReason,
)
from shared.contracts.freehold.moderation.v1.events_pb2 import StreamRefused, StreamVerdict
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome

GAP_S = 2.0

BROKEN_OFF = (outcome.FINISH_REASON_FAILED, outcome.FINISH_REASON_CANCELLED)
"""Of an `End` whose chain goes on elsewhere."""
_NO_ROOM = (REJECT_REASON_FULL, REJECT_REASON_CELLS)


class Running(Preparing):
    """Events of attempts, their workers and their vetted streams."""

    __slots__ = ()

    def work_acknowledged(self, attempt: int, offset: int) -> Effects:
        """The bus has the work, at this offset."""
        if attempt and attempt == self._k:
            self.attempts[-1].offset = offset
        return NOTHING

    def work_not_acknowledged(self, now: float, attempt: int) -> Effects:
        """The bus refused the work, or it is not certain that it has it."""
        return self._lose(now) if self._dispatched(attempt) else NOTHING

    def work_accepted(self, now: float, attempt: int, weights_digest: str) -> Effects:
        """The worker took the attempt, and will run it on these weights."""
        if not self._hear(attempt) or weights_digest == self.terms.weights_digest:
            return NOTHING
        return self._fail(failures.work_refused())

    def work_rejected(self, now: float, attempt: int, reason: RejectReason) -> Effects:
        """The worker did not take the attempt."""
        if not self._dispatched(attempt):
            return NOTHING
        self.attempts[-1].accepted = ACCEPTED_NO
        if reason not in _NO_ROOM:
            return self._fail(failures.work_refused())
        return self._leave_attempt(now)

    def work_failed(self, now: float, attempt: int, *, draining: bool) -> Effects:
        """The attempt broke off at its worker; draining is not a lost attempt."""
        if not self._hear(attempt):
            return NOTHING
        return self._again(now) if draining else self._lose(now)

    def suspected(self, now: float, worker: int) -> Effects:
        """A worker has not been heard of for five own pulses."""
        return self._lose(now) if self._k and self.attempts[-1].worker == worker else NOTHING

    def reported(self, now: float, worker: int, offset: int, listed: Listed | None) -> Effects:
        """A worker said what it runs, of the current attempt this or nothing; `offset` = the one below which
        it has handled all its work.
        """
        if not self._k or not self.attempts[-1].report(worker, offset, listed):
            return NOTHING
        attempt = self.attempts[-1]
        if attempt.missing >= MISSING_REPORTS:
            return self._lose(now)
        if listed is not None:
            self._hear(self._k)
        return self._look_for_late(now, attempt, listed or {})

    def delta(self, now: float, attempt: int, number: int, delta: Delta, room: int) -> Effects:
        """Vetted text of one choice; `room` = bytes that the client's buffer still takes."""
        if not self._hear(attempt) or number >= len(self.choices):
            return NOTHING
        choice = self.choices[number]
        if choice.ended or (found := choice.offer(now, delta)) is None:
            return NOTHING
        text = found.text
        if len(text) > room or (not text.isascii() and len(text.encode()) > room):
            return self._cancel("slow_reader")
        choice.add(now, found.ids)
        self.attempts[-1].vetted()
        piece = Deliver(Piece(number, text, len(found.ids)))
        return (piece, *self._close_choice(choice)) if choice.ending else (piece,)

    def ended(self, now: float, attempt: int, number: int, end: Ending) -> Effects:
        """A choice's vetted `End`; `end.stop` = ids that this attempt generated for it."""
        if not self._hear(attempt) or number >= len(self.choices):
            return NOTHING
        choice = self.choices[number]
        if choice.ended:
            return NOTHING
        if end.reason in BROKEN_OFF:
            return self._lose(now)
        self.attempts[-1].vetted()
        choice.end(now, end._replace(stop=self.attempts[-1].from_index[number] + end.stop))
        return self._close_choice(choice)

    def judged(self, now: float, attempt: int, verdict: StreamVerdict) -> Effects:
        """What the policies have said of an output so far; that of the whole comes before its `End`."""
        if self._hear(attempt):
            self.evidence.judged_output(verdict)
        return NOTHING

    def stream_refused(self, now: float, attempt: int, refusal: StreamRefused) -> Effects:
        """Moderation ends the stream by policy."""
        if not self._hear(attempt):
            return NOTHING
        self.evidence.refused_output(refusal)
        return self._end(State.REFUSED, failures.output_refused(refusal))

    def stream_broken(self, now: float, attempt: int) -> Effects:
        """Moderation cannot vet the stream: not a lost attempt, but the fourth fails the request."""
        return self._break(now) if self._hear(attempt) else NOTHING

    def step_failed(self, stage: str, attempt: int) -> Effects:
        """A service could not do its step; the worker's is known by the attempt."""
        if self.state is State.PREPARING:
            return self._fail(failures.step_failed(stage))
        if stage == "inference" and attempt and attempt == self._k:
            return self._fail(failures.work_refused())
        return NOTHING

    def _dispatched(self, attempt: int) -> bool:
        return self.state is State.DISPATCHED and attempt == self._k

    def _close_choice(self, choice: Choice) -> Effects:
        if choice.ending is None or not choice.complete:
            return NOTHING
        self.evidence.choice_ended(choice.number, choice.ending)
        choice.ended = True
        choice.forget()
        return self._answered() if all(other.ended for other in self.choices) else NOTHING

    def _tick_dispatched(self, now: float) -> Effects:
        attempt = self.attempts[-1]
        late = attempt.offset is None and now - attempt.sent_at >= ACKNOWLEDGED_S
        return self._lose(now) if late else NOTHING

    def _tick_running(self, now: float) -> Effects:
        if any(choice.gap_since is not None and now - choice.gap_since >= GAP_S for choice in self.choices):
            return self._lose(now)
        return NOTHING

    def _look_for_late(self, now: float, attempt: Attempt, listed: Listed) -> Effects:
        screened = self.preparation.screened
        window = screened.window if screened else 0
        for choice in self.choices:
            produced = listed.get(choice.number, (0, False))[0]
            if attempt.text_is_late(choice, window, produced):
                return self._fail(failures.unvetted())
            if attempt.end_is_late(choice):
                return self._break(now)
        return NOTHING
