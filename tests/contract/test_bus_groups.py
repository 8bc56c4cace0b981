"""What every bus promises to consumer groups."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from shared.bus.ports import Bus, BusError, Reader, Record, TopicPartition
from tests.contract.bus_world import World, insist, nothing, read, read_all, send, until


class Books:
    """The callbacks of one member, and what they were told."""

    def __init__(self) -> None:
        self.held: set[TopicPartition] = set()
        self.revoked: list[TopicPartition] = []
        self.reader: Reader | None = None
        self.commit_on_revoke: dict[TopicPartition, int] = {}

    async def on_assigned(self, partitions: Iterable[TopicPartition]) -> None:
        self.held |= set(partitions)

    async def on_revoked(self, partitions: Iterable[TopicPartition]) -> None:
        gone = set(partitions)
        self.revoked += sorted(gone)
        commits = {place: offset for place, offset in self.commit_on_revoke.items() if place in gone}
        if self.reader is not None and commits:
            reader = self.reader
            await insist(lambda: reader.commit(commits))
        self.held -= gone


async def join(
    bus: Bus, member: str, topics: list[str], books: Books | None = None, group: str = "g"
) -> Reader:
    books = books or Books()
    books.reader = await bus.group(topics, group, member, books.on_assigned, books.on_revoked)
    return books.reader


async def publish_numbers(bus: Bus, topic: str, start: int, stop: int) -> None:
    for number in range(start, stop):
        await send(bus, topic, b"%d" % number, partition=number % 4)


def values(records: Iterable[Record]) -> set[int]:
    return {int(record.value) for record in records}


@pytest.mark.parametrize("topic", ["requests", "usage"])
async def test_a_new_group_starts_at_the_beginning(bus: Bus, topic: str) -> None:
    await publish_numbers(bus, topic, 0, 20)
    reader = await join(bus, "m", [topic])
    assert values(await read(reader, 20)) == set(range(20))


@pytest.mark.parametrize("topic", ["requests", "usage"])
async def test_what_was_not_committed_comes_again(bus: Bus, topic: str) -> None:
    await publish_numbers(bus, topic, 0, 20)
    reader = await join(bus, "m", [topic])
    await read(reader, 20)
    await reader.close()
    again = await join(bus, "n", [topic])
    assert values(await read(again, 20)) == set(range(20))


@pytest.mark.parametrize("topic", ["requests", "usage"])
async def test_what_was_committed_does_not_come_again(bus: Bus, topic: str) -> None:
    await publish_numbers(bus, topic, 0, 20)
    reader = await join(bus, "m", [topic])
    await read_all(reader)
    await insist(lambda: reader.commit(reader.positions()))
    await reader.close()
    await publish_numbers(bus, topic, 20, 30)
    again = await join(bus, "n", [topic])
    assert values(await read_all(again)) == set(range(20, 30))


async def test_a_commit_of_a_part_is_where_the_next_begins(bus: Bus) -> None:
    place = TopicPartition("usage", 0)
    offsets = [(await send(bus, "usage", b"%d" % number, partition=0)).offset for number in range(10)]
    reader = await join(bus, "m", ["usage"])
    await read(reader, 10)
    await insist(lambda: reader.commit({place: offsets[4]}))
    await reader.close()
    assert values(await read_all(await join(bus, "n", ["usage"]))) == set(range(4, 10))


async def test_a_kill_loses_no_record_and_no_committed_offset(world: World) -> None:
    bus = await world.bus()
    await publish_numbers(bus, "usage", 0, 20)
    reader = await join(bus, "m", ["usage"])
    await read_all(reader)
    await insist(lambda: reader.commit(reader.positions()))
    await publish_numbers(bus, "usage", 20, 30)
    await read_all(reader)  # read, not committed
    again = await world.bus()  # the first was not closed: that is a kill
    assert values(await read_all(await join(again, "m", ["usage"]))) == set(range(20, 30))


async def test_groups_know_nothing_of_each_other(bus: Bus) -> None:
    await publish_numbers(bus, "requests", 0, 10)
    one = await join(bus, "m", ["requests"], group="moderation.input")
    await read_all(one)
    await insist(lambda: one.commit(one.positions()))
    other = await join(bus, "m", ["requests"], group="tokenizer")
    assert values(await read(other, 10)) == set(range(10))


async def test_a_commit_of_what_is_not_assigned_is_ignored(bus: Bus) -> None:
    await publish_numbers(bus, "usage", 0, 8)
    reader = await join(bus, "m", ["usage"])
    await insist(lambda: reader.commit({TopicPartition("closed", 0): 5}))
    await reader.close()
    await insist(lambda: reader.commit({TopicPartition("usage", 0): 2}))
    assert values(await read(await join(bus, "n", ["usage"]), 8)) == set(range(8))


async def test_members_share_the_partitions_and_get_everything_once_settled(bus: Bus) -> None:
    first, second = Books(), Books()
    one = await join(bus, "a", ["requests"], first)
    two = await join(bus, "b", ["requests"], second)
    await until(lambda: len(one.positions()) == len(two.positions()) == 2)
    assert set(one.positions()) | set(two.positions()) == {TopicPartition("requests", n) for n in range(4)}
    await publish_numbers(bus, "requests", 0, 40)
    seen: set[int] = set()
    async with asyncio.timeout(20):
        while seen != set(range(40)):
            for reader in (one, two):
                for records in (await reader.poll(100, 0.01)).values():
                    seen |= values(records)


async def test_a_leaving_members_partitions_go_to_the_others(bus: Bus) -> None:
    one = await join(bus, "a", ["requests"])
    two = await join(bus, "b", ["requests"])
    await publish_numbers(bus, "requests", 0, 20)
    await one.close()
    assert values(await read(two, 20)) == set(range(20))
    await until(lambda: len(two.positions()) == 4)


async def test_a_revoked_member_commits_and_the_next_begins_there(world: World) -> None:
    bus = await world.bus()
    books = Books()
    one = await join(bus, "a", ["usage"], books)
    await publish_numbers(bus, "usage", 0, 40)
    handled = {}
    for record in await read_all(one):
        handled[TopicPartition(record.topic, record.partition)] = record.offset + 1
    books.commit_on_revoke = handled
    two = await join(bus, "b", ["usage"])
    await until(lambda: len(two.positions()) == 2)
    assert set(books.revoked) >= set(two.positions())
    assert books.held.isdisjoint(two.positions())
    assert await read_all(two) == []


async def test_a_revoked_partition_gives_nothing_more(bus: Bus) -> None:
    books = Books()
    one = await join(bus, "a", ["requests"], books)
    await join(bus, "b", ["requests"])
    await until(lambda: len(one.positions()) == 2)
    await publish_numbers(bus, "requests", 0, 40)
    for record in await read_all(one):
        assert TopicPartition(record.topic, record.partition) in books.held


async def test_a_pause_ends_with_the_partition(bus: Bus) -> None:
    books = Books()
    one = await join(bus, "a", ["requests"], books)
    one.pause(one.positions())
    two = await join(bus, "b", ["requests"])
    await until(lambda: len(two.positions()) == 2)
    await two.close()
    await until(lambda: len(one.positions()) == 4)
    lost = {place.partition for place in books.revoked}
    for partition in lost:
        await send(bus, "requests", b"%d" % partition, partition=partition)
    assert lost
    assert {record.partition for record in await read(one, len(lost))} == lost


async def test_a_member_is_told_of_partitions_before_their_records(bus: Bus) -> None:
    await publish_numbers(bus, "requests", 0, 20)
    books = Books()
    reader = await join(bus, "a", ["requests"], books)
    seen: set[int] = set()
    while len(seen) < 20:
        for place, records in (await reader.poll(3, 0.2)).items():
            assert place in books.held
            seen |= values(records)


async def test_a_member_that_comes_back_takes_its_place(world: World) -> None:
    bus = await world.bus()
    neighbour = Books()
    old = await join(bus, "a", ["requests"])
    two = await join(bus, "b", ["requests"], neighbour)
    shared = set(two.positions())
    neighbour.revoked.clear()
    new = await join(bus, "a", ["requests"])  # the same name: a restart whose old life still lingers
    await until(lambda: len(new.positions()) == 2)
    with pytest.raises(BusError, match="another reader"):
        await read_all(old)
    await old.close()
    assert len(new.positions()) == 2
    if world.orderly:
        assert (neighbour.revoked, set(two.positions())) == ([], shared)


async def test_a_callback_that_fails_does_not_hold_the_group_up(bus: Bus) -> None:
    async def fail(partitions: Iterable[TopicPartition]) -> None:
        raise RuntimeError("a member's own mistake")

    await bus.group(["requests"], "g", "a", nothing, fail)
    two = await join(bus, "b", ["requests"])
    await until(lambda: len(two.positions()) == 2)


async def test_closing_never_hangs_and_twice_is_once(bus: Bus) -> None:
    reader = await join(bus, "a", ["requests"])
    waiting = asyncio.ensure_future(read_all(reader, quiet=30.0))
    await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        await reader.close()
        await reader.close()
        with pytest.raises(BusError):
            await waiting


async def test_one_group_may_read_several_topics(bus: Bus) -> None:
    reader = await join(bus, "m", ["usage", "closed"])
    await publish_numbers(bus, "usage", 0, 10)
    await publish_numbers(bus, "closed", 10, 20)
    records = await read(reader, 20)
    assert {record.topic for record in records} == {"usage", "closed"}
    assert len(reader.positions()) == 8
