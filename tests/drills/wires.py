"""Readers that are slow, collectors and services that do not answer, keys that were lost from memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.bench.processes import resident_mib
from tests.bench.slow_readers import Readers
from tests.drills.books import outcomes
from tests.drills.drill import Figure, drill, sized
from tests.drills.load import Load
from tests.drills.poisoned import ALIKE, p99
from tests.drills.wire import Wire
from tests.drills.world import World
from tests.e2e.running import until

THIRD_EDGE = "edge-3"
LONG = 4000
"""Tokens of a stream that outlasts a measurement."""


@contextmanager
def third_edge(world: World, **environment: str) -> Iterator[str]:
    """A third edge with settings of its own; its URL. It is gone afterwards."""
    world.deployment.add("edge", THIRD_EDGE, **environment)
    try:
        world.deployment.wait_ready()
        yield world.url(THIRD_EDGE)
    finally:
        world.replicas.pop(THIRD_EDGE).kill()


def measured(world: World, name: str, url: str, seconds: float) -> Load:
    """Answers of one length, of this edge alone."""
    with world.load(name, urls=[url], clients=4, each=100_000, mix=ALIKE) as load:
        time.sleep(seconds)
        load.end_after(0.0)
        load.join(120.0)
    return load


@drill(
    "F19",
    "readers that take no byte of long streams, beside clients that do",
    aim="bounded memory a stream; others' p99 no worse than beside as many readers that keep up",
)
def slow_readers(world: World) -> Figure:
    streams, seconds = sized(10, 100, 200), sized(5.0, 10.0)
    calm, _ = asyncio.run(_beside(world, "F19-calm", streams, 1 << 20, seconds))
    load, grown = asyncio.run(_beside(world, "F19", streams, 1, seconds))
    was, now = p99(calm.asked), p99(load.asked)
    return Figure(
        len(load.asked),
        outcomes([load])["completed"],
        "of the others' requests whole",
        f"p99 {was / 1000:.2f} beside readers that keep up, {now / 1000:.2f} beside slow ones",
        met=now <= 1.2 * was + 50 and grown / streams < 1.0,
        notes=[
            f"{streams} streams of {LONG} tokens of which a byte a second is read:"
            f" {1024 * grown / streams:.0f} kB of the edge's memory each"
        ],
    )


async def _beside(world: World, name: str, streams: int, most: int, seconds: float) -> tuple[Load, float]:
    """The others' load beside streams of which each second `most` bytes are read, and the MiB these take."""
    url, pid = world.url("edge"), world.replicas["edge"].process.pid
    before = resident_mib(pid)
    async with Readers(httpx.URL(url).port or 0, world.tenant.secret, streams, most, LONG):
        load = await asyncio.to_thread(measured, world, name, url, seconds)
        return load, resident_mib(pid) - before


@drill(
    "F23",
    "the OpenTelemetry collector takes connections and answers nobody",
    aim="0 failed, p99 unchanged, bounded queue",
)
def collector(world: World) -> Figure:
    seconds = sized(5.0, 10.0)
    found, good, tried = [], 0, 0
    with Wire() as silent:
        ends = {"none": "", "silent": f"127.0.0.1:{silent.port}"}
        for name, endpoint in ends.items():
            with third_edge(world, FREEHOLD_OTLP_ENDPOINT=endpoint, FREEHOLD_OTLP_QUEUE="2048") as url:
                load = measured(world, f"F23-{name}", url, seconds)
                resident = resident_mib(world.replicas[THIRD_EDGE].process.pid)
            found.append((name, p99(load.asked), resident))
            good += outcomes([load])["completed"]
            tried += len(load.asked)
    (_, base, _), (_, late, _) = found
    told = ", ".join(f"{name} {late:.0f} ms and {mib:.0f} MiB" for name, late, mib in found)
    return Figure(
        tried,
        good,
        "requests whole",
        met=late <= 1.5 * base,
        notes=[f"p99 and the edge's memory by collector: {told}; p99 may grow by half to be met"],
    )


@drill(
    "F24",
    "what an edge keeps of keys is lost: a key is revoked while it is away, and used the moment it is back",
    aim="0 wrong authorisations",
)
def lost_keys(world: World) -> Figure:
    identifier, secret = world.poor_key(10**9)
    headers = {"authorization": f"Bearer {secret}"}
    wrong = tries = 0
    for _ in range(sized(1, 3)):
        world.replicas["edge-2"].stop()
        if not tries:
            world.deployment.command("keys", "revoke", identifier)
        world.replicas["edge-2"].again()
        until_s = time.monotonic() + 60.0
        while not world.replicas["edge-2"].ready and time.monotonic() < until_s:
            tries, wrong = tries + 1, wrong + _allowed(world, headers)
            time.sleep(0.02)
        for _ in range(20):
            tries, wrong = tries + 1, wrong + _allowed(world, headers)
    valid = httpx.get(
        f"{world.url('edge-2')}/v1/models", headers={"authorization": f"Bearer {world.tenant.secret}"}
    )
    return Figure(tries, tries - wrong, "uses of the revoked key not allowed", met=valid.is_success)


def _allowed(world: World, headers: dict[str, str]) -> bool:
    try:
        answer = httpx.get(f"{world.url('edge-2')}/v1/models", headers=headers, timeout=5.0, trust_env=False)
    except httpx.TransportError:
        return False
    return answer.is_success


@drill(
    "F25",
    "a half-open connection: the wire between an edge and billing's gRPC goes dead and says nothing",
    aim="an error within 15 s, service again after it",
)
def half_open(world: World) -> Figure:
    headers = {"authorization": f"Bearer {world.tenant.secret}"}
    target = int(world.deployment.environment["FREEHOLD_BILLING_TARGET"].rpartition(":")[2])

    def usage(url: str) -> int:
        return httpx.get(f"{url}/v1/usage", headers=headers, timeout=60.0, trust_env=False).status_code

    waits, right = [], 0
    with Wire(target) as wire, third_edge(world, FREEHOLD_BILLING_TARGET=f"127.0.0.1:{wire.port}") as url:
        assert usage(url) == httpx.codes.OK
        wire.die()
        for _ in range(sized(2, 3)):
            began = time.monotonic()
            right += usage(url) >= httpx.codes.INTERNAL_SERVER_ERROR
            waits.append(time.monotonic() - began)
        wire.live()
        back = until(lambda: usage(url) == httpx.codes.OK, "usage over a new connection", 60.0)
    return Figure(
        len(waits),
        right,
        "questions over the dead wire told an error",
        f"{max(waits):.1f} at most to the error; {back:.1f} to an answer once the wire lived",
        met=max(waits) <= 15.0,
    )
