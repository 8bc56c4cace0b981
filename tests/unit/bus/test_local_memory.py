"""What the local bus keeps in memory and on disk, and what it does when the disk fails."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from shared.bus.local import LocalBus
from shared.bus.ports import BusError, BusFull, Reader, Start, TopicPartition
from shared.bus.topics import load_topics
from shared.clock import SystemClock
from shared.host import system_host

CAP = 200_000
TOPICS = load_topics("embedded")


class SteppedClock(SystemClock):
    """A clock whose hands a test may move."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.wall_step = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    def time_ns(self) -> int:
        return super().time_ns() + int((self.ahead + self.wall_step) * 1e9)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
async def bus(clock: SteppedClock, tmp_path: Path) -> AsyncIterator[LocalBus]:
    made = await open_bus(clock, tmp_path / "bus.db")
    yield made
    await made.close()


async def open_bus(clock: SteppedClock, path: Path | None) -> LocalBus:
    host = dataclasses.replace(system_host(), clock=clock)
    made = LocalBus(host, TOPICS, path, cap_bytes=CAP, kept_bytes=CAP // 4)
    await made.start()
    return made


async def nothing(partitions: Iterable[TopicPartition]) -> None:
    del partitions


async def offsets_from(bus: LocalBus, place: TopicPartition) -> list[int]:
    reader = await bus.assign([place], Start.BEGINNING)
    found: list[int] = []
    end = (await reader.end_offsets())[place]
    while reader.positions()[place] < end:
        for records in (await reader.poll(50, 0.05)).values():
            found += [record.offset for record in records]
    await reader.close()
    return found


async def fill(bus: LocalBus, topic: str) -> None:
    for _ in range(1000):
        await bus.publish(topic, bytes(1744), partition=0)


async def drain(reader: Reader) -> int:
    count = 0
    while polled := await reader.poll(1000, 0.02):
        count += sum(map(len, polled.values()))
    return count


async def test_what_everybody_has_read_makes_room(bus: LocalBus) -> None:
    reader = await bus.group(["frames"], "moderation.output", "m", nothing, nothing)
    for number in range(1000):  # ten times the cap
        await bus.publish("frames", bytes(1744), partition=number % 8)
        if number % 10 == 9:
            await drain(reader)
            await reader.commit(reader.positions())


async def test_what_a_declared_group_has_not_read_is_kept_until_it_comes(bus: LocalBus) -> None:
    with pytest.raises(BusFull):
        await fill(bus, "frames")
    kept = await offsets_from(bus, TopicPartition("frames", 0))
    assert kept == list(range(len(kept)))
    assert len(kept) == CAP // 2000


async def test_a_topic_for_readers_from_the_end_never_fills_without_them(bus: LocalBus) -> None:
    await fill(bus, "replies")


async def test_a_reader_from_the_end_that_lags_is_waited_for_up_to_the_cap(bus: LocalBus) -> None:
    reader = await bus.assign([TopicPartition("replies", 0)], Start.END)
    with pytest.raises(BusFull):
        await fill(bus, "replies")
    assert await drain(reader) == CAP // 2000
    await bus.publish("replies", bytes(1744), partition=0)


async def test_dead_letters_keep_the_newest_within_the_cap(bus: LocalBus) -> None:
    for _ in range(300):
        await bus.publish("dlq", bytes(1744), partition=0)
    kept = await offsets_from(bus, TopicPartition("dlq", 0))
    assert kept[-1] == 299
    assert CAP // 2000 // 2 <= len(kept) <= CAP // 2000


async def test_old_transit_records_go_whether_read_or_not(bus: LocalBus, clock: SteppedClock) -> None:
    await bus.publish("frames", b"text", partition=0)
    clock.ahead += 901
    await bus.publish("frames", b"later", partition=1)
    assert await offsets_from(bus, TopicPartition("frames", 0)) == []
    assert await offsets_from(bus, TopicPartition("frames", 1)) == [0]


async def test_old_durable_records_go_from_the_disk(
    bus: LocalBus, clock: SteppedClock, tmp_path: Path
) -> None:
    for _ in range(5):
        await bus.publish("usage", b"old", partition=0)
    clock.ahead += 30 * 24 * 3600 + 1
    await bus.publish("usage", b"new", partition=1)
    again = await open_bus(clock, tmp_path / "bus.db")
    assert await offsets_from(again, TopicPartition("usage", 0)) == []
    assert (await again.publish("usage", b"next", partition=0)).offset == 5  # an offset is given once
    await again.close()


async def test_what_memory_let_go_is_read_from_disk_and_memory_joins_without_a_gap(bus: LocalBus) -> None:
    place = TopicPartition("facts", 0)
    reader = await bus.assign([place], Start.BEGINNING)
    await asyncio.gather(*(bus.publish("facts", bytes(1744)) for _ in range(90)))
    await asyncio.gather(*(bus.publish("facts", bytes(1744)) for _ in range(90)))
    found: list[int] = []
    while len(found) < 180:
        for records in (await reader.poll(7, 1.0)).values():
            found += [record.offset for record in records]
    assert found == list(range(180))


async def test_the_brokers_time_does_not_step_with_the_walls(bus: LocalBus, clock: SteppedClock) -> None:
    before = (await bus.publish("pulses", b"")).timestamp_ms
    clock.wall_step -= 3600
    after = (await bus.publish("pulses", b"")).timestamp_ms
    assert 0 <= after - before < 60_000
    assert abs(before - SystemClock().time_ns() // 1_000_000) < 60_000


async def test_the_wait_for_the_disk_is_bounded_in_bytes(bus: LocalBus) -> None:
    sent = [bus.publish("usage", bytes(1744), partition=0) for _ in range(CAP // 2000)]
    with pytest.raises(BusFull, match="wait for the disk"):
        await asyncio.gather(*(bus.publish("usage", bytes(1744), partition=0) for _ in range(2)))
    assert len(await asyncio.gather(*sent)) == len(sent)


async def test_a_disk_that_fails_is_a_bus_error_and_mends(
    clock: SteppedClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "gone"
    bus = await open_bus(clock, folder / "bus.db")
    first = await bus.publish("usage", b"1", partition=0)
    other = sqlite3.connect(folder / "bus.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BusError, match="locked"):
        await bus.publish("usage", b"2", partition=0)
    other.rollback()
    other.close()
    third = await bus.publish("usage", b"3", partition=0)
    assert third.offset == first.offset + 1
    assert await offsets_from(bus, TopicPartition("usage", 0)) == [0, 1]
    assert "1 since the start" in caplog.text
    await bus.close()
    shutil.rmtree(folder)


async def test_a_folder_that_cannot_be_made_is_one_clear_error(clock: SteppedClock, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BusError, match="file"):
        await open_bus(clock, tmp_path / "file" / "bus.db")


async def test_a_bus_that_is_not_started_refuses(clock: SteppedClock) -> None:
    bus = LocalBus(system_host(), TOPICS, None)
    with pytest.raises(BusError, match="not started"):
        await bus.publish("usage", b"")
