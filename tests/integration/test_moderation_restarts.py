"""Replicas of moderation that die at any record, over the bus: the owner's own rules put together what they
vet, and it is what one replica would have made of it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from services.edge.states.chain import Choice, Delta, Ending
from services.inference.attempts.attempt import context_of
from services.moderation.matching.matcher import compile_pack
from services.moderation.matching.pack import load_pack
from services.moderation.policy import Policy
from shared.bus.chaos import ChaosBus
from shared.bus.consumer import Consumer
from shared.bus.envelope import Envelope
from shared.bus.local import LocalBus
from shared.bus.ports import Bus, BusError, Reader, Start, TopicPartition
from shared.bus.topics import load_topics
from shared.contracts.freehold.inference.v1.frame_pb2 import End, Frame, Open
from shared.contracts.freehold.moderation.v1.events_pb2 import VettedFrame
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.host import system_host
from tests.integration.moderation_world import BASE, LANE, OWNER
from tests.integration.vetting import vetting

HOST = system_host()
TOPICS = load_topics("embedded")
REQUEST = b"r" * 16
FLAG = """\
  - id: remark
    category: test
    action: flag
    direction: both
    legal_basis: test
    description: noted only
    words: [budget]
"""


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy([compile_pack(load_pack(BASE + FLAG))])


class Lane:
    """One stream's frames on the bus, the replicas that vet it, and its owner."""

    def __init__(self, bus: Bus, reader: Reader, policy: Policy) -> None:
        self._bus = bus
        self._reader = reader
        self._policy = policy
        self._replicas: list[Consumer] = []
        self._choice = Choice(0)
        self.text = ""
        self.refused = ""
        self.rules: set[str] = set()
        self.broken: list[str] = []
        self.others: list[str] = []
        """Text of other requests."""

    async def replica(self, member: str = "moderation") -> Consumer:
        """Another replica. Under the name of one that runs it takes its place, and that is a kill."""
        made = vetting(self._bus, HOST, TOPICS, self._policy, member)
        await made.start()
        self._replicas.append(made)
        return made

    async def stop(self, consumer: Consumer) -> None:
        await consumer.stop(HOST.clock.monotonic() + 5)

    async def write(self, frame: Frame) -> None:
        """As a worker does."""
        await self.write_bytes(frame.SerializeToString())

    async def write_bytes(self, value: bytes) -> None:
        """Until they are acknowledged."""
        headers = Envelope("Frame", "e", 5, owner=OWNER, lane=LANE).headers()
        while True:
            try:
                await self._bus.publish("frames", value, headers, partition=LANE)
            except BusError:
                await asyncio.sleep(0)
            else:
                return

    async def until(self, ids: int) -> None:
        """Deliver until so many ids, or the end."""
        async with asyncio.timeout(20):
            while len(self._choice.ids) < ids and not self.over:
                for records in (await self._reader.poll(100, 0.1)).values():
                    for record in records:
                        self._take(VettedFrame.FromString(record.value))

    @property
    def over(self) -> bool:
        return bool(self.refused or self.broken or self._choice.complete)

    @property
    def ids(self) -> int:
        return len(self._choice.ids)

    def _take(self, vetted: VettedFrame) -> None:
        columns = vetted.frame
        if columns.request[0] != REQUEST:
            self.others += columns.text
            return
        first = 0
        for index, count, text in zip(columns.text_index, columns.text_count, columns.text, strict=True):
            delta = Delta(
                index,
                list(columns.ids[first : first + count]),
                list(columns.lengths[first : first + count]),
                text,
            )
            first += count
            if not self.over and (found := self._choice.offer(0.0, delta)) is not None:
                self._choice.add(0.0, found.ids)
                self.text += found.text
        for verdict in vetted.verdicts:
            self.rules |= {match.rule for match in verdict.matches}
        for end in columns.ends:
            self._choice.end(0.0, Ending(end.reason, end.generated, end.prompt, end.cached))
        for refused in vetted.refused:
            self.refused = self.refused or refused.match.rule
        self.broken += [broken.reason for broken in vetted.broken]

    async def close(self) -> None:
        for consumer in self._replicas:
            await consumer.stop(0.0)


@asynccontextmanager
async def lane_of(policy: Policy, seed: int | None = None) -> AsyncIterator[Lane]:
    local = LocalBus(HOST, TOPICS, None)
    await local.start()
    bus: Bus = local if seed is None else ChaosBus(local, HOST.clock, random.Random(seed))
    reader = await local.assign([TopicPartition("completions", LANE)], Start.END)
    lane = Lane(bus, reader, policy)
    try:
        yield lane
    finally:
        await lane.close()
        await reader.close()
        await bus.close()


def frames_of(pieces: Sequence[str], reopened: int, window: int) -> list[Frame]:
    """A frame for each id; every so many open the stream again."""
    found = []
    for index, piece in enumerate(pieces):
        frame = Frame(request=[REQUEST], attempt=[1], choice=[0])
        if index % reopened == 0:
            context = context_of("".join(pieces[:index]), window)
            frame.opens.append(Open(stream=0, next_index=index, context=context, window=window))
        frame.text_stream.append(0)
        frame.text_index.append(index)
        frame.text_count.append(1)
        frame.text.append(piece)
        frame.ids.append(index)
        frame.lengths.append(len(piece))
        if index == len(pieces) - 1:
            frame.ends.append(End(stream=0, reason=outcome.FINISH_REASON_STOP, generated=len(pieces)))
        found.append(frame)
    return found


CASES = {
    "flagged and redacted": (
        ["a ", "bud", "get", " for", " 4111 ", "1111 ", "1111 1", "111", ", and", " so"],
        "a budget for [card], and so",
        "",
        {"remark", "card"},
    ),
    "refused": (
        ["a ", "budget", ": ", "free", "hold ", "ref", "usal ", "de", "mo", " now"],
        "a budget: ",
        "demo.refusal",
        {"remark"},
    ),
}


async def check(lane: Lane, name: str) -> None:
    """Deliver to the end. Raises `AssertionError` where it is not what one replica would have made."""
    pieces, text, refused, rules = CASES[name]
    await lane.until(len(pieces) + 1)
    assert (lane.text, lane.refused, lane.rules) == (text, refused, rules)
    assert lane.broken == []


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("reopened", [1, 4, 100])
@pytest.mark.parametrize("late", [True, False], ids=["committed", "not committed"])
async def test_a_replica_dies_at_every_record(
    policy: Policy, name: str, reopened: int, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.bus.commits.PERIOD_S", 0.0 if late else 60.0)
    frames = frames_of(CASES[name][0], reopened, policy.window)
    for death in range(len(frames) + 1):
        async with lane_of(policy) as lane:
            before = await lane.replica()
            for frame in frames[:death]:
                await lane.write(frame)
            await until_read(before, death)
            if late:
                await asyncio.sleep(0.002)
            await lane.replica()
            for frame in frames[death:]:
                await lane.write(frame)
            await check(lane, name)


@pytest.mark.parametrize("name", CASES)
async def test_a_replica_hands_its_lanes_over_at_every_record(policy: Policy, name: str) -> None:
    frames = frames_of(CASES[name][0], 4, policy.window)
    for death in range(len(frames) + 1):
        async with lane_of(policy) as lane:
            before = await lane.replica("moderation-a")
            for frame in frames[:death]:
                await lane.write(frame)
            await until_read(before, death)
            await lane.replica("moderation-b")
            await lane.stop(before)
            for frame in frames[death:]:
                await lane.write(frame)
            await check(lane, name)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", CASES)
async def test_a_bus_on_a_bad_day_and_replicas_that_come_and_go(
    policy: Policy, name: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.bus.commits.PERIOD_S", 0.001)
    chance = random.Random(seed)
    frames = frames_of(CASES[name][0], chance.choice([1, 3, 100]), policy.window)
    async with lane_of(policy, seed) as lane:
        await lane.replica("moderation-0")
        for frame in frames:
            await lane.write(frame)
            if chance.random() < 0.3:
                await lane.replica(f"moderation-{chance.randrange(2)}")
            if chance.random() < 0.5:
                await asyncio.sleep(0.003)
        await check(lane, name)


async def test_garbage_is_set_aside_and_breaks_only_the_stream_that_it_was_part_of(policy: Policy) -> None:
    frames = frames_of(["one ", "two ", "three ", "four "], 100, policy.window)
    other = frames_of(["still ", "here ", "and ", "whole "], 100, policy.window)
    for frame in other:
        frame.request[0] = b"o" * 16
    async with lane_of(policy) as lane:
        await lane.replica()
        for number, (frame, beside) in enumerate(zip(frames, other, strict=True)):
            if number == 1:
                await lane.write_bytes(b"\xff\xff")
            else:
                await lane.write(frame)
            await lane.write(beside)
        await lane.until(4)
        assert lane.broken == ["ids are missing"]
        assert lane.text == "one "
        assert "".join(lane.others) == "still here and whole "


async def until_read(consumer: Consumer, records: int) -> None:
    """Return once the lane is finished up to this offset."""
    place = TopicPartition("frames", LANE)
    async with asyncio.timeout(20):
        while consumer.positions().get(place, -1) < records:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0)
