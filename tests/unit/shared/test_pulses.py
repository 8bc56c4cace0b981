"""Who is alive, suspect or gone, measured in own pulses read back and never by a clock alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from shared.bus.envelope import Envelope
from shared.bus.local import LocalBus
from shared.bus.topics import load_topics
from shared.contracts.freehold.platform.v1.pulse_pb2 import Pulse, WorkerLoad
from shared.host import system_host
from shared.pulses import FORGOTTEN_AFTER, GONE_AFTER, SUSPECT_AFTER, Pulses, Seen
from tests.integration.stepped_clock import SteppedClock, settled
from tests.unit.shared.faulty_bus import FaultyBus


class World:
    """Processes on one bus and one clock."""

    def __init__(self, bus: LocalBus, clock: SteppedClock) -> None:
        self.bus = FaultyBus(bus)
        self.clock = clock
        self._started: list[Pulses] = []

    def process(self, incarnation: int) -> Pulses:
        host = replace(system_host(), clock=self.clock, incarnation=incarnation)
        return Pulses(self.bus, host)

    async def start(self, pulses: Pulses) -> None:
        await pulses.start()
        self._started.append(pulses)
        await settled()

    async def end(self) -> None:
        for pulses in self._started:
            await pulses.stop(0)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock = SteppedClock()
    bus = LocalBus(replace(system_host(), clock=clock), load_topics("embedded"), None)
    await bus.start()
    made = World(bus, clock)
    yield made
    await made.end()
    await bus.close()


async def observer(world: World) -> Pulses:
    """A process that watches the others, one pulse old."""
    pulses = world.process(1)
    pulses.add("billing", lambda: True)
    await world.start(pulses)
    assert pulses.own_read == 1
    return pulses


async def other(world: World, service: str, *, ready: bool = True) -> Pulses:
    """A process of one service, heard of once."""
    pulses = world.process(2)
    pulses.add(service, lambda: ready, lambda: WorkerLoad(seat=3, free_slots=5))
    await world.start(pulses)
    return pulses


async def test_a_service_is_alive_while_a_ready_process_of_it_pulses(world: World) -> None:
    mine = await observer(world)
    assert not mine.alive("moderation")
    theirs = await other(world, "moderation")
    assert mine.alive("moderation")
    await theirs.stop(0)
    await world.clock.advance(SUSPECT_AFTER - 1)
    assert mine.alive("moderation")
    await world.clock.advance(1)
    assert not mine.alive("moderation")


async def test_a_service_that_is_not_ready_is_not_alive(world: World) -> None:
    mine = await observer(world)
    await other(world, "moderation", ready=False)
    await world.clock.advance(2)
    assert not mine.alive("moderation")


async def test_a_worker_is_suspect_after_five_own_pulses_and_back_with_its_next(world: World) -> None:
    mine = await observer(world)
    theirs = await other(world, "inference")
    assert {seen.incarnation: seen.load for seen in mine.workers().values()} == {
        2: WorkerLoad(seat=3, free_slots=5)
    }
    await theirs.stop(0)
    await world.clock.advance(4)
    assert not mine.suspect(2)
    await world.clock.advance(1)
    assert mine.suspect(2)
    assert not mine.workers()
    await world.start(theirs)
    assert not mine.suspect(2)
    assert 2 in mine.workers()


async def test_a_worker_never_heard_of_is_suspect_and_an_owner_never_heard_of_is_not_gone(
    world: World,
) -> None:
    mine = await observer(world)
    await world.clock.advance(GONE_AFTER + 1)
    assert mine.suspect(7)
    assert not mine.owner_gone(7)


async def test_an_owner_is_gone_after_ten_own_pulses(world: World) -> None:
    mine = await observer(world)
    theirs = await other(world, "edge")
    await theirs.stop(0)
    await world.clock.advance(GONE_AFTER - 1)
    assert not mine.owner_gone(2)
    await world.clock.advance(1)
    assert mine.owner_gone(2)
    await world.clock.advance(FORGOTTEN_AFTER)
    assert not mine.alive("edge")


@pytest.mark.parametrize("fault", ["hangs", "refuses"])
async def test_nobody_grows_suspect_while_the_bus_is_down(world: World, fault: str) -> None:
    mine = await observer(world)
    await other(world, "inference")
    await other(world, "edge")
    setattr(world.bus, fault, True)
    await world.clock.advance(60)
    assert mine.own_read == 1
    assert not mine.suspect(2)
    assert not mine.owner_gone(2)
    world.bus.mend()
    await world.clock.advance(2)
    assert mine.own_read >= 2
    assert not mine.suspect(2)


async def test_at_most_one_pulse_of_a_service_is_unacknowledged(world: World) -> None:
    await observer(world)
    world.bus.hangs = True
    world.bus.published.clear()
    await world.clock.advance(30)
    assert world.bus.published == ["pulses"]
    world.bus.mend()
    world.bus.published.clear()
    await world.clock.advance(3)
    assert len(world.bus.published) == 3


async def test_pulsing_at_once_is_heard_at_once_and_is_no_measure_of_time(world: World) -> None:
    mine = await observer(world)
    await other(world, "edge")
    heard: list[Seen] = []
    mine.listeners.append(heard.append)
    for _ in range(3 * GONE_AFTER):
        mine.send_now()
        await settled()
    assert len(heard) == 3 * GONE_AFTER
    assert mine.own_read == 1
    assert not mine.owner_gone(2)
    await world.clock.advance(1)
    assert mine.own_read == 2


async def test_a_process_of_many_services_has_one_measure_of_time(world: World) -> None:
    mine = world.process(1)
    for service in ("control", "billing", "audit"):
        mine.add(service, lambda: True)
    await world.start(mine)
    await world.clock.advance(4)
    assert mine.own_read == 5
    assert all(mine.alive(service) for service in ("control", "billing", "audit"))


async def test_broker_time_is_read_from_the_newest_own_pulse(world: World) -> None:
    mine = await observer(world)
    before = mine.own_broker_ms
    assert before > 0
    await other(world, "edge")
    assert mine.own_broker_ms == before
    await world.clock.advance(3)
    assert mine.own_broker_ms == before + 3000


async def test_a_record_that_the_bus_repeats_is_no_sign_of_life(world: World) -> None:
    mine = await observer(world)
    theirs = await other(world, "inference")
    await theirs.stop(0)
    again = Pulse(service="inference", incarnation=2, ready=True, number=1, worker=WorkerLoad(seat=3))
    for _ in range(SUSPECT_AFTER):
        await world.clock.advance(1)
        await publish(world, again.SerializeToString())
    assert mine.suspect(2)


async def test_what_is_no_pulse_is_passed_over(world: World) -> None:
    mine = await observer(world)
    await publish(world, b"\xff\xff\xff")
    await other(world, "edge")
    assert mine.alive("edge")


async def test_a_service_that_cannot_say_its_load_does_not_silence_the_others(world: World) -> None:
    def broken() -> WorkerLoad:
        raise RuntimeError("no load")

    mine = world.process(1)
    mine.add("inference", lambda: True, broken)
    mine.add("billing", lambda: True)
    await world.start(mine)
    await world.clock.advance(2)
    assert mine.alive("billing")
    assert not mine.alive("inference")
    assert mine.own_read == 3


async def test_a_listener_that_fails_does_not_stop_the_hearing(world: World) -> None:
    def broken(_: Seen) -> None:
        raise RuntimeError("deaf")

    mine = await observer(world)
    heard: list[Seen] = []
    mine.listeners += [broken, heard.append]
    await world.clock.advance(2)
    assert [seen.number for seen in heard] == [2, 3]


@pytest.mark.attack(46)
async def test_a_flood_fills_neither_memory_nor_the_log(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.pulses.MOST_SEEN", 20)
    mine = await observer(world)
    for number in range(100):
        await publish(world, b"\xff")
        await publish(world, Pulse(service="made-up", incarnation=number + 2, ready=True).SerializeToString())
    assert mine.count("made-up") == 19
    assert len([line for line in caplog.messages if "pulse at offset" in line]) == 1
    await world.clock.advance(1)
    assert mine.alive("billing")
    await world.clock.advance(101)
    assert mine.count("made-up") == 0


async def publish(world: World, value: bytes) -> None:
    await world.bus.publish("pulses", value, Envelope("Pulse", "x", 2).headers(), partition=0)
    await settled()
