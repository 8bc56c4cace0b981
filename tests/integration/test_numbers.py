"""Numbers claimed from control over gRPC, renewed, and kept while control is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc

from shared.callers import OPERATOR
from shared.contracts.freehold.control.v1 import control_pb2 as pb
from shared.contracts.freehold.control.v1 import control_pb2_grpc
from shared.errors import FreeholdError, Kind
from shared.host import system_host
from shared.rpc.channel import connect
from shared.rpc.numbers import RENEW_S, ControlNumbers, FixedNumbers
from shared.rpc.server import RpcServer, translated
from tests.integration.stepped_clock import SteppedClock, until

LANE = pb.NUMBER_KIND_LANE


class Control(control_pb2_grpc.ControlServicer):
    """Gives numbers, unless it is away."""

    def __init__(self) -> None:
        self.away = False
        self.asked: list[pb.ClaimNumbersRequest] = []

    @translated
    async def ClaimNumbers(self, request: pb.ClaimNumbersRequest, _: Any) -> pb.ClaimNumbersResponse:
        self.asked.append(request)
        if self.away:
            raise FreeholdError(Kind.NOT_READY, "not now")
        return pb.ClaimNumbersResponse(numbers=[4, 6])


@asynccontextmanager
async def numbers_of(control: Control, clock: SteppedClock) -> AsyncIterator[ControlNumbers]:
    server = RpcServer(lambda secret: OPERATOR if secret == "token" else None)
    control_pb2_grpc.add_ControlServicer_to_server(control, server.server)
    port = await server.start("127.0.0.1:0", [], reflect=False)
    channel: grpc.aio.Channel = connect(f"127.0.0.1:{port}", "token")
    numbers = ControlNumbers(channel, replace(system_host(), clock=clock))
    try:
        yield numbers
    finally:
        await numbers.close()
        await channel.close()
        await server.stop(0)


async def passing(clock: SteppedClock, seconds: float, condition: Callable[[], bool]) -> None:
    """Move the clock by steps until the condition holds: the network takes its own time."""
    async with asyncio.timeout(10):
        while not condition():
            await clock.advance(seconds)
            await asyncio.sleep(0.002)


async def test_numbers_are_claimed_and_renewed() -> None:
    control, clock = Control(), SteppedClock()
    async with numbers_of(control, clock) as numbers:
        assert await numbers.claim(LANE, 2, 99) == [4, 6]
        assert (control.asked[0].kind, control.asked[0].count, control.asked[0].incarnation) == (LANE, 2, 99)
        await clock.advance(RENEW_S - 0.1)
        assert len(control.asked) == 1
        await passing(clock, 0.2, lambda: len(control.asked) == 2)
        control.away = True
        await passing(clock, RENEW_S, lambda: len(control.asked) >= 4)
        assert control.asked[3] == control.asked[0]


async def test_a_claim_waits_for_control() -> None:
    control, clock = Control(), SteppedClock()
    control.away = True
    async with numbers_of(control, clock) as numbers:
        found: list[int] = []

        async def claim() -> None:
            found.extend(await numbers.claim(LANE, 2, 99))

        waiting = asyncio.get_running_loop().create_task(claim())
        await until(lambda: len(control.asked) == 1)
        await passing(clock, 0.3, lambda: len(control.asked) >= 2)
        assert not found
        control.away = False
        await passing(clock, 0.5, waiting.done)
        assert found == [4, 6]


async def test_a_setting_overrides() -> None:
    numbers = FixedNumbers(lanes=[3], seats=[5, 6])
    assert await numbers.claim(LANE, 4, 1) == [3]
    assert await numbers.claim(pb.NUMBER_KIND_SEAT, 1, 1) == [5, 6]
