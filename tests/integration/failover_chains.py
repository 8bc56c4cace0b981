"""Each request's chain of ids as the bus saw it: prefixes that were sent on, and deltas that were vetted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Self

from shared.bus.envelope import parse_envelope
from shared.bus.ports import Bus, Reader, Start, TopicPartition
from shared.contracts.freehold.edge.v1.events_pb2 import GenerateTokens
from shared.contracts.freehold.moderation.v1.events_pb2 import VettedFrame
from shared.ids import unpack


class Chains:
    """Reads `work` and `completions` beside the platform. One choice a request."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.sent: dict[str, dict[int, list[int]]] = defaultdict(dict)
        """Prefix of each attempt of a request; the first is empty."""
        self._vetted: dict[tuple[str, int], dict[int, int]] = defaultdict(dict)

    @classmethod
    async def listen(cls, bus: Bus) -> Self:
        """From now on."""
        places = [
            TopicPartition(topic, number)
            for topic in ("work", "completions")
            for number in range(bus.partitions(topic))
        ]
        return cls(await bus.assign(places, Start.END))

    async def read(self) -> None:
        """Take in all that is there."""
        while found := await self._reader.poll(10_000, 0.0):
            for place, records in found.items():
                for record in records:
                    if place.topic == "completions":
                        self._frame(VettedFrame.FromString(record.value))
                    elif (envelope := parse_envelope(record.headers)).type == "GenerateTokens":
                        work = GenerateTokens.FromString(record.value)
                        self.sent[envelope.request][envelope.attempt] = list(work.choices[0].ids)

    def _frame(self, vetted: VettedFrame) -> None:
        frame = vetted.frame
        at = 0
        for stream, index, count in zip(frame.text_stream, frame.text_index, frame.text_count, strict=True):
            ids = self._vetted[unpack(frame.request[stream]), frame.attempt[stream]]
            for place, token in enumerate(frame.ids[at : at + count], index):
                assert ids.setdefault(place, token) == token, "one attempt says two things of one index"
            at += count

    def whole(self, request: str) -> list[int]:
        """The chain that its owner delivered: each attempt's ids up to where the next one began.

        Raises `AssertionError` where an index is missing, or what was sent on is not what was vetted.
        """
        prefixes = self.sent[request]
        chain: list[int] = []
        for number in range(1, len(prefixes) + 1):
            prefix, vetted = prefixes[number], self._vetted[request, number]
            assert prefix == chain, "sent on is what was vetted, in order"
            following = prefixes.get(number + 1)
            stop = max(vetted, default=len(prefix) - 1) + 1 if following is None else len(following)
            chain = prefix + [vetted[index] for index in range(len(prefix), stop)]
        return chain


def text_of(ids: Sequence[int], pieces: Sequence[bytes]) -> str:
    """What a chain says."""
    return b"".join(pieces[number] for number in ids).decode("utf-8", "replace")
