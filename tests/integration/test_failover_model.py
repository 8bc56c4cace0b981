"""The model's answers spliced over two workers: their ids are complete; how many are equal is told."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.integration.failover_customers import Customers
from tests.integration.failover_world import World

pytestmark = pytest.mark.timeout(400)

REQUESTS = 6


async def test_answers_of_the_model_are_spliced_from_complete_ids(tmp_path: Path) -> None:
    world = World(tmp_path / "home", engine="llama", threads=1)
    await world.start()
    customers = Customers(world, random.Random(3), REQUESTS, 40, 80)
    try:
        await customers.begin()
        busiest = max(world.workers, key=lambda worker: worker.running)
        busiest.wire.cut()
        resumed = await customers.check()
        assert resumed > 0
        print(f"{resumed} spliced; {await customers.equal()} of {REQUESTS} say the same again; ", end="")
    finally:
        await customers.client.aclose()
        await world.stop()
