"""Records and requests that nobody can make anything of."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

import httpx

from shared.bus.ports import Bus, Record
from tests.drills.books import outcomes
from tests.drills.drill import Figure, drill, sized
from tests.drills.load import Asked, Load, Mix
from tests.drills.world import World
from tests.e2e.strangers import (
    LETTERS,
    a_bus,
    all_of,
    gather,
    ids,
    partition_of,
    places_of,
    poison_of,
)

ALIKE = Mix(tokens=(20, 20), streamed=0.5, leaving=0.0)
"""Answers of one length, so that their times can be compared."""
TIMES = 10
"""Each poison of each topic."""
RATE = 100


def p99(asked: Sequence[Asked]) -> float:
    """Milliseconds of the whole answers."""
    found = sorted(one.seconds for one in asked if one.outcome == "completed")
    return 1000 * found[min(len(found) - 1, int(len(found) * 0.99))] if found else float("inf")


def pids(world: World) -> dict[str, int]:
    """Of the replicas: another one says that it was started again."""
    return {name: one.process.pid for name, one in world.replicas.items()}


@drill(
    "F11",
    f"poison on every passing topic, among real records, {TIMES} times each: undecodable, unknown type, no"
    " headers, no numbers, 1 MB",
    aim="each set aside once, nothing stalls ≥ 1 s, no crash loop",
)
def poison(world: World) -> Figure:
    before = pids(world)
    with world.load("F11", clients=4, each=100_000, mix=ALIKE) as load:
        load.reached(20)
        expected, letters = asyncio.run(_poison(world))
        load.end_after(0.0)
        load.join(120.0)
    found = Counter((dict(one.headers)["origin"].decode().partition("/")[0], one.value) for one in letters)
    aside = sum((found & expected).values())
    slow = max(one.seconds for one in load.asked)
    failed = len(load.asked) - outcomes([load])["completed"]
    return Figure(
        expected.total(),
        aside,
        "records set aside with their reason",
        f"{slow:.2f} the slowest answer meanwhile",
        met=slow < 1.0 and found == expected and pids(world) == before and not failed,
        notes=[f"{len(load.asked)} requests meanwhile, {failed} failed; no process was started again"],
    )


async def _poison(world: World) -> tuple[Counter[tuple[str, bytes]], list[Record]]:
    expected: Counter[tuple[str, bytes]] = Counter()
    async with a_bus(world.deployment) as bus:
        places = await places_of(bus, world.deployment)
        dead = await all_of(bus, "dlq")
        for request in ids(sized(2, TIMES)):
            for topic, times in LETTERS.items():
                for value, headers in poison_of(topic, places, request):
                    at = partition_of(topic, places)
                    await bus.publish(topic, value, headers, partition=at, key=b"k")
                    expected[topic, value] += times
        letters = await gather(dead, expected.total())
        await dead.close()
    return expected, letters


@drill(
    "poison 100/s",
    f"one tenant sends {RATE} requests a second that are refused, and {RATE} undecodable records a second"
    " stand among the real ones",
    aim="others' p99 unchanged",
)
def flood(world: World) -> Figure:
    seconds = sized(5.0, 12.0)
    calm = _alone(world, "calm", seconds)
    with world.load("flood", clients=4, each=100_000, mix=ALIKE) as load:
        sent, refused = asyncio.run(_flood(world, seconds))
        load.end_after(0.0)
        load.join(120.0)
    good = outcomes([load])["completed"]
    before, during = p99(calm.asked), p99(load.asked)
    return Figure(
        len(load.asked),
        good,
        "of the others' requests whole",
        f"p99 {before / 1000:.2f} before, {during / 1000:.2f} meanwhile",
        met=during <= 1.5 * before and refused == sent,
        notes=[
            f"{refused} of {sent} poisoned requests were refused with 400; p99 may grow by half to be met"
        ],
    )


def _alone(world: World, name: str, seconds: float) -> Load:
    with world.load(name, clients=4, each=100_000, mix=ALIKE) as load:
        time.sleep(seconds)
        load.end_after(0.0)
        load.join(120.0)
    return load


async def _flood(world: World, seconds: float) -> tuple[int, int]:
    other = await asyncio.to_thread(world.other_tenant)
    bad = b'{"model": "\\ud800", "messages": [{"role": "user", "content": "\\ud800"}], "max_tokens": -1}'
    headers = {"authorization": f"Bearer {other.secret}", "content-type": "application/json"}
    answers: list[int] = []
    async with a_bus(world.deployment) as bus, httpx.AsyncClient(trust_env=False, timeout=30.0) as client:
        places = await places_of(bus, world.deployment)

        async def ask(number: int) -> None:
            url = f"{world.urls[number % 2]}/v1/chat/completions"
            answers.append((await client.post(url, content=bad, headers=headers)).status_code)

        ((value, poisoned), *_) = poison_of("requests", places, ids(1)[0])
        began, running = time.monotonic(), []
        for number in range(round(seconds * RATE)):
            running.append(asyncio.create_task(ask(number)))
            running.append(asyncio.create_task(_publish(bus, value, poisoned)))
            await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
        await asyncio.gather(*running)
    return len(answers), answers.count(400)


async def _publish(bus: Bus, value: bytes, headers: tuple[tuple[str, bytes], ...]) -> None:
    await bus.publish("requests", value, headers, key=b"k")
