"""Requests in, prompt ids or a refusal out."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from google.protobuf.message import DecodeError, Message

from services.tokenizer.encoding import Job, Outcome, Refusal, encode_jobs
from services.tokenizer.model import ServedModel
from services.tokenizer.observing import Observer
from shared.bus.envelope import Envelope, parse_envelope
from shared.bus.ports import Position, Publisher, Record
from shared.contracts.freehold.edge.v1 import events_pb2 as edge
from shared.contracts.freehold.platform.v1 import outcome_pb2 as platform
from shared.contracts.freehold.tokenizer.v1 import events_pb2 as tokenizer
from shared.errors import FreeholdError
from shared.executor import Executor
from shared.ids import event_id

log = logging.getLogger(__name__)

SERVICE = "tokenizer"
FindModel = Callable[[str], ServedModel]
"""The model that the configuration means by a name. Raises `FreeholdError`."""


class _Asked(NamedTuple):
    envelope: Envelope
    revision: int
    job: Job


class Handler:
    """Answers `RequestAccepted` and `PromptRedacted` on the owner's lane of `replies`."""

    def __init__(
        self,
        find: FindModel,
        executor: Executor,
        bus: Publisher,
        incarnation: int,
        observer: Observer,
        batch: int,
    ) -> None:
        self._find = find
        self._executor = executor
        self._bus = bus
        self._incarnation = incarnation
        self._observer = observer
        self._batch = batch

    async def __call__(self, records: Sequence[Record]) -> None:
        """Encode a batch by few turns of the thread; return once every answer is acknowledged.

        Raises `EnvelopeError` for headers that cannot be routed and `BusError` where an answer is not
        acknowledged: the same answers are then published again, with the same event ids.
        """
        begun = self._observer.now()
        sent: list[Awaitable[Position]] = []
        asked: list[_Asked] = []
        for record in records:
            envelope = parse_envelope(record.headers)
            found = self._understand(envelope, record.value)
            if isinstance(found, _Asked):
                asked.append(found)
            elif found is not None:
                sent.append(self._reply(envelope, envelope.revision, found))
        for start in range(0, len(asked), self._batch):
            turn = asked[start : start + self._batch]
            outcomes = await self._executor.run(encode_jobs, [one.job for one in turn])
            for one, outcome in zip(turn, outcomes, strict=True):
                context = self._observer.observe(one.envelope, one.job.model.name, begun, outcome)
                answer = _answer(one, outcome)
                sent.append(self._reply(replace(one.envelope, traceparent=context), one.revision, answer))
        for acknowledged in sent:
            await acknowledged

    def _understand(self, envelope: Envelope, value: bytes) -> _Asked | platform.RequestFailed | None:
        """What a record asks for; a failure to answer with; None where it is not for the tokenizer."""
        try:
            if envelope.type == "RequestAccepted":
                revision, accepted = 0, edge.RequestAccepted.FromString(value)
            elif envelope.type == "PromptRedacted":
                redacted = edge.PromptRedacted.FromString(value)
                revision, accepted = redacted.revision, redacted.accepted
            else:
                return None
            job = Job(self._find(accepted.request.model), accepted.request)
        except DecodeError:
            log.error("a %s cannot be decoded", envelope.type, extra={"request": envelope.request})
            return platform.RequestFailed(stage=SERVICE, code="undecodable")
        except FreeholdError as error:
            log.warning("%s", error.message, extra={"request": envelope.request, "code": error.code})
            return platform.RequestFailed(stage=SERVICE, code=error.code)
        return _Asked(envelope, revision, job)

    def _reply(self, asked: Envelope, revision: int, answer: Message) -> Awaitable[Position]:
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
            traceparent=asked.traceparent,
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
