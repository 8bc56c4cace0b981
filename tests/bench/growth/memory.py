"""Resident memory of billing and audit over a million requests, in one process on SQLite.

    python -m tests.bench.growth.memory [--requests 1000000] [--write FILE]

Each request is reserved, its usage and close are settled by billing's handler, its fact becomes a signed
log entry by audit's: all that these two services do for one, without bus and gRPC. Every request must be
settled and in the log at the end. Prints resident memory at every twentieth; `growth` is the last by that at
a tenth, when caches have filled.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import tempfile
import time
from functools import partial
from pathlib import Path

from services.audit.handlers import Handler
from services.audit.log import Log
from services.audit.observing import Observer as AuditObserver
from services.audit.site import Site
from services.billing.books.reserving import reserve
from services.billing.handlers import SettleHandler
from services.billing.observing import Observer
from services.billing.publishing import Facts
from services.cli.memory import settle_memory
from shared.bus.handling import Batch
from shared.host import system_host
from shared.ids import Ids
from shared.storage.migrations import open_database
from shared.storage.sql import query
from shared.telemetry import Telemetry, TelemetrySettings
from tests.bench.growth.stores import SIGNER
from tests.bench.machine import described
from tests.bench.processes import resident_mib
from tests.bench.settle import TENANTS, ask, configured
from tests.bench.settled import KINDS, Taken, batches

BATCH = 500
SAMPLES = 20


class Life:
    """Billing's and audit's own parts over two files."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._host = system_host()
        self._chance = random.Random(7)
        self._ids = Ids(self._host.clock, self._chance)
        self._known = configured()
        self._facts = Taken()

    async def open(self) -> None:
        """Empty books and an empty log."""
        host = self._host
        telemetry = Telemetry(host, TelemetrySettings())
        self.billing = await open_database(self._home / "billing.db", "billing", host)
        self._audit = await open_database(self._home / "audit.db", "audit", host)
        site = Site(host.files, self._home / "log")
        self.log = Log(self._audit, site, host.executor("audit"), SIGNER, host.clock)
        await self.log.open()
        facts, observer = Facts(self._facts, 1), Observer(telemetry, host.clock)
        self._settle = SettleHandler(self._known, self.billing, facts, host, observer, 0.0, BATCH)
        audit = AuditObserver(telemetry, host.clock)
        self._append = Handler(self.log, lambda: None, audit, host.clock, 0.0, BATCH)

    async def turn(self, count: int) -> None:
        """So many requests, from their reservation to a checkpoint over them."""
        requests = [(self._ids.request(), f"org-{number % TENANTS}") for number in range(count)]
        now_ms = self._host.clock.time_ns() // 1_000_000
        asks = [ask(self._known, request, tenant, now_ms) for request, tenant in requests]
        await self.billing.transact(partial(reserve, asks=asks))
        evidence = [
            batch
            for topic in KINDS
            for batch in batches(self._host, topic, requests, self._chance, 2 * count)
        ]
        await asyncio.gather(*(self._settle(batch) for batch in evidence))
        await self._append(Batch("facts", 0, self._facts.drained()))
        await self.log.publish()

    async def settled(self) -> int:
        """How many requests are."""
        ((count,),) = await self.billing.read(
            lambda connection: query(connection, "SELECT SUM(last) FROM counters WHERE name LIKE 'seq/%'")
        )
        return int(count)

    async def close(self) -> None:
        """Let go of all."""
        await self._settle.stop()
        await self.billing.close()
        await self._audit.close()


async def measure(home: Path, total: int) -> dict[str, object]:
    """Resident memory on the way."""
    life = Life(home)
    await life.open()
    await life.turn(BATCH)
    settle_memory()
    samples: dict[int, float] = {}
    done, begun = BATCH, time.perf_counter()
    for sample in range(1, SAMPLES + 1):
        while done < total * sample // SAMPLES:
            await life.turn(BATCH)
            done += BATCH
        samples[done] = resident_mib(os.getpid())
    if (await life.settled(), life.log.signed) != (done, done):
        raise SystemExit(f"{done} requests, {await life.settled()} settled, {life.log.signed} in the log")
    await life.close()
    values = list(samples.values())
    return {
        "requests": done,
        "per_s": round(done / (time.perf_counter() - begun)),
        "resident_mib": samples,
        "growth": round(values[-1] / values[SAMPLES // 10 - 1], 3),
    }


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--write", type=Path, help="Keep the result in this file too.")
    chosen = parser.parse_args()
    machine = described()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder), chosen.requests))
    text = json.dumps({"bench": "growth.memory", "machine": machine, **found}, indent=1)
    print(text)
    if chosen.write:
        chosen.write.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
