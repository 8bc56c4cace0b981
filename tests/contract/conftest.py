"""The worlds that the bus's and the storage's contracts are held to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.bus.ports import Bus
from tests.contract.bus_world import World
from tests.contract.consumer_world import Consumers
from tests.contract.kafka_world import KafkaWorld
from tests.contract.local_world import LocalWorld
from tests.contract.storage_world import Postgres, Sqlite, Storage
from tests.servers.kafka import Kafka

SEEDS: dict[str, int | None] = {"local": None, "chaos-1": 1, "chaos-2": 2}


@pytest.fixture(params=[*SEEDS, "kafka"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    made: World
    if request.param == "kafka":
        kafka: Kafka = request.getfixturevalue("kafka")
        made = await KafkaWorld.made(kafka)
    else:
        made = LocalWorld(tmp_path, SEEDS[request.param])
    yield made
    await made.end()


@pytest.fixture(params=SEEDS)
async def local_world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LocalWorld]:
    """For what only the bus inside one process promises."""
    made = LocalWorld(tmp_path, SEEDS[request.param])
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
