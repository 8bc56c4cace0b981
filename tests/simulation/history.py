"""Runs one plan in one world and judges what came of it."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import dataclass, field

from shared.bus.ports import Record
from tests.simulation.clients import Clients
from tests.simulation.faults import Mischief
from tests.simulation.judges import judge
from tests.simulation.plan import SHAPES, Plan
from tests.simulation.settling import unsettled
from tests.simulation.world import World

MOST_STEPS = 2_000_000
SETTLE_S = 420.0
"""After the last fault everything has to come to rest in this time: the deadline, and what a lost owner's
reservation waits for."""
AFTERWARDS_S = 2.0
"""Time in which nothing may happen any more."""


@dataclass
class Result:
    """What became of a plan."""

    plan: Plan
    violations: list[str] = field(default_factory=list)
    digest: str = ""
    """Of everything that was written to logs and disks, and of what clients saw, in order."""
    steps: int = 0
    seconds: float = 0.0
    """Virtual."""
    faults: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    said: list[str] = field(default_factory=list)


def a_world(shape: int) -> World:
    """A platform of this shape, ready for a history. Always the same one."""
    world = World(SHAPES[shape], random.Random(f"world {shape}"))
    world.open()
    return world


def run(plan: Plan, world: World) -> Result:
    """Run a plan in a fresh world of its shape, which is used up by it."""
    result = Result(plan)
    trace = hashlib.blake2b(digest_size=16)
    begun, steps = world.loop.now, world.loop.steps
    _reseed(world, plan.seed)
    world.began_at = begun
    world.broker.on_append = lambda record: _note(trace, record)
    clients, mischief = Clients(world, plan.asks), Mischief(world, plan.faults)
    clients.begin()
    mischief.begin()
    world.loop.run(lambda: False, MOST_STEPS, begun + plan.horizon)
    mischief.heal()
    left = _settle(world, clients)
    if left:
        result.violations += [f"not at rest in time: {reason}" for reason in left]
    else:
        world.loop.run(lambda: False, MOST_STEPS, world.loop.now + AFTERWARDS_S)
    result.violations += judge(world, plan, clients.views)
    for view in clients.views:
        trace.update(repr((view.request, view.pieces, view.ended)).encode())
        result.states[_state(view)] += 1
    result.steps = world.loop.steps - steps
    result.seconds = world.loop.now - begun
    trace.update(f"{result.steps} {world.loop.now}".encode())
    result.digest = trace.hexdigest()
    result.faults = mischief.done + world.weather.done
    result.said = world.said
    return result


def _settle(world: World, clients: Clients) -> list[str]:
    until = world.loop.now + SETTLE_S
    while left := unsettled(world, clients):
        if world.loop.now >= until or world.loop.steps >= MOST_STEPS:
            return left
        world.loop.run(lambda: False, MOST_STEPS, world.loop.now + 1.0)
    return []


def _reseed(world: World, seed: int) -> None:
    world.chance.seed(f"history {seed}")
    for name, parts in world.parts.items():
        parts.process.chance.seed(f"history {seed} {name}")


def _note(trace: hashlib.blake2b, record: Record) -> None:
    head = f"{record.topic}/{record.partition}/{record.offset}/{record.timestamp_ms}".encode()
    trace.update(head)
    trace.update(record.value)


def _state(view) -> str:  # type: ignore[no-untyped-def]
    if view.unreachable:
        return "unreachable"
    if view.refused is not None:
        return "not taken"
    if view.left:
        return "left"
    if view.lost:
        return "edge died"
    if view.outcome is None:
        return "no answer"
    return {1: "completed", 2: "refused", 3: "failed", 4: "cancelled", 5: "expired"}.get(
        view.outcome.state, str(view.outcome.state)
    )
