"""Identifiers sort by time, survive the wire and repeat where an event repeats."""

from __future__ import annotations

import random
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.ids import Ids, event_id, lane_of, pack, unpack


class Frozen:
    def __init__(self, now: int) -> None:
        self.now = now

    def monotonic(self) -> float:
        return self.now / 1e9

    def time_ns(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += int(seconds * 1e9)


@given(st.lists(st.integers(0, 2**47 * 1_000_000), min_size=2, max_size=50), st.integers())
def test_requests_are_uuid_7_and_rise_even_when_the_clock_steps_back(times: list[int], seed: int) -> None:
    clock = Frozen(0)
    ids = Ids(clock, random.Random(seed))
    made = []
    for clock.now in times:
        made.append(ids.request())
    assert made == sorted(set(made))
    assert all(uuid.UUID(text).version == 7 and uuid.UUID(text).variant == uuid.RFC_4122 for text in made)


def test_the_time_can_be_read_back() -> None:
    now = 1_700_000_000_123_456_789
    assert uuid.UUID(Ids(Frozen(now), random.Random(1)).request()).int >> 80 == now // 1_000_000


@given(st.uuids())
def test_packing_is_lossless(value: uuid.UUID) -> None:
    assert pack(str(value)) == value.bytes
    assert unpack(value.bytes) == str(value)


@pytest.mark.parametrize("text", ["", "abc", "0" * 31, "g" * 32, "0" * 34])
def test_what_is_no_uuid_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"UUID|hex"):
        pack(text)


def test_an_event_id_depends_on_each_part_and_on_nothing_else() -> None:
    parts = [("r", 1, 2, "s", "k"), ("q", 1, 2, "s", "k"), ("r", 2, 2, "s", "k"), ("r", 1, 1, "s", "k")]
    parts += [("r", 1, 2, "t", "k"), ("r", 1, 2, "s", "l")]
    assert len({event_id(*part) for part in parts}) == len(parts)
    assert event_id(*parts[0]) == event_id(*parts[0])


def test_lanes_are_all_used() -> None:
    ids = Ids(Frozen(10**18), random.Random(3))
    assert {lane_of(ids.request(), [4, 7, 9]) for _ in range(200)} == {4, 7, 9}
