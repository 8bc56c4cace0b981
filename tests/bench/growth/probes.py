"""What is measured: the services' own functions, a few batches at a time, and what they cost."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NamedTuple

from services.audit.facts import Fact, read_fact
from services.audit.tlog.entry import SETTLED
from services.billing.books.reserving import reserve
from services.billing.books.settling import settle_batches
from shared.host import system_host
from shared.ids import Ids
from tests.bench.audit_append import records
from tests.bench.growth.rows import TENANTS, seq
from tests.bench.growth.stores import Store
from tests.bench.settle import ask, closes, configured, usages

BATCH: Final = 16
"""Requests and settlements of one transaction."""
ENTRIES: Final = 64
"""Log entries of one transaction, and then a signed checkpoint."""
KINDS: Final = ("request", "settlement", "entry")


class Cost(NamedTuple):
    """Of one event."""

    cpu_us: float
    wall_us: float


class Probe:
    """New requests, settlements and entries in the books of one size."""

    def __init__(self, store: Store) -> None:
        self.store = store
        host = system_host()
        self._clock = host.clock
        self._ids = Ids(host.clock, random.Random(store.size))
        self._known = configured(TENANTS)
        self._reserved: list[tuple[str, str]] = []
        self._offsets = {"usage": 0, "closed": 0}
        self._following = store.size

    async def run(self, kind: str, batches: int) -> Cost:
        """Some batches of one kind; the mean cost of an event."""
        work = [await self._prepared(kind) for _ in range(batches)]
        begun, cpu = time.perf_counter(), self.store.cpu_ns()
        for one in work:
            await one()
        spent, cpu = time.perf_counter() - begun, self.store.cpu_ns() - cpu
        events = batches * (ENTRIES if kind == "entry" else BATCH)
        return Cost(cpu / events / 1e3, spent / events * 1e6)

    async def _prepared(self, kind: str) -> Callable[[], Awaitable[object]]:
        now_ms = self._clock.time_ns() // 1_000_000
        if kind == "entry":
            return partial(self._append, self._facts())
        if kind == "request":
            requests = [self._ids.request() for _ in range(BATCH)]
            named = [(one, f"org-{place % TENANTS}") for place, one in enumerate(requests)]
            asks = [ask(self._known, request, tenant, now_ms) for request, tenant in named]
            self._reserved += named
            return partial(self.store.billing.transact, partial(reserve, asks=asks))
        some, self._reserved = self._reserved[:BATCH], self._reserved[BATCH:]
        evidence = [usages(some, self._offsets, now_ms), closes(some, self._offsets, now_ms)]
        work = partial(settle_batches, batches=evidence, now_ns=now_ms * 10**6)
        return partial(self.store.billing.transact, work)

    async def _append(self, facts: list[Fact]) -> None:
        await self.store.log.append(facts)
        await self.store.log.publish()

    def _facts(self) -> list[Fact]:
        numbers = range(self._following, self._following + ENTRIES)
        self._following += ENTRIES
        facts = []
        for number, value in zip(numbers, records(1, ENTRIES), strict=True):
            made = read_fact(SETTLED, value)
            organisation = f"org-{number % TENANTS}"
            facts.append(
                made._replace(
                    stream=f"billing/{organisation}",
                    seq=seq(number),
                    organisation=organisation,
                    request=self._ids.request(),
                )
            )
        return facts
