"""The surroundings of one moderation service: bus, configuration, the edge's and the worker's side."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from services.moderation.app import ModerationService, build
from services.moderation.matching.pack import load_pack
from services.moderation.settings import ModerationSettings
from shared.bus.envelope import Envelope, parse_envelope
from shared.bus.local import LocalBus
from shared.bus.ports import Reader, Record, Start, TopicPartition
from shared.bus.topics import load_topics
from shared.config_reader import ConfigReader
from shared.configuration import Configuration, config_key
from shared.contracts.freehold.control.v1.config_pb2 import Marker, Policy
from shared.contracts.freehold.edge.v1.events_pb2 import RequestAccepted
from shared.contracts.freehold.edge.v1.request_pb2 import ROLE_USER, CompletionRequest, Message
from shared.contracts.freehold.inference.v1.frame_pb2 import End, Frame, Open
from shared.contracts.freehold.moderation.v1.events_pb2 import Screened, VettedFrame
from shared.contracts.freehold.platform.v1 import outcome_pb2 as outcome
from shared.host import system_host
from shared.ids import Ids, pack
from shared.platform import Platform
from shared.pulses import Pulses
from shared.telemetry import Telemetry, TelemetrySettings, format_traceparent

TOPICS = load_topics("embedded")
BASE = """\
pack: base
version: 1
window: 64
rules:
  - id: demo.refusal
    category: demo
    action: refuse
    direction: both
    legal_basis: test
    description: a phrase
    words: [freehold refusal demo, pipe bomb]
  - id: card
    category: personal-data
    action: redact
    direction: both
    legal_basis: test
    description: a number
    check: card
    patterns: ['\\b\\d(?:[ \\-]?\\d){12,18}\\b']
"""
STRICT = """\
pack: strict
version: 1
window: 32
rules:
  - id: word
    category: test
    action: refuse
    direction: both
    legal_basis: test
    description: one word
    words: [zebra]
"""
LANE = 3
OWNER = 77


class World:
    """The edge's and the worker's side of one moderation service."""

    def __init__(
        self, bus: LocalBus, telemetry: Telemetry, service: ModerationService, values: Configuration
    ) -> None:
        self.bus = bus
        self.telemetry = telemetry
        self.service = service
        self.values = values
        self.ids = Ids(system_host().clock, system_host().random)
        self.recorder = telemetry.recorder("edge")
        self.readers: dict[str, Reader] = {}

    async def publish(self, policy: str, text: str, version: str = "") -> None:
        value = Policy(id=policy, pack=text, version=version or load_pack(text).version)
        await self.bus.publish("config", value.SerializeToString(), key=config_key("policy", policy))

    async def ask(self, *texts: str, policies: tuple[str, ...] = ("base",), offset: int = 0) -> str:
        request = self.ids.request()
        accepted = RequestAccepted(
            request=CompletionRequest(messages=[Message(role=ROLE_USER, parts=[text]) for text in texts]),
            policies=policies,
        )
        await self.send("RequestAccepted", accepted.SerializeToString(), request, offset)
        return request

    async def send(self, kind: str, value: bytes, request: str, offset: int = 0) -> None:
        trace = format_traceparent(self.recorder.root(sampled=True))
        envelope = Envelope(
            kind,
            f"{kind}/{request}",
            OWNER,
            request,
            "org",
            OWNER,
            LANE,
            config_offset=offset,
            traceparent=trace,
        )
        await self.bus.publish("requests", value, envelope.headers(), key=request.encode())

    async def frame(
        self, request: str, *pieces: str, index: int = 0, policies: tuple[str, ...] = (), end: bool = False
    ) -> None:
        frame = Frame(request=[pack(request)], attempt=[1], choice=[0])
        if index == 0:
            trace = format_traceparent(self.recorder.root(sampled=True)).decode()
            frame.opens.append(Open(stream=0, policies=policies, traceparent=trace))
        if pieces:
            frame.text_stream.append(0)
            frame.text_index.append(index)
            frame.text_count.append(len(pieces))
            frame.text.append("".join(pieces))
            frame.ids.extend(range(index, index + len(pieces)))
            frame.lengths.extend(map(len, pieces))
        if end:
            frame.ends.append(End(stream=0, reason=outcome.FINISH_REASON_STOP))
        headers = Envelope("Frame", f"{request}/{index}", 5, owner=OWNER, lane=LANE).headers()
        await self.bus.publish("frames", frame.SerializeToString(), headers, partition=LANE)

    async def read(self, topic: str, count: int) -> list[Record]:
        """The next records of the owner's lane."""
        found: list[Record] = []
        async with asyncio.timeout(10):
            while len(found) < count:
                for records in (await self.readers[topic].poll(100, 1.0)).values():
                    found += records
        assert len(found) == count
        return found

    async def answer(self) -> tuple[Envelope, Screened | outcome.RequestRefused | outcome.RequestFailed]:
        (record,) = await self.read("replies", 1)
        envelope = parse_envelope(record.headers)
        kinds = {
            "Screened": Screened,
            "RequestRefused": outcome.RequestRefused,
            "RequestFailed": outcome.RequestFailed,
        }
        return envelope, kinds[envelope.type].FromString(record.value)

    async def vetted(self) -> VettedFrame:
        (record,) = await self.read("completions", 1)
        assert parse_envelope(record.headers).to == OWNER
        return VettedFrame.FromString(record.value)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0.005)


@asynccontextmanager
async def world(**policies: str) -> AsyncIterator[World]:
    host = dataclasses.replace(system_host(), incarnation=9)
    bus = LocalBus(host, TOPICS, None)
    await bus.start()
    telemetry = Telemetry(host, TelemetrySettings())
    values = Configuration()
    config = ConfigReader(bus, host, values)
    platform = Platform(host, bus, telemetry, values, config, Pulses(bus, host))
    service = build(ModerationSettings(), platform, TOPICS)
    one = World(bus, telemetry, service, values)
    try:
        for topic in ("replies", "completions"):
            one.readers[topic] = await bus.assign([TopicPartition(topic, LANE)], Start.END)
        for name, text in policies.items():
            await one.publish(name, text)
        await bus.publish("config", Marker(epoch=1).SerializeToString(), key=config_key("marker", "control"))
        await service.start()
        assert not service.readiness().ready, "nothing is judged before the configuration is there"
        await config.start()
        yield one
    finally:
        await service.stop(host.clock.monotonic() + 5)
        await config.stop(0)
        for reader in one.readers.values():
            await reader.close()
        await bus.close()


@asynccontextmanager
async def ready(**policies: str) -> AsyncIterator[World]:
    async with world(base=BASE, **policies) as one:
        await one.until(lambda: one.service.readiness().ready)
        yield one
