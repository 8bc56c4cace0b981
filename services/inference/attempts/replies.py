"""What a worker answers the owner of a request, on its lane."""

from __future__ import annotations

import logging
from collections.abc import Awaitable

from google.protobuf.message import Message

from services.inference.attempts.attempt import Attempt
from shared.bus.envelope import Envelope
from shared.bus.ports import BusError, Position, Publisher
from shared.contracts.freehold.inference.v1 import events_pb2 as pb
from shared.ids import event_id

log = logging.getLogger(__name__)

SERVICE = "inference"


class Replies:
    """Publishes on `replies`. A repetition of an answer is the same event."""

    def __init__(self, bus: Publisher, incarnation: int) -> None:
        self._bus = bus
        self._incarnation = incarnation

    def send(self, asked: Envelope, answer: Message) -> Awaitable[Position]:
        """Answer a record. Raises, now or when awaited, `BusError`."""
        kind = answer.DESCRIPTOR.name
        envelope = Envelope(
            type=kind,
            event_id=event_id(asked.request, asked.attempt, 0, SERVICE, kind),
            sender=self._incarnation,
            request=asked.request,
            tenant=asked.tenant,
            owner=asked.owner,
            lane=asked.lane,
            to=asked.owner,
            attempt=asked.attempt,
            config_offset=asked.config_offset,
            traceparent=asked.traceparent,
        )
        return self._bus.publish(
            "replies", answer.SerializeToString(), envelope.headers(), partition=asked.lane
        )

    def engine_failed(self, attempt: Attempt) -> None:
        """The engine broke an accepted attempt off."""
        self._failed(attempt, pb.FAIL_REASON_ENGINE)

    def draining(self, attempt: Attempt) -> None:
        """The worker stops before the attempt has ended: not a lost attempt."""
        self._failed(attempt, pb.FAIL_REASON_DRAINING)

    def _failed(self, attempt: Attempt, reason: pb.FailReason) -> None:
        """Tell it once, without waiting: an owner that does not hear it learns from the stream's end."""
        if attempt.diagnostic:
            return
        try:
            self.send(attempt.envelope, pb.WorkFailed(reason=reason))
        except BusError as error:
            log.warning("request %s: its failure was not sent: %s", attempt.envelope.request, error)
