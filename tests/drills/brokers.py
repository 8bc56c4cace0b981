"""The broker: away, restarted, at another address."""

from __future__ import annotations

import re
import time
from collections import Counter

from tests.drills.books import Books, outcomes
from tests.drills.drill import Figure, drill, sized
from tests.drills.dying import answered
from tests.drills.hanging import BOOKS_S, metric, settled_once
from tests.drills.load import LONGEST, Mix
from tests.drills.running import eventually
from tests.drills.world import World


def _broker_away(name: str, seconds: float) -> None:
    @drill(
        name,
        f"the broker killed under 200 streams and away for {seconds:.0f} s",
        aim="0 lost, 0 sent again, 503 in the meantime, nothing hangs",
        seconds=900.0,
    )
    def run(world: World) -> Figure:
        mix, streams = Mix((LONGEST, LONGEST), 1.0, 0.0), sized(20, 200)
        with world.load(name.replace(" ", "-"), clients=streams, each=1, mix=mix) as load:
            load.streaming(streams // 2)
            world.kafka.kill()
            began = time.monotonic()
            told = _told(world)
            time.sleep(max(0.0, seconds - (time.monotonic() - began)))
            world.kafka.start()
            back = time.monotonic()
            load.join(240.0)
        world.deployment.wait_ready()
        books = Books(world, [load])
        eventually(books.complete, BOOKS_S)
        sent_on = sum(case.attempts > 1 for _, case in books.cases(load))
        hung = metric(world, "freehold_edge_in_flight", "edge", "edge-2")
        last = max(one.ended for one in load.asked) - back
        found = answered(load, f"{told}; {last:.1f} after its return until the last stream was whole")
        found.met = found.met and not sent_on and not hung
        found.notes.append(f"{sent_on} sent to a worker again; {hung:.0f} in flight when all had ended")
        return found


_broker_away("F6 6 s", 6.0)
_broker_away("F6 60 s", 60.0)


def _told(world: World) -> str:
    """What a new request is told while nothing can be handed on."""
    began = time.monotonic()
    answer = world.deployment.ask()
    return f"{answer.status_code} after {time.monotonic() - began:.1f}"


BROKER_ERRORS = re.compile(
    r"\b(NotLeader\w*|NotCoordinator\w*|Coordinator\w*|GroupLoad\w*|\w*Timeout\w*|OutOfOrder\w*|\w*Connection\w*Error)\b"
)
"""As the services' logs name them."""


@drill(
    "F7",
    "the broker restarted again and again: not leader, coordinator gone or loading, time-outs",
    aim="0 lost, each effect once (OUT_OF_ORDER: tests/integration/test_kafka_traps_sending.py)",
)
def broker_errors(world: World) -> Figure:
    before = {name: len(one.output) for name, one in world.replicas.items()}
    with world.load("F7", each=100_000) as load:
        load.reached(16)
        for _ in range(sized(1, 2, 5)):
            world.kafka.restart()
            load.served_after(time.monotonic())
        load.end_after(sized(2.0, 5.0))
        load.join(150.0)
    met = Counter(
        error
        for name, one in world.replicas.items()
        for error in BROKER_ERRORS.findall(one.output[before.get(name, 0) :])
    )
    return settled_once(world, load, notes=[f"met in the services' logs: {dict(met.most_common(6))}"])


@drill(
    "F8",
    "the broker returns at another address behind the same bootstrap name",
    aim="served again without a restart of anything",
)
def moved_broker(world: World) -> Figure:
    with world.load("F8", each=100_000) as load:
        load.reached(16)
        world.move_broker()
        back = time.monotonic()
        served = load.served_after(back, seconds=200.0)
        load.end_after(sized(5.0, 10.0))
        load.join(150.0)
    after = [one for one in load.asked if one.began > back + served]
    good = [one for one in after if one.outcome in ("completed", "cancelled")]
    return Figure(
        len(after),
        len(good),
        "requests from then on not failed",
        f"{served:.1f} after its return to the next answer",
        met=served < 30.0,
        notes=[f"outcomes of all, its absence included: {dict(outcomes([load]))}"],
    )
