"""A client of a running deployment's broker that may write anywhere: poison, forgeries, unasked requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import httpx

from services.control.seed import ORGANISATION
from shared.bus.envelope import Envelope, parse_envelope
from shared.bus.kafka_bus import KafkaBus
from shared.bus.kafka_settings import KafkaSettings
from shared.bus.ports import Bus, Headers, Reader, Record, Start, TopicPartition
from shared.bus.topics import load_topics
from shared.contracts.freehold.platform.v1.pulse_pb2 import Pulse
from shared.host import system_host
from shared.ids import Ids
from tests.e2e.deployment import Deployment

TOPICS = load_topics("compose")
TYPES = {
    "requests": "RequestAccepted",
    "reserves": "ReserveBudget",
    "replies": "Screened",
    "work": "GenerateTokens",
    "frames": "Frame",
    "completions": "VettedFrame",
    "usage": "UsageRecorded",
    "closed": "RequestClosed",
    "facts": "RequestSettled",
}
LETTERS = {"requests": 2, "reserves": 1, "replies": 1, "work": 1, "frames": 1, "completions": 1}
"""Who sets a transit record aside: moderation and the tokenizer each read `requests`."""
LANE = 63
"""Of the tests themselves: no edge reads it."""
OWNER = 0x7E57


class Places(NamedTuple):
    """Addresses of those who are there, from their pulses and requests."""

    edge: int
    worker: int
    seat: int
    lane: int


@asynccontextmanager
async def a_bus(deployment: Deployment) -> AsyncIterator[Bus]:
    """A client of the broker that may write anywhere."""
    names = deployment.environment
    settings = KafkaSettings(
        bootstrap=names["FREEHOLD_KAFKA_BOOTSTRAP"], prefix=names["FREEHOLD_KAFKA_PREFIX"]
    )
    bus = KafkaBus(system_host(), TOPICS, settings, "stranger")
    await bus.start()
    try:
        yield bus
    finally:
        await bus.close()


async def all_of(bus: Bus, topic: str) -> Reader:
    """A reader of what is published from now on."""
    places = [TopicPartition(topic, number) for number in range(bus.partitions(topic))]
    return await bus.assign(places, Start.END)


async def gather(reader: Reader, enough: int, kind: str = "") -> list[Record]:
    """So many records, of this type where one is named."""
    found: list[Record] = []
    async with asyncio.timeout(60):
        while len(found) < enough:
            for records in (await reader.poll(100, 0.5)).values():
                found += [
                    one for one in records if not kind or dict(one.headers).get("type") == kind.encode()
                ]
    return found


async def places_of(bus: Bus, deployment: Deployment) -> Places:
    """Where the edge and the worker can be reached."""
    pulses, requests = await all_of(bus, "pulses"), await all_of(bus, "requests")
    assert (await asyncio.to_thread(deployment.ask)).status_code == httpx.codes.OK
    asked = parse_envelope((await gather(requests, 1))[0].headers)
    heard: dict[str, Pulse] = {}
    async with asyncio.timeout(30):
        while "inference" not in heard:
            for record in await gather(pulses, 1):
                pulse = Pulse.FromString(record.value)
                heard[pulse.service] = pulse
    await pulses.close()
    await requests.close()
    worker = heard["inference"]
    return Places(asked.owner, worker.incarnation, worker.worker.seat, asked.lane)


def poison_of(topic: str, places: Places, request: str) -> Iterator[tuple[bytes, Headers]]:
    """Records that a reader of this topic can make nothing of, each told by its value."""
    to_edge = topic in ("replies", "completions")
    envelope = Envelope(
        type=TYPES[topic],
        event_id=f"poison/{topic}",
        sender=1,
        request=request,
        tenant=ORGANISATION,
        owner=places.edge if to_edge else OWNER,
        lane=LANE,
        to=places.worker if topic == "work" else 0,
        attempt=1,
    )
    if topic != "replies":  # of a request that has ended they are not looked into
        yield b"\xff\xfe undecodable", envelope.headers()
    envelope.type = "Nonsense"
    yield b"unknown type", envelope.headers()
    if to_edge:
        return  # of such without headers nobody is the owner
    yield b"without headers", ()
    yield b"not a number", (*envelope.headers(), ("owner", b"\xff\xff"))
    yield b"\xff" * 1_000_000, (("type", TYPES[topic].encode()), ("event_id", b"e"), ("from", b"1"))


def partition_of(topic: str, places: Places) -> int | None:
    """Where it gets into the way of real records."""
    return {
        "replies": places.lane,
        "completions": places.lane,
        "frames": places.lane,
        "work": places.seat,
    }.get(topic)


def ids(count: int) -> list[str]:
    host = system_host()
    made = Ids(host.clock, host.random)
    return [made.request() for _ in range(count)]
