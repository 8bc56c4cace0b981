"""Machines at fault: a full disk, a wrong clock, too little memory."""

from __future__ import annotations

import re
import resource
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx

from tests.drills.books import Books
from tests.drills.drill import Figure, drill, sized
from tests.drills.dying import answered
from tests.drills.hanging import BOOKS_S, meanwhile
from tests.drills.orders import code
from tests.drills.running import eventually
from tests.drills.world import World
from tests.e2e.deployment import Deployment
from tests.e2e.disk import Limited, small_disk
from tests.e2e.running import MODEL, Running, until

COMPLAINT = r'"level":"(WARNING|ERROR)"|freehold: '
STEPPED = Path(__file__).parent / "stepped"


def ask(base_url: str, key: str, tokens: int = 5) -> httpx.Response:
    """A plain answer."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": tokens}
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.post(f"{base_url}/chat/completions", json=body, headers=headers, timeout=60.0)


@drill(
    "F16",
    "disk full: the log's folder under load; then the whole home of an embedded platform",
    aim="0 served without a record, 0 torn records at the next start",
)
def full_disk(world: World) -> Figure:
    audit = world.replicas["audit"].process.pid
    load = meanwhile(world, "F16", sized(6.0, 15.0))
    limit = Limited(world.folder)
    limit.fill(audit)
    time.sleep(sized(5.0, 12.0))
    limit.free(audit)
    load.join(150.0)
    books = Books(world, [load])
    eventually(books.complete, BOOKS_S)
    cases = [case for _, case in books.cases(load)]
    logged = sum(case.whole and len(case.leaves) == 1 for case in cases)
    told, verified = _embedded(world.folder, sized(5, 20))
    refused = told.total() - told["200"]
    return Figure(
        len(cases) + told.total(),
        logged + refused,
        "requests logged once, or told that they are not served",
        met=verified,
        notes=[
            f"{logged} of {len(cases)} were logged, the log's folder full meanwhile; on the embedded"
            f" platform's full disk {dict(told)}; its ledger verified with space again and after a restart"
        ],
    )


def _embedded(folder: Path, times: int) -> tuple[Counter[str], bool]:
    """What requests are told on a full disk, and whether the books are right afterwards."""
    with small_disk(folder) as disk:
        running = Running(disk.path / "home", "synthetic")
        try:
            assert ask(running.base_url, running.key).is_success
            disk.fill(running.process.pid)
            told = Counter(code(ask(running.base_url, running.key)) for _ in range(times))
            disk.free(running.process.pid)
            until(lambda: ask(running.base_url, running.key).is_success, "service on a disk with room", 60.0)
            running.verify_ledger()
            running.stop()
            running = Running(disk.path / "home", "synthetic")
            running.verify_ledger()
            return told, "Traceback" not in running.output
        finally:
            running.kill()


STEPS = {"+1 h": 3600, "-5 min": -300, "-1 h": -3600, "+40 days": 40 * 86400}
_PERIODS = "SELECT period FROM billing.requests WHERE state = 'settled' AND period <> ''"


@drill(
    "F17",
    "every service's clock steps: +1 h, −5 min, −1 h, and +40 days, which would show in the month",
    aim="0 false 401, 0 in a wrong period, 0 spent budgets revived",
)
def clock_steps(world: World) -> Figure:
    times, right, told = sized(3, 20), 0, []
    with _stepped(world) as (other, clock):
        identifier, poor = other.command("keys", "create", "--project", "demo-project").stdout.split()
        other.command("budgets", "set", "key", identifier, "0.000000001")
        assert other.ask().is_success
        refused = f"429 {'insufficient_quota'}"
        until(lambda: code(ask(other.base_url, poor)) == refused, "the budget to be in force", 30.0)
        for name, seconds in STEPS.items():
            clock.write_text(str(seconds))
            answers = Counter(code(ask(other.base_url, other.key)) for _ in range(times))
            kept = Counter(code(ask(other.base_url, poor)) for _ in range(times))
            right += answers["200"] + kept[refused]
            told.append(f"{name}: {dict(answers)}, without money {dict(kept)}")
        clock.write_text("0")
        month = datetime.now(UTC).strftime("%Y-%m-01")
        periods = _periods(world, other)
        other.stop()
    return Figure(
        2 * times * len(STEPS),
        right,
        "answered, or still refused for want of money",
        met=set(periods) == {month},
        notes=[*told, f"periods by the log's time: {dict(periods)}"],
    )


def _periods(world: World, other: Deployment) -> Counter[str]:
    name = other.environment["FREEHOLD_DATABASE_NAME"]
    until(lambda: len(world.rows(_PERIODS, database=name)) > 0, "a settlement", 30.0)
    return Counter(row[0] for row in world.rows(_PERIODS, database=name))


@contextmanager
def _stepped(world: World) -> Iterator[tuple[Deployment, Path]]:
    """A platform whose clock is wrong by what the file says."""
    clock = world.folder / "clock"
    clock.write_text("0")
    with world.beside("synthetic", PYTHONPATH=str(STEPPED), DRILLS_CLOCK=str(clock)) as other:
        yield other, clock


@drill(
    "F30",
    "a third worker that cannot load its model: too little memory (RLIMIT_AS)",
    aim="0 requests sent to it; it ends or waits, and says why",
)
def no_memory(world: World) -> Figure:
    with world.load("F30", each=100_000) as load:
        load.reached(16)
        third = world.deployment.add("inference", "inference-3", FREEHOLD_ENGINE="llama")
        try:
            resource.prlimit(third.process.pid, resource.RLIMIT_AS, (600 << 20, 600 << 20))
            spoke = eventually(
                lambda: third.process.poll() is not None or re.search(COMPLAINT, third.output) is not None,
                120.0,
            )
            time.sleep(sized(2.0, 5.0))  # of service, whatever becomes of it
            status = third.process.poll()
            answer = third.ask("/readyz") if status is None else None
            ready = answer is not None and answer.is_success
            last = next((line for line in reversed(third.output.splitlines()) if line.strip()), "nothing")
        finally:
            world.replicas.pop("inference-3").kill()
        load.end_after(0.0)
        load.join(150.0)
    said = f"ended with {status}" if status is not None else "waits"
    words = re.sub(r"\S*/", "", last)[:200]  # no folders of this machine
    found = answered(load, "", notes=[f"it {said}; last words: {words}"])
    found.met = found.met and spoke and not ready
    return found
