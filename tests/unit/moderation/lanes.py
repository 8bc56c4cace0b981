"""A lane as its two ends see it: the log of its frames, replicas that come and go, and the owner."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.moderation.output.stream import Read
from services.moderation.output.streams import Streams, check_frame
from shared.contracts.freehold.inference.v1.frame_pb2 import End, Frame, Open
from shared.contracts.freehold.moderation.v1.events_pb2 import VettedFrame
from shared.contracts.freehold.platform.v1 import outcome_pb2 as platform

A, B = b"a" * 16, b"b" * 16


class Outcomes:
    """What is told of streams that end."""

    def __init__(self) -> None:
        self.ends: list[tuple[bytes, int, str]] = []
        self.breaks: list[tuple[bytes, str]] = []

    def ended(self, request, stream):
        self.ends.append((request, stream.attempt, stream.window.verdict.action.name))

    def broken(self, request, stream, reason):
        self.breaks.append((request, reason))


def frame(
    *table: tuple[bytes, int],
    opens: Sequence[tuple[int, int]] = (),
    texts: Sequence[tuple[int, int, list[str]]] = (),
    ends: Sequence[int] = (),
    policies: Sequence[str] = ("small",),
    context: str = "",
) -> Frame:
    """A frame of streams (request, attempt), choice 0; ids are their own indices."""
    made = Frame(
        request=[request for request, _ in table],
        attempt=[attempt for _, attempt in table],
        choice=[0] * len(table),
        text_stream=[number for number, _, _ in texts],
        text_index=[index for _, index, _ in texts],
        text_count=[len(pieces) for _, _, pieces in texts],
        text=["".join(pieces) for _, _, pieces in texts],
        ids=[index + place for _, index, pieces in texts for place in range(len(pieces))],
        lengths=[len(piece) for _, _, pieces in texts for piece in pieces],
        opens=[Open(stream=n, policies=policies, next_index=index, context=context) for n, index in opens],
        ends=[End(stream=number, reason=platform.FINISH_REASON_STOP, generated=9) for number in ends],
    )
    check_frame(made)
    return made


def shown(vetted: VettedFrame | None) -> dict[bytes, tuple[int, str]]:
    """By request: index of the first id, and the text."""
    if vetted is None:
        return {}
    columns = vetted.frame
    return {
        columns.request[number]: (index, text)
        for number, index, text in zip(columns.text_stream, columns.text_index, columns.text, strict=True)
    }


class Replica:
    """Reads a log of frames from an offset on, a record each second unless said otherwise."""

    def __init__(
        self, make: Callable[[], Streams], log: Sequence[Frame], begin: int = 0, step_ms: int = 1000
    ) -> None:
        self.streams = make()
        self.position = begin
        self._log = log
        self._step_ms = step_ms

    def read(self, records: int) -> list[VettedFrame]:
        """Vet the next records; what is to be published, and is not acknowledged."""
        found = []
        for offset in range(self.position, min(self.position + records, len(self._log))):
            ms = offset * self._step_ms
            vetted = self.streams.vet(self._log[offset], Read(offset, ms), ms / 1000)
            if vetted is not None:
                found.append(vetted)
            self.position = offset + 1
        return found

    def acknowledged(self) -> int:
        """All was; where a successor is to begin."""
        self.streams.settle()
        return self.streams.back_to(self.position)

    def done(self) -> bool:
        return self.position >= len(self._log)


class Delivery:
    """What the owner of one request has put into its stream: as `services.edge.states.chain` does, it drops
    what it has, and nothing follows a refusal or an end.
    """

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.text = ""
        self.ids: list[int] = []
        self.refused = ""
        self.ended = False
        self.verdict = 0
        self.rules: set[str] = set()

    def take(self, vetted: VettedFrame) -> None:
        """Raises `AssertionError` for a gap or a broken stream."""
        columns = vetted.frame
        if self.request not in columns.request or self.refused or self.ended:
            return
        own = list(columns.request).index(self.request)
        first = 0
        for number, index, count, text in zip(
            columns.text_stream, columns.text_index, columns.text_count, columns.text, strict=True
        ):
            if number == own:
                lengths = columns.lengths[first : first + count]
                self._text(index, columns.ids[first : first + count], lengths, text)
            first += count
        for verdict in vetted.verdicts:
            if verdict.stream == own:
                self.verdict = max(self.verdict, verdict.verdict)
                self.rules |= {match.rule for match in verdict.matches}
        self.ended = any(end.stream == own for end in columns.ends)
        for refusal in vetted.refused:
            if refusal.stream == own:
                self.refused = refusal.match.rule
        assert all(broken.stream != own for broken in vetted.broken), vetted.broken

    def _text(self, index: int, ids: Sequence[int], lengths: Sequence[int], text: str) -> None:
        skip = len(self.ids) - index
        assert skip >= 0, f"ids are missing: {index} came after {len(self.ids)}"
        self.text += text[sum(lengths[:skip]) :]
        self.ids += ids[skip:]
