"""Any order of events ends in exactly one terminal state, and delivers each index once and in order."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.edge.states.effects import (
    Cancel,
    Close,
    Deliver,
    Dispatch,
    Effects,
    Enqueue,
    Finish,
    PublishRedacted,
    PublishRequest,
    PublishReserve,
)
from services.edge.states.machine import Machine, State
from shared.contracts.freehold.edge.v1.request_pb2 import Format
from shared.contracts.freehold.inference.v1.events_pb2 import RejectReason
from shared.contracts.freehold.moderation.v1.events_pb2 import StreamRefused, StreamVerdict
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from tests.unit.edge.scripted import (
    SEAT,
    WEIGHTS,
    WORKER,
    delta,
    encoded,
    end,
    refusal,
    reserved,
    screened,
    terms,
    text_of,
)

ALLOWED = (
    PublishRequest,
    PublishReserve,
    PublishRedacted,
    Enqueue,
    Dispatch,
    Cancel,
    Deliver,
    Finish,
    Close,
)
attempts = st.integers(0, 9)
recent = st.integers(0, 1)
choices = st.integers(0, 2)
counts = st.integers(0, 5)


def stormy(request: Request) -> bool:
    """Whether events that mostly end a request are on; without them its streams grow long."""
    return not request.calm


class Request(RuleBasedStateMachine):
    """One machine under any events, with what a client has seen of it."""

    @initialize(
        streamed=st.booleans(),
        number=st.integers(1, 2),
        kind=st.sampled_from([Format.TYPE_TEXT, Format.TYPE_GRAMMAR]),
        early=st.sampled_from([False, False, True]),
        calm=st.booleans(),
    )
    def begin(self, streamed: bool, number: int, kind: Format.Type, early: bool, calm: bool) -> None:
        self.now = 0.0
        self.calm = calm
        self.machine = Machine(terms(streamed=streamed, choices=number, format_type=kind), self.now)
        self.seen = [""] * number
        self.closed = self.finished = 0
        self.live: set[int] = set()
        self.queued = False
        self.room = 1 << 18
        self.carry_out(self.machine.begin())
        self.machine.acknowledged()
        self.machine.acknowledged()
        if early and not calm:
            return
        self.carry_out(self.machine.screened(self.now, screened()))
        self.carry_out(self.machine.encoded(self.now, encoded()))
        self.carry_out(self.machine.reserved(self.now, reserved()))
        if calm:
            self.carry_out(self.machine.seated(self.now, WORKER, SEAT))

    def carry_out(self, effects: Effects) -> None:
        """Apply effects as an owner would, and check each against what came before."""
        for effect in effects:
            assert isinstance(effect, ALLOWED)
            assert not self.closed, "nothing comes after Close"
            if isinstance(effect, Deliver):
                assert not self.finished
                piece = effect.piece
                size = len(piece.text.encode())
                assert size <= self.room
                self.room -= size
                self.seen[piece.choice] += piece.text
            elif isinstance(effect, Finish):
                self.finished += 1
                if effect.outcome.state == outcome.TERMINAL_STATE_COMPLETED:
                    self.live = set()
            elif isinstance(effect, Close):
                self.closed += 1
            elif isinstance(effect, Enqueue):
                assert not self.queued
                assert not self.live, "an attempt is cancelled before the next is waited for"
                self.queued = True
            elif isinstance(effect, Dispatch):
                assert self.queued
                self.queued = False
                self.live = {effect.attempt}
            elif isinstance(effect, Cancel):
                assert self.live == {effect.attempt}
                self.live = set()

    def attempt(self, back: int) -> int:
        return max(0, len(self.machine.attempts) - back)

    @precondition(stormy)
    @rule(
        verdict=st.sampled_from(list(outcome.Verdict.values())),
        spans=st.booleans(),
    )
    def screen(self, verdict: outcome.Verdict, spans: bool) -> None:
        self.carry_out(self.machine.screened(self.now, screened(verdict, spans=spans)))

    @precondition(stormy)
    @rule(count=st.sampled_from([3, 101]), revision=st.integers(0, 1))
    def encode(self, count: int, revision: int) -> None:
        self.carry_out(self.machine.encoded(self.now, encoded(count, revision)))

    @precondition(stormy)
    @rule()
    def reserve(self) -> None:
        self.carry_out(self.machine.reserved(self.now, reserved()))

    @precondition(stormy)
    @rule(
        by=st.sampled_from(list(outcome.Refuser.values())),
        kind=st.sampled_from(["POLICY", "CONTEXT_TOO_LONG", "BUDGET", "REPEATED", "nonsense"]),
        revision=st.integers(0, 1),
    )
    def refuse(self, by: outcome.Refuser, kind: str, revision: int) -> None:
        self.carry_out(self.machine.refused(self.now, refusal(by, kind, revision)))

    @precondition(stormy)
    @rule(stage=st.sampled_from(["moderation", "inference"]), back=recent)
    def step_fails(self, stage: str, back: int) -> None:
        self.carry_out(self.machine.step_failed(stage, self.attempt(back)))

    @precondition(lambda self: self.queued)
    @rule()
    def seat(self) -> None:
        self.carry_out(self.machine.seated(self.now, WORKER, SEAT))

    @precondition(stormy)
    @rule(back=recent)
    def acknowledge(self, back: int) -> None:
        self.carry_out(self.machine.work_acknowledged(self.attempt(back), 10))

    @precondition(stormy)
    @rule(back=recent, acknowledged=st.booleans())
    def lose_acknowledgement(self, back: int, acknowledged: bool) -> None:
        if acknowledged:
            self.carry_out(self.machine.work_not_acknowledged(self.now, self.attempt(back)))
        else:
            self.carry_out(self.machine.not_acknowledged())

    @precondition(stormy)
    @rule(back=recent, weights=st.sampled_from([WEIGHTS, "other"]))
    def accept(self, back: int, weights: str) -> None:
        self.carry_out(self.machine.work_accepted(self.now, self.attempt(back), weights))

    @precondition(stormy)
    @rule(back=recent, reason=st.sampled_from(list(RejectReason.values())))
    def reject(self, back: int, reason: RejectReason) -> None:
        self.carry_out(self.machine.work_rejected(self.now, self.attempt(back), reason))

    @rule(back=recent, draining=st.booleans())
    def fail_work(self, back: int, draining: bool) -> None:
        self.carry_out(self.machine.work_failed(self.now, self.attempt(back), draining=draining))

    @precondition(stormy)
    @rule(
        worker=st.sampled_from([WORKER, 78]),
        offset=st.integers(10, 12),
        produced=st.integers(0, 400),
        times=st.sampled_from([1, 25]),
    )
    def report(self, worker: int, offset: int, produced: int, times: int) -> None:
        listed = {0: (produced, produced % 2 == 1)} if produced else None
        for _ in range(times):
            self.carry_out(self.machine.reported(self.now, worker, offset, listed))

    @rule(choice=st.integers(0, 1), count=st.integers(1, 3))
    def next_text(self, choice: int, count: int) -> None:
        self.text(0, choice, 0, count)

    @rule(back=recent, choice=choices, ahead=st.integers(-4, 4), count=counts)
    def text(self, back: int, choice: int, ahead: int, count: int) -> None:
        known = len(self.machine.choices[choice].ids) if choice < len(self.machine.choices) else 0
        found = delta(max(0, known + ahead), count)
        self.carry_out(self.machine.delta(self.now, self.attempt(back), choice, found, self.room))

    @rule(
        back=recent,
        choice=choices,
        ahead=st.integers(0, 3),
        reason=st.sampled_from([outcome.FINISH_REASON_STOP, outcome.FINISH_REASON_FAILED]),
    )
    def finish(self, back: int, choice: int, ahead: int, reason: outcome.FinishReason) -> None:
        machine = self.machine
        known = len(machine.choices[choice].ids) if choice < len(machine.choices) else 0
        start = machine.attempts[-1].from_index.get(choice, 0) if machine.attempts else 0
        generated = max(0, known - start + ahead)
        self.carry_out(machine.ended(self.now, self.attempt(back), choice, end(generated, reason)))

    @rule(back=recent, kind=st.sampled_from(["judged", "refused", "broken"]))
    def moderate(self, back: int, kind: str) -> None:
        attempt = self.attempt(back)
        if kind == "judged":
            verdict = StreamVerdict(verdict=outcome.VERDICT_FLAG)
            self.carry_out(self.machine.judged(self.now, attempt, verdict))
        elif kind == "refused" and not self.calm:
            self.carry_out(self.machine.stream_refused(self.now, attempt, StreamRefused()))
        else:
            self.carry_out(self.machine.stream_broken(self.now, attempt))

    @precondition(stormy)
    @rule(worker=st.sampled_from([WORKER, 78]))
    def suspect(self, worker: int) -> None:
        self.carry_out(self.machine.suspected(self.now, worker))

    @precondition(stormy)
    @rule(how=st.sampled_from(["left", "revoked", "sent", "shut_down", "unfit", "unredactable"]))
    def surroundings(self, how: str) -> None:
        call = {
            "left": lambda: self.machine.left("client_gone"),
            "revoked": self.machine.revoked,
            "sent": self.machine.sent,
            "shut_down": self.machine.shut_down,
            "unfit": self.machine.unfit,
            "unredactable": self.machine.unredactable,
        }[how]
        self.carry_out(call())

    @rule(seconds=st.floats(0, 12), full=st.booleans())
    def wait(self, seconds: float, full: bool) -> None:
        self.now += seconds / 10 if self.calm else seconds
        if full and not self.calm:
            self.room = min(self.room, 4)
        self.carry_out(self.machine.tick(self.now, self.now))

    @invariant()
    def every_index_was_delivered_once_and_in_order(self) -> None:
        if hasattr(self, "machine"):
            for text, choice in zip(self.seen, self.machine.choices, strict=True):
                assert text == text_of(0, len(text))
                assert choice.ids == list(range(len(text)))

    @invariant()
    def it_is_closed_exactly_in_a_terminal_state(self) -> None:
        if hasattr(self, "machine"):
            assert self.machine.terminal == (self.closed == 1)
            assert self.finished == (self.machine.terminal or self.machine.state is State.SENDING)
            current = self.machine.current
            assert self.live == (set() if current is None or self.machine.terminal else {current.number})

    def teardown(self) -> None:
        if not hasattr(self, "machine"):
            return
        before = self.machine.state
        self.carry_out(self.machine.tick(1e9, 1e9))
        if self.machine.state is State.SENDING:  # has no deadline: its transport says how it ends
            before = State.SENDING
            self.carry_out(self.machine.sent())
        assert self.machine.terminal
        assert self.closed == 1
        assert self.finished == 1
        if before >= State.COMPLETED:
            assert self.machine.state is before


Request.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestAnyOrderOfEvents = Request.TestCase
