"""A raw client that sends an edge any bytes, whole requests or parts of them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from services.edge.answer import Answer, Piece
from tests.integration.edge_front import KEY, Edge


@dataclass
class Reply:
    """One answer as it came over the socket."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """OpenAI's error object."""
        value: dict[str, Any] = json.loads(self.body)["error"]
        return value


class Wire:
    """A connection that sends what it is told, byte by byte if need be."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Write; a server that has closed already is no error here."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def reply(self, within: float = 2.0) -> Reply:
        """The next answer. Raises `TimeoutError`, or `EOFError` where the connection ends before."""
        async with asyncio.timeout(within):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            if headers.get("transfer-encoding") == "chunked":
                body = b"".join([chunk async for chunk in self.chunks()])
            else:
                body = await self.reader.readexactly(int(headers.get("content-length", "0")))
            return Reply(int(head[0].split(" ")[1]), headers, body)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The chunks of a chunked body, to its end."""
        while size := int(await self.reader.readline(), 16):
            yield await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)

    async def closed(self, within: float = 2.0) -> bool:
        """Whether the server ends the connection in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                try:
                    return await self.reader.read(1) == b""
                except ConnectionError:
                    return True
        return False


@contextlib.asynccontextmanager
async def wire(edge: Edge) -> AsyncIterator[Wire]:
    """A connection to the edge's HTTP port."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.service.http_port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def head(
    method: str = "POST", target: str = "/v1/chat/completions", *lines: str, key: str | None = KEY
) -> bytes:
    """A request's head with Host and, unless None, a key; `lines` are further headers."""
    given = [f"{method} {target} HTTP/1.1", "Host: localhost"]
    if key is not None:
        given.append(f"Authorization: Bearer {key}")
    return "\r\n".join([*given, *lines, "", ""]).encode("latin-1")


def post(body: bytes | dict[str, Any], *lines: str, key: str | None = KEY) -> bytes:
    """A whole chat request."""
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    standard = ["Content-Type: application/json", f"Content-Length: {len(octets)}"]
    return head("POST", "/v1/chat/completions", *standard, *lines, key=key) + octets


async def ask(edge: Edge, data: bytes, within: float = 2.0) -> tuple[Reply, bool]:
    """Send these bytes on a new connection; the answer, and whether the server then closed."""
    async with wire(edge) as line:
        await line.send(data)
        reply = await line.reply(within)
        return reply, await line.closed(0.5 if reply.headers.get("connection") == "close" else 0.05)


async def refused(edge: Edge, data: bytes, status: int, *, closed: bool) -> Reply:
    """Send these bytes and check what comes back."""
    reply, was_closed = await ask(edge, data)
    assert reply.status == status, reply.body
    assert set(reply.error) >= {"message", "type", "param", "code", "request_id"}
    assert reply.error["request_id"] == reply.headers["x-request-id"]
    assert was_closed is closed
    assert edge.owner.submissions == []
    return reply


async def fill(answer: Answer) -> int:
    """Put text in, letting the transport take it, until the buffer takes no more; the bytes it took."""
    for number in itertools.count():
        if not answer.put(Piece(0, "x" * 32_768, 1)):
            return number * 32_768
        await asyncio.sleep(0.001)
    raise AssertionError("it counts for ever")
