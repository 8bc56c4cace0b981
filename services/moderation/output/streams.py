"""The output streams of one lane: frames in, vetted frames out. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Protocol

from services.moderation.output.outgoing import Outgoing
from services.moderation.output.stream import Read, Stream
from services.moderation.output.window import WindowError
from services.moderation.policy import Policy, PolicyUnknown
from shared.bus.ports import RecordInvalid
from shared.contracts.freehold.inference.v1.frame_pb2 import End, Frame, Open
from shared.contracts.freehold.moderation.v1.events_pb2 import VettedFrame

FindPolicy = Callable[[Iterable[str]], Policy]
"""Raises `PolicyUnknown`."""
Key = tuple[bytes, int]
"""Request (16 bytes) and choice."""
OPENS_MS = 15_000
"""By the log's time. A stream is opened again every 10 s: one that goes on for longer without is unknown."""
BACK_MS = 25_000
"""How far before the last sweep a successor begins at most, by the log's time: with a sweep every 5 s no more
than 30 s back. A stream that needs more cannot be rebuilt."""


class FrameError(RecordInvalid):
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
    """State by request and choice, from the first frame that is read here. A higher attempt drops the
    lower; what is idle is forgotten.

    A predecessor may have read the lane before: then it was committed behind its windows. Text of a
    stream that was not opened here is passed over at first: it was released by the predecessor, whose
    stream is rebuilt at an `Open` that comes behind it, or is over.
    """

    def __init__(self, find: FindPolicy, outcomes: Outcomes, idle_s: float) -> None:
        """`idle_s` by the log's time: a lane that stands still forgets nothing."""
        self._find = find
        self._outcomes = outcomes
        self._idle_ms = round(idle_s * 1000)
        self._streams: dict[Key, Stream] = {}
        self._closed: dict[Key, tuple[int, int]] = {}
        """Attempt that is over, and since when: what still comes of it is passed over."""
        self._ending: list[Stream] = []
        """Over, and what was said of it last is not acknowledged."""
        self._reopened: dict[Stream, None] = {}
        self._read = Read(0, 0)
        """What is being read."""
        self._begun_ms: int | None = None
        self._newest_ms = 0
        self._swept_ms = 0

    def __len__(self) -> int:
        return len(self._streams)

    def vet(self, frame: Frame, read: Read, now: float) -> VettedFrame | None:
        """What may be delivered of a checked frame, or None. `now` is monotonic seconds.

        What comes again has no effect again.
        """
        self._read = read
        self._newest_ms = max(self._newest_ms, read.ms)
        if self._begun_ms is None:
            self._begun_ms = self._swept_ms = read.ms
        out = Outgoing(frame)
        for opened in frame.opens:
            self._open(frame, opened, out, now)
        ids, lengths = frame.ids, frame.lengths
        first = 0
        for number, index, count, text in zip(
            frame.text_stream, frame.text_index, frame.text_count, frame.text, strict=True
        ):
            last = first + count
            stream = self._find_stream(frame, number, out)
            if stream is not None:
                self._push(frame, number, stream, out, index, ids[first:last], lengths[first:last], text, now)
            first = last
        for end in frame.ends:
            self._end(frame, end, out, now)
        return out.vetted()

    def settle(self) -> None:
        """Everything that was vetted so far is acknowledged."""
        self._ending.clear()
        if self._reopened:
            self._reopened = {stream: None for stream in self._reopened if not stream.settle()}

    def back_to(self, finished: int) -> int:
        """Where a successor has to begin, as of the last `settle`: behind every stream that is not over."""
        oldest_ms = self._swept_ms - BACK_MS
        return min(
            (
                stream.begins.offset
                for stream in chain(self._streams.values(), self._ending)
                if stream.begins.ms >= oldest_ms
            ),
            default=finished,
        )

    def forget_idle(self) -> None:
        """Drop what has had no delta for long. To be called every few seconds.

        After a stand-still the log's time leaps, and streams that will go on have not all been read yet:
        so what counts is the time that the last call saw.
        """
        last_ms, self._swept_ms = self._swept_ms - self._idle_ms, self._newest_ms
        for key in [key for key, stream in self._streams.items() if stream.seen_ms < last_ms]:
            self._reopened.pop(self._streams.pop(key), None)
        for key in [key for key, (_, since_ms) in self._closed.items() if since_ms < last_ms]:
            del self._closed[key]

    def _open(self, frame: Frame, opened: Open, out: Outgoing, now: float) -> None:
        key, attempt = _key(frame, opened.stream), frame.attempt[opened.stream]
        known = self._streams.get(key)
        if self._over(key, attempt) or (known is not None and known.attempt > attempt):
            return
        if known is not None and known.attempt == attempt:
            self._reopen(frame, opened, known, out)
            return
        try:
            policy = self._find(opened.policies)
        except PolicyUnknown as error:
            self._give_up(frame, opened.stream, None, out, str(error))
        else:
            if known is not None:
                self._reopened.pop(known, None)
            self._streams[key] = Stream(attempt, policy, opened, self._read, now)

    def _reopen(self, frame: Frame, opened: Open, stream: Stream, out: Outgoing) -> None:
        stream.seen_ms = self._read.ms
        try:
            stream.reopen(opened, self._read)
        except WindowError as error:
            self._give_up(frame, opened.stream, stream, out, str(error))
        else:
            self._reopened[stream] = None

    def _find_stream(self, frame: Frame, number: int, out: Outgoing) -> Stream | None:
        key, attempt = _key(frame, number), frame.attempt[number]
        stream = self._streams.get(key)
        if stream is not None and stream.attempt >= attempt:
            return stream if stream.attempt == attempt else None
        if not self._over(key, attempt) and not self._just_begun():
            self._give_up(frame, number, None, out, "its beginning was not seen")
        return None

    def _just_begun(self) -> bool:
        return self._begun_ms is not None and self._read.ms - self._begun_ms < OPENS_MS

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
        stream.seen_ms = self._read.ms
        try:
            delta = stream.push(index, ids, lengths, text, now)
        except WindowError as error:
            self._give_up(frame, number, stream, out, str(error))
            return
        if stream.window.refusal is not None:
            self._refuse(frame, number, stream, out)
            return
        if delta is not None:
            out.text(number, delta)
        if stream.stricter():
            # At once: a successor that begins behind what was said here would not say it again.
            out.judge(number, stream)

    def _end(self, frame: Frame, end: End, out: Outgoing, now: float) -> None:
        stream = self._find_stream(frame, end.stream, out)
        if stream is None:
            return
        delta = stream.finish(now)
        if stream.window.refusal is not None:
            self._refuse(frame, end.stream, stream, out)
            return
        if delta is not None:
            out.text(end.stream, delta)
        out.end(end, stream)
        self._close(frame, end.stream)
        self._outcomes.ended(frame.request[end.stream], stream)

    def _refuse(self, frame: Frame, number: int, stream: Stream, out: Outgoing) -> None:
        refusal = stream.window.refusal
        if refusal is not None:
            out.refuse(number, stream, refusal)
            self._close(frame, number)
            self._outcomes.ended(frame.request[number], stream)

    def _give_up(self, frame: Frame, number: int, stream: Stream | None, out: Outgoing, reason: str) -> None:
        out.give_up(number, reason)
        self._close(frame, number)
        self._outcomes.broken(frame.request[number], stream, reason)

    def _close(self, frame: Frame, number: int) -> None:
        key = _key(frame, number)
        stream = self._streams.pop(key, None)
        if stream is not None:
            self._reopened.pop(stream, None)
            self._ending.append(stream)
        self._closed[key] = (frame.attempt[number], self._read.ms)


def _key(frame: Frame, number: int) -> Key:
    return frame.request[number], frame.choice[number]
