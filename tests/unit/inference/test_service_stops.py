"""What a worker still does once it is to stop: nothing that crosses the stop is lost."""

from __future__ import annotations

import asyncio

from shared.bus.local import LocalBus
from shared.bus.ports import Start, TopicPartition
from shared.contracts.freehold.inference.v1 import events_pb2 as events
from shared.contracts.freehold.platform.v1.pulse_pb2 import Pulse
from tests.unit.inference.test_promises import FaultyBus
from tests.unit.inference.world import World, asking, world


def stopping(one: World) -> asyncio.Task[None]:
    deadline = one.platform.host.clock.monotonic() + 20.0
    return asyncio.get_running_loop().create_task(one.service.stop(deadline))


async def test_work_that_crosses_a_stop_is_answered() -> None:
    async with world() as one:
        pulses = await one.bus.assign([TopicPartition("pulses", 0)], Start.END)
        stop = stopping(one)
        await asyncio.sleep(0)
        await one.work(request := one.request(), asking())
        heard = one.ears.of(request)
        await one.ears.until(lambda: heard.replies)
        assert heard.replies == [events.WorkRejected(reason=events.REJECT_REASON_FULL)]
        await stop
        said = [record for records in (await pulses.poll(100, 0.0)).values() for record in records]
        assert not Pulse.FromString(said[-1].value).ready
        await pulses.close()


async def test_a_stop_waits_until_the_ends_are_told() -> None:
    faulty: list[FaultyBus] = []

    def bus_of(local: LocalBus) -> FaultyBus:
        faulty.append(FaultyBus(local))
        return faulty[0]

    async with world(bus_of=bus_of) as one:
        faulty[0].withholding = "frames"
        await one.work(request := one.request(), asking())
        heard = one.ears.of(request)
        await one.ears.until(lambda: heard.usage)
        stop = stopping(one)
        done, _ = await asyncio.wait([stop], timeout=1.5)
        assert not done
        assert heard.ends == {}, "the first frame is on its way, and the end behind it"
        faulty[0].withholding = ""
        faulty[0].let_go.set()
        await stop
        await one.ended(request)
