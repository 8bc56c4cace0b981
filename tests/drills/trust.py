"""What an auditor can rely on: tampered logs, and histories that nobody would think of."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

from tests.drills.drill import Figure, drill, sized
from tests.drills.log import agrees, entries, signed
from tests.drills.world import World
from tests.e2e.running import ROOT, until

Tamper = Callable[[list[bytes], random.Random], None]


def _flip(log: list[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(log))
    entry = bytearray(log[at])
    entry[chance.randrange(len(entry))] ^= 1 << chance.randrange(8)
    log[at] = bytes(entry)


def _swap(log: list[bytes], chance: random.Random) -> None:
    one, other = chance.sample(range(len(log)), 2)
    log[one], log[other] = log[other], log[one]


def _fork(log: list[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(log))
    log[at:] = [json.dumps({"instead of": number}).encode() for number in range(len(log) - at)]


TAMPERS: dict[str, Tamper] = {
    "flip": _flip,
    "delete": lambda log, chance: log.__delitem__(chance.randrange(len(log))),
    "insert": lambda log, chance: log.insert(chance.randrange(len(log)), b"{}"),
    "swap": _swap,
    "truncate the tail": lambda log, chance: log.__delitem__(slice(len(log) - chance.randint(1, 5), None)),
    "fork": _fork,
}


@drill(
    "F26",
    "the audit log tampered with: a bit flipped, an entry deleted, inserted, swapped, the tail cut, a fork",
    aim="all found against a checkpoint that had left the machine",
)
def tampered(world: World) -> Figure:
    world.say(world.tenant, "Something for the log.")
    until(lambda: len(entries(world)) == signed(world).size, "the whole log to be signed", 60.0)
    log, checkpoint = entries(world), signed(world)
    assert agrees(log, checkpoint)
    times, chance, found = sized(5, 20), random.Random(26), Counter[str]()
    for name, tamper in TAMPERS.items():
        for _ in range(times):
            copy = list(log)
            tamper(copy, chance)
            found[name] += not agrees(copy, checkpoint)
    note = f"of {times} each: {dict(found)}, in a log of {len(log)} entries"
    return Figure(times * len(TAMPERS), found.total(), "found", notes=[note])


@drill(
    "F29",
    "seeded histories of the whole platform's own code, a few of the many of `make simulate`",
    anchor="TigerBeetle VOPR",
    aim="0 violations",
    seconds=400.0,
)
def simulated(world: World) -> Figure:
    del world
    histories = sized(5, 20, 1000)
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seed", "29", "--histories", str(histories), "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    told = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-400:]
    good = histories if done.returncode == 0 else 0
    return Figure(histories, good, "histories without a violation", notes=[told[:400]])
