"""A worker between a real bus and a real thread, and an owner who reads what it says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from services.inference.app import InferenceService, build
from services.inference.engine import Engine
from services.inference.served import as_served
from services.inference.settings import InferenceSettings
from shared.bus.envelope import Envelope, parse_envelope
from shared.bus.local import LocalBus
from shared.bus.ports import Bus, Reader, Start, TopicPartition
from shared.bus.topics import load_topics
from shared.config_reader import ConfigReader
from shared.configuration import Configuration, config_key
from shared.contracts.freehold.control.v1 import config_pb2
from shared.contracts.freehold.edge.v1 import events_pb2 as edge
from shared.contracts.freehold.edge.v1 import request_pb2
from shared.contracts.freehold.inference.v1 import events_pb2 as events
from shared.contracts.freehold.inference.v1 import frame_pb2
from shared.host import Host, system_host
from shared.ids import Ids, unpack
from shared.models.manifest import load_manifest
from shared.platform import Platform
from shared.pulses import Pulses
from shared.rpc.numbers import FixedNumbers
from shared.telemetry import Telemetry, TelemetrySettings

TOPICS = load_topics("embedded")
MANIFEST_PATH = Path(__file__).parents[3] / "ops/models/smollm2-135m-instruct.yaml"
MANIFEST = as_served("synthetic", load_manifest(MANIFEST_PATH))
OWNER, LANE, SEAT = 4_711, 3, 2
TRACEPARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRUTH_S = 10.0
"""How long a test waits for what must come."""


@dataclass
class Heard:
    """What the owner, moderation and billing heard of one attempt."""

    replies: list[Any] = field(default_factory=list)
    opens: list[frame_pb2.Open] = field(default_factory=list)
    ids: dict[int, list[int]] = field(default_factory=dict)
    text: dict[int, str] = field(default_factory=dict)
    lengths: dict[int, list[int]] = field(default_factory=dict)
    ends: dict[int, frame_pb2.End] = field(default_factory=dict)
    usage: list[events.UsageRecorded] = field(default_factory=list)
    usage_envelopes: list[Envelope] = field(default_factory=list)
    usage_at_end: int | None = None
    """How many usage records were durable when the first end was seen."""


class Ears:
    """Reads `replies`, `frames` and `usage` and checks what frames promise while it does."""

    def __init__(self, readers: dict[str, Reader]) -> None:
        self._readers = readers
        self.heard: dict[tuple[str, int], Heard] = {}
        self.frames: list[frame_pb2.Frame] = []
        self.frame_envelopes: list[Envelope] = []

    def of(self, request: str, attempt: int = 1) -> Heard:
        return self.heard.setdefault((request, attempt), Heard())

    async def listen(self) -> None:
        """Take in all that is there. Usage last: what an end promises must then be durable."""
        for topic in ("replies", "frames", "usage"):
            for records in (await self._readers[topic].poll(10_000, 0.0)).values():
                for record in records:
                    envelope = parse_envelope(record.headers)
                    if topic == "frames":
                        self.frame_envelopes.append(envelope)
                        self._frame(frame_pb2.Frame.FromString(record.value))
                    elif topic == "usage":
                        heard = self.of(envelope.request, envelope.attempt)
                        heard.usage.append(events.UsageRecorded.FromString(record.value))
                        heard.usage_envelopes.append(envelope)
                    else:
                        kind = getattr(events, envelope.type)
                        self.of(envelope.request, envelope.attempt).replies.append(
                            kind.FromString(record.value)
                        )

    def _frame(self, frame: frame_pb2.Frame) -> None:
        self.frames.append(frame)
        streams = [
            (self.of(unpack(request), attempt), choice)
            for request, attempt, choice in zip(frame.request, frame.attempt, frame.choice, strict=True)
        ]
        for opened in frame.opens:
            streams[opened.stream][0].opens.append(opened)
        at = 0
        for number, index, count, text in zip(
            frame.text_stream, frame.text_index, frame.text_count, frame.text, strict=True
        ):
            heard, choice = streams[number]
            assert heard.opens, "text before its Open"
            assert choice not in heard.ends, "text behind its End"
            ids = heard.ids.setdefault(choice, [])
            assert index == heard.opens[0].next_index + len(ids), "a gap in the indices"
            ids.extend(frame.ids[at : at + count])
            assert sum(frame.lengths[at : at + count]) == len(text)
            heard.lengths.setdefault(choice, []).extend(frame.lengths[at : at + count])
            heard.text[choice] = heard.text.get(choice, "") + text
            at += count
        assert at == len(frame.ids) == len(frame.lengths)
        for end in frame.ends:
            heard, choice = streams[end.stream]
            assert choice not in heard.ends, "two Ends"
            heard.ends[choice] = end

    async def until(self, found: Callable[[], object]) -> None:
        async with asyncio.timeout(TRUTH_S):
            while not found():
                await self.listen()
                await asyncio.sleep(0.002)

    async def close(self) -> None:
        for reader in self._readers.values():
            await reader.close()


class World:
    """One worker and its owner."""

    def __init__(self, platform: Platform, service: InferenceService, ears: Ears, bus: Bus) -> None:
        self.platform = platform
        self.service = service
        self.ears = ears
        self.bus = bus
        self.ids = Ids(platform.host.clock, random.Random(1))

    def request(self) -> str:
        return self.ids.request()

    def envelope(self, kind: str, request: str, attempt: int = 1) -> Envelope:
        return Envelope(
            type=kind,
            event_id=f"{request}/{attempt}/{kind}",
            sender=OWNER,
            request=request,
            tenant="org",
            owner=OWNER,
            lane=LANE,
            to=self.platform.host.incarnation,
            attempt=attempt,
            config_offset=7,
            traceparent=TRACEPARENT,
        )

    async def send(self, envelope: Envelope, value: bytes = b"") -> None:
        await self.bus.publish("work", value, envelope.headers(), partition=SEAT)

    async def work(self, request: str, asked: edge.GenerateTokens, attempt: int = 1) -> None:
        await self.send(self.envelope("GenerateTokens", request, attempt), asked.SerializeToString())

    async def cancel(self, request: str, attempt: int = 1) -> None:
        await self.send(self.envelope("CancelGeneration", request, attempt))

    async def ended(self, request: str, attempt: int = 1, choices: int = 1) -> Heard:
        heard = self.ears.of(request, attempt)
        await self.ears.until(lambda: len(heard.ends) == choices)
        return heard


def asking(**changes: Any) -> edge.GenerateTokens:
    fields: dict[str, Any] = {
        "model": MANIFEST.name,
        "weights_digest": MANIFEST.weights_sha256,
        "tokenizer_digest": MANIFEST.tokenizer_sha256,
        "prompt_ids": [1, 4093, 198, 2683, 359],
        "choices": [edge.Prefix(choice=0)],
        "sampling": request_pb2.Sampling(temperature=0.0),
        "seed": 99,
        "max_output": 16,
        "policies": ["base"],
        "window": 24,
        "tenant_salt": b"org/project",
    }
    return edge.GenerateTokens(**{**fields, **changes})


async def offer_model(bus: Bus, **changes: str) -> None:
    model = config_pb2.Model(
        name=MANIFEST.name,
        weights_digest=MANIFEST.weights_sha256,
        tokenizer_digest=MANIFEST.tokenizer_sha256,
        template_digest=MANIFEST.template_sha256,
        context=MANIFEST.context,
    )
    for name, value in changes.items():
        setattr(model, name, value)
    await bus.publish("config", model.SerializeToString(), key=config_key("model", model.name))


@asynccontextmanager
async def world(
    settings: InferenceSettings | None = None,
    *,
    around: Callable[[Engine], Engine] | None = None,
    bus_of: Callable[[LocalBus], Bus] | None = None,
    host: Host | None = None,
    ready: bool = True,
) -> AsyncIterator[World]:
    """A worker that is ready, unless told otherwise."""
    host = host or system_host()
    local = LocalBus(host, TOPICS, None)
    await local.start()
    bus: Bus = bus_of(local) if bus_of is not None else local
    configuration = Configuration()
    config = ConfigReader(local, host, configuration)
    pulses = Pulses(local, host)
    telemetry = Telemetry(host, TelemetrySettings())
    platform = Platform(host, bus, telemetry, configuration, config, pulses)
    ears = Ears(
        {
            "replies": await local.assign([TopicPartition("replies", LANE)], Start.END),
            "frames": await local.assign([TopicPartition("frames", LANE)], Start.END),
            "usage": await local.assign(
                [TopicPartition("usage", number) for number in range(local.partitions("usage"))], Start.END
            ),
        }
    )
    chosen = settings or InferenceSettings(engine="synthetic")
    service = build(chosen, platform, TOPICS, FixedNumbers(seats=[SEAT]), around)
    try:
        await config.start()
        await pulses.start()
        await service.start()
        if ready:
            await offer_model(local)
            marker = config_pb2.Marker(epoch=1).SerializeToString()
            await local.publish("config", marker, key=config_key("marker", "marker"))
            await ears.until(lambda: service.readiness().ready)
        yield World(platform, service, ears, local)
    finally:
        await service.stop(host.clock.monotonic() + 5.0)
        await ears.close()
        await pulses.stop(0)
        await config.stop(0)
        await local.close()


def with_settings(**changes: Any) -> InferenceSettings:
    return InferenceSettings(engine="synthetic").model_copy(update=changes)


def host_at(incarnation: int) -> Host:
    return replace(system_host(), incarnation=incarnation)
