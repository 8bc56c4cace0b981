"""Answers of other services as tests script them, and one machine with its effects in a list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from services.edge.states.chain import Delta, Ending
from services.edge.states.effects import Deliver, Dispatch, Effects, Finish
from services.edge.states.machine import Machine, Terms
from services.edge.submission import Outcome
from shared.contracts.freehold.billing.v1.events_pb2 import BudgetReserved, UnitPrices
from shared.contracts.freehold.edge.v1.request_pb2 import CompletionRequest, Format
from shared.contracts.freehold.moderation.v1.events_pb2 import RedactedSpan, Screened
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.contracts.freehold.tokenizer.v1.events_pb2 import Encoded

WEIGHTS = "w" * 64
VOCABULARY = "t" * 64
ROOM = 1 << 18
WORKER, SEAT = 77, 3


def terms(
    *,
    streamed: bool = True,
    choices: int = 1,
    deadline: float = 120.0,
    format_type: Format.Type = Format.TYPE_TEXT,
) -> Terms:
    """Terms of a small request."""
    request = CompletionRequest(model="m", format=Format(type=format_type))
    return Terms(request, streamed, choices, 100, 50, 1000, WEIGHTS, deadline)


def screened(
    verdict: outcome.Verdict = outcome.VERDICT_ALLOW, *, spans: bool = False, window: int = 8
) -> Screened:
    """Moderation's pass."""
    found = [RedactedSpan(field="prompt", start=0, end=1, label="x")] if spans else []
    return Screened(verdict=verdict, policy_versions=["base@1"], spans=found, window=window)


def encoded(count: int = 3, revision: int = 0) -> Encoded:
    """The tokenizer's answer."""
    return Encoded(
        revision=revision, ids=range(count), count=count, tokenizer_digest=VOCABULARY, template_digest="p"
    )


def reserved(amount: int = 10**9) -> BudgetReserved:
    """Billing's answer."""
    return BudgetReserved(
        amount=amount,
        price_version="1",
        prices=UnitPrices(prompt=1000, cached=500, output=2000),
        currency="EUR",
    )


def refusal(by: outcome.Refuser, kind: str, revision: int = 0) -> outcome.RequestRefused:
    """A refusal of one service."""
    return outcome.RequestRefused(by=by, kind=kind, message=f"refused by {by}", revision=revision)


def text_of(first: int, count: int) -> str:
    """The text of ids `first` to `first + count`: one character each, that says which."""
    return "".join(chr(0x4E00 + number) for number in range(first, first + count))


def delta(first: int, count: int) -> Delta:
    """Vetted text of these ids; each id is its own index."""
    return Delta(first, list(range(first, first + count)), [1] * count, text_of(first, count))


def end(generated: int, reason: outcome.FinishReason = outcome.FINISH_REASON_STOP) -> Ending:
    """A vetted `End`."""
    return Ending(reason, generated, 3, 1)


def running(machine: Machine, now: float = 0.0) -> Machine:
    """Bring a new machine to `running`."""
    ready(machine, now)
    machine.seated(now, WORKER, SEAT)
    machine.work_acknowledged(1, 10)
    machine.work_accepted(now, 1, WEIGHTS)
    return machine


def ready(machine: Machine, now: float = 0.0) -> Machine:
    """Bring a new machine to `ready`."""
    machine.begin()
    machine.acknowledged()
    machine.acknowledged()
    machine.screened(now, screened())
    machine.encoded(now, encoded())
    machine.reserved(now, reserved())
    return machine


def started(**how: Any) -> Machine:
    """A machine in `running`, on these terms."""
    return running(Machine(terms(**how), 0.0))


def dispatched() -> Machine:
    """A machine whose first attempt was sent to a worker that has not answered."""
    machine = ready(Machine(terms(), 0.0))
    assert machine.seated(0.0, WORKER, SEAT) == (Dispatch(1),)
    return machine


def again(machine: Machine, now: float = 0.0) -> int:
    """Seat the next attempt and return its number."""
    machine.seated(now, WORKER, SEAT)
    assert machine.current is not None
    machine.work_acknowledged(machine.current.number, 11)
    return machine.current.number


def delivered(effects: Iterable[object]) -> str:
    """The text of all pieces among effects."""
    return "".join(effect.piece.text for effect in effects if isinstance(effect, Deliver))


def finished(effects: Effects) -> Outcome:
    """The outcome among effects."""
    (found,) = [effect.outcome for effect in effects if isinstance(effect, Finish)]
    return found
