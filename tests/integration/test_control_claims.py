"""Lanes and seats: the lowest that are free, one's own as long as they are renewed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from sqlalchemy import Connection, select

from services.control import tables
from shared.contracts.freehold.control.v1 import control_pb2 as pb
from shared.rpc.channel import connect
from shared.rpc.numbers import RENEW_S, ControlNumbers
from tests.integration.control_world import TOKEN, ControlWorld
from tests.integration.stepped_clock import until

LANE, SEAT = pb.NUMBER_KIND_LANE, pb.NUMBER_KIND_SEAT
A, B, C = 0xA, 0xB, 2**64 - 1


@pytest.fixture
async def world(home: Path) -> AsyncIterator[ControlWorld]:
    made = ControlWorld(home)
    await made.open()
    yield made
    await made.close()


async def claim(world: ControlWorld, kind: pb.NumberKind, count: int, incarnation: int) -> list[int]:
    asked = pb.ClaimNumbersRequest(kind=kind, count=count, incarnation=incarnation)
    return list((await world.stub().ClaimNumbers(asked)).numbers)


async def test_the_lowest_free_numbers_are_given_and_lanes_are_no_seats(world: ControlWorld) -> None:
    assert await claim(world, LANE, 4, A) == [0, 1, 2, 3]
    assert await claim(world, LANE, 3, B) == [4, 5, 6]
    assert await claim(world, SEAT, 1, B) == [0]
    assert await claim(world, SEAT, 1, C) == [1]


async def test_the_same_process_keeps_its_numbers(world: ControlWorld) -> None:
    assert await claim(world, LANE, 2, A) == [0, 1]
    assert await claim(world, LANE, 2, B) == [2, 3]
    for _ in range(20):
        await world.clock.advance(10)
        assert await claim(world, LANE, 2, B) == [2, 3]
    assert await claim(world, LANE, 2, A) == [0, 1], "nobody has asked for them"


async def test_a_number_is_free_sixty_seconds_after_its_last_renewal(world: ControlWorld) -> None:
    assert await claim(world, SEAT, 1, A) == [0]
    await world.clock.advance(30)
    assert await claim(world, SEAT, 1, A) == [0]
    await world.clock.advance(59.9)
    assert await claim(world, SEAT, 1, B) == [1]
    await world.clock.advance(0.1)
    assert await claim(world, SEAT, 1, C) == [0]


async def test_a_restart_of_control_forgets_nothing(world: ControlWorld) -> None:
    assert await claim(world, SEAT, 1, A) == [0]
    await world.close()
    await world.open()
    assert await claim(world, SEAT, 1, B) == [1]
    assert await claim(world, SEAT, 1, A) == [0]


async def test_where_none_is_free_the_one_longest_not_renewed_is_shared(world: ControlWorld) -> None:
    for number in range(8):
        assert await claim(world, SEAT, 1, 100 + number) == [number]
        await world.clock.advance(1)
    assert await claim(world, SEAT, 1, 100) == [0]
    assert await claim(world, SEAT, 1, 200) == [1]
    assert await claim(world, SEAT, 1, 201) == [2]
    assert await claim(world, SEAT, 1, 200) == [1]


async def test_few_free_numbers_are_no_reason_to_take_those_of_others(world: ControlWorld) -> None:
    assert await claim(world, LANE, 6, A) == [0, 1, 2, 3, 4, 5]
    assert await claim(world, LANE, 4, B) == [6, 7]
    assert await claim(world, LANE, 4, C) == [0]
    assert await claim(world, LANE, 6, A) == [1, 2, 3, 4, 5], "a renewal takes nothing from others"


@pytest.mark.parametrize(
    ("kind", "count", "incarnation"), [(0, 1, A), (LANE, 0, A), (LANE, 9, A), (SEAT, 1, 0)]
)
async def test_a_claim_that_says_nothing_is_refused(
    world: ControlWorld, kind: pb.NumberKind, count: int, incarnation: int
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await claim(world, kind, count, incarnation)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_process_renews_its_numbers_until_it_closes(world: ControlWorld) -> None:
    others = world.clock.sleeping
    numbers = ControlNumbers(connect(world.target, TOKEN), world.platform.host)
    assert await numbers.claim(LANE, 2, A) == [0, 1]
    for _ in range(12):
        await until(lambda: world.clock.sleeping > others)
        await world.clock.advance(RENEW_S)
        await renewed(world, A)
    assert await claim(world, LANE, 2, B) == [2, 3]
    await numbers.close()
    await world.clock.advance(60)
    assert await claim(world, LANE, 1, C) == [0]


async def renewed(world: ControlWorld, incarnation: int) -> None:
    """Return once the process's numbers were renewed at this very time."""
    renewal = (str(incarnation), world.clock.time_ns() // 1_000_000)
    async with asyncio.timeout(10):
        while renewal not in await world.database.read(renewals):  # noqa: ASYNC110 - a thread's doing
            await asyncio.sleep(0.001)


def renewals(connection: Connection) -> list[tuple[str, int]]:
    """(incarnation, Unix milliseconds) of every number held."""
    rows = connection.execute(select(tables.numbers.c.incarnation, tables.numbers.c.renewed_ms))
    return [(row.incarnation, row.renewed_ms) for row in rows]
