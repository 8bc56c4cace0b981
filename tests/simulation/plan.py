"""One history written down before it runs: who asks for what, and what goes wrong when.

A plan is all there is to a history beside chance, and chance comes from its seed: so a plan can be made
smaller, run again, and told in words.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from tests.simulation import cast
from tests.simulation import weather as bad
from tests.simulation.assembly import Shape

SHAPES = (
    Shape(1, 1, 1, 1, 2),
    Shape(2, 1, 2, 1, 2),
    Shape(1, 2, 2, 2, 3, slots=2),
    Shape(2, 2, 2, 2, 2, pace=200.0),
)
KINDS = ("kill", "kill upon", "stop", "cut", "drain", "trouble", "down", "shake", "clock", "revoke", "full")
POINTS = (
    ("publish", "requests"),
    ("publish", "reserves"),
    ("publish", "replies"),
    ("publish", "work"),
    ("publish", "frames"),
    ("publish", "completions"),
    ("publish", "usage"),
    ("publish", "closed"),
    ("publish", "facts"),
    ("commit", "billing"),
    ("commit", "audit"),
    ("store", "moderation.input"),
    ("store", "moderation.output"),
    ("store", "tokenizer"),
    ("store", "billing.reserve"),
    ("store", "billing.settle"),
    ("store", "audit"),
)
GROUPS = ("moderation.input", "moderation.output", "tokenizer", "billing.reserve", "billing.settle", "audit")
TOPICS = ("", "requests", "reserves", "replies", "work", "frames", "completions", "usage", "closed", "facts")
TROUBLES = (
    (bad.NOT_WRITTEN, TOPICS),
    (bad.ACK_LOST, TOPICS),
    (bad.TWICE, TOPICS),
    (bad.AGAIN, TOPICS),
    (bad.SLOW, TOPICS),
    (bad.COMMIT_LOST, ("", *GROUPS)),
    (bad.EMPTY, ("",)),
    (bad.FAILS_BEFORE, ("billing", "audit", "control")),
    (bad.FAILS_AFTER, ("billing", "audit", "control")),
    (bad.DISK_SLOW, ("billing", "audit")),
    (bad.FULL, ("billing", "audit")),
)
PROMPTS = (
    "Tell me of the winter garden",
    "Is the river deep, and the stone old?",
    "A long question about paper and music, music and paper, winter and garden, and what comes after",
    "copper moon rising, is it metal?",
    "the river stone is here",
)
REFUSED_SHARE = 0.25
"""Of answers, that may be refused."""
SPAN_S = 4.0
"""In which requests begin."""


@dataclass(frozen=True)
class Ask:
    """One client and its one request."""

    number: int
    at: float
    key: str
    edge: int
    text: str
    streamed: bool
    most: int
    seed: int
    choices: int = 1
    idempotency: str = ""
    leaves_after: float | None = None
    """Seconds after it asked."""
    reads_every: float = 0.0
    """Seconds between two looks at its answer."""
    deadline_s: float = 120.0

    def words(self) -> str:
        """What it does."""
        found = f"{self.at:.3f} s: client {self.number} asks edge-{self.edge} as {self.key}"
        found += f" for {self.choices} x {self.most} tokens, {'streamed' if self.streamed else 'plain'}"
        found += f", {self.text[:24]!r}"
        if self.idempotency:
            found += f", idempotency key {self.idempotency}"
        if self.leaves_after is not None:
            found += f"; it leaves {self.leaves_after:.3f} s later"
        if self.reads_every:
            found += f"; it reads every {self.reads_every:.2f} s"
        if self.deadline_s < 120:
            found += f"; its deadline is {self.deadline_s:.1f} s"
        return found


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong."""

    kind: str
    at: float
    target: str = ""
    """A process, a group, a key, or what a trouble is about."""
    seconds: float = 0.0
    """How long it lasts, or until the process is there again."""
    trouble: str = ""
    probability: float = 0.0
    delay: float = 0.0
    count: int = 0
    """Steps of the process, or times that the point is passed, before it strikes."""

    def words(self) -> str:
        """What happens."""
        again = f", and is there again {self.seconds:.2f} s later"
        told = {
            "kill": f"{self.target} is killed, {self.count} steps later{again}",
            "kill upon": f"from now on the process that {_point(self.target)} for the {_nth(self.count)} time"
            f" is killed there{again}",
            "stop": f"{self.target} is stopped for {self.seconds:.2f} s, as by SIGSTOP",
            "cut": f"{self.target} cannot reach the brokers for {self.seconds:.2f} s",
            "drain": f"{self.target} is told to end (SIGTERM){again}",
            "trouble": f"for {self.seconds:.2f} s: {self.trouble} ({self.target or 'everywhere'}),"
            f" at {self.probability:.0%} of chances" + (f", up to {self.delay:.2f} s" if self.delay else ""),
            "down": f"the brokers are down for {self.seconds:.2f} s",
            "shake": f"the group {self.target} is rebalanced",
            "clock": f"the wall clock of {self.target} steps by {self.delay:+.0f} s",
            "revoke": f"the key {self.target} is revoked",
            "full": f"audit's file system is full for {self.seconds:.2f} s",
        }
        return f"{self.at:.3f} s: {told[self.kind]}"


@dataclass(frozen=True)
class Plan:
    """A whole history."""

    seed: int
    shape: int
    asks: tuple[Ask, ...]
    faults: tuple[Fault, ...]

    @property
    def horizon(self) -> float:
        """When the last fault has ended."""
        ends = [fault.at + fault.seconds for fault in self.faults] + [ask.at for ask in self.asks]
        return max(ends, default=0.0) + 0.5

    def words(self) -> list[str]:
        """The story, in the order of time."""
        told = [(one.at, one.words()) for one in (*self.asks, *self.faults)]
        shape = SHAPES[self.shape]
        head = (
            f"seed {self.seed}: edges {shape.edges}, tokenizers {shape.tokenizers}, moderations"
            f" {shape.moderations}, billings {shape.billings}, workers {shape.workers}"
        )
        return [head, *(text for _, text in sorted(told))]


def draw(seed: int) -> Plan:
    """The plan of a seed. Only some kinds of faults occur in one history, so that each can have its full
    effect: what always kills never lets anything grow old.
    """
    chance = random.Random(f"plan {seed}")
    shape = chance.randrange(len(SHAPES))
    asks = tuple(_ask(chance, number, SHAPES[shape]) for number in range(chance.randint(1, 6)))
    kinds = [kind for kind in KINDS if chance.random() < 0.35]
    count = chance.choice((0, 1, 1, 2, 2, 3, 4, 6)) if kinds else 0
    faults = tuple(_fault(chance, chance.choice(kinds), SHAPES[shape]) for _ in range(count))
    return Plan(seed, shape, asks, faults)


def _ask(chance: random.Random, number: int, shape: Shape) -> Ask:
    most = chance.choice((1, 3, 8, 16, 40, 120))
    ask = Ask(
        number=number,
        at=chance.random() * chance.choice((0.2, 2.0, SPAN_S)),
        key=chance.choice(("north-0", "north-1", "south-0", "south-1")),
        edge=chance.randrange(shape.edges),
        text=chance.choice(PROMPTS[:3]) if chance.random() < 0.75 else chance.choice(PROMPTS[3:]),
        streamed=chance.random() < 0.6,
        most=most,
        seed=_seed(chance, most),
        choices=2 if chance.random() < 0.1 else 1,
    )
    if chance.random() < 0.15:
        ask = replace(ask, idempotency=chance.choice(("a", "b")))
    if chance.random() < 0.2:
        ask = replace(ask, leaves_after=chance.random() * chance.choice((0.05, 1.0, 4.0)))
    if chance.random() < 0.1:
        ask = replace(ask, reads_every=chance.uniform(0.1, 1.0))
    if chance.random() < 0.1:
        ask = replace(ask, deadline_s=chance.uniform(0.2, 5.0))
    return ask


def _seed(chance: random.Random, most: int) -> int:
    """Of a sampling. Most long answers would be refused somewhere: they are given another, mostly."""
    seed = chance.getrandbits(63)
    if chance.random() < REFUSED_SHARE:
        return seed
    while cast.allowed(cast.spoken(seed, 0, most))[1]:
        seed = chance.getrandbits(63)
    return seed


def _fault(chance: random.Random, kind: str, shape: Shape) -> Fault:
    at = chance.random() * chance.choice((0.3, 2.0, SPAN_S))
    process = chance.choice(shape.names())
    back = chance.choice((0.05, 1.0, 4.0, 9.0)) * chance.uniform(0.5, 1.0)
    if kind == "kill":
        return Fault(kind, at, process, back, count=chance.choice((0, chance.randrange(200))))
    if kind == "kill upon":
        point = "/".join(chance.choice(POINTS))
        return Fault(kind, at, point, back, count=1 + int(chance.random() ** 2 * 12))
    if kind in ("stop", "cut"):
        return Fault(kind, at, process, chance.choice((0.3, 2.0, 8.0, 15.0)) * chance.uniform(0.5, 1.0))
    if kind == "drain":
        return Fault(kind, at, process, back)
    if kind == "trouble":
        trouble, scopes = chance.choice(TROUBLES)
        slow = trouble in (bad.SLOW, bad.DISK_SLOW)
        return Fault(
            kind,
            at,
            scopes[0] if chance.random() < 0.4 else chance.choice(scopes),
            chance.choice((0.5, 3.0, 8.0)),
            trouble,
            chance.choice((0.05, 0.3, 0.8)),
            chance.choice((0.05, 0.5, 3.0)) if slow else 0.0,
        )
    if kind == "down":
        return Fault(kind, at, "", chance.choice((0.4, 1.5, 4.0, 8.0)))
    if kind == "shake":
        return Fault(kind, at, chance.choice(GROUPS))
    if kind == "clock":
        return Fault(kind, at, process, delay=chance.choice((-3600.0, -300.0, -1.0, 1.0, 3600.0)))
    if kind == "revoke":
        return Fault(kind, at, chance.choice(("north-0", "north-1", "south-0", "south-1")))
    return Fault(kind, at, "", chance.choice((0.5, 3.0)))


def _point(target: str) -> str:
    kind, _, name = target.partition("/")
    if kind == "publish":
        return f"publishes on {name}"
    return f"has committed to the database of {name}" if kind == "commit" else f"stores offsets of {name}"


def _nth(count: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(count, f"{count}th")
