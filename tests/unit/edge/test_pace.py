"""Little's law on what happened lately."""

import pytest

from services.edge.owner.pace import MEMORY_S, Pace


def test_nothing_is_foreseen_before_anything_has_ended() -> None:
    pace = Pace()
    pace.under_way = 100
    assert (pace.stay_s, pace.seconds(1000)) == (0, 0)


def test_what_is_under_way_ends_at_its_pace() -> None:
    pace = Pace()
    pace.under_way = 1000
    for second in range(10):
        pace.stayed(100, 4.0, float(second))
    assert pace.seconds(500) == pytest.approx(2.0), "1,000 tokens each 4 s are 250 a second"
    pace.under_way = 500
    assert pace.seconds(500) == pytest.approx(4.0), "a worker has gone"


def test_large_ones_count_for_more_and_old_ones_for_less() -> None:
    pace = Pace()
    pace.stayed(900, 10.0, 0.0)
    pace.stayed(100, 0.0, 0.0)
    assert pace.stay_s == pytest.approx(9.0)
    for second in range(10):
        pace.stayed(100, 2.0, 5 * MEMORY_S + second)
    assert pace.stay_s == pytest.approx(2.0, rel=0.1)
