"""Attempts that workers run for nobody: cancelled again, and not at every report."""

from services.edge.owner.unheld import Unheld

KEY = (b"r" * 16, 2)


def test_it_is_cancelled_from_the_second_report_on_and_ever_more_seldom() -> None:
    unheld = Unheld()
    cancelled = [number for number in range(1, 41) if unheld.reported(7, [KEY])]
    assert cancelled == [2, 4, 8, 16, 32]


def test_what_is_no_longer_listed_is_forgotten() -> None:
    unheld = Unheld()
    unheld.reported(7, [KEY])
    assert unheld.reported(7, []) == []
    assert unheld.reported(7, [KEY]) == []
    assert unheld.reported(7, [KEY]) == [KEY]


def test_workers_are_counted_apart_and_forgotten_when_gone() -> None:
    unheld = Unheld()
    unheld.reported(7, [KEY])
    assert unheld.reported(8, [KEY]) == []
    unheld.keep([8])
    assert unheld.reported(7, [KEY]) == []
    assert unheld.reported(8, [KEY]) == [KEY]
