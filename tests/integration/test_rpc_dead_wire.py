"""A connection that stays open while nothing passes on it any more."""

from __future__ import annotations

import asyncio
import time

import grpc
import pytest

from shared.contracts.freehold.audit.v1.audit_pb2_grpc import add_AuditServicer_to_server
from shared.rpc.channel import connect
from shared.rpc.server import PINGS_MS, RpcServer
from tests.drills.wire import Wire
from tests.integration.rpc_world import AUDIT, CALLERS, GET_CHECKPOINT, Answers, who

CALL_S = 2.0
LONGEST_S = 6 * PINGS_MS / 1000


@pytest.mark.timeout(180)
async def test_a_channel_leaves_a_dead_connection_for_a_new_one() -> None:
    server = RpcServer(CALLERS.get)
    add_AuditServicer_to_server(Answers(who), server.server)
    with Wire(await server.start("127.0.0.1:0", [AUDIT], reflect=False)) as wire:
        async with connect(f"127.0.0.1:{wire.port}", "good") as channel:

            async def ask() -> bool:
                try:
                    await channel.unary_unary(GET_CHECKPOINT)(b"", timeout=CALL_S)
                except grpc.aio.AioRpcError:
                    return False
                return True

            assert await ask()
            wire.die()
            assert not await ask()
            wire.live()  # for connections that are made from now on
            begun = time.monotonic()
            while not await ask():
                assert time.monotonic() - begun < LONGEST_S, "the dead connection is still in use"
                await asyncio.sleep(0.1)
    await server.stop(0)
