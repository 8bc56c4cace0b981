"""The rules of the books hold wherever the books lie."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.billing.books import Memory, Shelf
from tests.unit.billing.world import World


@pytest.fixture(scope="module")
def shelf(request: pytest.FixtureRequest) -> Iterator[None]:
    """Worlds that are made in this module have their books in PostgreSQL."""
    made = Shelf(request.getfixturevalue("postgres").settings())
    World.open = made.empty
    yield
    World.open = Memory
    made.close()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def both(request: pytest.FixtureRequest) -> None:
    """Worlds have their books in one database after the other."""
    if request.param == "postgres":
        request.getfixturevalue("shelf")
