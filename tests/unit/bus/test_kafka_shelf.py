"""What a reader over a broker holds between the fetch and the poll."""

from __future__ import annotations

import pytest

from shared.bus.kafka_shelf import Shelf
from shared.bus.ports import Record, TopicPartition

ONE, TWO = TopicPartition("usage", 0), TopicPartition("usage", 1)


class Fetching:
    """Which partitions are not fetched at the moment."""

    def __init__(self) -> None:
        self.stopped: set[TopicPartition] = set()

    def __call__(self, place: TopicPartition, stop: bool) -> None:
        (self.stopped.add if stop else self.stopped.discard)(place)


def records(place: TopicPartition, first: int, count: int) -> dict[TopicPartition, list[Record]]:
    made = [Record(*place, offset, 0, None, b"v", ()) for offset in range(first, first + count)]
    return {place: made}


@pytest.fixture
def fetching() -> Fetching:
    return Fetching()


@pytest.fixture
def shelf(fetching: Fetching) -> Shelf:
    made = Shelf(fetching)
    made.give({ONE: 0, TWO: 0})
    return made


def offsets(found: dict[TopicPartition, list[Record]]) -> dict[TopicPartition, list[int]]:
    return {place: [record.offset for record in held] for place, held in found.items()}


def test_each_partition_gets_its_turn(shelf: Shelf) -> None:
    shelf.put(records(ONE, 0, 5) | records(TWO, 0, 2))
    assert offsets(shelf.take(3)) == {ONE: [0, 1, 2]}
    assert offsets(shelf.take(3)) == {TWO: [0, 1], ONE: [3]}
    assert offsets(shelf.take(3)) == {ONE: [4]}
    assert not shelf.ready
    assert shelf.positions == {ONE: 5, TWO: 2}


def test_pausing_keeps_the_records_and_the_fetching(shelf: Shelf, fetching: Fetching) -> None:
    shelf.pause([ONE])
    shelf.put(records(ONE, 0, 5))
    assert (shelf.ready, shelf.take(9), fetching.stopped) == (False, {}, set())
    shelf.resume([ONE])
    assert offsets(shelf.take(9)) == {ONE: [0, 1, 2, 3, 4]}


def test_a_partition_of_which_much_lies_here_is_not_fetched_until_half_is_gone(
    shelf: Shelf, fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.bus.kafka_shelf.MOST_RECORDS", 10)
    shelf.put(records(ONE, 0, 11) | records(TWO, 0, 3))
    assert fetching.stopped == {ONE}
    shelf.take(5)
    assert fetching.stopped == {ONE}
    shelf.take(9)
    assert fetching.stopped == set()


def test_what_is_taken_away_is_gone_and_what_comes_late_is_dropped(shelf: Shelf) -> None:
    shelf.put(records(ONE, 0, 5))
    shelf.freeze([ONE])
    assert shelf.take(9) == {}
    shelf.lose([ONE])
    shelf.put(records(ONE, 5, 5))
    assert (shelf.take(9), shelf.positions) == ({}, {TWO: 0})


def test_a_seek_forgets_what_was_fetched(shelf: Shelf) -> None:
    shelf.put(records(ONE, 0, 5))
    shelf.seek(ONE, 2)
    assert (shelf.ready, shelf.positions[ONE]) == (False, 2)
    shelf.put(records(ONE, 2, 1))
    assert offsets(shelf.take(9)) == {ONE: [2]}
