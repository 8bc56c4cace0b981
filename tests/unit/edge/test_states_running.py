"""Rows of the table from `ready` on."""

import pytest

from services.edge.states.effects import Cancel, Close, Deliver, Dispatch, Enqueue, Finish
from services.edge.states.machine import Machine, State
from shared.contracts.freehold.edge.v1.events_pb2 import ACCEPTED_NO, ACCEPTED_UNKNOWN, ACCEPTED_YES
from shared.contracts.freehold.edge.v1.request_pb2 import Format
from shared.contracts.freehold.inference.v1.events_pb2 import (
    REJECT_REASON_CELLS,
    REJECT_REASON_FULL,
    REJECT_REASON_MODEL,
)
from shared.contracts.freehold.moderation.v1.events_pb2 import StreamRefused, StreamVerdict
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.errors import Kind
from tests.unit.edge.scripted import (
    ROOM,
    SEAT,
    WEIGHTS,
    WORKER,
    delivered,
    delta,
    end,
    finished,
    ready,
    running,
    terms,
    text_of,
)


def started(**how: object) -> Machine:
    return running(Machine(terms(**how), 0.0))  # type: ignore[arg-type]


def dispatched() -> Machine:
    machine = ready(Machine(terms(), 0.0))
    assert machine.seated(0.0, WORKER, SEAT) == (Dispatch(1),)
    return machine


def again(machine: Machine, now: float = 0.0) -> int:
    """Seat the next attempt and return its number."""
    machine.seated(now, WORKER, SEAT)
    assert machine.current is not None
    machine.work_acknowledged(machine.current.number, 11)
    return machine.current.number


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


def test_a_gap_of_2_s_resumes_from_what_was_received() -> None:
    machine = started()
    machine.delta(1.0, 1, 0, delta(0, 2), ROOM)
    machine.delta(1.0, 1, 0, delta(4, 2), ROOM)
    assert machine.tick(2.9, 2.9) == ()
    assert machine.tick(3.0, 3.0) == (Cancel(1), Enqueue(first=True))
    assert again(machine) == 2
    assert machine.attempts[1].from_index == {0: 2}
    assert machine.delta(3.1, 1, 0, delta(2, 2), ROOM) == (), "the old attempt is fenced"
    assert delivered(machine.delta(3.1, 2, 0, delta(2, 2), ROOM)) == text_of(2, 2)


def test_an_end_before_its_last_ids_waits_for_them() -> None:
    machine = started()
    assert machine.ended(1.0, 1, 0, end(2)) == ()
    assert machine.tick(3.0, 3.0) == (Cancel(1), Enqueue(first=True)), "2 s are the most"


def test_a_resumed_attempt_counts_its_end_from_its_own_first_index() -> None:
    machine = started()
    machine.delta(1.0, 1, 0, delta(0, 2), ROOM)
    machine.work_failed(1.0, 1, draining=True)
    attempt = again(machine)
    machine.delta(1.0, attempt, 0, delta(2, 1), ROOM)
    told = finished(machine.ended(1.0, attempt, 0, end(1)))
    assert told.delivered == 3
    assert machine.state is State.COMPLETED


def test_four_lost_attempts_fail() -> None:
    machine = dispatched()
    for number in (1, 2, 3):
        assert machine.suspected(0.0, WORKER) == (Cancel(number), Enqueue(first=True))
        again(machine)
    effects = machine.suspected(0.0, WORKER)
    assert effects[0] == Cancel(4)
    assert machine.state is State.FAILED


def test_rejections_and_draining_are_no_lost_attempts() -> None:
    machine = dispatched()
    for _ in range(6):
        assert machine.current is not None
        number = machine.current.number
        reason = REJECT_REASON_FULL if number % 2 else REJECT_REASON_CELLS
        assert machine.work_rejected(0.0, number, reason) == (Cancel(number), Enqueue(first=True))
        assert machine.attempts[-1].accepted == ACCEPTED_NO
        again(machine)
    for _ in range(6):
        assert machine.current is not None
        machine.work_failed(0.0, machine.current.number, draining=True)
        again(machine)
    assert not machine.terminal


def test_any_other_rejection_fails() -> None:
    machine = dispatched()
    assert machine.work_rejected(0.0, 1, REJECT_REASON_MODEL)[0] == Cancel(1)
    assert machine.state is State.FAILED


def test_a_rejection_of_a_running_attempt_has_no_effect() -> None:
    machine = started()
    assert machine.work_rejected(0.0, 1, REJECT_REASON_FULL) == ()


def test_other_weights_than_asked_for_fail_closed() -> None:
    machine = dispatched()
    machine.work_accepted(0.0, 1, "other")
    assert machine.state is State.FAILED


def test_work_without_acknowledgement_for_2_s_is_lost() -> None:
    machine = dispatched()
    assert machine.tick(1.9, 1.9) == ()
    assert machine.tick(2.0, 2.0) == (Cancel(1), Enqueue(first=True))
    assert machine.attempts[0].accepted == ACCEPTED_UNKNOWN


def test_anything_of_the_attempt_makes_it_run() -> None:
    machine = dispatched()
    assert delivered(machine.delta(0.1, 1, 0, delta(0, 1), ROOM)) == text_of(0, 1)
    assert machine.state is State.RUNNING
    assert machine.attempts[0].accepted == ACCEPTED_YES
    assert machine.tick(5.0, 5.0) == (), "the missing acknowledgement no longer matters"


def test_two_reports_without_the_attempt_lose_it() -> None:
    machine = started()
    assert machine.reported(1.0, WORKER, 9, None) == (), "before the work's own offset"
    assert machine.reported(1.0, 78, 10, None) == (), "another worker's"
    assert machine.reported(1.0, WORKER, 10, None) == ()
    assert machine.reported(2.0, WORKER, 10, {0: (1, False)}) == ()
    assert machine.reported(3.0, WORKER, 10, None) == ()
    assert machine.reported(4.0, WORKER, 10, None) == (Cancel(1), Enqueue(first=True))


def test_an_end_that_is_not_vetted_for_20_s_breaks_the_stream() -> None:
    machine = started()
    machine.reported(1.0, WORKER, 10, {0: (4, True)})
    machine.delta(10.0, 1, 0, delta(0, 4), ROOM)
    assert machine.tick(20.9, 20.9) == ()
    assert machine.tick(21.0, 21.0) == (Cancel(1), Enqueue(first=True))


def test_text_that_is_not_vetted_for_20_s_fails_closed() -> None:
    machine = started()
    machine.reported(1.0, WORKER, 10, {0: (8 + 256, False)})
    assert machine.tick(50.0, 50.0) == (), "within the window nothing is overdue"
    machine.reported(51.0, WORKER, 10, {0: (8 + 257, False)})
    effects = machine.tick(52.0, 52.0)
    assert effects[0] == Cancel(1)
    assert machine.state is State.FAILED


def test_four_broken_streams_fail() -> None:
    machine = started()
    for number in (1, 2, 3):
        assert machine.stream_broken(1.0, number) == (Cancel(number), Enqueue(first=True))
        again(machine)
    machine.stream_broken(1.0, 4)
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


@pytest.mark.parametrize("format_type", [Format.TYPE_GRAMMAR, Format.TYPE_JSON_SCHEMA])
def test_what_cannot_be_resumed_restarts_only_if_nothing_was_delivered(format_type: Format.Type) -> None:
    fresh = started(format_type=format_type)
    assert fresh.work_failed(1.0, 1, draining=False) == (Cancel(1), Enqueue(first=True))
    begun = started(format_type=format_type)
    begun.delta(1.0, 1, 0, delta(0, 1), ROOM)
    begun.work_failed(1.0, 1, draining=False)
    assert begun.state is State.FAILED


@pytest.mark.parametrize("reason", [outcome.FINISH_REASON_FAILED, outcome.FINISH_REASON_CANCELLED])
def test_an_end_that_broke_off_is_a_lost_attempt(reason: outcome.FinishReason) -> None:
    machine = started()
    assert machine.ended(1.0, 1, 0, end(0, reason)) == (Cancel(1), Enqueue(first=True))


def test_a_full_buffer_cancels_and_the_piece_does_not_count() -> None:
    machine = started()
    machine.delta(1.0, 1, 0, delta(0, 1), 3)
    effects = machine.delta(1.0, 1, 0, delta(1, 2), 5)
    assert [type(effect) for effect in effects] == [Cancel, Finish, Close]
    assert machine.state is State.CANCELLED
    assert finished(effects).delivered == 1
    assert machine.evidence.code == "slow_reader"


def test_leaving_after_dispatch_cancels_the_attempt() -> None:
    assert dispatched().left("client_gone")[0] == Cancel(1)
    assert started().left("key_revoked")[0] == Cancel(1)


def test_a_worker_that_cannot_read_its_work_fails_the_request() -> None:
    machine = dispatched()
    assert machine.step_failed("inference", 0) == ()
    assert machine.step_failed("tokenizer", 1) == ()
    machine.step_failed("inference", 1)
    assert machine.state is State.FAILED


def test_no_live_seat_for_30_s_fails() -> None:
    machine = ready(Machine(terms(), 0.0), 5.0)
    assert machine.tick(34.9, 0.0) == ()
    assert machine.tick(36.0, 10.0) == (), "a worker was alive at 10"
    machine.tick(40.0, 10.0)
    assert machine.state is State.FAILED


def test_a_request_that_fits_no_pool_fails() -> None:
    machine = ready(Machine(terms(), 0.0))
    assert machine.cells == 3 + 50
    machine.unfit()
    assert machine.state is State.FAILED


def test_hold_back_and_verdicts_of_the_output_are_kept() -> None:
    machine = started()
    verdict = StreamVerdict(verdict=outcome.VERDICT_FLAG, held_tokens=4, held_ms=9, policy_versions=["out@2"])
    machine.judged(1.0, 1, verdict)
    assert machine.evidence.held_tokens == 4
    told = finished(machine.ended(1.0, 1, 0, end(0)))
    assert told.verdict == outcome.VERDICT_FLAG
    assert told.policy_versions == ("base@1", "out@2")
