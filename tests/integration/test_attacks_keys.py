"""What the time of a refusal tells of a key: nothing, by Welch's t-test over 10,000 probes.

Probes of both kinds alternate by chance, so that what else the machine does falls on both alike. Beside it
stands a look-up that compares byte by byte, which the same test must find.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable

import pytest

from shared.callers import Credentials
from shared.host import system_host
from tests.integration.edge_front import PEPPER, add_key, configured

PROBES = 10_000
BOUND = 4.5
KEPT = 0.9
"""Share of the fastest probes; slower ones tell of the machine."""
SECRET = "fh-" + "k" * 52
TOKEN = "t" * 43


def guesses(chance: random.Random, right: int) -> str:
    """A wrong secret of the right length whose first `right` characters are right."""
    rest = "".join(chance.choices("ABCDEFGHIJ", k=len(SECRET) - right))
    return SECRET[:right] + rest


def welch(look_up: Callable[[str], object], near: int, far: int) -> float:
    """t of the times for guesses that are right in `near` and in `far` characters."""
    chance = random.Random(7)
    times: dict[int, list[int]] = {near: [], far: []}
    # Made before: what was done just before a probe would show in its time.
    probes = [(right, guesses(chance, right)) for right in chance.choices((near, far), k=PROBES)]
    for right, guess in probes:
        begun = time.perf_counter_ns()
        look_up(guess)
        times[right].append(time.perf_counter_ns() - begun)
    bound = sorted([*times[near], *times[far]])[int(PROBES * KEPT)]
    one, two = ([found for found in times[kind] if found <= bound] for kind in (near, far))
    spread = statistics.variance(one) / len(one) + statistics.variance(two) / len(two)
    return (statistics.fmean(one) - statistics.fmean(two)) / math.sqrt(spread)


def credentials() -> Credentials:
    values = configured()
    add_key(values, SECRET, "one", ["complete"])
    found = Credentials(values, {1: PEPPER}, system_host().clock, TOKEN)
    assert found(SECRET) is not None
    return found


@pytest.mark.attack(3)
@pytest.mark.parametrize("near", [4, 30, len(SECRET) - 1])
def test_03_how_much_of_a_key_is_right_takes_no_time(near: int) -> None:
    look_up = credentials()
    assert min(abs(welch(look_up, near, 0)) for _ in range(3)) < BOUND


def test_a_comparison_byte_by_byte_would_be_found() -> None:
    def look_up(guess: str) -> bool:
        return all(one == other for one, other in zip(guess, SECRET, strict=True))

    assert abs(welch(look_up, len(SECRET) - 1, 0)) > BOUND
