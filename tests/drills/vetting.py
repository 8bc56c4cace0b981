"""What moderation goes through while it vets long streams: they pause, go on, and no work is sent twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import pairwise

from services.moderation.matching.matcher import compile_pack
from services.moderation.matching.pack import load_pack
from services.moderation.policy import Policy
from shared.bus.kafka_bus import KafkaBus
from shared.bus.kafka_settings import KafkaSettings
from shared.bus.topics import load_topics
from shared.host import system_host
from tests.drills.drill import Figure, drill, sized
from tests.drills.dying import SESSION_S, SOON_S
from tests.drills.hanging import metric
from tests.drills.load import Asked, Mix
from tests.drills.world import World
from tests.e2e.running import ROOT
from tests.integration.vetting import vetting

STREAMS = 8
TOKENS = 2800
"""14 s of one stream: longer than a session and an `Open`."""
SHAKES_S = 2.0
Fault = Callable[[World], str]
"""Does it while the streams run; what was done, for the report."""


def whole(asked: list[Asked]) -> list[Asked]:
    """Those that came to their end and in which nothing is lost or repeated: all of one seed say the same."""
    says: dict[int, list[str]] = {}
    for one in asked:
        says.setdefault(one.seed, []).append(one.text)
    return [
        one
        for one in asked
        if one.outcome == "completed"
        and one.counted == one.tokens == one.text.count(" ")
        and says[one.seed].count(one.text) == len(says[one.seed])
    ]


def still(asked: list[Asked]) -> float:
    """Longest time, in seconds, in which a stream stood still."""
    return max((after - before for one in asked for before, after in pairwise(one.heard)), default=0.0)


def streams(world: World, name: str, fault: Fault, within_s: float) -> Figure:
    """Streams over both edges, under a fault of moderation; none may stand still for longer than that."""
    edges = [one for one in world.replicas if one.startswith("edge")]
    sent = metric(world, "freehold_edge_attempts_total", *edges)
    mix = Mix((TOKENS, TOKENS), 1.0, 0.0)
    with world.load(name, clients=STREAMS, each=1, mix=mix) as load:
        load.streaming(STREAMS)
        told = fault(world)
        load.join(150.0)
    again = round(metric(world, "freehold_edge_attempts_total", *edges) - sent) - len(load.tries)
    pause = still(load.asked)
    return Figure(
        len(load.asked),
        len(whole(load.asked)),
        "streams whole, no token lost or repeated",
        f"{pause:.1f} the longest that one stood still",
        met=again == 0 and pause <= within_s,
        notes=[f"work sent again: {again}", *([told] if told else [])],
    )


@drill(
    "vetting killed",
    "one of two moderation replicas killed (SIGKILL) under 8 long streams",
    aim="all whole, no work sent again, ≤ 8 s after the group's session of 6 s",
)
def killed(world: World) -> Figure:
    def fault(world: World) -> str:
        world.kill("moderation-2")
        return ""

    return streams(world, "vetting-killed", fault, SESSION_S + SOON_S)


@drill(
    "vetting stopped",
    "one of two moderation replicas stopped (SIGTERM) under 8 long streams",
    aim="all whole, no work sent again, ≤ 8 s",
)
def stopped(world: World) -> Figure:
    def fault(world: World) -> str:
        return f"exit status {world.replicas['moderation-2'].stop()}"

    return streams(world, "vetting-stopped", fault, SOON_S)


@drill(
    "vetting halted",
    "one of two moderation replicas halted (SIGSTOP) for 10 s under 8 long streams, then continued",
    aim="all whole, no work sent again, ≤ 8 s after the group's session of 6 s",
)
def halted(world: World) -> Figure:
    def fault(world: World) -> str:
        world.pause("moderation-2")
        time.sleep(10.0)
        world.proceed()
        return ""

    return streams(world, "vetting-halted", fault, SESSION_S + SOON_S)


@drill(
    "vetting rolled",
    "both moderation replicas restarted one after the other under 8 long streams",
    aim="all whole, no work sent again, ≤ 8 s",
)
def rolled(world: World) -> Figure:
    def fault(world: World) -> str:
        began = time.monotonic()
        for name in ("moderation", "moderation-2"):
            world.replicas[name].stop()
            world.replicas[name].again()
            world.deployment.wait_ready()
        return f"{time.monotonic() - began:.0f} s until both were ready again"

    return streams(world, "vetting-rolled", fault, SOON_S)


@drill(
    "vetting shaken",
    "a third moderation replica joins and leaves every 2 s under 8 long streams",
    aim="all whole, no work sent again, ≤ 8 s",
)
def shaken(world: World) -> Figure:
    policy = Policy([compile_pack(load_pack((ROOT / "ops" / "policies" / "base.yaml").read_text()))])
    kafka = world.kafka.settings(prefix="drills.")

    def fault(_: World) -> str:
        turns = asyncio.run(come_and_go(kafka, policy, sized(8.0, 14.0)))
        return f"{turns} times it joined or left"

    return streams(world, "vetting-shaken", fault, SOON_S)


async def come_and_go(kafka: KafkaSettings, policy: Policy, seconds: float) -> int:
    """A replica's output side joins the group, vets for a while and leaves; how often it did either."""
    host, topics = system_host(), load_topics("compose")
    bus = KafkaBus(host, topics, kafka, "moderation")
    await bus.start()
    turns, began = 0, time.monotonic()
    try:
        while time.monotonic() - began < seconds:
            consumer = vetting(bus, host, topics, policy, "moderation-3")
            await consumer.start()
            await asyncio.sleep(SHAKES_S)
            await consumer.stop(host.clock.monotonic() + 5)
            await asyncio.sleep(SHAKES_S)
            turns += 2
    finally:
        await bus.close()
    return turns
