"""A worker that several tests ask in turn, where starting one for each would only cost time."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.unit.inference.world import World, world


@dataclass
class Served:
    """A running worker."""

    world: World


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with world() as one:
        yield Served(one)
