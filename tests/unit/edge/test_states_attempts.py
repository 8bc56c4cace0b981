"""Rows of the table on attempts: waiting for a seat, taken, rejected, lost, resumed."""

import pytest

from services.edge.states.effects import Cancel, Enqueue
from services.edge.states.machine import Machine, State
from shared.contracts.freehold.edge.v1.events_pb2 import ACCEPTED_NO, ACCEPTED_UNKNOWN, ACCEPTED_YES
from shared.contracts.freehold.edge.v1.request_pb2 import Format
from shared.contracts.freehold.inference.v1.events_pb2 import (
    REJECT_REASON_CELLS,
    REJECT_REASON_FULL,
    REJECT_REASON_MODEL,
)
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from tests.unit.edge.scripted import (
    ROOM,
    WORKER,
    again,
    delivered,
    delta,
    dispatched,
    end,
    finished,
    ready,
    started,
    terms,
    text_of,
)


def test_a_request_that_fits_no_pool_fails() -> None:
    machine = ready(Machine(terms(), 0.0))
    assert machine.cells == 3 + 50
    machine.unfit()
    assert machine.state is State.FAILED


def test_no_live_seat_for_30_s_fails() -> None:
    machine = ready(Machine(terms(), 0.0), 5.0)
    assert machine.tick(34.9, 0.0) == ()
    assert machine.tick(36.0, 10.0) == (), "a worker was alive at 10"
    machine.tick(40.0, 10.0)
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


def test_a_worker_that_cannot_read_its_work_fails_the_request() -> None:
    machine = dispatched()
    assert machine.step_failed("inference", 0) == ()
    assert machine.step_failed("tokenizer", 1) == ()
    machine.step_failed("inference", 1)
    assert machine.state is State.FAILED


def test_four_lost_attempts_fail() -> None:
    machine = dispatched()
    for number in (1, 2, 3):
        assert machine.suspected(0.0, WORKER) == (Cancel(number), Enqueue(first=True))
        again(machine)
    effects = machine.suspected(0.0, WORKER)
    assert effects[0] == Cancel(4)
    assert machine.state is State.FAILED


def test_two_reports_without_the_attempt_lose_it() -> None:
    machine = started()
    assert machine.reported(1.0, WORKER, 10, None) == (), "the work itself was not handled yet"
    assert machine.reported(1.0, WORKER, 10, None) == ()
    assert machine.reported(1.0, 78, 11, None) == (), "another worker's"
    assert machine.reported(1.0, WORKER, 11, None) == ()
    assert machine.reported(2.0, WORKER, 11, {0: (1, False)}) == ()
    assert machine.reported(3.0, WORKER, 11, None) == ()
    assert machine.reported(4.0, WORKER, 11, None) == (Cancel(1), Enqueue(first=True))


def test_a_dispatched_attempt_that_two_reports_do_not_list_is_lost() -> None:
    machine = dispatched()
    machine.work_acknowledged(1, 10)
    assert machine.reported(1.0, WORKER, 11, None) == ()
    assert machine.reported(2.0, WORKER, 11, None) == (Cancel(1), Enqueue(first=True))
    assert machine.attempts[0].accepted == ACCEPTED_UNKNOWN


def test_an_attempt_that_was_said_to_have_ended_is_not_missing() -> None:
    machine = started(choices=2)
    machine.reported(1.0, WORKER, 11, {0: (4, True), 1: (2, False)})
    assert machine.reported(2.0, WORKER, 11, None) == (), "one of its choices had not ended"
    machine.reported(3.0, WORKER, 11, {0: (4, True), 1: (3, True)})
    for second in range(4, 12):
        assert machine.reported(second, WORKER, 11, None) == ()
    assert machine.state is State.RUNNING


def test_an_end_that_is_not_vetted_for_20_s_breaks_the_stream() -> None:
    machine = started()
    machine.reported(1.0, WORKER, 11, {0: (4, True)})
    machine.delta(10.0, 1, 0, delta(0, 4), ROOM)
    assert machine.tick(100.0, 100.0) == (), "no report came: the bus was down, and nothing is late"
    for second in range(101, 120):
        assert machine.reported(second, WORKER, 11, None) == ()
    assert machine.reported(120.0, WORKER, 11, None) == (Cancel(1), Enqueue(first=True))


def test_four_broken_streams_fail() -> None:
    machine = started()
    for number in (1, 2, 3):
        assert machine.stream_broken(1.0, number) == (Cancel(number), Enqueue(first=True))
        again(machine)
    machine.stream_broken(1.0, 4)
    assert machine.state is State.FAILED


@pytest.mark.parametrize("reason", [outcome.FINISH_REASON_FAILED, outcome.FINISH_REASON_CANCELLED])
def test_an_end_that_broke_off_is_a_lost_attempt(reason: outcome.FinishReason) -> None:
    machine = started()
    assert machine.ended(1.0, 1, 0, end(0, reason)) == (Cancel(1), Enqueue(first=True))


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


def test_a_resumed_attempt_counts_its_end_from_its_own_first_index() -> None:
    machine = started()
    machine.delta(1.0, 1, 0, delta(0, 2), ROOM)
    machine.work_failed(1.0, 1, draining=True)
    attempt = again(machine)
    machine.delta(1.0, attempt, 0, delta(2, 1), ROOM)
    told = finished(machine.ended(1.0, attempt, 0, end(1)))
    assert told.delivered == 3
    assert machine.state is State.COMPLETED


def test_only_choices_that_have_not_ended_go_on() -> None:
    machine = started(choices=2)
    machine.delta(1.0, 1, 0, delta(0, 2), ROOM)
    machine.ended(1.0, 1, 0, end(2))
    machine.delta(1.0, 1, 1, delta(0, 1), ROOM)
    assert machine.work_failed(1.0, 1, draining=False) == (Cancel(1), Enqueue(first=True))
    attempt = again(machine)
    assert machine.attempts[1].from_index == {1: 1}
    machine.reported(2.0, WORKER, 12, {1: (1, True)})
    for second in range(3, 9):
        assert machine.reported(second, WORKER, 12, None) == (), "all that it was asked for has ended"
    machine.delta(9.0, attempt, 1, delta(1, 1), ROOM)
    assert finished(machine.ended(9.0, attempt, 1, end(1))).delivered == 4
    assert machine.state is State.COMPLETED


@pytest.mark.parametrize("format_type", [Format.TYPE_GRAMMAR, Format.TYPE_JSON_SCHEMA])
def test_what_cannot_be_resumed_restarts_only_if_nothing_was_delivered(format_type: Format.Type) -> None:
    fresh = started(format_type=format_type)
    assert fresh.work_failed(1.0, 1, draining=False) == (Cancel(1), Enqueue(first=True))
    begun = started(format_type=format_type)
    begun.delta(1.0, 1, 0, delta(0, 1), ROOM)
    begun.work_failed(1.0, 1, draining=False)
    assert begun.state is State.FAILED


def test_leaving_after_dispatch_cancels_the_attempt() -> None:
    assert dispatched().left("client_gone")[0] == Cancel(1)
    assert started().revoked()[0] == Cancel(1)
