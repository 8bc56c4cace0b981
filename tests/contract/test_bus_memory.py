"""What a handler remembers is made again by whoever has the partition after it, from the records alone."""

from __future__ import annotations

import asyncio

import pytest

from shared.bus.handling import Batch
from shared.bus.ports import Bus, TopicPartition
from tests.contract.bus_world import World, until
from tests.contract.consumer_world import Consumers, number_of, publish

OPENS = 20
"""Each record of such a number begins something of its partition that lasts until the next."""


class Recall:
    """A handler that must have seen a partition's beginning to handle what follows."""

    def __init__(self) -> None:
        self.first: dict[int, int] = {}
        """Number of the first record of each partition, since it was given."""
        self.begun: dict[int, tuple[int, int]] = {}
        """Offset and number of the newest beginning."""
        self.seen: set[int] = set()
        self.lost: list[int] = []
        """Handled without their beginning."""
        self.forgotten: list[int] = []
        self.gate: asyncio.Event | None = None
        self.waiting = False

    async def handle(self, batch: Batch) -> None:
        begun = self.begun.get(batch.partition)
        for record in batch.records:
            number = number_of(record)
            self.first.setdefault(batch.partition, number)
            if number % OPENS < 4:
                begun = (record.offset, number)
            elif begun is None:
                self.lost.append(number)
        if self.gate is not None:
            self.waiting = True
            await self.gate.wait()
        if begun is not None:
            self.begun[batch.partition] = begun
        self.seen.update(map(number_of, batch.records))

    def back_to(self, place: TopicPartition, finished: int) -> int:
        begun = self.begun.get(place.partition)
        return min(finished, begun[0]) if begun else finished

    def forget(self, place: TopicPartition) -> None:
        self.forgotten.append(place.partition)
        for remembered in (self.first, self.begun):
            remembered.pop(place.partition, None)


async def start(consumers: Consumers, bus: Bus, member: str = "m", topic: str = "frames"):
    recall = Recall()
    consumer = await consumers.start(bus, topic, recall.handle, member=member, memory=recall)
    return recall, consumer


@pytest.mark.parametrize("topic", ["frames", "usage"])
async def test_a_successor_begins_where_the_memory_reaches_back_to(
    world: World, consumers: Consumers, topic: str
) -> None:
    bus = await world.bus()
    before, consumer = await start(consumers, bus, topic=topic)
    await publish(bus, topic, range(70))
    await until(lambda: before.seen >= set(range(70)))
    await consumers.stop(consumer)
    after, _ = await start(consumers, bus, "n", topic)
    await publish(bus, topic, range(70, 74))
    await until(lambda: after.seen >= set(range(70, 74)))
    assert (before.lost, after.lost) == ([], [])
    if world.orderly:
        assert after.first == {0: 60, 1: 61, 2: 62, 3: 63}


async def test_a_kill_repeats_from_there_too(world: World, consumers: Consumers) -> None:
    bus = await world.bus()
    before, _ = await start(consumers, bus)
    await publish(bus, "frames", range(50))
    await until(lambda: before.seen >= set(range(50)))
    before.gate = asyncio.Event()  # what comes now is never finished
    await publish(bus, "frames", range(50, 54))
    await until(lambda: before.waiting)
    after, _ = await start(consumers, bus)  # the same name: it takes the first one's place
    await until(lambda: after.seen >= set(range(44, 54)))
    assert after.lost == []


async def test_what_is_taken_away_is_forgotten_after_its_last_commit(
    world: World, consumers: Consumers
) -> None:
    bus = await world.bus()
    first, _ = await start(consumers, bus, "a")
    await publish(bus, "frames", range(50))
    await until(lambda: first.seen >= set(range(50)))
    first.forgotten.clear()
    second, _ = await start(consumers, bus, "b")
    await publish(bus, "frames", range(50, 60))
    await until(lambda: first.seen | second.seen >= set(range(60)))
    assert (first.lost, second.lost) == ([], [])
    taken = set(second.first)
    assert taken
    assert taken <= set(first.forgotten)
    assert all(number in range(40, 44) or not world.orderly for number in second.first.values())


async def test_partitions_that_come_and_go_lose_nothing(world: World, consumers: Consumers) -> None:
    bus = await world.bus()
    stays, _ = await start(consumers, bus, "a")
    recalls = [stays]
    for turn in range(4):
        await publish(bus, "frames", range(turn * 30, turn * 30 + 15))
        comes, consumer = await start(consumers, bus, "b")
        recalls.append(comes)
        await publish(bus, "frames", range(turn * 30 + 15, turn * 30 + 30))
        await consumers.stop(consumer)
    await until(lambda: set.union(*(one.seen for one in recalls)) >= set(range(120)))
    assert [one.lost for one in recalls] == [[]] * 5
