"""A worker dies, hangs or stops in mid-stream, or the owner hangs: no token is lost or repeated.

The synthetic engine says the same words for the same seed on any worker: what each answer must say is known.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.integration.failover_customers import Customers
from tests.integration.failover_world import Worker, World
from tests.integration.stepped_clock import until

pytestmark = [pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="module")]

REQUESTS = 24
PACE = 40.0
CHANCE = random.Random(20)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    made = World(tmp_path_factory.mktemp("failover") / "home", tokens_per_second=PACE)
    await made.start()
    yield made
    await made.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def customers(world: World) -> AsyncIterator[Customers]:
    while sum(worker.alive for worker in world.workers) < 2:
        await world.hire()
    await until(lambda: world.heard == 2, 60.0)
    made = Customers(world, CHANCE, REQUESTS, 90, 240)
    yield made
    await made.client.aclose()


def pair(world: World) -> tuple[Worker, Worker]:
    """The two workers, both with enough to lose."""
    first, second = [worker for worker in world.workers if worker.alive]
    assert min(first.running, second.running) >= REQUESTS // 4
    return first, second


async def check(customers: Customers) -> int:
    resumed = await customers.check()
    wanted = [one["max_tokens"] for one in customers.asked]
    assert [one.tokens for one in await customers.told()] == wanted
    assert await customers.equal() == REQUESTS
    return resumed


async def test_a_worker_that_is_killed_loses_nothing(world: World, customers: Customers) -> None:
    await customers.begin()
    first, _ = pair(world)
    had = first.running
    first.wire.cut()
    first.alive = False
    assert 0 < await check(customers) <= had


async def test_a_worker_that_hangs_and_comes_back_is_fenced(world: World, customers: Customers) -> None:
    await customers.begin()
    first, _ = pair(world)
    had = first.running
    first.wire.cut()
    await customers.told()
    assert first.running > 0, "it still has what it had"
    first.wire.mend()
    await until(lambda: first.running == 0, 60.0)
    assert 0 < await check(customers) <= had


async def test_a_worker_that_stops_hands_on_what_it_cannot_finish(world: World, customers: Customers) -> None:
    await customers.begin()
    first, _ = pair(world)
    had = first.running
    first.alive = False
    await first.stop(time.monotonic() + 2.2)
    assert 0 < await check(customers) <= had


async def test_an_owner_that_hangs_and_comes_back_sends_on_at_most_once(
    world: World, customers: Customers
) -> None:
    await customers.begin()
    first, second = pair(world)
    world.edge_wire.cut()
    await until(lambda: first.running + second.running == 0, 60.0)
    world.edge_wire.mend()
    await check(customers)
