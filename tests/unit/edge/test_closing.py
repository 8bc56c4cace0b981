"""What a close says of attempts, and the hash of what was delivered."""

import hashlib
from dataclasses import replace

from services.edge.answer import Answer, Principal, Submission
from services.edge.owner.entry import HASHED_AT_ONCE, Entry
from services.edge.states.closing import close
from services.edge.states.machine import Machine
from shared.contracts.freehold.control.v1.config_pb2 import Model
from shared.contracts.freehold.edge.v1.events_pb2 import ACCEPTED_NO, ACCEPTED_UNKNOWN, ACCEPTED_YES
from shared.contracts.freehold.inference.v1.events_pb2 import REJECT_REASON_FULL
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from tests.unit.edge.scripted import ROOM, SEAT, WEIGHTS, WORKER, delta, end, ready, running, terms

REQUEST = "018bcfe5-7610-7001-b48f-c209128b2f33"
PRINCIPAL = Principal("key", "org", "project", frozenset(), 120.0, frozenset(), 8)


def entry_of(machine: Machine) -> Entry:
    submission = Submission(machine.terms.request, PRINCIPAL, b"f", 1, machine.terms.streamed)
    answer = Answer(REQUEST, on_leave=lambda _: None, on_sent=lambda: None)
    return Entry(REQUEST, submission, machine, Model(name="m"), answer, 0)


def test_each_attempt_says_what_it_delivered_itself() -> None:
    machine = ready(Machine(terms(choices=2), 0.0))
    machine.seated(0.0, WORKER, SEAT)
    machine.work_rejected(0.0, 1, REJECT_REASON_FULL)
    machine.seated(0.0, WORKER, SEAT)
    machine.delta(0.0, 2, 0, delta(0, 3), ROOM)
    machine.ended(0.0, 2, 0, end(3))
    machine.delta(0.0, 2, 1, delta(0, 2), ROOM)
    machine.work_failed(0.0, 2, draining=True)
    machine.seated(0.0, WORKER, SEAT)
    machine.suspected(0.0, WORKER)
    machine.seated(0.0, WORKER, SEAT)
    machine.delta(0.0, 4, 1, delta(2, 4), ROOM)
    machine.ended(0.0, 4, 1, end(4))
    closed = close(entry_of(machine), 9)
    assert closed.state == outcome.TERMINAL_STATE_COMPLETED
    found = [
        (one.attempt, one.accepted, [(c.choice, c.from_index, c.delivered) for c in one.choices])
        for one in closed.attempts
    ]
    assert found == [
        (1, ACCEPTED_NO, [(0, 0, 0), (1, 0, 0)]),
        (2, ACCEPTED_YES, [(0, 0, 3), (1, 0, 2)]),
        (3, ACCEPTED_UNKNOWN, [(1, 2, 0)]),
        (4, ACCEPTED_YES, [(1, 2, 4)]),
    ]
    assert closed.resumed
    assert closed.weights_digest == WEIGHTS


def test_of_a_plain_answer_that_was_not_sent_nothing_is_delivered() -> None:
    machine = running(Machine(terms(streamed=False), 0.0))
    machine.delta(0.0, 1, 0, delta(0, 3), ROOM)
    machine.tick(120.0, 120.0)
    entry = entry_of(machine)
    entry.keep(0, "abc")
    entry.first_ns = 5
    closed = close(entry, 9)
    assert closed.state == outcome.TERMINAL_STATE_EXPIRED
    assert closed.attempts[0].choices[0].delivered == 0
    assert closed.first_text_ns == 0
    assert closed.answer_hash == hashlib.sha256(b"\0").digest()
    assert (closed.kind, closed.code) == ("EXPIRED", "deadline_exceeded")


def test_a_request_without_an_attempt_names_no_weights() -> None:
    machine = ready(Machine(terms(), 0.0))
    machine.left("client_gone")
    closed = close(entry_of(machine), 9)
    assert closed.weights_digest == ""
    assert not closed.attempts


def test_the_hash_is_of_all_choices_in_order_however_they_came() -> None:
    machine = Machine(terms(choices=2), 0.0)
    entry = entry_of(machine)
    texts = [f"é{number} " for number in range(2 * HASHED_AT_ONCE + 3)]
    for text in texts:
        entry.keep(1, text.upper())
        entry.keep(0, text)
    whole = "".join(texts)
    expected = hashlib.sha256(whole.encode() + b"\0" + whole.upper().encode() + b"\0").digest()
    assert entry.answer_hash() == expected


def test_an_entry_is_bound_to_its_submission() -> None:
    machine = running(Machine(terms(), 0.0))
    machine.ended(0.0, 1, 0, end(0))
    entry = entry_of(machine)
    entry.submission = replace(entry.submission, fingerprint=b"other")
    assert close(entry, 9).request_hash == b"other"
