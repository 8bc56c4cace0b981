"""Processes that end: killed, stopped, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from tests.drills.books import outcomes, told
from tests.drills.drill import Figure, drill, sized
from tests.drills.load import Load, slowest
from tests.drills.world import World

THIRD = 0.3
"""Of the requests have ended when the fault comes."""
SUSPECT_S = 5.0
"""Until a silent worker is taken for lost."""
SESSION_S = 6.0
"""Until a silent member of a consumer group is."""
SOON_S = 8.0
"""After that everything is to go on."""


def answered(load: Load, seconds: str, allowed: int = 0, notes: Sequence[str] = ()) -> Figure:
    """Requests that were not failed: answered whole, or left by their client."""
    counts = outcomes([load])
    good = counts["completed"] + counts["cancelled"]
    found = Figure(counts.total(), good, "requests not failed", seconds, allowed=allowed, notes=list(notes))
    if errors := list(told([load])):
        found.notes.append("told: " + ", ".join(errors))
    return found


def recovered(load: Load, moment: float, within_s: float, *, allowed: int = 0) -> Figure:
    """As `answered`, with how soon a new request is served and the slowest answer that was on its way: both
    are to be within the bound.
    """
    following = load.served_after(moment)
    wait = slowest(load.asked, lambda one: one.began < moment < one.ended)
    found = answered(load, f"{following:.1f} to the next answer; {wait:.1f} the slowest on its way", allowed)
    found.met = found.met and max(following, wait) <= within_s
    return found


def killed(world: World, name: str, victim: str) -> tuple[Load, float]:
    """8 clients × 100 requests; a process is killed when a third of them have ended."""
    each = sized(12, 100)
    with world.load(name, each=each) as load:
        load.reached(round(8 * each * THIRD))
        moment = world.kill(victim)
        load.join(400.0)
    return load, moment


@drill(
    "F1",
    "one of two workers killed (SIGKILL) under 8 clients × 100 requests",
    anchor="Dynamo: 4 of 800 failed, 44.9 s",
    aim="0 failed, ≤ 8 s after 5 s of suspicion",
)
def worker(world: World) -> Figure:
    return recovered(*killed(world, "F1", "inference"), SUSPECT_S + SOON_S)


def _killed(service: str, anchor: str, aim: str) -> None:
    @drill(f"F3 {service}", f"one of two {service} replicas killed, as F1", anchor=anchor, aim=aim)
    def run(world: World) -> Figure:
        return recovered(*killed(world, f"F3-{service}", f"{service}-2"), SESSION_S + SOON_S)


_killed("tokenizer", "Dynamo: 120 of 800, 21.3 s", "0 failed, ≤ 8 s after the group's session of 6 s")
_killed("moderation", "–", "0 failed, ≤ 8 s after the group's session of 6 s")
_killed("billing", "–", "0 failed, ≤ 8 s after the group's session of 6 s")


@drill(
    "F3 edge",
    "one of two edges killed, as F1",
    anchor="Dynamo: 128 of 800, 16.7 s",
    aim="only streams that the killed edge itself held",
)
def edge(world: World) -> Figure:
    load, moment = killed(world, "F3-edge", "edge-2")
    gone = world.url("edge-2")
    held = [
        one
        for one in load.asked
        if one.outcome == "cut" and one.kind != "plain" and one.tries[-1].edge == gone
    ]
    others = [one for one in load.asked if one.outcome in ("error", "cut") and one not in held]
    found = recovered(load, moment, SESSION_S + SOON_S, allowed=len(held))
    found.notes.append(f"{len(held)} streams were held by the killed edge; {len(others)} others failed")
    return found


@drill(
    "F4",
    "rolling restart: every replica of every service ended by SIGTERM and started again, one after the other",
    aim="0 failed",
    seconds=900.0,
)
def rolling(world: World) -> Figure:
    with world.load("F4", each=100_000) as load:
        load.reached(40)
        odd = []
        for name, replica in world.replicas.items():
            status = replica.stop()
            if status:
                odd.append(f"{name} ended with {status}")
            replica.again()
            world.deployment.wait_ready()
        load.reached(sized(100, 800))
        load.end_after(0.0)
        load.join(200.0)
    found = answered(load, "", notes=odd)
    found.met = found.met and not odd
    return found
