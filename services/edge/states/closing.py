"""`RequestClosed`: the owner's whole evidence of a request. Pure."""

from __future__ import annotations

import hashlib
from typing import Protocol

from services.edge.states.machine import Machine, State
from services.edge.states.transitions import TERMINAL
from services.edge.submission import Submission
from shared.contracts.freehold.control.v1.config_pb2 import Model
from shared.contracts.freehold.edge.v1.events_pb2 import (
    ACCEPTED_YES,
    ClosedAttempt,
    ClosedChoice,
    RequestClosed,
)


class Closing(Protocol):
    """What a close is made from: the part of a request in flight that is evidence. Only read."""

    machine: Machine
    submission: Submission
    model: Model
    accepted_ns: int
    first_ns: int
    """When the first text reached the buffer; 0 = none did."""

    def answer_hash(self) -> bytes:
        """SHA-256 of what was delivered: choices in order, each ended by one zero byte. Called once."""


def close(entry: Closing, closed_ns: int) -> RequestClosed:
    """The evidence of a request in its terminal state. Call once."""
    machine, submission = entry.machine, entry.submission
    evidence, encoded = machine.evidence, machine.preparation.encoded
    error = evidence.error
    out = was_out(machine)
    ran = any(attempt.accepted == ACCEPTED_YES for attempt in machine.attempts)
    return RequestClosed(
        project=submission.principal.project,
        key=submission.principal.key,
        model=entry.model.name,
        state=TERMINAL[machine.state],
        attempts=_attempts(machine, out),
        input_verdict=evidence.input_verdict,
        output_verdict=evidence.output_verdict,
        matches=evidence.matches,
        policy_versions=evidence.policy_versions,
        weights_digest=machine.terms.weights_digest if ran else "",
        tokenizer_digest=encoded.tokenizer_digest if encoded else "",
        template_digest=encoded.template_digest if encoded else "",
        request_hash=submission.fingerprint,
        answer_hash=entry.answer_hash() if out else hashlib.sha256(bytes(len(machine.choices))).digest(),
        accepted_ns=entry.accepted_ns,
        first_text_ns=entry.first_ns if out else 0,
        closed_ns=closed_ns,
        finish=evidence.finish,
        kind=error.kind.name if error else "",
        code=evidence.code,
        resumed=any(any(attempt.from_index.values()) for attempt in machine.attempts),
        streamed=submission.streamed,
    )


def was_out(machine: Machine) -> bool:
    """Whether text that reached the buffer counts as delivered: a plain answer's only once it was sent."""
    return machine.terms.streamed or machine.state is State.COMPLETED


def _attempts(machine: Machine, out: bool) -> list[ClosedAttempt]:
    ends = {choice.number: len(choice.ids) for choice in machine.choices}
    found = []
    for attempt in reversed(machine.attempts):
        choices = [
            ClosedChoice(choice=number, from_index=first, delivered=ends[number] - first if out else 0)
            for number, first in attempt.from_index.items()
        ]
        ends |= attempt.from_index
        found.append(ClosedAttempt(attempt=attempt.number, accepted=attempt.accepted, choices=choices))
    return found[::-1]
