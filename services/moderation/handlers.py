"""Requests in, verdicts out; frames in, vetted frames out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from google.protobuf.message import DecodeError, Message

from services.moderation import wire
from services.moderation.matching.pack import Direction
from services.moderation.observing import Observer
from services.moderation.output.stream import Read
from services.moderation.output.streams import Streams, check_frame
from services.moderation.packs import Packs
from services.moderation.policy import Policy, PolicyPending, PolicyUnknown
from services.moderation.screening import Screening, screen
from services.moderation.scripts import script_of
from shared.bus.envelope import Envelope, UnknownType, parse_envelope
from shared.bus.handling import Batch, Later
from shared.bus.ports import Headers, Position, Publisher, Record, TopicPartition
from shared.clock import Clock
from shared.configuration import Configuration
from shared.contracts.freehold.edge.v1.events_pb2 import RequestAccepted
from shared.contracts.freehold.inference.v1.frame_pb2 import Frame
from shared.contracts.freehold.platform.v1.outcome_pb2 import RequestFailed
from shared.executor import Executor
from shared.ids import event_id
from shared.telemetry import Turn

SERVICE = "moderation"
TURN_S = 0.02
"""Frames are vetted for no longer at a time. Who takes lanes over finds hundreds of them in one batch, and
the heartbeats of its group come from the same loop.
"""
_CODES: dict[type[Exception], str] = {
    DecodeError: "undecodable",
    Later: "configuration_behind",
    PolicyUnknown: "policy_unavailable",
}


class _Job(NamedTuple):
    envelope: Envelope
    policies: tuple[str, ...]
    policy: Policy
    reading: wire.Reading
    cost: int


class InputHandler:
    """Answers `RequestAccepted` on the owner's lane of `replies`."""

    def __init__(
        self,
        configuration: Configuration,
        packs: Packs,
        executor: Executor,
        bus: Publisher,
        incarnation: int,
        observer: Observer,
        inline_cost: int,
    ) -> None:
        self._configuration = configuration
        self._packs = packs
        self._executor = executor
        self._bus = bus
        self._incarnation = incarnation
        self._observer = observer
        self._inline_cost = inline_cost

    async def __call__(self, batch: Batch) -> None:
        """Screen a batch; return once every answer is acknowledged.

        Raises `Later` where a request knows a newer configuration or its policy is being compiled,
        `BusError` where an answer is not acknowledged (a repetition publishes the same events), and what
        a record is at fault for: `EnvelopeError`, `DecodeError`, `PolicyUnknown`.
        """
        with self._observer.screening() as turn:
            await self._handle(batch, turn)

    async def _handle(self, batch: Batch, turn: Turn) -> None:
        jobs = [job for record in batch.records if (job := self._understand(record)) is not None]
        # Short texts cost less here than the way to a thread and back. The bound holds for the batch.
        left = self._inline_cost
        inline: list[_Job] = []
        beside: list[_Job] = []
        for job in jobs:
            left -= job.cost
            (inline if left >= 0 else beside).append(job)
        sent = [self._answer(job, _screen(job), turn) for job in inline]
        if beside:
            moved = [job._replace(policy=self._packs.find(job.policies, beside=True)) for job in beside]
            found = await self._executor.run(_screen_all, moved)
            sent += [self._answer(job, screening, turn) for job, screening in zip(moved, found, strict=True)]
        for acknowledged in sent:
            await acknowledged

    async def answer_poison(self, record: Record, error: Exception) -> None:
        """Tell the owner of a record that was dead-lettered. Raises `EnvelopeError` where nobody owns it."""
        envelope = parse_envelope(record.headers)
        if envelope.type == "RequestAccepted":
            code = _CODES.get(type(error), "failed")
            await self._reply(envelope, RequestFailed(stage=SERVICE, code=code), envelope.traceparent)

    def _understand(self, record: Record) -> _Job | None:
        """What a record asks for; None where it is not for moderation."""
        envelope = parse_envelope(record.headers)
        if envelope.type == "PromptRedacted":
            return None
        if envelope.type != "RequestAccepted":
            raise UnknownType(envelope.type)
        if envelope.config_offset > self._configuration.offset:
            raise Later("a request was accepted under a configuration that is not here yet")
        accepted = RequestAccepted.FromString(record.value)
        policies = tuple(accepted.policies)
        try:
            policy = self._packs.find(policies)
        except PolicyPending as error:
            raise Later(f"policy {error} is being compiled") from None
        reading = wire.read_request(accepted.request)
        return _Job(envelope, policies, policy, reading, wire.cost(reading[0]))

    def _answer(self, job: _Job, screening: Screening, turn: Turn) -> Awaitable[Position]:
        verdict, script = screening.verdict, script_of(wire.longest(job.reading[0]))
        context = self._observer.screened(turn, job.envelope, job.policy, verdict, script)
        answer = wire.answer(screening, job.policy.versions, job.policy.window)
        return self._reply(job.envelope, answer, context)

    def _reply(self, asked: Envelope, answer: Message, traceparent: bytes) -> Awaitable[Position]:
        kind = answer.DESCRIPTOR.name
        envelope = Envelope(
            type=kind,
            event_id=event_id(asked.request, asked.attempt, asked.revision, SERVICE, kind),
            sender=self._incarnation,
            request=asked.request,
            tenant=asked.tenant,
            owner=asked.owner,
            lane=asked.lane,
            to=asked.owner,
            revision=asked.revision,
            config_offset=asked.config_offset,
            traceparent=traceparent,
        )
        value, headers = answer.SerializeToString(), envelope.headers()
        return self._bus.publish("replies", value, headers, partition=asked.lane)


class _Asked(NamedTuple):
    read: Read
    envelope: Envelope
    frame: Frame


class _Lane:
    """What this replica knows of a lane since it was given it."""

    __slots__ = ("number", "streams", "unsent")

    def __init__(self, number: int, streams: Streams) -> None:
        self.number = number
        self.streams = streams
        self.unsent: deque[tuple[bytes, Headers]] = deque()
        """What was vetted and is not acknowledged. The windows have moved on, so a batch that is handed
        again finds nothing new in its frames; its answers are these."""


class OutputHandler:
    """Answers each frame that leaves something to deliver by one vetted frame on the same lane. A `Memory`:
    its windows reach back behind what it has finished.
    """

    def __init__(
        self,
        configuration: Configuration,
        packs: Packs,
        streams: Callable[[], Streams],
        bus: Publisher,
        incarnation: int,
        observer: Observer,
        clock: Clock,
    ) -> None:
        """`streams` makes those of one lane, none of them known yet."""
        self._configuration = configuration
        self._packs = packs
        self._streams = streams
        self._bus = bus
        self._incarnation = incarnation
        self._observer = observer
        self._clock = clock
        self._number = 0
        self._lanes: dict[int, _Lane] = {}

    async def __call__(self, batch: Batch) -> None:
        """Vet a batch of frames of one lane, in order; return once every answer is acknowledged.

        Raises `Later` and `BusError` as the input does, `EnvelopeError`, `DecodeError` and `FrameError`
        for a record at fault; then no frame of the batch has had an effect.
        """
        lane = self._lanes.get(batch.partition)
        if lane is None:
            lane = self._lanes[batch.partition] = _Lane(batch.partition, self._streams())
        await self._send(lane)
        asked = deque(map(self._understand, batch.records))
        while asked:
            with self._observer.vetting():
                self._vet(lane, asked)
                await self._send(lane)
            if asked:
                await asyncio.sleep(0)
        lane.streams.settle()

    def back_to(self, place: TopicPartition, finished: int) -> int:
        """See `Memory`."""
        lane = self._lanes.get(place.partition)
        return lane.streams.back_to(finished) if lane else finished

    def forget(self, place: TopicPartition) -> None:
        """See `Memory`."""
        self._lanes.pop(place.partition, None)

    def forget_idle(self) -> None:
        """See `Streams`."""
        for lane in self._lanes.values():
            lane.streams.forget_idle()

    def _understand(self, record: Record) -> _Asked:
        envelope, frame = parse_envelope(record.headers), Frame.FromString(record.value)
        if envelope.type != "Frame":
            raise UnknownType(envelope.type)
        check_frame(frame)
        self._await_policies(frame)
        return _Asked(Read(record.offset, record.timestamp_ms), envelope, frame)

    def _vet(self, lane: _Lane, asked: deque[_Asked]) -> None:
        """Take the first frames, no more than the loop can spare the time for."""
        now = self._clock.monotonic()
        while asked:
            read, envelope, frame = asked.popleft()
            vetted = lane.streams.vet(frame, read, now)
            if vetted is not None:
                lane.unsent.append((vetted.SerializeToString(), self._headers(envelope, lane.number)))
            if self._clock.monotonic() - now >= TURN_S:
                break

    def _await_policies(self, frame: Frame) -> None:
        for opened in frame.opens:
            if opened.config_offset > self._configuration.offset:
                raise Later("a stream was opened under a configuration that is not here yet")
            try:
                self._packs.find(opened.policies)
            except PolicyPending as error:
                raise Later(f"policy {error} is being compiled") from None
            except PolicyUnknown:
                continue  # the stream is given up, the frame's others are not

    async def _send(self, lane: _Lane) -> None:
        sent = [
            self._bus.publish("completions", value, headers, partition=lane.number)
            for value, headers in lane.unsent
        ]
        for acknowledged in sent:
            await acknowledged
            lane.unsent.popleft()

    def _headers(self, asked: Envelope, lane: int) -> Headers:
        self._number += 1
        return Envelope(
            type="VettedFrame",
            event_id=f"{self._incarnation:016x}/completions/{self._number}",
            sender=self._incarnation,
            owner=asked.owner,
            lane=lane,
            to=asked.owner,
        ).headers()


def _screen(job: _Job) -> Screening:
    passages, rows = job.reading
    return screen(job.policy, Direction.INPUT, passages, rows)


def _screen_all(jobs: list[_Job]) -> list[Screening]:
    return [_screen(job) for job in jobs]
