"""Wiring of moderation."""

from __future__ import annotations

import grpc

from services.moderation import rpc
from services.moderation.desk import Desk
from services.moderation.handlers import InputHandler, OutputHandler
from services.moderation.observing import Observer, tell
from services.moderation.output.streams import Streams
from services.moderation.packs import Packs
from services.moderation.rpc import ModerationServicer
from services.moderation.settings import ModerationSettings
from shared.bus.consumer import Consumer, InGroup
from shared.bus.ports import BusError
from shared.bus.topics import Topics
from shared.executor import Executor
from shared.lifecycle import Readiness, Tasks
from shared.platform import Platform

INPUT = "moderation.input"
OUTPUT = "moderation.output"
RETRY_S = 0.5
SWEEP_S = 5.0


class ModerationService:
    """Moderation as a process runs it. One thread compiles packs, another screens long requests."""

    name = "moderation"

    def __init__(
        self,
        platform: Platform,
        executors: list[Executor],
        packs: Packs,
        answered: OutputHandler,
        consumers: list[Consumer],
        servicer: ModerationServicer,
    ) -> None:
        self._platform = platform
        self._executors = executors
        self._packs = packs
        self._answered = answered
        self._consumers = consumers
        self._servicer = servicer
        self._tasks = Tasks(self.name)

    async def start(self) -> None:
        """Compile what the configuration names, and consume once it is whole."""
        self._platform.pulses.add(self.name, lambda: self.readiness().ready)
        self._tasks.spawn(self._packs.run(), "packs")
        self._tasks.spawn(self._consume(), "consume")
        self._tasks.spawn(self._sweep(), "sweep")

    async def _consume(self) -> None:
        await self._platform.config.wait_ready()
        await self._packs.wait_compiled()  # a lane that was taken before would stand still until then
        for consumer in self._consumers:
            while True:
                try:
                    await consumer.start()
                except BusError:
                    await self._platform.host.clock.sleep(RETRY_S)
                else:
                    break

    async def _sweep(self) -> None:
        clock = self._platform.host.clock
        while True:
            await clock.sleep(SWEEP_S)
            self._answered.forget_idle()

    async def stop(self, deadline: float) -> None:
        """Finish the batches that run until the deadline, and free the threads."""
        await self._tasks.cancel()
        for consumer in self._consumers:
            await consumer.stop(deadline)
        for executor in self._executors:
            executor.close()

    def readiness(self) -> Readiness:
        """Ready with the configuration read, every named policy compiled, and the bus joined."""
        for state in (self._platform.config.readiness(), self._packs.readiness()):
            if not state.ready:
                return state
        for consumer in self._consumers:
            if not (state := consumer.readiness()).ready:
                return state
        return state

    def register(self, server: grpc.aio.Server) -> list[str]:
        """Add `freehold.moderation.v1.Moderation`."""
        return rpc.register(server, self._servicer)


def build(settings: ModerationSettings, platform: Platform, topics: Topics) -> ModerationService:
    """Moderation on the bus of this process."""
    host, telemetry, values = platform.host, platform.telemetry, platform.configuration
    compiling, screening = host.executor("moderation.compile"), host.executor("moderation.screen")
    observer = Observer(telemetry, host.clock)
    packs = Packs(values, compiling, settings.always)
    tell(telemetry, packs)
    asked = InputHandler(
        values, packs, screening, platform.bus, host.incarnation, observer, settings.inline_cost
    )
    answered = OutputHandler(
        values,
        packs,
        lambda: Streams(packs.find, observer, settings.idle_s),
        platform.bus,
        host.incarnation,
        observer,
        host.clock,
    )
    consumers = [
        Consumer(
            platform.bus,
            host,
            topics,
            InGroup(("requests",), INPUT, settings.member),
            asked,
            on_poison=asked.answer_poison,
            observer=telemetry.consumer(INPUT),
        ),
        Consumer(
            platform.bus,
            host,
            topics,
            InGroup(("frames",), OUTPUT, settings.member),
            answered,
            memory=answered,
            observer=telemetry.consumer(OUTPUT),
        ),
    ]
    servicer = ModerationServicer(Desk(values, packs, screening))
    return ModerationService(platform, [compiling, screening], packs, answered, consumers, servicer)
