"""Server-sent events: one answer streamed to one socket, no generator, no timer, no queue of its own."""

from __future__ import annotations

from services.edge.answer import Answer, Outcome, Piece
from services.edge.dialects.openai_answers import COMMENT, Chunks, evidence_of
from services.edge.http.exchange import Exchange
from services.edge.http.watch import Silence, Streams, Watch

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-store"),
    # A buffering proxy would turn a stream into one late answer.
    (b"x-accel-buffering", b"no"),
]


class StreamedAnswer:
    """Writes what is vetted, as it comes.

    The status line waits for the first text, the end, or the first comment: a request refused before any
    of these keeps its own status. A piece is what one frame held (at most 20 ms of tokens) and becomes
    one event; all that is ready together goes out in one write, and nothing waits to fill.
    """

    __slots__ = ("_answer", "_begun", "_chunks", "_exchange", "_streams", "_watch")

    def __init__(
        self, answer: Answer, chunks: Chunks, exchange: Exchange, streams: Streams, watch: Watch
    ) -> None:
        self._answer = answer
        self._chunks = chunks
        self._exchange = exchange
        self._streams = streams
        self._watch = watch
        self._begun: list[int] = []

    async def write(self) -> None:
        """Return when the answer has ended or its client is gone."""
        silence = self._streams.open(self._answer)
        try:
            while not self._watch.gone and not await self._turn(silence):
                pass
        finally:
            self._streams.close(silence)

    async def _turn(self, silence: Silence) -> bool:
        answer, exchange = self._answer, self._exchange
        await answer.ready()
        pieces, end = answer.take(), answer.outcome
        if end is not None and end.error is not None and not pieces and not exchange.status:
            self._watch.over = True
            await exchange.fail(end.error, evidence_of(answer.request, end))
            return True
        events = self._events(pieces, end)
        if silence.due:
            silence.due = False
            events = events or [COMMENT]
        if events and not self._watch.gone:
            silence.sweeps = 0
            self._watch.over = end is not None
            if not exchange.status:
                await exchange.start(200, [*_HEADERS, (b"x-request-id", answer.request.encode())])
            await exchange.write(b"".join(events), more=end is None)
        return end is not None

    def _events(self, pieces: list[Piece], end: Outcome | None) -> list[bytes]:
        chunks, begun = self._chunks, self._begun
        events: list[bytes] = []
        for choice, text, _ in pieces:
            if choice not in begun:
                begun.append(choice)
                events.append(chunks.begin(choice))
            if text:
                events.append(chunks.text(choice, text))
        if end is None:
            return events
        if end.error is not None:
            self._exchange.error = end.error.code
            return [*events, chunks.error(end.error, end)]
        if not begun:
            begun.append(0)
            events.append(chunks.begin(0))
        return [*events, chunks.end(begun, end)]
