"""The worlds that the bus's and the storage's contracts are held to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.bus.ports import Bus
from tests.contract.bus_world import World
from tests.contract.consumer_world import Consumers
from tests.contract.storage_world import Postgres, Sqlite, Storage

SEEDS: dict[str, int | None] = {"local": None, "chaos-1": 1, "chaos-2": 2}


@pytest.fixture(params=SEEDS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, SEEDS[request.param])
    yield made
    await made.end()


@pytest.fixture
async def bus(world: World) -> Bus:
    return await world.bus()


@pytest.fixture
async def consumers(world: World) -> AsyncIterator[Consumers]:
    made = Consumers(world)
    yield made
    await made.end()


@pytest.fixture(params=["sqlite", "postgres"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "sqlite":
        return Sqlite(tmp_path)
    return Postgres(request.getfixturevalue("postgres").settings())
