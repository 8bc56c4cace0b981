"""A server of one method, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from shared.callers import OPERATOR, Caller
from shared.contracts.freehold.audit.v1 import audit_pb2, audit_pb2_grpc
from shared.rpc.auth import caller
from shared.rpc.server import RpcServer, translated

CLIENT = Caller("k", "acme", "web", frozenset({"complete"}))
CALLERS = {"good": CLIENT, "root": OPERATOR}
GOOD = (("authorization", "Bearer good"),)
AUDIT = "freehold.audit.v1.Audit"
GET_CHECKPOINT = f"/{AUDIT}/GetCheckpoint"


class Answers(audit_pb2_grpc.AuditServicer):
    """Answers with what the test wants."""

    def __init__(self, answer: Callable[[], Awaitable[str]]) -> None:
        self._answer = answer

    @translated
    async def GetCheckpoint(self, request: Any, context: Any) -> audit_pb2.GetCheckpointResponse:
        return audit_pb2.GetCheckpointResponse(checkpoint=await self._answer())


async def who() -> str:
    return f"{caller().organisation}/{caller().key}"


def failing(error: Exception) -> Callable[[], Awaitable[str]]:
    async def fail() -> str:
        raise error

    return fail


@asynccontextmanager
async def served(
    answer: Callable[[], Awaitable[str]] = who, address: str = "127.0.0.1:0", *, reflect: bool = True
) -> AsyncIterator[tuple[RpcServer, grpc.aio.Channel]]:
    server = RpcServer(CALLERS.get)
    audit_pb2_grpc.add_AuditServicer_to_server(Answers(answer), server.server)
    port = await server.start(address, [AUDIT], reflect=reflect)
    target = f"127.0.0.1:{port}" if port else address
    options = [("grpc.max_send_message_length", -1), ("grpc.max_metadata_size", 1 << 20)]
    try:
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            yield server, channel
    finally:
        await server.stop(0)


async def failure(
    channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...] = GOOD, payload: bytes = b""
) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await channel.unary_unary(GET_CHECKPOINT)(payload, metadata=metadata, timeout=10)
    return failed.value
