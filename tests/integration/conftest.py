"""What integration tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import stores


@pytest.fixture(params=["sqlite", "postgres"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder; what is opened there is in one database after the other."""
    if request.param == "postgres":
        stores.SERVERS[tmp_path] = request.getfixturevalue("postgres")
    yield tmp_path
    stores.SERVERS.pop(tmp_path, None)
