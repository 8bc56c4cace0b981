"""How long the fuzzers look: a little, and always at the same, in `make test`; for minutes in `make fuzz`."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

FACTOR = int(os.environ.get("FREEHOLD_FUZZ", "0"))
"""How many times as many examples, each time others; 0 = the short set, which is always the same."""

CHANCES = st.integers(0, (1 << 64) - 1).map(random.Random)
"""For mutators: cheaper than a draw each, and what is found is replayed by one number."""

SHORT = settings(
    deadline=None,
    derandomize=not FACTOR,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


def examples(count: int) -> settings:
    """Settings of a test that has `count` examples in the short set."""
    return settings(SHORT, max_examples=count * max(1, FACTOR))


def worlds(count: int) -> settings:
    """The same for a test against a running world, in which a smaller example would say nothing."""
    return settings(examples(count), phases=[Phase.explicit, Phase.generate])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each fuzzer the time that its examples may take."""
    for item in items:
        if "fuzz" in item.path.parts:
            item.add_marker(pytest.mark.timeout(300 * max(1, FACTOR)))
