"""An owner on a real local bus, a clock that a test moves, and the other services as a test scripts them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from google.protobuf.message import Message
from prometheus_client import CollectorRegistry

from services.edge.answer import Answer, Principal, Submission
from services.edge.owner.owner import Owner, OwnerSettings
from shared.bus.envelope import Envelope, parse_envelope
from shared.bus.local import LocalBus
from shared.bus.ports import Reader, Start, TopicPartition
from shared.bus.topics import load_topics
from shared.config_reader import ConfigReader
from shared.configuration import Configuration, config_key
from shared.contracts.freehold.edge.v1 import events_pb2 as edge
from shared.contracts.freehold.inference.v1 import events_pb2 as inference
from shared.contracts.freehold.inference.v1.frame_pb2 import End
from shared.contracts.freehold.moderation.v1.events_pb2 import StreamVerdict, VettedFrame
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.contracts.freehold.platform.v1.pulse_pb2 import Pulse, ServedModel, WorkerLoad
from shared.errors import FreeholdError
from shared.host import Host, system_host
from shared.platform import Platform
from shared.pulses import Pulses
from shared.rpc.numbers import FixedNumbers
from shared.telemetry import Telemetry, TelemetrySettings
from tests.integration.owner_script import (
    KINDS,
    PRINCIPAL,
    SEAT,
    VOCABULARY,
    WEIGHTS,
    WORKER,
    Seen,
    a_configuration,
    a_frame,
    a_pass,
    a_reservation,
    a_submission,
    an_encoding,
)
from tests.integration.stepped_clock import SteppedClock, settled, until

OTHERS = ("moderation", "tokenizer", "billing", "inference")


class World:
    """What the owner stands in."""

    def __init__(self, clock: SteppedClock, platform: Platform, owner: Owner, bus: LocalBus) -> None:
        self.clock = clock
        self.platform = platform
        self.owner = owner
        self.bus = bus
        self.alive = set(OTHERS)
        self.load = WorkerLoad(
            seat=SEAT,
            models=[ServedModel(name="m", weights_digest=WEIGHTS, tokenizer_digest=VOCABULARY, context=1000)],
            slots=4,
            free_slots=4,
            cells=4000,
            free_cells=4000,
        )
        self.published: list[Seen] = []
        self._ids = count()
        self._reader: Reader | None = None
        self._stopped = False

    # The world's own moves

    async def configure(self, kind: str, identifier: str, value: Message | None) -> None:
        """Publish a value of the configuration."""
        payload = value.SerializeToString() if value else b""
        await self.bus.publish("config", payload, key=config_key(kind, identifier))
        await settled()

    async def advance(self, seconds: float) -> None:
        """Move the clock; every service that is alive pulses once a second."""
        await self.clock.advance(seconds)
        await self.read()

    async def beat(self) -> None:
        """Pulse for the scripted services, for ever."""
        while True:
            await self.pulse()
            await self.clock.sleep(1.0)

    async def pulse(self) -> None:
        """Pulse once for each service that is alive."""
        for service in OTHERS:
            if service not in self.alive:
                continue
            pulse = Pulse(service=service, incarnation=WORKER, ready=True, number=next(self._ids) + 1)
            if service == "inference":
                pulse.worker.CopyFrom(self.load)
            headers = Envelope("Pulse", str(next(self._ids)), WORKER).headers()
            await self.bus.publish("pulses", pulse.SerializeToString(), headers, partition=0)

    async def read(self) -> None:
        """Take in what the owner has published so far."""
        await settled()
        if self._reader is None:
            raise AssertionError("the world is not open")
        while found := await self._reader.poll(1000, 0.0):
            for records in found.values():
                for record in records:
                    envelope = parse_envelope(record.headers)
                    if (kind := KINDS.get(envelope.type)) is not None:
                        self.published.append(
                            Seen(
                                record.topic,
                                record.partition,
                                record.offset,
                                envelope,
                                kind.FromString(record.value),
                            )
                        )

    async def open(self) -> None:
        """Read everything that an owner writes, from now on."""
        places = [
            TopicPartition(topic, partition)
            for topic in ("requests", "reserves", "work", "closed")
            for partition in range(self.bus.partitions(topic))
        ]
        self._reader = await self.bus.assign(places, Start.END)

    async def stop(self, seconds: float) -> None:
        """Stop the owner within so many seconds of the moved clock."""
        if self._stopped:
            return
        self._stopped = True
        stopping = asyncio.get_running_loop().create_task(self.owner.stop(self.clock.monotonic() + seconds))
        while not stopping.done():
            await self.clock.advance(0.02)
            await asyncio.sleep(0.001)
        await stopping
        await self.read()

    # What a test asks for

    def submit(self, submission: Submission | None = None, **changes: Any) -> Answer:
        """A request of the demo key."""
        return self.owner.submit(replace(submission or a_submission(), **changes))

    def refused(self, principal: Principal = PRINCIPAL) -> FreeholdError:
        """The error of a submission that is not taken."""
        before = len(self.published)
        with pytest.raises(FreeholdError) as caught:
            self.submit(principal=principal)
        assert len(self.published) == before
        return caught.value

    def all_of(self, kind: type[Message], request: str = "") -> list[Seen]:
        """Every record of this type, in order."""
        return [
            seen
            for seen in self.published
            if isinstance(seen.message, kind) and (not request or seen.envelope.request == request)
        ]

    async def one(self, kind: type[Message], request: str = "") -> Seen:
        """The only record of this type."""
        await self.read()
        (found,) = self.all_of(kind, request)
        return found

    async def closed(self, request: str) -> edge.RequestClosed:
        """How the owner closed it; waits for the journal's thread."""
        async with asyncio.timeout(10):
            while not self.all_of(edge.RequestClosed, request):
                await asyncio.sleep(0.001)
                await self.read()
        found = (await self.one(edge.RequestClosed, request)).message
        assert isinstance(found, edge.RequestClosed)
        return found

    # What the other services say

    async def reply(self, to: Envelope, message: Message, *, attempt: int = 0, **headers: Any) -> None:
        """Publish an answer on the owner's lane, and let the owner act."""
        envelope = replace(
            to,
            type=message.DESCRIPTOR.name,
            event_id=str(next(self._ids)),
            sender=WORKER,
            to=to.owner,
            attempt=attempt,
            ttl_ms=0,
        )
        envelope = replace(envelope, **headers)
        await self.bus.publish("replies", message.SerializeToString(), envelope.headers(), partition=to.lane)
        await self.read()

    async def prepare(self, answer: Answer, ids: int = 6) -> Seen:
        """Pass all three steps; returns the dispatched work."""
        asked = (await self.one(edge.RequestAccepted, answer.request)).envelope
        await self.reply(asked, a_pass())
        await self.reply(asked, an_encoding(ids))
        await self.reply(asked, a_reservation())
        return await self.one(edge.GenerateTokens, answer.request)

    async def accept(self, work: Seen) -> None:
        """Say that the worker took an attempt."""
        await self.reply(
            work.envelope,
            inference.WorkAccepted(weights_digest=WEIGHTS, seat=SEAT),
            attempt=work.envelope.attempt,
        )

    async def vet(self, work: Seen, first: int, text: str, *, end: End | None = None, **headers: Any) -> None:
        """Publish vetted text of one character an id, perhaps with the end."""
        frame = a_frame(work)
        if text:
            frame.frame.text_stream.append(0)
            frame.frame.text_index.append(first)
            frame.frame.text_count.append(len(text))
            frame.frame.text.append(text)
            frame.frame.ids.extend(range(first, first + len(text)))
            frame.frame.lengths.extend([1] * len(text))
        if end is not None:
            frame.verdicts.append(StreamVerdict(verdict=outcome.VERDICT_ALLOW, held_tokens=2, held_ms=7))
            frame.frame.ends.append(end)
        await self.complete(work.envelope, frame, **headers)

    async def complete(self, to: Envelope, frame: VettedFrame, **headers: Any) -> None:
        """Publish a vetted frame on the owner's lane."""
        envelope = Envelope("VettedFrame", str(next(self._ids)), WORKER, owner=to.owner, lane=to.lane)
        envelope = replace(envelope, **headers)
        await self.bus.publish(
            "completions", frame.SerializeToString(), envelope.headers(), partition=to.lane
        )
        await self.read()


@asynccontextmanager
async def a_world(settings: OwnerSettings | None = None, cap_bytes: int = 64 << 20) -> AsyncIterator[World]:
    """A ready owner with every other service alive."""
    clock = SteppedClock()
    machine = system_host()
    host = Host(clock, random.Random(7), machine.files, machine.executor, machine.exit, incarnation=0xED6E)
    bus = LocalBus(host, load_topics("embedded"), None, cap_bytes=cap_bytes)
    await bus.start()
    configuration = Configuration()
    platform = Platform(
        host=host,
        bus=bus,
        telemetry=Telemetry(host, TelemetrySettings(), CollectorRegistry()),
        configuration=configuration,
        config=ConfigReader(bus, host, configuration),
        pulses=Pulses(bus, host),
    )
    owner = Owner(platform, FixedNumbers(lanes=[1, 3]), settings)
    world = World(clock, platform, owner, bus)
    beat = asyncio.get_running_loop().create_task(world.beat())
    stops: list[Callable[[], Awaitable[None]]] = [bus.close]
    try:
        await world.open()
        for kind, identifier, value in a_configuration():
            await world.configure(kind, identifier, value)
        await platform.config.start()
        stops.append(lambda: platform.config.stop(0))
        await until(lambda: platform.config.readiness().ready)
        await platform.pulses.start()
        stops.append(lambda: platform.pulses.stop(0))
        await owner.start()
        await world.advance(2.5)
        assert owner.readiness().ready, owner.readiness().reason
        yield world
    finally:
        beat.cancel()
        await world.stop(0.0)
        for stop in reversed(stops):
            await stop()
