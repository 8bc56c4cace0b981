"""Rows of the table on the answer of a running request."""

from services.edge.states.effects import Cancel, Close, Deliver, Enqueue, Finish
from services.edge.states.machine import State
from shared.contracts.freehold.moderation.v1.events_pb2 import StreamRefused, StreamVerdict
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.errors import Kind
from tests.unit.edge.scripted import (
    ROOM,
    WEIGHTS,
    WORKER,
    delivered,
    delta,
    end,
    finished,
    started,
    text_of,
)


def test_a_streamed_answer_completes_with_its_last_end() -> None:
    machine = started()
    assert delivered(machine.delta(1.0, 1, 0, delta(0, 3), ROOM)) == text_of(0, 3)
    effects = machine.ended(1.1, 1, 0, end(3))
    assert [type(effect) for effect in effects] == [Finish, Close]
    told = finished(effects)
    assert machine.state is State.COMPLETED
    assert (told.prompt, told.cached, told.delivered, told.billed) == (3, 1, 3, 3)
    assert told.price == 2 * 1 + 1 + 3 * 2, "2 fresh at 1, 1 cached at 0.5 half up, 3 output at 2"
    assert told.weights_digest == WEIGHTS


def test_a_plain_answer_completes_when_its_body_is_sent() -> None:
    machine = started(streamed=False)
    machine.delta(1.0, 1, 0, delta(0, 3), ROOM)
    effects = machine.ended(1.1, 1, 0, end(3))
    assert [type(effect) for effect in effects] == [Finish]
    assert not machine.terminal
    assert machine.sent() == (Close(),)
    assert machine.state is State.COMPLETED


def test_a_plain_answer_that_is_being_sent_is_neither_late_nor_revoked() -> None:
    machine = started(streamed=False)
    machine.delta(1.0, 1, 0, delta(0, 3), ROOM)
    assert finished(machine.ended(1.1, 1, 0, end(3))).error is None
    assert machine.revoked() == ()
    assert machine.tick(1000.0, 0.0) == ()
    assert machine.sent() == (Close(),)
    assert machine.state is State.COMPLETED
    assert started(streamed=False).revoked() != ()


def test_a_plain_answer_whose_client_left_is_cancelled() -> None:
    machine = started(streamed=False)
    machine.ended(1.1, 1, 0, end(0))
    assert machine.left("client_gone") == (Close(),), "nothing runs, and the outcome was told"
    assert machine.state is State.CANCELLED


def test_a_multiple_choice_answer_completes_with_the_last_choice() -> None:
    machine = started(choices=2)
    machine.delta(1.0, 1, 0, delta(0, 1), ROOM)
    assert machine.ended(1.0, 1, 0, end(1)) == ()
    assert machine.delta(1.0, 1, 0, delta(1, 1), ROOM) == (), "an ended choice takes no more"
    machine.delta(1.0, 1, 1, delta(0, 2), ROOM)
    assert finished(machine.ended(1.0, 1, 1, end(2))).delivered == 3


def test_lower_indexes_are_dropped_and_a_straddling_delta_is_cut() -> None:
    machine = started()
    machine.delta(1.0, 1, 0, delta(0, 3), ROOM)
    assert machine.delta(1.0, 1, 0, delta(0, 3), ROOM) == ()
    (piece,) = machine.delta(1.0, 1, 0, delta(1, 4), ROOM)
    assert isinstance(piece, Deliver)
    assert piece.piece == (0, text_of(3, 2), 2)


def test_a_higher_index_is_kept_until_the_gap_is_filled() -> None:
    machine = started()
    assert machine.delta(1.0, 1, 0, delta(4, 2), ROOM) == ()
    assert machine.delta(1.0, 1, 0, delta(2, 2), ROOM) == ()
    assert machine.ended(1.1, 1, 0, end(6)) == ()
    effects = machine.delta(2.9, 1, 0, delta(0, 2), ROOM)
    assert delivered(effects) == text_of(0, 6)
    assert machine.state is State.COMPLETED


def test_an_end_before_its_last_ids_waits_for_them() -> None:
    machine = started()
    assert machine.ended(1.0, 1, 0, end(2)) == ()
    assert machine.tick(3.0, 3.0) == (Cancel(1), Enqueue(first=True)), "2 s are the most"


def test_text_that_is_not_vetted_for_20_s_fails_closed() -> None:
    machine = started()
    for second in range(30):
        assert machine.reported(second, WORKER, 11, {0: (8 + 256, False)}) == (), "within the window"
    machine.delta(30.0, 1, 0, delta(0, 1), ROOM)
    for second in range(31, 50):
        assert machine.reported(second, WORKER, 11, {0: (1 + 8 + 257, False)}) == ()
    assert machine.tick(100.0, 100.0) == (), "no report came: the bus was down, and nothing is late"
    effects = machine.reported(101.0, WORKER, 11, {0: (1 + 8 + 257, False)})
    assert effects[0] == Cancel(1)
    assert machine.state is State.FAILED


def test_a_refused_stream_is_refused_and_cancelled() -> None:
    machine = started()
    machine.delta(1.0, 1, 0, delta(0, 2), ROOM)
    match = outcome.RuleMatch(rule="r1", policy_version="base@1", action=outcome.VERDICT_REFUSE)
    effects = machine.stream_refused(1.0, 1, StreamRefused(match=match, policy_versions=["base@1"]))
    assert [type(effect) for effect in effects] == [Cancel, Finish, Close]
    told = finished(effects)
    assert told.error is not None
    assert (told.error.kind, told.error.rule, told.rules) == (Kind.POLICY, "r1", ("r1",))
    assert told.verdict == outcome.VERDICT_REFUSE


def test_a_full_buffer_cancels_and_the_piece_does_not_count() -> None:
    machine = started()
    machine.delta(1.0, 1, 0, delta(0, 1), 3)
    effects = machine.delta(1.0, 1, 0, delta(1, 2), 5)
    assert [type(effect) for effect in effects] == [Cancel, Finish, Close]
    assert machine.state is State.CANCELLED
    assert finished(effects).delivered == 1
    assert machine.evidence.code == "slow_reader"


def test_hold_back_and_verdicts_of_the_output_are_kept() -> None:
    machine = started()
    verdict = StreamVerdict(verdict=outcome.VERDICT_FLAG, held_tokens=4, held_ms=9, policy_versions=["out@2"])
    machine.judged(1.0, 1, verdict)
    assert machine.evidence.held_tokens == 4
    told = finished(machine.ended(1.0, 1, 0, end(0)))
    assert told.verdict == outcome.VERDICT_FLAG
    assert told.policy_versions == ("base@1", "out@2")
