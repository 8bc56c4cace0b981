"""Rows of the table before `ready`."""

import itertools

import pytest

from services.edge.states.effects import (
    Close,
    Enqueue,
    Finish,
    PublishRedacted,
    PublishRequest,
    PublishReserve,
)
from services.edge.states.failures import ABOVE_BOUND
from services.edge.states.machine import Machine, State
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.errors import Kind
from tests.unit.edge.scripted import encoded, finished, ready, refusal, reserved, screened, terms

POLICY = refusal(outcome.REFUSER_POLICY, "POLICY")
CONTEXT = refusal(outcome.REFUSER_TOKENIZER, "CONTEXT_TOO_LONG")
REPEATED = refusal(outcome.REFUSER_BILLING, "REPEATED")
BUDGET = refusal(outcome.REFUSER_BILLING, "BUDGET")


def begun() -> Machine:
    machine = Machine(terms(), 0.0)
    assert machine.begin() == (PublishRequest(), PublishReserve())
    machine.acknowledged()
    machine.acknowledged()
    return machine


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_three_answers_in_any_order_make_it_ready(order: tuple[int, ...]) -> None:
    machine = begun()
    events = (
        lambda: machine.screened(0.1, screened()),
        lambda: machine.encoded(0.1, encoded()),
        lambda: machine.reserved(0.1, reserved()),
    )
    for number in order[:2]:
        assert events[number]() == ()
    assert events[order[2]]() == (Enqueue(first=False),)
    assert machine.state is State.READY
    assert events[order[2]]() == (), "a repeated answer has no effect"


def test_a_redaction_waits_for_the_encoding_of_the_new_text() -> None:
    machine = begun()
    machine.reserved(0.0, reserved())
    machine.encoded(0.0, encoded(5))
    assert machine.screened(0.1, screened(outcome.VERDICT_REDACT, spans=True)) == (PublishRedacted(1),)
    assert machine.encoded(0.2, encoded(5)) == (), "the first text no longer counts"
    assert machine.encoded(0.3, encoded(4, revision=1)) == (Enqueue(first=False),)
    assert machine.preparation.encoded is not None
    assert machine.preparation.encoded.count == 4


def test_a_tokenizers_refusal_of_the_first_text_does_not_count_after_a_redaction() -> None:
    machine = begun()
    machine.reserved(0.0, reserved())
    assert machine.refused(0.0, CONTEXT) == ()
    assert machine.screened(0.1, screened(outcome.VERDICT_REDACT, spans=True)) == (PublishRedacted(1),)
    assert machine.tick(5.0, 5.0) == ()
    assert machine.refused(5.0, CONTEXT) == ()
    assert machine.encoded(6.0, encoded(3, revision=1)) == (Enqueue(first=False),)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (BUDGET, POLICY, Kind.POLICY),
        (BUDGET, CONTEXT, Kind.CONTEXT_TOO_LONG),
        (REPEATED, CONTEXT, Kind.CONTEXT_TOO_LONG),
        (CONTEXT, POLICY, Kind.POLICY),
        (CONTEXT, BUDGET, Kind.CONTEXT_TOO_LONG),
    ],
)
def test_a_stricter_refusal_within_200_ms_wins(
    first: outcome.RequestRefused, second: outcome.RequestRefused, told: Kind
) -> None:
    machine = begun()
    assert machine.refused(1.0, first) == ()
    assert machine.tick(1.19, 1.19) == ()
    effects = machine.refused(1.19, second) or machine.tick(1.2, 1.2)
    error = finished(effects).error
    assert error is not None
    assert error.kind is told
    assert effects[-1] == Close()
    assert machine.state is State.REFUSED


def test_a_refusal_does_not_wait_once_the_others_have_passed() -> None:
    machine = begun()
    machine.screened(0.0, screened())
    machine.encoded(0.0, encoded())
    error = finished(machine.refused(0.0, BUDGET)).error
    assert error is not None
    assert error.kind is Kind.BUDGET


def test_a_refusal_is_told_after_200_ms_even_if_another_answers_late() -> None:
    machine = begun()
    machine.refused(1.0, BUDGET)
    assert machine.tick(1.1, 1.1) == ()
    machine.tick(1.2, 1.2)
    assert machine.state is State.REFUSED
    assert machine.refused(1.3, POLICY) == ()


def test_a_prompt_above_its_bound_is_never_served() -> None:
    machine = begun()
    outcome_ = finished(machine.encoded(0.0, encoded(101)))
    assert machine.state is State.FAILED
    assert outcome_.error is not None
    assert outcome_.error.code == ABOVE_BOUND


@pytest.mark.parametrize("at", [19.9, 20.0])
def test_preparation_ends_after_20_s(at: float) -> None:
    machine = begun()
    machine.tick(at, at)
    assert (machine.state is State.FAILED) == (at >= 20)


def test_no_acknowledgement_in_2_s_fails() -> None:
    machine = Machine(terms(), 0.0)
    machine.begin()
    machine.acknowledged()
    assert machine.tick(1.9, 1.9) == ()
    effects = machine.tick(2.0, 2.0)
    assert isinstance(effects[0], Finish)
    assert effects[1] == Close()
    assert machine.state is State.FAILED


def test_a_refused_publication_fails_at_once() -> None:
    machine = Machine(terms(), 0.0)
    machine.begin()
    assert machine.not_acknowledged()[-1] == Close()


@pytest.mark.parametrize("stage", ["moderation", "tokenizer", "billing"])
def test_a_failed_step_fails_the_request(stage: str) -> None:
    machine = begun()
    machine.refused(0.0, BUDGET)
    machine.step_failed(stage, 0)
    assert machine.state is State.FAILED


@pytest.mark.parametrize(
    "answer",
    [
        screened(outcome.VERDICT_REFUSE),
        screened(outcome.VERDICT_REDACT),
        screened(outcome.VERDICT_UNSPECIFIED),
    ],
)
def test_a_verdict_that_cannot_be_fails_closed(answer: object) -> None:
    machine = begun()
    machine.screened(0.0, answer)  # type: ignore[arg-type]
    assert machine.state is State.FAILED


def test_a_refusal_of_an_unknown_kind_fails_and_does_not_raise() -> None:
    machine = begun()
    machine.refused(0.0, refusal(outcome.REFUSER_BILLING, "NO_SUCH_KIND"))
    assert machine.state is State.FAILED


def test_a_deadline_expires_in_every_state() -> None:
    for machine in (begun(), ready(Machine(terms(), 0.0))):
        effects = machine.tick(120.0, 120.0)
        assert machine.state is State.EXPIRED
        assert effects[-1] == Close()
        assert finished(effects).error is not None


def test_leaving_before_dispatch_sends_no_cancel() -> None:
    machine = ready(Machine(terms(), 0.0))
    effects = machine.left("client_gone")
    assert machine.state is State.CANCELLED
    assert [type(effect) for effect in effects] == [Finish, Close]
    assert machine.evidence.code == "client_gone"
