"""The anchors: an empty FastAPI route, and bare ASGI sends. Served by uvicorn in a process of its own.

python -m tests.bench.anchors PORT
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response

CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":" token"}}]}\n\n'
CHUNKS = 128

Send = Callable[[dict[str, Any]], Awaitable[None]]


def application() -> Callable[..., Awaitable[None]]:
    """`POST /empty` through FastAPI's router; `POST /chunks` as 128 sends of one chunk each."""
    fastapi = FastAPI()

    @fastapi.post("/empty")
    async def empty(request: Request) -> Response:
        await request.body()
        return Response(b"{}", media_type="application/json")

    async def serve(scope: dict[str, Any], receive: Any, send: Send) -> None:
        if scope.get("path") != "/chunks":
            await fastapi(scope, receive, send)
            return
        await receive()
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(CHUNKS):
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return serve


if __name__ == "__main__":
    port = int(sys.argv[1])
    uvicorn.run(application(), port=port, loop="uvloop", http="httptools", log_level="error", lifespan="off")
