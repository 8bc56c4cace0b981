"""A stranger writes to every topic while the platform serves: nobody stops, and the books stay right.

What is left is that his records cost time, and that a configuration he names is waited for. Who may write to
a topic at all is the broker's matter (`test_kafka_rights`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given

from tests.fuzz.conftest import CHANCES, worlds
from tests.fuzz.embedded import Foreign, World
from tests.fuzz.records import foreign

TOPICS = (
    "requests",
    "reserves",
    "replies",
    "work",
    "frames",
    "completions",
    "pulses",
    "usage",
    "closed",
    "facts",
)
BATCH = 20
FORESEEN = {
    "DecodeError",
    "EnvelopeError",
    "ForeignRecord",
    "FrameError",
    "FreeholdError",
    "Later",
    "NoSuchPartition",
    "NotUnderstood",
    "PolicyUnknown",
    "UnknownType",
}
"""What handlers say of records that they have judged. Anything else is a fault of ours."""
OF_A_BUNDLE = {"IndexError", "ValueError"}
"""Of vetted frames, which moderation alone writes, the edge finds out as it goes through their columns."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("fuzz") / "home")
    yield made
    made.close()


def unforeseen(world: World) -> list[tuple[str, str]]:
    """Dead letters whose reason nobody foresaw."""
    found = []
    for origin, reason in world.dead_letters():
        kind, topic = reason.partition(":")[0], origin.partition("/")[0]
        if kind not in FORESEEN and not (topic == "completions" and kind in OF_A_BUNDLE):
            found.append((origin, reason))
    return found


def check(world: World) -> None:
    """Fail unless customers are served and every service is as well as before."""
    assert world.serves() == ""
    assert world.unready() == []
    assert unforeseen(world) == []
    assert world.faults.found == []


@pytest.mark.attack(46)
@worlds(60)
@given(chance=CHANCES)
def test_foreign_records_stop_nobody(world: World, chance: random.Random) -> None:
    partitions = {topic: world.partitions(topic) for topic in TOPICS}
    world.publish([foreign(chance, world.written, partitions) for _ in range(BATCH)])
    check(world)


@pytest.mark.attack(46)
def test_a_flood_of_garbage_stops_nobody(world: World) -> None:
    """More in a row than a consumer's fuse takes of errors that nobody foresaw."""
    for topic in TOPICS:
        world.publish([Foreign(topic, 0, b"\xff\xfe", (("type", b"x"),)) for _ in range(250)])
    check(world)


@pytest.mark.attack(46)
def test_the_books_are_right_after_all_of_it(world: World) -> None:
    """Last in this file: what strangers wrote is in nobody's account."""
    world.verify_ledger()
