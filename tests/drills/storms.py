"""Consumers that are slow, come and go, or end between two writes; and load without an end."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import pairwise

from tests.bench.processes import resident_mib
from tests.drills.drill import Figure, drill, sized
from tests.drills.dying import answered
from tests.drills.hanging import meanwhile, settled_once
from tests.drills.load import Asked
from tests.drills.world import World

_SETTLED = "SELECT COUNT(*) FROM billing.requests WHERE state = 'settled'"
BILLING = ("billing", "billing-2")


def stall(asked: Iterable[Asked]) -> float:
    """Longest time, in seconds, in which no request ended."""
    ends = sorted(one.ended for one in asked if one.ended)
    return max((after - before for before, after in pairwise(ends)), default=0.0)


@drill(
    "F12",
    "a slow consumer: PostgreSQL hangs (SIGSTOP), so billing's handlers take longer than its group's session",
    aim="0 billed twice, 0 lag after the drain",
)
def slow_consumer(world: World) -> Figure:
    slow = sized(10.0, 15.0)
    load = meanwhile(world, "F12", slow + 10.0)
    world.postgres.pause()
    time.sleep(slow)
    world.postgres.proceed()
    back = time.monotonic()
    served = load.served_after(back)
    load.join(150.0)
    found = settled_once(world, load)
    drained = time.monotonic() - back
    found.seconds = (
        f"{slow:.0f} hung; then {served:.1f} to the next answer, {drained:.0f} until all was settled"
    )
    return found


@drill(
    "F13",
    "rebalance storm: a moderation, a tokenizer and a billing replica leave and join, again and again",
    aim="0 failed; effects once",
)
def rebalances(world: World) -> Figure:
    seconds = sized(10.0, 30.0, 60.0)
    load = meanwhile(world, "F13", seconds)
    until_s, joined = time.monotonic() + seconds, 0
    names = ("moderation-2", "tokenizer-2", "billing-2")
    while time.monotonic() < until_s:
        for name in names:
            world.replicas[name].stop()
            world.replicas[name].again()
        joined += len(names)
        world.deployment.wait_ready()
    load.join(150.0)
    return answered(
        load,
        f"{stall(load.asked):.1f} the longest without any answer",
        notes=[f"{joined} left and joined again"],
    )


@drill(
    "F15",
    "both billing replicas killed between commit and publishing, while the broker hangs",
    aim="each request settled once, its fact published",
)
def between_commit_and_publish(world: World) -> Figure:
    between, times = 0, sized(1, 2, 10)
    with world.load("F15", each=100_000) as load:
        for _ in range(times):
            load.reached(load.done + 40)
            world.kafka.pause()
            before = world.count(_SETTLED)
            time.sleep(1.0)  # what was fetched before is committed now, and cannot be published
            world.kill(*BILLING)
            between += world.count(_SETTLED) - before
            world.kafka.proceed()
            world.again()
        load.reached(load.done + 40)
        load.end_after(0.0)
        load.join(150.0)
    note = f"{times} double kills; {between} settlements were committed while nothing could be published"
    found = settled_once(world, load, notes=[note])
    found.met = between > 0
    return found


@drill(
    "F28",
    "soak: the load of F1, without a fault",
    aim="0 failed; resident memory flat; over minutes it says little, DRILLS=full takes 2 h",
    seconds=9000.0,
)
def soak(world: World) -> Figure:
    seconds = sized(10.0, 30.0, 7200.0)
    load = meanwhile(world, "F28", seconds)
    time.sleep(seconds / 2)
    half, at = _resident(world), time.monotonic()
    load.join(seconds + 150.0)
    hours = (time.monotonic() - at) / 3600
    slopes = {name: (mib - half[name]) / hours for name, mib in _resident(world).items() if name in half}
    steepest = max(slopes, key=lambda name: slopes[name])
    told = (
        f"in its second half: {steepest} {slopes[steepest]:+.0f} MB/h, sum {sum(slopes.values()):+.0f} MB/h"
    )
    return answered(load, f"{seconds:.0f} long", notes=[told])


def _resident(world: World) -> dict[str, float]:
    return {name: resident_mib(one.process.pid) for name, one in world.replicas.items()}
