"""The public gRPC port against clients that speak HTTP/2 as no library does."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator

import grpc
import pytest

from shared.contracts.freehold.api.v1 import api_pb2 as api
from shared.contracts.freehold.api.v1.api_pb2_grpc import CompletionsStub
from shared.contracts.freehold.edge.v1 import request_pb2 as pb
from tests.integration.edge_front import KEY, MODEL, Edge, running_edge, say

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, ACK = 1, 1
ENHANCE_YOUR_CALM = 11
PATIENCE_S = 30.0
METADATA = (("authorization", f"Bearer {KEY}"),)


def frame(kind: int, payload: bytes = b"", stream: int = 0, flags: int = 0) -> bytes:
    """One frame (RFC 9113, 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


@contextlib.asynccontextmanager
async def line(edge: Edge) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection whose settings are exchanged."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.service.grpc_port)
    writer.write(PREFACE + frame(SETTINGS) + frame(SETTINGS, flags=ACK))
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def ended(reader: asyncio.StreamReader) -> tuple[bool, int | None]:
    """Whether the server ends the connection in time, and the code of its GOAWAY, if it sent one."""
    code = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                head = await reader.readexactly(9)
                payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
                if head[3] == GOAWAY:
                    code = int.from_bytes(payload[4:8], "big")
    except (asyncio.IncompleteReadError, ConnectionError):
        return True, code
    except TimeoutError:
        return False, code


async def serves(edge: Edge) -> bool:
    """Whether another client is answered."""
    messages = [pb.Message(role=pb.ROLE_USER, parts=["Hello"])]
    asked = api.CompleteRequest(request=pb.CompletionRequest(model=MODEL, messages=messages))
    own = [("grpc.use_local_subchannel_pool", 1)]  # else the library shares a connection among channels
    async with grpc.aio.insecure_channel(f"127.0.0.1:{edge.service.grpc_port}", options=own) as channel:
        call = CompletionsStub(channel).Complete(asked, metadata=METADATA, timeout=PATIENCE_S)
        return bool([response async for response in call])


@pytest.mark.attack(45)
async def test_45_a_flood_of_pings_ends_its_connection() -> None:
    async with running_edge() as edge, line(edge) as (reader, writer):
        with contextlib.suppress(ConnectionError):
            for number in range(1000):
                writer.write(frame(PING, struct.pack(">Q", number)))
            await writer.drain()
        closed, code = await ended(reader)
        assert closed
        assert code in (ENHANCE_YOUR_CALM, None)
        assert await serves(edge)


@pytest.mark.attack(45)
async def test_45_headers_without_end_disturb_nobody_else() -> None:
    """CONTINUATION after CONTINUATION, which never says that it is the last."""
    async with running_edge() as edge, line(edge) as (_, writer):
        literal = b"\x00\x03x-a\x7f\x81\x1f" + b"a" * 286
        with contextlib.suppress(ConnectionError):
            writer.write(frame(HEADERS, literal, stream=1))
            for _ in range(5000):
                writer.write(frame(CONTINUATION, literal, stream=1))
            await writer.drain()
        assert await serves(edge)


@pytest.mark.attack(45)
@pytest.mark.parametrize(
    "data",
    [
        frame(DATA, b"x" * 16_384, stream=1),
        frame(HEADERS, b"\xff" * 100, stream=1, flags=4),
        frame(99, b"x" * 100, stream=3),
        b"\xff\xff\xff" + b"\x00" * 6 + b"x" * 100_000,
        frame(SETTINGS, b"x" * 7),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["data first", "no headers", "unknown", "16 MB frame", "settings", "HTTP/1.1"],
)
async def test_45_frames_that_break_the_protocol_disturb_nobody_else(data: bytes) -> None:
    async with running_edge() as edge, line(edge) as (_, writer):
        with contextlib.suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
        assert await serves(edge)


@pytest.mark.attack(45)
async def test_45_streams_opened_and_reset_at_once_disturb_nobody_else() -> None:
    async with running_edge() as edge, line(edge) as (_, writer):
        # :method POST, :scheme http, :path /, each from HPACK's static table.
        block = b"\x83\x86\x84"
        with contextlib.suppress(ConnectionError):
            for number in range(10_000):
                stream = 2 * number + 1
                writer.write(frame(HEADERS, block, stream, flags=4))
                writer.write(frame(RESET, struct.pack(">I", 8), stream))
            await writer.drain()
        assert await serves(edge)


@pytest.mark.attack(45)
async def test_45_more_streams_than_a_connection_may_have_wait_and_others_do_not() -> None:
    async with running_edge() as edge:
        edge.owner.play, edge.owner.keep = say("Hel", end=None), False
        messages = [pb.Message(role=pb.ROLE_USER, parts=["Hello"])]
        asked = api.CompleteRequest(request=pb.CompletionRequest(model=MODEL, messages=messages))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{edge.service.grpc_port}") as channel:
            stub = CompletionsStub(channel)
            calls = [stub.Complete(asked, metadata=METADATA) for _ in range(1100)]
            first = await asyncio.wait_for(calls[0].read(), PATIENCE_S)
            assert first.text == "Hel"
            edge.owner.play = say("Hello")
            assert await serves(edge)
            for call in calls:
                call.cancel()
        assert await serves(edge)


@pytest.mark.attack(45)
@pytest.mark.parametrize("key", ["", KEY])
async def test_45_channelz_is_not_served(key: str) -> None:
    async with (
        running_edge() as edge,
        grpc.aio.insecure_channel(f"127.0.0.1:{edge.service.grpc_port}") as channel,
    ):
        metadata = (("authorization", f"Bearer {key}"),) if key else ()
        ask = channel.unary_unary("/grpc.channelz.v1.Channelz/GetTopChannels")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask(b"", metadata=metadata, timeout=PATIENCE_S)
        wanted = grpc.StatusCode.UNIMPLEMENTED if key else grpc.StatusCode.UNAUTHENTICATED
        assert refused.value.code() is wanted
