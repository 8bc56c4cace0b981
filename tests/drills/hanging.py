"""Processes and servers that hang or are away for a while, and come back."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tests.drills.books import Books, outcomes
from tests.drills.drill import Figure, drill, sized
from tests.drills.dying import SESSION_S, SOON_S, answered, recovered
from tests.drills.load import LONGEST, Load, Mix
from tests.drills.running import eventually
from tests.drills.world import World
from tests.e2e.running import until

STOPPED_S = 30.0
BOOKS_S = 60.0


def stopped_s() -> float:
    """How long what is stopped stays so."""
    return sized(12.0, STOPPED_S)


def meanwhile(world: World, name: str, seconds: float) -> Load:
    """A load that goes on for `seconds` from now; begun."""
    load = world.load(name, each=100_000)
    load.__enter__()
    load.reached(16)
    load.end_after(seconds)
    return load


def settled_once(world: World, load: Load, seconds: str = "", notes: Sequence[str] = ()) -> Figure:
    """Accepted requests that have one settlement and one entry in the log, as all must have in the end."""
    books = Books(world, [load])
    eventually(books.complete, BOOKS_S)
    cases = [case for _, case in books.cases(load)]
    good = sum(case.whole and len(case.entries) == len(case.leaves) == 1 for case in cases)
    ends = f"as their clients saw them: {dict(outcomes([load]))}"
    return Figure(
        len(cases), good, "accepted requests settled and logged once", seconds, notes=[ends, *notes]
    )


def metric(world: World, name: str, *replicas: str, only: str = "") -> float:
    """Sum of a metric over these replicas, over all labels or those that hold this text."""
    texts = (world.replicas[replica].metrics().splitlines() for replica in replicas)
    found = [
        line for text in texts for line in text if line.startswith((f"{name} ", f"{name}{{")) and only in line
    ]
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)


@drill(
    "F2",
    "both workers hang with what they were just sent; one is killed before any first token, one goes on",
    aim="≤ 1 bill a request, 0 failed",
)
def before_the_first_token(world: World) -> Figure:
    def dispatched() -> float:
        return metric(world, "freehold_edge_attempts_total", "edge", "edge-2")

    world.pause("inference", "inference-2")
    before = dispatched()
    with world.load("F2", clients=40, each=1, mix=Mix(leaving=0.0)) as load:
        until(lambda: dispatched() >= before + 40, "all to be dispatched", 60.0)
        moment = world.kill("inference")
        world.proceed()
        load.join(150.0)
    late = max(one.ended for one in load.asked) - moment
    return answered(load, f"{late:.1f} until all were answered")


@drill(
    "F5",
    f"a worker stopped (SIGSTOP) for {STOPPED_S:.0f} s, then continued: a zombie with old attempts",
    aim="0 tokens twice, 0 billed twice, 0 failed",
)
def zombie(world: World) -> Figure:
    load = meanwhile(world, "F5", stopped_s() + 10.0)
    moment = world.pause("inference")
    time.sleep(stopped_s())
    world.proceed()
    load.join(150.0)
    return answered(load, f"{load.served_after(moment):.1f} to the next answer")


@drill(
    "owner stopped",
    f"an edge stopped (SIGSTOP) for {STOPPED_S:.0f} s with the requests that it owns, then continued",
    aim="≤ 1 re-send a request, 0 tokens lost or repeated",
)
def owner(world: World) -> Figure:
    with world.load("owner", clients=60, each=1, mix=Mix((LONGEST, LONGEST), 0.7, 0.0)) as load:
        load.streaming(30)
        moment = world.pause("edge-2")
        held = [one for one in load.asked if not one.ended]
        time.sleep(stopped_s())
        world.proceed()
        load.join(150.0)
    books = Books(world, [load])
    eventually(books.complete, BOOKS_S)
    gone = world.url("edge-2")
    cases = {asked.key: case for asked, case in books.cases(load)}
    met = [one for one in held if one.tries and one.tries[-1].edge == gone]
    good = [
        one for one in met if one.outcome == "completed" and one.key in cases and cases[one.key].attempts <= 2
    ]
    sent_on = sum(case.attempts > 1 for case in cases.values())
    late = max((one.ended for one in met), default=moment) - moment - stopped_s()
    return Figure(
        len(met),
        len(good),
        "requests of the stopped owner whole, with at most one re-send",
        f"{late:.1f} after it went on until the last was whole",
        met=outcomes([load])["completed"] == len(load.asked),
        notes=[f"{sent_on} of {len(load.asked)} requests were sent to a worker again"],
    )


@drill(
    "control down",
    "control killed and away, while clients go on",
    aim="0 failed",
    seconds=1200.0,
)
def control(world: World) -> Figure:
    away = sized(10.0, 30.0, 600.0)
    load = meanwhile(world, "control", away)
    world.kill("control")
    load.join(away + 120.0)
    return answered(load, f"{away:.0f} away")


@drill(
    "F14",
    "PostgreSQL stopped for 30 s, while clients go on",
    aim="0 served unmetered, 0 usages lost; told 503 meanwhile",
)
def database(world: World) -> Figure:
    load = meanwhile(world, "F14", stopped_s() + 15.0)
    world.postgres.stop()
    down = time.monotonic()
    time.sleep(stopped_s())
    world.postgres.start()
    back = time.monotonic()
    served = load.served_after(back)
    load.join(150.0)
    books = Books(world, [load])
    eventually(books.complete, BOOKS_S)
    caught_up = time.monotonic() - back
    metered = {asked.key for asked, case in books.cases(load) if case.entries}
    meant = [one for one in load.asked if down < one.began < back]
    good = [one for one in meant if one.outcome != "completed" or one.key in metered]
    during = sum(one.outcome == "completed" and one.ended < back for one in meant)
    return Figure(
        len(meant),
        len(good),
        "requests that began meanwhile were told so or metered",
        f"{served:.1f} after its return to the next answer; {caught_up:.1f} until all was settled and logged",
        met=during == 0,
        notes=[f"{during} of them were served while it was away; outcomes of all: {dict(outcomes([load]))}"],
    )


@drill(
    "F22",
    "both moderation replicas killed under streams, back after 10 s",
    aim="0 characters delivered meanwhile; 0 failed",
)
def moderation(world: World) -> Figure:
    mix = Mix((LONGEST, LONGEST), 1.0, 0.0)
    with world.load("F22", clients=60, each=1, mix=mix) as load:
        load.streaming(60)
        moment = world.kill("moderation", "moderation-2")
        time.sleep(10.0)
        back = time.monotonic()
        world.again()
        load.join(200.0)
    # What was vetted before may be on its way for a moment.
    leaked = [one for one in load.asked if any(moment + 1.0 < heard < back for heard in one.heard)]
    open_ = [one for one in load.asked if one.ended > moment]
    found = answered(
        load, f"{max(one.ended for one in load.asked) - back:.1f} after the restart until all were whole"
    )
    found.notes.append(f"{len(open_)} streams were open; {len(leaked)} got text while no moderation ran")
    found.met = found.met and not leaked
    return found


@drill(
    "hang",
    "a tokenizer, a moderation and a billing replica stopped (SIGSTOP) at once, beyond their groups' session",
    aim="0 failed",
)
def half_hangs(world: World) -> Figure:
    hung = sized(8.0, 10.0)
    load = meanwhile(world, "hang", hung + sized(4.0, 8.0))
    moment = world.pause("tokenizer-2", "moderation-2", "billing-2")
    time.sleep(hung)
    world.proceed()
    load.join(150.0)
    return recovered(load, moment, SESSION_S + SOON_S)
