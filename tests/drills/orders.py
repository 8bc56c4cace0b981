"""Events twice, late and in every order; and money under a burst."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx

from shared.bus.ports import Record, Start, TopicPartition
from tests.drills.drill import Figure, drill, sized
from tests.drills.load import Tenant
from tests.drills.made_up import MadeUp
from tests.drills.world import World
from tests.e2e.running import MODEL, until
from tests.e2e.strangers import a_bus, ids

ORDERS = 1000
AT_ONCE = 50
BOOKS_S = 120.0
_TOTALS = (
    "SELECT COUNT(*), COALESCE(SUM(total), 0), COALESCE(SUM(billed), 0) FROM billing.entries"
    " WHERE kind = 'settlement'"
)
_ONE_EACH = (
    "SELECT r.request, r.state, r.reserved_ms IS NOT NULL AS reserved, COUNT(e.id) AS entries,"
    " COALESCE(SUM(e.total), 0) AS total FROM billing.requests r LEFT JOIN billing.entries e"
    " ON e.request = r.request WHERE r.request = ANY($1) GROUP BY r.request, r.state, r.reserved_ms"
)
_UNRESERVED = (
    "SELECT headers FROM billing.parked WHERE topic = 'usage' AND reason LIKE 'nothing was reserved%'"
)
_HELD = "SELECT COALESCE(SUM(reserved), 0) FROM billing.budgets"


def shuffled(chance: random.Random) -> list[str]:
    """The three events of a request, each once to three times, in any order."""
    events = [event for event in ("reserve", "usage", "closed") for _ in range(chance.randint(1, 3))]
    chance.shuffle(events)
    return events


async def play(world: World, stories: Mapping[str, Sequence[str]]) -> None:
    """Publish each request's events in their order, many requests side by side."""
    async with a_bus(world.deployment) as bus:
        made = MadeUp(bus, world.tenant)
        room = asyncio.Semaphore(AT_ONCE)

        async def one(request: str, events: Sequence[str]) -> None:
            async with room:
                await made.all_of(request, events)

        async with asyncio.timeout(300):
            await asyncio.gather(*(one(*story) for story in stories.items()))


def settled(world: World, requests: Sequence[str]) -> None:
    """Return once each of them is."""
    count = "SELECT COUNT(*) FROM billing.requests WHERE state = 'settled' AND request = ANY($1)"
    until(lambda: world.count(count, list(requests)) == len(requests), "all to be settled", BOOKS_S, 0.25)


def reference(world: World) -> int:
    """What the made-up request costs when everything comes once and in order."""
    (request,) = ids(1)
    asyncio.run(play(world, {request: ["reserve"]}))
    reserved = "SELECT COUNT(*) FROM billing.requests WHERE request = $1"
    until(lambda: world.count(reserved, request) == 1, "a reservation", BOOKS_S)
    asyncio.run(play(world, {request: ["usage", "closed"]}))
    settled(world, [request])
    return world.count("SELECT total FROM billing.entries WHERE request = $1", request)


@drill(
    "F10",
    "reserve, usage and close of a request in 1,000 random orders, each event up to three times",
    aim="0 final states other than the one order's, or 0 where the close or the usage was before the reserve",
)
def orders(world: World) -> Figure:
    price, held = reference(world), world.count(_HELD)
    chance = random.Random(10)
    stories = {request: shuffled(chance) for request in ids(sized(100, ORDERS))}
    asyncio.run(play(world, stories))
    settled(world, list(stories))
    # Work is never sent before its reservation is durable: a usage that comes before it is a stranger's.
    parked = {dict(json.loads(row["headers"]))["request"] for row in world.rows(_UNRESERVED)}
    rows = world.rows(_ONE_EACH, list(stories))
    late = [row for row in rows if not row["reserved"] and row["total"] == 0]
    unpaid = [row for row in rows if row["reserved"] and row["total"] == 0 and row["request"] in parked]
    paid = [row for row in rows if row["reserved"] and row["total"] == price]
    good = [row for row in (*late, *unpaid, *paid) if row["entries"] == 1]
    until(lambda: world.count(_HELD) <= held, "every reservation to be given back", BOOKS_S)
    note = (
        f"{len(late)} were closed before they were reserved, {len(unpaid)} have their only usage parked as it"
        " came before that: both cost nothing; nothing stays reserved"
    )
    return Figure(len(rows), len(good), "orders settled once, each at the one price or at 0", notes=[note])


@drill(
    "close first",
    "close before reserve: usage and close are settled before the reserve comes, up to three times",
    aim="0 billed, 0 left reserved",
)
def close_first(world: World) -> Figure:
    held, chance = world.count(_HELD), random.Random(11)
    requests = ids(sized(100, ORDERS))
    asyncio.run(play(world, {one: chance.sample(["usage", "closed", "closed"], 3) for one in requests}))
    settled(world, requests)
    asyncio.run(play(world, {one: ["reserve"] * chance.randint(1, 3) for one in requests}))
    (last,) = ids(1)  # behind all of them, of the same tenant: when it is there, they are done
    asyncio.run(play(world, {last: ["reserve", "usage", "closed"]}))
    settled(world, [last])
    rows = world.rows(_ONE_EACH, requests)
    good = [row for row in rows if (row["state"], row["entries"], row["total"]) == ("settled", 1, 0)]
    until(lambda: world.count(_HELD) <= held, "every reservation to be given back", BOOKS_S)
    return Figure(len(rows), len(good), "orders settled once, at 0")


@drill(
    "F9",
    "every record of every topic but liveness and configuration is published again 1 to 5 times, as it comes",
    aim="ledger as with single delivery: every answer billed once, what its client counted",
)
def repeated(world: World) -> Figure:
    before = world.rows(_TOTALS)[0]
    with world.load("F9", each=sized(6, 25)) as load:
        copies = asyncio.run(_repeat(world, lambda: load.done >= sized(48, 200)))
        load.join(200.0)
    asked = [one for one in load.asked if one.outcome == "completed"]
    left = len(load.asked) - len(asked)
    count = "SELECT COUNT(*) FROM billing.entries WHERE kind = 'settlement'"
    until(lambda: world.count(count) >= before[0] + len(load.asked), "all to be settled", BOOKS_S, 0.25)
    billed = world.rows(_TOTALS)[0][2] - before[2]
    counted = sum(one.counted for one in asked)
    return Figure(
        len(load.asked),
        len(asked) + load.counts["cancelled"],
        "requests not failed",
        met=billed >= counted,
        notes=[
            f"{copies} records were published again; {billed} tokens billed, {counted} in whole answers"
            f" (the difference are {left} that their client left)"
        ],
    )


REPEATED = ("requests", "reserves", "replies", "work", "frames", "completions", "usage", "closed", "facts")


async def _repeat(world: World, over: object) -> int:
    """Publish again what appears, until told that it is over; how many copies."""
    assert callable(over)
    copies, chance = 0, random.Random(9)
    async with a_bus(world.deployment) as bus:
        readers = [
            await bus.assign([TopicPartition(topic, at) for at in range(bus.partitions(topic))], Start.END)
            for topic in REPEATED
        ]

        async def again(record: Record) -> None:
            nonlocal copies
            for _ in range(chance.randint(1, 5)):
                headers = (*record.headers, ("copy", b"1"))
                await bus.publish(
                    record.topic, record.value, headers, key=record.key, partition=record.partition
                )
                copies += 1

        until_s = time.monotonic() + 240.0
        while not over() and time.monotonic() < until_s:
            polled = await asyncio.gather(*(reader.poll(500, 0.05) for reader in readers))
            found = [record for batches in polled for records in batches.values() for record in records]
            await asyncio.gather(*(again(one) for one in found if one.headers[-1][0] != "copy"))
        for reader in readers:
            await reader.close()
    return copies


def ask(world: World, tenant: Tenant, tokens: int = 10, **options: str) -> httpx.Response:
    """One plain answer, without retries; `options` are headers."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": tokens}
    headers = {"authorization": f"Bearer {tenant.secret}"}
    headers |= {name.replace("_", "-"): text for name, text in options.items()}
    url = f"{world.url('edge')}/v1/chat/completions"
    return httpx.post(url, json=body, headers=headers, timeout=120.0, trust_env=False)


def code(answer: httpx.Response) -> str:
    """Its status, and what an error is called."""
    return "200" if answer.is_success else f"{answer.status_code} {answer.json()['error']['code']}"


BURST = 200
_RESERVED = "SELECT reserved FROM billing.requests WHERE request = $1"
_OVERSPENT = "SELECT COUNT(*) FROM billing.budgets WHERE spent + reserved > cap"
_SPENT = "SELECT spent, cap FROM billing.budgets WHERE id = $1"


@drill(
    "F20",
    f"{BURST} requests at once with money for ten",
    anchor="LiteLLM #26672, #23714, CliRelay #1045: overspent",
    aim="overspent 0",
)
def burst(world: World) -> Figure:
    worst = world.count(_RESERVED, ask(world, world.tenant).headers["x-request-id"])
    identifier, secret = world.poor_key(10 * worst)
    tenant = world.tenant._replace(secret=secret)
    with ThreadPoolExecutor(BURST) as pool:
        answers = Counter(pool.map(lambda _: code(ask(world, tenant)), range(BURST)))
    kept = sum(number for told, number in answers.items() if told[:3] in ("200", "429", "503"))
    spent, cap = world.rows(_SPENT, identifier)[0]
    return Figure(
        BURST,
        kept if spent <= cap else 0,
        "answered or told why not, within the budget",
        met=world.count(_OVERSPENT) == 0 and 10 <= answers["200"] < BURST,
        notes=[f"{dict(answers)}; spent {spent} of {cap}"],
    )


@drill(
    "F21",
    "one idempotency key 50 times at once; then with another body; then one whose first use had failed",
    anchor="Stripe: one execution; an error's answer is kept",
    aim="1 execution, 49 × 409; 422; 409",
)
def same_key(world: World) -> Figure:
    name = f"drill-{time.time_ns()}"
    with ThreadPoolExecutor(50) as pool:
        answers = Counter(pool.map(lambda _: code(ask(world, world.tenant, idempotency_key=name)), range(50)))
    other = ask(world, world.tenant, tokens=11, idempotency_key=name).status_code
    world.pause("inference", "inference-2")
    failed = ask(world, world.tenant, idempotency_key=f"{name}-failed").status_code
    world.again()
    after = ask(world, world.tenant, idempotency_key=f"{name}-failed").status_code
    right = [answers["200"] == 1, *[True] * answers["409 idempotency_key_in_use"]]
    right += [other == 422, failed >= 500 and after == 409]
    told = f"{dict(answers)}; another body: {other}; first use failed with {failed}, then {after}"
    return Figure(52, sum(right), "answered as promised", notes=[told])
