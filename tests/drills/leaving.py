"""Clients that leave, read slowly, or share a prefix with others."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from shared.contracts.freehold.inference.v1.events_pb2 import UsageRecorded
from tests.drills.books import Books, Case
from tests.drills.drill import Figure, drill, sized
from tests.drills.hanging import metric
from tests.drills.load import LONGEST
from tests.drills.orders import ask
from tests.drills.running import eventually
from tests.drills.world import World
from tests.e2e.running import until

WORKERS = ("inference", "inference-2")
EDGES = ("edge", "edge-2")
RUNNING = "freehold_inference_running"
TOKENS_PER_S = 200.0
BOOKS_S = 60.0
EACH = 10
AT_ONCE = 5


def idle(world: World, seconds: float = 30.0) -> float:
    """Seconds until no worker runs anything."""
    return until(lambda: metric(world, RUNNING, *WORKERS) == 0, "the workers to be idle", seconds, 0.01)


def generated(world: World) -> float:
    """Ids that the engines have made, as the workers count them beside the usage path."""
    return metric(world, "freehold_inference_tokens_total", *WORKERS, only='"generated"')


def billed_chain(case: Case) -> bool:
    """Whether the request was billed exactly what exists of it, as a cancelled one is, or ended before."""
    tokens = case.leaves[0]["tokens"]
    return (case.state == "cancelled" and tokens["billed"] == tokens["chain"]) or (
        case.state == "completed" and tokens["billed"] == tokens["delivered"]
    )


@drill(
    "F18",
    f"a client leaves a stream at 0 tokens, at 1 and half-way, {EACH} times each",
    anchor="sub2api #4408: billing of a left stream unsettled",
    aim="worker stops in ≤ 1 s; billed = the ids that exist",
)
def leaves_a_stream(world: World) -> Figure:
    visits, waits, ahead = world.visits("F18"), [], []
    idle(world)
    for leave_after in (0, 1, LONGEST // 2):
        for _ in range(EACH):
            visits.stream(LONGEST, leave_after)
            waits.append(idle(world))
    books = Books(world, [visits])
    eventually(books.complete, BOOKS_S)
    cases = list(books.cases(visits))
    for asked, case in cases:
        ahead.append(case.entries[0].generated - asked.text.count(" "))
    good = [case for _, case in cases if case.whole and billed_chain(case)]
    return Figure(
        len(visits.asked),
        len(good),
        "billed exactly the ids that exist",
        f"{max(waits):.2f} at most until the worker stopped",
        met=max(waits) <= 1.0,
        notes=[
            f"ids made after the last one that its client read: {max(ahead)} at most, {TOKENS_PER_S:.0f}/s"
        ],
    )


@drill(
    "leaving at 90 %",
    "a client leaves a plain request when nine tenths of its answer exist",
    aim="billed = the ids that exist",
)
def leaves_a_plain(world: World) -> Figure:
    visits = world.visits("plain-90")
    began = time.monotonic()
    whole = ask(world, world.tenant, tokens=LONGEST)
    assert whole.is_success
    stay_s = 0.9 * (time.monotonic() - began)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda _: visits.plain(LONGEST, stay_s), range(2 * EACH)))
    books = Books(world, [visits])
    eventually(books.complete, BOOKS_S)
    cases = list(books.cases(visits))
    good = [case for _, case in cases if case.whole and billed_chain(case)]
    shares = [case.entries[0].billed / LONGEST for _, case in cases if case.entries]
    note = f"they had between {min(shares):.0%} and {max(shares):.0%} of their answers"
    return Figure(len(visits.asked), len(good), "billed exactly the ids that exist", notes=[note])


RACES = 10_000
CLIENTS = 32
"""That race at once."""
_USAGES = "SELECT value FROM billing.usages WHERE request = ANY($1)"


@drill(
    "cancel race",
    f"{RACES:,} requests left at a random moment around their first token, their work on its way",
    aim="0 orphan generations, 0 ids uncounted",
    seconds=900.0,
)
def cancel_race(world: World) -> Figure:
    visits = world.visits("race")
    idle(world)
    before = generated(world)
    first_s = median(asyncio.run(visits.race(10 * CLIENTS, CLIENTS, 0.0)))
    asyncio.run(visits.race(sized(500, RACES), CLIENTS, 2 * first_s))
    races = len(visits.asked)
    stopped = idle(world, 60.0)
    until(lambda: metric(world, "freehold_edge_in_flight", *EDGES) == 0, "edges to be idle", 60.0)
    books = Books(world, [visits])
    eventually(books.complete, 120.0)
    cases = {asked.key: case for asked, case in books.cases(visits)}
    usages = world.rows(_USAGES, [case.request for case in cases.values()])
    counted = [UsageRecorded.FromString(row[0]) for row in usages]
    ids = sum(choice.generated for usage in counted for choice in usage.choices)
    made = generated(world) - before
    good = sum(case.whole and len(case.entries) == 1 for case in cases.values())
    states = Counter(case.state for case in cases.values())
    never = races - len(cases)
    return Figure(
        races,
        good + never,
        "ended once, with nothing left running",
        f"{stopped:.1f} until the workers were idle",
        met=made == ids and len(counted) > races / 10,
        notes=[
            f"a first token came after {1000 * first_s:.0f} ms; {never} were left before the edge had read"
            f" them, the others ended as {dict(states)};"
            f" {len(counted)} had reached a worker; the engines made {made:.0f} ids, usages count {ids}"
        ],
    )


TEMPLATE_IDS = 8
"""A prompt's first ids are the template's own, which the tenant's earlier prompts have left in its cache."""


@drill(
    "shared prefix",
    "two tenants send the same long prompt in turns",
    anchor="llama.cpp's server: a second tenant's prefill fell from 1,885 to 241 ms",
    aim="0 cached tokens of the other's",
)
def shared_prefix(world: World) -> Figure:
    other, turns = world.other_tenant(), sized(5, 20)
    first, others, again = [], [], []
    for turn in range(turns):
        prompt = f"Turn {turn} of {world.tenant.secret[-6:]}. " + "The same long prompt, word for word. " * 30
        first.append(_cached(world.say(world.tenant, prompt, system=prompt)))
        others.append(_cached(world.say(other, prompt, system=prompt)))
        again.append(_cached(world.say(world.tenant, prompt, system=prompt)))
    good = sum(cached <= TEMPLATE_IDS for cached in first + others)
    return Figure(
        2 * turns,
        good,
        "first prompts of a tenant with none of the other's tokens",
        met=others[0] == 0 and min(again) > 10 * TEMPLATE_IDS,
        notes=[
            f"cached tokens: {others[0]} of the other tenant's first prompt, at most {max(others)} of its"
            f" later ones (the template's, from its own); the same tenant again: {min(again)} or more"
        ],
    )


def _cached(answer: dict[str, object]) -> int:
    usage = answer["usage"]
    assert isinstance(usage, dict)
    return int(usage["prompt_tokens_details"]["cached_tokens"])
