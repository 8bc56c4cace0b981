"""Frames: what streams gave out, as columns, one record per owner's lane and flush.

A first text and an end go at once; other text every 20 ms or engine step, whichever is longer. A lane has
at most one frame on its way and repeats it until it is acknowledged, so its order is never in doubt.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterable

from services.inference.attempts.attempt import Stream, context_of
from services.inference.scheduler import Finish
from shared.bus.envelope import Envelope
from shared.bus.ports import Acknowledged, BusError, Headers, Position, Publisher
from shared.contracts.freehold.inference.v1 import frame_pb2 as pb
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.host import Host
from shared.ids import pack
from shared.lifecycle import Tasks

log = logging.getLogger(__name__)

FLUSH_S = 0.020
REOPEN_S = 10.0
RETRY_S = 0.25
REASONS = {
    Finish.STOP: outcome.FINISH_REASON_STOP,
    Finish.LENGTH: outcome.FINISH_REASON_LENGTH,
    Finish.CANCELLED: outcome.FINISH_REASON_CANCELLED,
    Finish.FAILED: outcome.FINISH_REASON_FAILED,
}


def build_frame(streams: Iterable[Stream], now: float) -> pb.Frame:
    """Everything the streams have gathered, taken out of them. `now` is monotonic."""
    requests, attempts, choices = [], [], []
    text_streams, indices, counts, texts = [], [], [], []
    ids: list[int] = []
    lengths: list[int] = []
    opens, ends = [], []
    for number, stream in enumerate(streams):
        attempt = stream.attempt
        requests.append(pack(attempt.envelope.request))
        attempts.append(attempt.envelope.attempt)
        choices.append(stream.choice)
        if stream.opened_at is None or now - stream.opened_at >= REOPEN_S:
            stream.opened_at = now
            opens.append(_open(number, stream))
        if stream.ids:
            text = "".join(stream.texts)
            text_streams.append(number)
            indices.append(stream.index)
            counts.append(len(stream.ids))
            texts.append(text)
            ids += stream.ids
            lengths += stream.lengths
            stream.flushed(text)
        if stream.end:
            ends.append(_end(number, stream))
    return pb.Frame(
        request=requests,
        attempt=attempts,
        choice=choices,
        text_stream=text_streams,
        text_index=indices,
        text_count=counts,
        text=texts,
        ids=ids,
        lengths=lengths,
        opens=opens,
        ends=ends,
    )


def _open(number: int, stream: Stream) -> pb.Open:
    attempt = stream.attempt
    return pb.Open(
        stream=number,
        policies=attempt.work.policies,
        config_offset=attempt.envelope.config_offset,
        next_index=stream.index,
        context=context_of(stream.tail, attempt.work.window),
        window=attempt.work.window,
        traceparent=attempt.traceparent.decode(),
    )


def _end(number: int, stream: Stream) -> pb.End:
    attempt = stream.attempt
    return pb.End(
        stream=number,
        reason=REASONS[stream.finish or Finish.FAILED],
        generated=stream.generated,
        prompt=len(attempt.work.prompt),
        cached=attempt.cached,
    )


class Lane:
    """The frames of one owner's lane; an `Outlet`."""

    def __init__(self, frames: Frames, owner: int, lane: int) -> None:
        self._frames = frames
        self._dirty: dict[Stream, None] = {}
        self._urgent = False
        self._flushed_at = float("-inf")
        self.owner = owner
        self.lane = lane
        self.streams = 0
        """Of attempts that have not ended."""
        self.sent_at: float | None = None
        """Since when a frame has been on its way; None = all are acknowledged."""
        self.closed = False

    @property
    def busy(self) -> bool:
        """Whether anything was gathered, or sent and not acknowledged."""
        return bool(self._dirty) or self.sent_at is not None

    def touch(self, stream: Stream, urgent: bool) -> None:
        """See `Outlet.touch`."""
        self._dirty[stream] = None
        self._urgent |= urgent

    def poke(self, now: float) -> None:
        """Flush if it is time, else be flushed later."""
        if not self._dirty or self.sent_at is not None or self.closed:
            return
        if self._urgent or now - self._flushed_at >= FLUSH_S:
            self.flush(now)
        else:
            self._frames.later(self)

    def flush(self, now: float) -> None:
        """Publish what is gathered, unless a frame is on its way: then its acknowledgement flushes."""
        if not self._dirty or self.sent_at is not None or self.closed:
            return
        frame = build_frame(self._dirty, now)
        ended = [stream for stream in self._dirty if stream.end]
        self._dirty = {}
        self._urgent = False
        self._flushed_at = now
        self._frames.send(self, frame.SerializeToString(), ended, now)


class Frames:
    """All lanes of one worker."""

    def __init__(self, bus: Publisher, host: Host, tasks: Tasks) -> None:
        self._bus = bus
        self._clock = host.clock
        self._incarnation = host.incarnation
        self._tasks = tasks
        self._lanes: dict[tuple[int, int], Lane] = {}
        self._number = 0
        self._waiting: dict[Lane, None] = {}

    def lane(self, owner: int, lane: int) -> Lane:
        """The lane of an owner."""
        found = self._lanes.get((owner, lane))
        if found is None:
            found = self._lanes[owner, lane] = Lane(self, owner, lane)
        return found

    def lanes(self) -> list[Lane]:
        """All that are known."""
        return list(self._lanes.values())

    @property
    def waiting(self) -> bool:
        """Whether anything was gathered, or sent and not acknowledged."""
        return any(lane.busy for lane in self._lanes.values())

    def close(self, lane: Lane) -> None:
        """The owner is gone, or has nothing more here: nothing is sent to it any more."""
        lane.closed = True
        self._lanes.pop((lane.owner, lane.lane), None)

    def later(self, lane: Lane) -> None:
        """Flush the lane in 20 ms."""
        if not self._waiting:
            self._tasks.spawn(self._flush_waiting(), "flush")
        self._waiting[lane] = None

    async def _flush_waiting(self) -> None:
        await self._clock.sleep(FLUSH_S)
        waiting, self._waiting = self._waiting, {}
        now = self._clock.monotonic()
        for lane in waiting:
            lane.flush(now)

    def send(self, lane: Lane, value: bytes, ended: list[Stream], now: float) -> None:
        """Publish one frame of the lane, again and again until it is acknowledged or the lane closed.

        `ended` are the streams whose end it holds.
        """
        self._number += 1
        headers = Envelope(
            "Frame",
            f"{self._incarnation:016x}/frames/{self._number}",
            self._incarnation,
            owner=lane.owner,
            lane=lane.lane,
        ).headers()
        sent = self._publish(lane, value, headers)
        if isinstance(sent, Acknowledged):
            _tell(ended)
        else:
            lane.sent_at = now
            self._tasks.spawn(self._insist(lane, value, headers, sent, ended), "frame")

    def _publish(self, lane: Lane, value: bytes, headers: Headers) -> Awaitable[Position] | None:
        try:
            return self._bus.publish("frames", value, headers, partition=lane.lane)
        except BusError as error:
            log.warning("frame for lane %d not sent: %s", lane.lane, error)
            return None

    async def _insist(
        self,
        lane: Lane,
        value: bytes,
        headers: Headers,
        sent: Awaitable[Position] | None,
        ended: list[Stream],
    ) -> None:
        while not lane.closed:
            try:
                if sent is not None:
                    await sent
                    _tell(ended)
                    break
            except BusError as error:
                log.warning("frame for lane %d not acknowledged: %s", lane.lane, error)
            await self._clock.sleep(RETRY_S)
            sent = self._publish(lane, value, headers)
        lane.sent_at = None
        lane.poke(self._clock.monotonic())


def _tell(ended: list[Stream]) -> None:
    for stream in ended:
        stream.told = True
