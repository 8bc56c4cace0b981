"""What a worker tells each owner once a second of its attempts."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.inference.attempts.attempt import Attempt, Stream, Work
from services.inference.attempts.reports import KEEP_S, Reports
from services.inference.attempts.tap import Tap
from services.inference.engine import Sampling
from services.inference.scheduler import Finish
from shared.bus.envelope import Envelope, parse_envelope
from shared.bus.local import LocalBus
from shared.bus.ports import Reader, Start, TopicPartition
from shared.bus.topics import load_topics
from shared.contracts.freehold.inference.v1.events_pb2 import Running
from shared.host import Host, system_host
from shared.ids import Ids, pack
from shared.lifecycle import Tasks
from tests.integration.stepped_clock import SteppedClock

OWNER, LANE, SEAT = 0xED6E, 3, 2


class World:
    """Reports over a real bus, attempts and lives as a test says they are."""

    def __init__(self, clock: SteppedClock, reader: Reader) -> None:
        self.clock = clock
        self.running: list[Attempt] = []
        self.silent = False
        self.heard = True
        self.ids = Ids(clock, random.Random(1))
        self._reader = reader

    def attempts(self) -> list[Attempt]:
        return self.running

    def owner_gone(self, owner: int) -> bool:
        return self.silent

    def owner_alive(self, owner: int) -> bool:
        return self.heard and not self.silent

    def an_attempt(self, choices: int = 1) -> Attempt:
        work = Work((1,), (), Sampling(), 0, (), 10, b"")
        envelope = Envelope("GenerateTokens", "e", OWNER, request=self.ids.request(), owner=OWNER, attempt=2)
        attempt = Attempt(envelope, work, Tap(), 1, 0, 0.0)
        attempt.streams = [Stream(attempt, choice, 5, "") for choice in range(choices)]
        self.running.append(attempt)
        return attempt

    async def told(self) -> list[Running]:
        """What was said since the last call."""
        found = (await self._reader.poll(100, 0.0)).values()
        records = [record for batch in found for record in batch]
        for record in records:
            envelope = parse_envelope(record.headers)
            assert (envelope.owner, envelope.to, envelope.lane) == (OWNER, OWNER, LANE)
        return [Running.FromString(record.value) for record in records]


@asynccontextmanager
async def a_world() -> AsyncIterator[tuple[World, Reports]]:
    clock, machine, tasks = SteppedClock(), system_host(), Tasks("reports")
    host = Host(clock, random.Random(7), machine.files, machine.executor, machine.exit, incarnation=77)
    bus = LocalBus(host, load_topics("embedded"), None)
    await bus.start()
    reader = await bus.assign([TopicPartition("replies", LANE)], Start.END)
    world = World(clock, reader)
    reports = Reports(bus, host, tasks, world, world)
    reports.sit(SEAT, lambda: 12)
    reports.heard(OWNER, LANE)
    tasks.spawn(reports.run(), "reports")
    try:
        yield world, reports
    finally:
        await tasks.cancel()
        await reader.close()
        await bus.close()


async def test_an_owner_is_told_once_a_second_also_of_nothing() -> None:
    async with a_world() as (world, _):
        await world.clock.advance(3.0)
        assert await world.told() == [Running(seat=SEAT, work_offset=12)] * 3


async def test_what_runs_is_listed_by_choice_with_the_ids_it_has_made() -> None:
    async with a_world() as (world, _):
        attempt = world.an_attempt(choices=2)
        attempt.streams[0].take(5, [1, 2, 3], [1, 1, 1], "abc")
        attempt.streams[1].finish = Finish.STOP
        await world.clock.advance(1.0)
        (report,) = await world.told()
        octets = pack(attempt.envelope.request)
        assert [(one.request, one.attempt) for one in report.attempts] == [(octets, 2)] * 2
        assert [(one.choice, one.produced, one.ended) for one in report.attempts] == [
            (0, 3, False),
            (1, 0, True),
        ]


async def test_an_ended_attempt_is_listed_until_two_reports_have_followed_its_end() -> None:
    async with a_world() as (world, reports):
        attempt = world.an_attempt()
        attempt.streams[0].finish = Finish.STOP
        world.running.clear()
        reports.ended([attempt])
        await world.clock.advance(5.0)
        assert [len(report.attempts) for report in await world.told()] == [1] * 5, "its end is on its way"
        attempt.streams[0].told = True
        await world.clock.advance(4.0)
        assert [len(report.attempts) for report in await world.told()] == [1, 1, 0, 0]


async def test_an_owner_that_is_gone_is_told_nothing_until_it_is_heard_of_again() -> None:
    async with a_world() as (world, reports):
        attempt = world.an_attempt()
        world.running.clear()
        reports.ended([attempt])
        world.silent = True
        await world.clock.advance(20.0)
        assert await world.told() == []
        world.silent = world.heard = False
        await world.clock.advance(20.0)
        assert await world.told() == [], "forgotten is not alive"
        world.heard = True
        await world.clock.advance(1.0)
        assert await world.told() == [Running(seat=SEAT, work_offset=12)], "it learns that nothing runs"


async def test_an_owner_that_has_sent_nothing_for_long_is_forgotten() -> None:
    async with a_world() as (world, reports):
        world.an_attempt()
        await world.clock.advance(KEEP_S + 2)
        assert len(await world.told()) == 100, "what runs keeps it known"
        while await world.told():
            pass
        world.running.clear()
        await world.clock.advance(5.0)
        assert await world.told() == []
        reports.heard(OWNER, LANE)
        await world.clock.advance(1.0)
        assert len(await world.told()) == 1
