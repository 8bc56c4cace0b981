"""What the services around an owner say, as tests script them."""

from __future__ import annotations

from typing import Any, NamedTuple

from google.protobuf.message import Message

from services.edge.answer import Answer, Principal, Submission
from shared.bus.envelope import Envelope
from shared.contracts.freehold.billing.v1.events_pb2 import BudgetReserved, UnitPrices
from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.contracts.freehold.edge.v1 import events_pb2 as edge
from shared.contracts.freehold.edge.v1.request_pb2 import ROLE_USER, CompletionRequest
from shared.contracts.freehold.edge.v1.request_pb2 import Message as Turn
from shared.contracts.freehold.inference.v1.frame_pb2 import End
from shared.contracts.freehold.moderation.v1.events_pb2 import Screened, VettedFrame
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.contracts.freehold.tokenizer.v1.events_pb2 import Encoded
from shared.errors import FreeholdError
from shared.ids import pack
from shared.telemetry import TraceContext

WEIGHTS, VOCABULARY, TEMPLATE = "a1" * 32, "b2" * 32, "c3" * 32
WORKER, SEAT = 0xABCD, 5
KINDS: dict[str, type[Message]] = {
    kind.DESCRIPTOR.name: kind
    for kind in (
        edge.RequestAccepted,
        edge.PromptRedacted,
        edge.ReserveBudget,
        edge.GenerateTokens,
        edge.CancelGeneration,
        edge.RequestClosed,
    )
}


PRINCIPAL = Principal(
    key="key-1",
    organisation="ministry",
    project="archive",
    roles=frozenset({"complete"}),
    deadline_s=120.0,
    models=frozenset(),
    max_in_flight=100,
)


class Seen(NamedTuple):
    """A record that the owner published."""

    topic: str
    partition: int
    offset: int
    envelope: Envelope
    message: Any


def a_frame(work: Seen) -> VettedFrame:
    """A vetted frame whose only stream is this attempt's."""
    frame = VettedFrame()
    frame.frame.request.append(pack(work.envelope.request))
    frame.frame.attempt.append(work.envelope.attempt)
    frame.frame.choice.append(0)
    return frame


def an_end(generated: int, reason: outcome.FinishReason = outcome.FINISH_REASON_STOP) -> End:
    """The last delta of a choice."""
    return End(stream=0, reason=reason, generated=generated, prompt=6, cached=4)


def a_submission(text: str = "mail jo@example.org", max_output: int = 20) -> Submission:
    """A small streamed request."""
    request = CompletionRequest(
        model="m", messages=[Turn(role=ROLE_USER, parts=[text])], max_output=max_output, choices=1
    )
    request.sampling.temperature = 0.5
    trace = TraceContext(b"t" * 16, b"s" * 8, True)
    return Submission(request, PRINCIPAL, b"f" * 32, 100, True, "", trace)


def a_pass(verdict: outcome.Verdict = outcome.VERDICT_ALLOW) -> Screened:
    """Moderation's pass."""
    return Screened(verdict=verdict, policy_versions=["base@1"], window=16)


def an_encoding(count: int = 6, revision: int = 0) -> Encoded:
    """The tokenizer's ids."""
    return Encoded(
        revision=revision,
        ids=range(100, 100 + count),
        count=count,
        tokenizer_digest=VOCABULARY,
        template_digest=TEMPLATE,
    )


def a_reservation() -> BudgetReserved:
    """Billing's pass."""
    return BudgetReserved(
        amount=10**9,
        price_version="7",
        prices=UnitPrices(prompt=10_000, cached=5_000, output=20_000),
        currency="EUR",
        limited=True,
    )


def text_of(answer: Answer) -> str:
    """Everything that waits for the client."""
    return "".join(piece.text for piece in answer.take())


def a_configuration() -> list[tuple[str, str, Message]]:
    """Kind, id and value of a small tenant's configuration."""
    return [
        ("organisation", "ministry", config.Organisation(id="ministry", currency="EUR", policies=["base"])),
        ("project", "archive", config.Project(id="archive", organisation="ministry", policies=["strict"])),
        ("key", "key-1", config.Key(id="key-1", organisation="ministry", project="archive")),
        ("key", "key-2", config.Key(id="key-2", organisation="ministry", project="archive")),
        (
            "model",
            "m",
            config.Model(
                name="m",
                weights_digest=WEIGHTS,
                tokenizer_digest=VOCABULARY,
                context=1000,
                default_output=200,
                expand=1,
                per_message=16,
                fixed=8,
            ),
        ),
        ("price", "m.EUR", config.Price(model="m", currency="EUR", version="7")),
        ("marker", "control", config.Marker(epoch=1)),
    ]


def told(answer: Answer) -> FreeholdError:
    """The error that ended a request."""
    assert answer.outcome is not None
    assert answer.outcome.error is not None
    return answer.outcome.error
