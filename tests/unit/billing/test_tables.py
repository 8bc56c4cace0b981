"""The migrations make exactly the declared tables, and the constraints hold the last line."""

from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from services.billing.books.rows import RequestRow
from services.billing.tables import metadata, requests
from shared.storage.migrations import drift
from tests.unit.billing.world import World, budget

pytestmark = pytest.mark.usefixtures("both")


def test_the_migrated_schema_is_the_declared_one(tmp_path: Path) -> None:
    assert drift(tmp_path / "billing.db", "billing", metadata) == []


def test_a_row_is_read_in_the_order_of_the_tables_columns() -> None:
    assert RequestRow._fields == tuple(column.name for column in requests.columns)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE budgets SET spent = spent + 100000000",
        "UPDATE budgets SET reserved = -1",
        "UPDATE requests SET billed = reserved + 1",
        "UPDATE requests SET state = 'settled'",
    ],
)
def test_the_database_itself_refuses_what_must_not_be(statement: str) -> None:
    world = World(budget(100_000))
    world.reserve(world.ask())
    with pytest.raises(IntegrityError):
        world.rows(statement)
