"""A vetted frame in the making: columns, as in the frame that it answers."""

from __future__ import annotations

from services.moderation.matching.pack import Direction
from services.moderation.output.stream import Stream
from services.moderation.output.window import Delta
from services.moderation.policy import Hit
from services.moderation.wire import rule_match, rule_matches
from shared.contracts.freehold.inference.v1.frame_pb2 import End, Frame
from shared.contracts.freehold.moderation.v1 import events_pb2 as pb
from shared.contracts.freehold.platform.v1.outcome_pb2 import Verdict as WireVerdict


class Outgoing:
    """Only streams that have something to deliver stand in its table."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._table: dict[int, int] = {}
        """Number of a stream in the frame that came, and in this one."""
        self._streams: list[int] = []
        self._indices: list[int] = []
        self._counts: list[int] = []
        self._texts: list[str] = []
        self._ids: list[int] = []
        self._lengths: list[int] = []
        self._ends: list[End] = []
        self._verdicts: list[pb.StreamVerdict] = []
        self._refused: list[pb.StreamRefused] = []
        self._broken: list[pb.StreamBroken] = []

    def text(self, number: int, delta: Delta) -> None:
        """Deliver released text."""
        first, ids, lengths, text = delta
        self._streams.append(self._number(number))
        self._indices.append(first)
        self._counts.append(len(ids))
        self._texts.append(text)
        self._ids += ids
        self._lengths += lengths

    def end(self, end: End, stream: Stream) -> None:
        """Deliver an end and what the policies said of the whole output."""
        self.judge(end.stream, stream)
        ended = End()
        ended.CopyFrom(end)
        ended.stream = self._number(end.stream)
        self._ends.append(ended)

    def judge(self, number: int, stream: Stream) -> None:
        """Deliver what the policies have said so far."""
        verdict = stream.window.verdict
        self._verdicts.append(
            pb.StreamVerdict(
                stream=self._number(number),
                verdict=WireVerdict.Name(verdict.action),
                matches=rule_matches(verdict, Direction.OUTPUT),
                policy_versions=stream.policy.versions,
                held_tokens=stream.held_ids,
                held_ms=round(stream.held_s * 1000),
            )
        )

    def refuse(self, number: int, stream: Stream, hit: Hit) -> None:
        """End a stream by policy."""
        self._refused.append(
            pb.StreamRefused(
                stream=self._number(number),
                match=rule_match(hit, Direction.OUTPUT),
                policy_versions=stream.policy.versions,
            )
        )

    def give_up(self, number: int, reason: str) -> None:
        """A stream cannot be vetted."""
        self._broken.append(pb.StreamBroken(stream=self._number(number), reason=reason))

    def vetted(self) -> pb.VettedFrame | None:
        """The frame; None where there is nothing to deliver."""
        if not self._table:
            return None
        frame = self._frame
        return pb.VettedFrame(
            frame=Frame(
                request=[frame.request[number] for number in self._table],
                attempt=[frame.attempt[number] for number in self._table],
                choice=[frame.choice[number] for number in self._table],
                text_stream=self._streams,
                text_index=self._indices,
                text_count=self._counts,
                text=self._texts,
                ids=self._ids,
                lengths=self._lengths,
                ends=self._ends,
            ),
            refused=self._refused,
            broken=self._broken,
            verdicts=self._verdicts,
        )

    def _number(self, number: int) -> int:
        return self._table.setdefault(number, len(self._table))
