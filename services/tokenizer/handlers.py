"""Requests in, prompt ids or a refusal out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from google.protobuf.message import DecodeError, Message

from services.tokenizer.encoding import Job, Outcome, Refusal, encode_jobs
from services.tokenizer.model import ServedModel
from services.tokenizer.observing import Observer
from shared.bus.envelope import Envelope, UnknownType, parse_envelope
from shared.bus.handling import Batch, Later
from shared.bus.ports import Position, Publisher, Record
from shared.configuration import Configuration
from shared.contracts.freehold.edge.v1 import events_pb2 as edge
from shared.contracts.freehold.platform.v1 import outcome_pb2 as platform
from shared.contracts.freehold.tokenizer.v1 import events_pb2 as tokenizer
from shared.errors import FreeholdError
from shared.executor import Executor
from shared.ids import event_id
from shared.telemetry import Turn

SERVICE = "tokenizer"
FindModel = Callable[[str], ServedModel]
"""The model that the configuration means by a name. Raises `FreeholdError`."""


_CODES: dict[type[Exception], str] = {
    DecodeError: "undecodable",
    UnknownType: "unknown_type",
    Later: "configuration_behind",
}


class _Asked(NamedTuple):
    envelope: Envelope
    revision: int
    job: Job
    cost: int
    """Bytes of the request."""


class Handler:
    """Answers `RequestAccepted` and `PromptRedacted` on the owner's lane of `replies`."""

    def __init__(
        self,
        configuration: Configuration,
        find: FindModel,
        executor: Executor,
        bus: Publisher,
        incarnation: int,
        observer: Observer,
        batch: int,
        inline_cost: int,
    ) -> None:
        self._configuration = configuration
        self._find = find
        self._executor = executor
        self._bus = bus
        self._incarnation = incarnation
        self._observer = observer
        self._batch = batch
        self._inline_cost = inline_cost

    async def __call__(self, batch: Batch) -> None:
        """Encode a batch, long requests by few turns of the thread; return once every answer is acknowledged.

        Raises `Later` where a request knows a newer configuration, `BusError` where an answer is not
        acknowledged (a repetition publishes the same events), and what a record is at fault for:
        `EnvelopeError`, also for an unknown type, `DecodeError`, `FreeholdError` for a model that is not
        served.
        """
        with self._observer.turn() as turn:
            await self._handle(batch, turn)

    async def _handle(self, batch: Batch, turn: Turn) -> None:
        envelopes = [parse_envelope(record.headers) for record in batch.records]
        if max(envelope.config_offset for envelope in envelopes) > self._configuration.offset:
            raise Later("a request was accepted under a configuration that is not here yet")
        asked = [
            self._understand(envelope, record.value)
            for envelope, record in zip(envelopes, batch.records, strict=True)
        ]
        # Short prompts cost less here than the way to a thread and back. The bound holds for the batch.
        left = self._inline_cost
        inline: list[_Asked] = []
        beside: list[_Asked] = []
        for one in asked:
            left -= one.cost
            (inline if left >= 0 else beside).append(one)
        sent = self._answer_all(inline, encode_jobs([one.job for one in inline]), turn)
        for start in range(0, len(beside), self._batch):
            some = beside[start : start + self._batch]
            outcomes = await self._executor.run(encode_jobs, [one.job for one in some])
            sent += self._answer_all(some, outcomes, turn)
        for acknowledged in sent:
            await acknowledged

    async def answer_poison(self, record: Record, error: Exception) -> None:
        """Tell the owner of a record that was dead-lettered. Raises `EnvelopeError` where nobody owns it."""
        envelope = parse_envelope(record.headers)
        code = error.code if isinstance(error, FreeholdError) else _CODES.get(type(error), "failed")
        failed = platform.RequestFailed(stage=SERVICE, code=code)
        await self._reply(envelope, envelope.revision, failed, envelope.traceparent)

    def _understand(self, envelope: Envelope, value: bytes) -> _Asked:
        if envelope.type == "RequestAccepted":
            revision, accepted = 0, edge.RequestAccepted.FromString(value)
        elif envelope.type == "PromptRedacted":
            redacted = edge.PromptRedacted.FromString(value)
            revision, accepted = redacted.revision, redacted.accepted
        else:
            raise UnknownType(envelope.type)
        job = Job(self._find(accepted.request.model), accepted.request)
        return _Asked(envelope, revision, job, len(value))

    def _answer_all(
        self, asked: Sequence[_Asked], outcomes: Sequence[Outcome], turn: Turn
    ) -> list[Awaitable[Position]]:
        sent = []
        for one, outcome in zip(asked, outcomes, strict=True):
            context = self._observer.observe(turn, one.envelope, one.job.model.name, outcome)
            sent.append(self._reply(one.envelope, one.revision, _answer(one, outcome), context))
        return sent

    def _reply(
        self, asked: Envelope, revision: int, answer: Message, traceparent: bytes
    ) -> Awaitable[Position]:
        kind = answer.DESCRIPTOR.name
        envelope = Envelope(
            type=kind,
            event_id=event_id(asked.request, asked.attempt, revision, SERVICE, kind),
            sender=self._incarnation,
            request=asked.request,
            tenant=asked.tenant,
            owner=asked.owner,
            lane=asked.lane,
            to=asked.owner,
            revision=revision,
            config_offset=asked.config_offset,
            traceparent=traceparent,
        )
        return self._bus.publish(
            "replies", answer.SerializeToString(), envelope.headers(), partition=asked.lane
        )


def _answer(asked: _Asked, outcome: Outcome) -> Message:
    model = asked.job.model
    if not isinstance(outcome, Refusal):
        return tokenizer.Encoded(
            revision=asked.revision,
            ids=outcome,
            count=len(outcome),
            tokenizer_digest=model.tokenizer_digest,
            template_digest=model.template_digest,
        )
    return platform.RequestRefused(
        by=platform.REFUSER_TOKENIZER,
        kind=outcome.kind.name,
        code=outcome.kind.value,
        message=outcome.message,
        param="messages" if asked.job.request.messages else "prompt",
        revision=asked.revision,
    )
