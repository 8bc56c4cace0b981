"""What stands behind a gateway: answers chat completions at once, as an engine without a model does.

    python -m tests.bench.peers.backend PORT EVENTS

A plain answer has 16 tokens. A stream has 128, packed into EVENTS server-sent events, so that every gateway
passes on as many events as Freehold sends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvloop

MODEL = "smollm2-135m-instruct"
PLAIN, STREAM = 16, 128
WORD = " token"


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 180, "completion_tokens": tokens, "total_tokens": 180 + tokens}


def plain() -> bytes:
    """A whole response."""
    message = {"role": "assistant", "content": WORD * PLAIN}
    body = json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": MODEL,
            "choices": [{"index": 0, "message": message, "finish_reason": "length"}],
            "usage": _usage(PLAIN),
        }
    ).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )


def stream(events: int) -> bytes:
    """A whole response: so many events with text, then reason, usage and end, a chunk each."""
    sizes = [STREAM // events + (number < STREAM % events) for number in range(events)]
    parts = [_event([{"index": 0, "delta": {"content": WORD * size}}]) for size in sizes]
    parts.append(_event([{"index": 0, "delta": {}, "finish_reason": "length"}]))
    parts.append(_event([], usage=_usage(STREAM)))
    parts.append(b"data: [DONE]\n\n")
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def _event(choices: list[dict[str, Any]], **others: object) -> bytes:
    event = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": MODEL,
        "choices": choices,
        **others,
    }
    return b"data: %s\n\n" % json.dumps(event).encode()


class Backend(asyncio.Protocol):
    """One connection: a request with a length, its answer, and so on."""

    def __init__(self, plain: bytes, stream: bytes) -> None:
        self._plain = plain
        self._stream = stream
        self._held = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head = self._held[:end].lower()
            mark = head.find(b"content-length:")
            length = int(head[mark + 15 :].split(b"\r\n", 1)[0]) if mark >= 0 else 0
            whole = end + 4 + length
            if len(self._held) < whole:
                return
            body, self._held = self._held[end + 4 : whole], self._held[whole:]
            asked = json.loads(body) if body else {}
            if self._transport is not None:
                self._transport.write(self._stream if asked.get("stream") else self._plain)


async def serve(port: int, events: int) -> None:
    """For ever."""
    answers = plain(), stream(events)
    server = await asyncio.get_running_loop().create_server(lambda: Backend(*answers), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
