"""Who reads which partition: everything once, the same for the same members."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from shared.bus.local_groups import share
from shared.bus.ports import TopicPartition

TOPICS = ("usage", "closed", "requests")
MEMBERS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=4), st.frozensets(st.sampled_from(TOPICS)), max_size=9
)


@given(MEMBERS, st.integers(1, 20), st.randoms(use_true_random=False))
def test_every_wanted_partition_has_exactly_one_reader(
    members: dict[str, frozenset[str]], partitions: int, chance: random.Random
) -> None:
    places = [TopicPartition(topic, number) for topic in TOPICS for number in range(partitions)]
    shares = share(places, members)
    given_out = [place for one in shares.values() for place in one]
    wanted = {topic for topics in members.values() for topic in topics}
    assert sorted(given_out) == sorted(place for place in places if place.topic in wanted)
    for member, one in shares.items():
        assert {place.topic for place in one} <= members[member]

    names = list(members)
    chance.shuffle(names)
    assert share(places, {name: members[name] for name in names}) == shares


@given(st.integers(1, 9), st.integers(1, 64))
def test_equal_members_have_equal_shares_but_for_one(members: int, partitions: int) -> None:
    places = [TopicPartition("usage", number) for number in range(partitions)]
    shares = share(places, {str(name): frozenset(("usage",)) for name in range(members)})
    sizes = [len(one) for one in shares.values()]
    assert max(sizes) - min(sizes) <= 1
