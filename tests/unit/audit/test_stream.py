"""Arrival of gap-free numbers in any order, more than once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.audit.stream import Gap, Stream


@given(st.lists(st.integers(1, 40), max_size=80))
def test_each_number_is_taken_once_and_what_is_missing_is_known(arrivals: list[int]) -> None:
    stream = Stream()
    seen: set[int] = set()
    for now, seq in enumerate(arrivals):
        assert stream.take(seq, now) is (seq not in seen)
        seen.add(seq)
        missing = {number for gap in stream.gaps for number in range(gap.first, gap.last + 1)}
        assert missing == set(range(1, stream.next)) - seen
        assert all(gap.first <= gap.last for gap in stream.gaps)
    assert stream.next == max(seen, default=0) + 1


def test_a_gap_keeps_the_time_it_was_noticed() -> None:
    stream = Stream()
    for now, seq in ((10, 1), (20, 9), (30, 5), (40, 2)):
        assert stream.take(seq, now)
    assert stream.gaps == [Gap(3, 4, 20), Gap(6, 8, 20)]
