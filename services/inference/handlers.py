"""Work in, replies out; frames and usage follow from what was taken."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from google.protobuf.message import Message

from services.inference.attempts.admission import Refusal
from services.inference.attempts.asking import NotServed
from services.inference.attempts.attempt import Work
from services.inference.attempts.generation import Generation
from services.inference.attempts.replies import SERVICE, Replies
from services.inference.observing import Observer
from services.inference.streams.frames import Frames
from shared.bus.envelope import Envelope, EnvelopeError, UnknownType, parse_envelope
from shared.bus.handling import Batch
from shared.bus.ports import Position, Record
from shared.contracts.freehold.edge.v1 import events_pb2 as edge
from shared.contracts.freehold.inference.v1 import events_pb2 as pb
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome

log = logging.getLogger(__name__)

REASONS = {Refusal.FULL: pb.REJECT_REASON_FULL, Refusal.CELLS: pb.REJECT_REASON_CELLS}

Understand = Callable[[edge.GenerateTokens], Work]


class Handler:
    """Handles one seat's `GenerateTokens` and `CancelGeneration`."""

    def __init__(
        self,
        replies: Replies,
        incarnation: int,
        generation: Generation,
        frames: Frames,
        observer: Observer,
        understand: Understand,
        weights_digest: str,
        heard: Callable[[int, int], None],
        lanes: int,
    ) -> None:
        """`understand` raises NotServed for what this worker cannot do; `heard` is told of each record's
        owner and lane, which is below `lanes`.
        """
        self._replies = replies
        self._incarnation = incarnation
        self._generation = generation
        self._frames = frames
        self._observer = observer
        self._understand = understand
        self._heard = heard
        self._lanes = lanes
        self._accepted = pb.WorkAccepted(weights_digest=weights_digest)
        self.draining = False
        """Set at a stop: nothing more is taken."""

    def sit(self, seat: int) -> None:
        """The seat is known, before the first batch."""
        self._accepted.seat = seat

    async def __call__(self, batch: Batch) -> None:
        """Take, reject or cancel each; return once the replies are acknowledged.

        A repetition of the batch repeats replies, not work. Raises `EnvelopeError`, also for an unknown
        type, and `DecodeError` for a record at fault, `BusError`.
        """
        sent: list[Awaitable[Position]] = []
        for record in batch.records:
            envelope = parse_envelope(record.headers)
            if envelope.to not in (0, self._incarnation):
                continue
            if not envelope.request or envelope.lane >= self._lanes:
                raise EnvelopeError("no request is named, or a lane that is none")
            self._heard(envelope.owner, envelope.lane)
            if envelope.type == "CancelGeneration":
                self._generation.cancel(envelope)
            elif envelope.type == "GenerateTokens":
                answer = self._take(envelope, edge.GenerateTokens.FromString(record.value))
                if answer is not None:
                    sent.append(self._replies.send(envelope, answer))
            else:
                raise UnknownType(envelope.type)
        for acknowledged in sent:
            await acknowledged

    def _take(self, envelope: Envelope, asked: edge.GenerateTokens) -> Message | None:
        """The answer to work; None where it is known and has ended."""
        if self._generation.running(envelope.request, envelope.attempt):
            return self._accepted
        if self._generation.known(envelope.request, envelope.attempt):
            return None
        if self.draining:
            return self._reject("full", pb.REJECT_REASON_FULL)
        try:
            work = self._understand(asked)
        except NotServed as error:
            log.warning("request %s, attempt %d: %s", envelope.request, envelope.attempt, error)
            return self._reject("model", pb.REJECT_REASON_MODEL)
        lane = self._frames.lane(envelope.owner, envelope.lane)
        taken = self._generation.accept(envelope, work, lane)
        if isinstance(taken, Refusal):
            return self._reject(taken.value, REASONS[taken])
        return self._accepted

    def _reject(self, reason: str, code: pb.RejectReason) -> pb.WorkRejected:
        self._observer.rejected(reason)
        return pb.WorkRejected(reason=code)

    async def answer_poison(self, record: Record, error: Exception) -> None:
        """Tell the owner of a record that was dead-lettered. Raises `EnvelopeError` where nobody owns it."""
        envelope = parse_envelope(record.headers)
        await self._replies.send(envelope, outcome.RequestFailed(stage=SERVICE, code=type(error).__name__))
