"""All output streams that one replica vets: frames in, vetted frames out. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from services.moderation.output.outgoing import Outgoing
from services.moderation.output.stream import Stream
from services.moderation.output.window import WindowError
from services.moderation.policy import Policy, PolicyUnknown
from shared.contracts.freehold.inference.v1.frame_pb2 import End, Frame, Open
from shared.contracts.freehold.moderation.v1.events_pb2 import VettedFrame

FindPolicy = Callable[[Iterable[str]], Policy]
"""Raises `PolicyUnknown`."""
Key = tuple[bytes, int]
"""Request (16 bytes) and choice."""


class FrameError(ValueError):
    """A frame whose columns do not fit together."""


def check_frame(frame: Frame) -> None:
    """Raises `FrameError`. A checked frame cannot fail half-way."""
    streams, texts, ids = len(frame.request), len(frame.text), len(frame.ids)
    if not streams == len(frame.attempt) == len(frame.choice):
        raise FrameError("the table's columns differ in length")
    if not texts == len(frame.text_stream) == len(frame.text_index) == len(frame.text_count):
        raise FrameError("the texts' columns differ in length")
    if not ids == len(frame.lengths) == sum(frame.text_count):
        raise FrameError("the ids' columns differ in length")
    numbers = (
        *frame.text_stream,
        *(opened.stream for opened in frame.opens),
        *(end.stream for end in frame.ends),
    )
    if numbers and max(numbers) >= streams:
        raise FrameError("a stream is not in the table")


class Outcomes(Protocol):
    """Told how streams end."""

    def ended(self, request: bytes, stream: Stream) -> None:
        """By its `End`, or refused."""

    def broken(self, request: bytes, stream: Stream | None, reason: str) -> None:
        """It cannot be vetted; None where nothing of it is known."""


class Streams:
    """State by request and choice. A higher attempt drops the lower; what is idle is forgotten."""

    def __init__(self, find: FindPolicy, outcomes: Outcomes, idle_s: float) -> None:
        self._find = find
        self._outcomes = outcomes
        self._idle_s = idle_s
        self._streams: dict[Key, Stream] = {}
        self._closed: dict[Key, tuple[int, float]] = {}
        """Attempt that is over, and since when: what still comes of it is passed over."""

    def __len__(self) -> int:
        return len(self._streams)

    def vet(self, frame: Frame, now: float) -> VettedFrame | None:
        """What may be delivered of a checked frame, or None. `now` is monotonic seconds.

        What comes again has no effect again.
        """
        out = Outgoing(frame)
        for opened in frame.opens:
            self._open(frame, opened, out, now)
        ids, lengths = frame.ids, frame.lengths
        first = 0
        for number, index, count, text in zip(
            frame.text_stream, frame.text_index, frame.text_count, frame.text, strict=True
        ):
            last = first + count
            stream = self._find_stream(frame, number, out, now)
            if stream is not None:
                self._push(frame, number, stream, out, index, ids[first:last], lengths[first:last], text, now)
            first = last
        for end in frame.ends:
            self._end(frame, end, out, now)
        return out.vetted()

    def forget_idle(self, now: float) -> None:
        """Drop what has had no delta for long."""
        for key in [key for key, stream in self._streams.items() if now - stream.seen > self._idle_s]:
            del self._streams[key]
        for key in [key for key, (_, since) in self._closed.items() if now - since > self._idle_s]:
            del self._closed[key]

    def _open(self, frame: Frame, opened: Open, out: Outgoing, now: float) -> None:
        key, attempt = _key(frame, opened.stream), frame.attempt[opened.stream]
        known = self._streams.get(key)
        if self._over(key, attempt) or (known is not None and known.attempt > attempt):
            return
        if known is not None and known.attempt == attempt:
            known.seen = now
            return
        try:
            policy = self._find(opened.policies)
        except PolicyUnknown as error:
            self._give_up(frame, opened.stream, None, out, str(error), now)
        else:
            self._streams[key] = Stream(attempt, policy, opened, now)

    def _find_stream(self, frame: Frame, number: int, out: Outgoing, now: float) -> Stream | None:
        key, attempt = _key(frame, number), frame.attempt[number]
        stream = self._streams.get(key)
        if stream is not None and stream.attempt >= attempt:
            return stream if stream.attempt == attempt else None
        if not self._over(key, attempt):
            self._give_up(frame, number, None, out, "its beginning was not seen", now)
        return None

    def _over(self, key: Key, attempt: int) -> bool:
        closed = self._closed.get(key)
        return closed is not None and closed[0] >= attempt

    def _push(
        self,
        frame: Frame,
        number: int,
        stream: Stream,
        out: Outgoing,
        index: int,
        ids: Sequence[int],
        lengths: Sequence[int],
        text: str,
        now: float,
    ) -> None:
        try:
            delta = stream.push(index, ids, lengths, text, now)
        except WindowError as error:
            self._give_up(frame, number, stream, out, str(error), now)
            return
        if delta is not None:
            out.text(number, delta)
        elif stream.window.refusal is not None:
            self._refuse(frame, number, stream, out, now)

    def _end(self, frame: Frame, end: End, out: Outgoing, now: float) -> None:
        stream = self._find_stream(frame, end.stream, out, now)
        if stream is None:
            return
        delta = stream.finish(now)
        if stream.window.refusal is not None:
            self._refuse(frame, end.stream, stream, out, now)
            return
        if delta is not None:
            out.text(end.stream, delta)
        out.end(end, stream)
        self._close(frame, end.stream, now)
        self._outcomes.ended(frame.request[end.stream], stream)

    def _refuse(self, frame: Frame, number: int, stream: Stream, out: Outgoing, now: float) -> None:
        refusal = stream.window.refusal
        if refusal is not None:
            out.refuse(number, stream, refusal)
            self._close(frame, number, now)
            self._outcomes.ended(frame.request[number], stream)

    def _give_up(
        self, frame: Frame, number: int, stream: Stream | None, out: Outgoing, reason: str, now: float
    ) -> None:
        out.give_up(number, reason)
        self._close(frame, number, now)
        self._outcomes.broken(frame.request[number], stream, reason)

    def _close(self, frame: Frame, number: int, now: float) -> None:
        key = _key(frame, number)
        self._streams.pop(key, None)
        self._closed[key] = (frame.attempt[number], now)


def _key(frame: Frame, number: int) -> Key:
    return frame.request[number], frame.choice[number]
