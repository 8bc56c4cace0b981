"""What a request, a settlement and an audit entry cost in small books and in large ones, in one run.

    python -m tests.bench.growth [--sizes 1000 100000 1000000] [--rounds 9] [--databases postgres sqlite]
        [--write FILE]

Books of each size are loaded in bulk (`rows.py`, `stores.py`), all of a database's before anything is
measured, with a log of as many leaves. Then come rounds: in each, every size in turn takes the same new
batches by the services' own functions: reservations of 16, their settlements, log entries of 64 with a signed
checkpoint. `ratio` is the median over rounds of a size's processor time by that of the smallest size in the
same round: the machine's other load cancels. `pages` are pages of 8 kB that PostgreSQL looked at, or of 4 kB
that SQLite read from the system, for each event; `log_bytes` what was written to the write-ahead log, or by
the process. `whole_tables` are statements on a request's path whose plan would read a table whole.

PostgreSQL has `fsync` on and 128 MB of buffers; autovacuum is off and checkpoints are rare, so that neither
falls into one size's turn. 10,000,000 rows take 25 GB for each database and ten minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

from services.audit.log import Log
from services.audit.site import Site
from services.audit.tlog.checkpoint import open_checkpoint
from shared.host import system_host
from shared.storage.migrations import open_database
from tests.bench.growth.probes import BATCH, ENTRIES, KINDS, Cost, Probe
from tests.bench.growth.rows import log_fact
from tests.bench.growth.stores import SIGNER, PostgresStore, SqliteStore, Store, plans
from tests.bench.machine import described
from tests.integration.test_postgres_plans import STATEMENTS
from tests.servers.postgres import Postgres

WARM = 6
"""Batches of each kind before anything is measured."""
BATCHES = {"request": 6, "settlement": 6, "entry": 3}
"""Of one size in one round."""
COUNTED = 16
"""Batches over which pages and bytes are counted."""
TOLERANCE = 1.2
SETTINGS = {"autovacuum": "off", "checkpoint_timeout": "1h", "max_wal_size": "64GB"}

Costs = dict[int, dict[str, list[Cost]]]


async def measure(stores: list[Store], rounds: int) -> dict[str, object]:
    """All sizes of one database."""
    found: dict[str, object] = {}
    begun = time.perf_counter()
    for store in stores:
        await store.open()
    loaded = time.perf_counter() - begun
    probes = [Probe(store) for store in stores]
    for probe in probes:
        for kind in KINDS:
            await probe.run(kind, WARM)
    costs: Costs = {store.size: {kind: [] for kind in KINDS} for store in stores}
    for number in range(rounds):
        turn = number % len(probes)
        for probe in probes[turn:] + probes[:turn]:
            for kind in KINDS:
                costs[probe.store.size][kind].append(await probe.run(kind, BATCHES[kind]))
    for probe in probes:
        found[str(probe.store.size)] = {
            "whole_tables": await plans(probe.store, [statement for statement, _ in STATEMENTS.values()]),
            **{
                kind: {**figures(costs, probe.store.size, kind), **await counted(probe, kind)}
                for kind in KINDS
            },
        }
    for store in stores:
        await store.close()
    found["load_s"] = round(loaded, 1)
    return found


def figures(costs: Costs, size: int, kind: str) -> dict[str, float]:
    """Medians over the rounds."""
    mine, smallest = costs[size][kind], costs[min(costs)][kind]
    return {
        "cpu_us": round(statistics.median(cost.cpu_us for cost in mine), 1),
        "wall_us": round(statistics.median(cost.wall_us for cost in mine), 1),
        "ratio": round(
            statistics.median(cost.cpu_us / base.cpu_us for cost, base in zip(mine, smallest, strict=True)), 3
        ),
    }


async def counted(probe: Probe, kind: str) -> dict[str, float]:
    """Pages and bytes for one event."""
    if kind == "settlement":
        await probe.run("request", COUNTED)
    before = await probe.store.counted()
    await probe.run(kind, COUNTED)
    counts = (await probe.store.counted()).since(before)
    events = COUNTED * (ENTRIES if kind == "entry" else BATCH)
    return {name: round(count / events, 1) for name, count in counts.items()}


async def check_loader(folder: Path) -> None:
    """Raise unless the loaded log is the one that the service makes of the same facts."""
    host = system_host()
    size = 1000
    loaded = SqliteStore(folder, size)
    await loaded.open()
    database = await open_database(folder / "appended.db", "audit", host)
    log = Log(database, Site(host.files, folder / "appended"), host.executor("audit"), SIGNER, host.clock)
    await log.open()
    await log.append([log_fact(number) for number in range(size)])
    one, other = [
        open_checkpoint(note, SIGNER.verifier)
        for note in (await log.publish(), await loaded.log.checkpoint())
    ]
    await database.close()
    await loaded.close()
    if one != other:
        raise SystemExit(f"the loader's log is another: {other} for {one}")


async def on_sqlite(sizes: list[int], rounds: int) -> dict[str, object]:
    """Files in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        return await measure([SqliteStore(Path(folder), size) for size in sizes], rounds)


async def on_postgres(sizes: list[int], rounds: int) -> dict[str, object]:
    """A server of its own."""
    server = Postgres()
    try:
        server.start()
        for name, value in SETTINGS.items():
            await server.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        await server.execute("SELECT pg_reload_conf()")
        with tempfile.TemporaryDirectory() as folder:
            return await measure([PostgresStore(server, Path(folder), size) for size in sizes], rounds)
    finally:
        server.remove()


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--databases", nargs="+", default=["postgres", "sqlite"])
    parser.add_argument("--write", type=Path, help="Keep the result in this file too.")
    chosen = parser.parse_args()
    machine, begun = described(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(check_loader(Path(folder)))
    measures = {"postgres": on_postgres, "sqlite": on_sqlite}
    found = {
        name: asyncio.run(measures[name](sorted(chosen.sizes), chosen.rounds)) for name in chosen.databases
    }
    flat = [
        (name, size, kind, one[kind]["ratio"])
        for name, by_size in found.items()
        for size, one in by_size.items()
        if isinstance(one, dict)
        for kind in KINDS
        if one[kind]["ratio"] > TOLERANCE
    ]
    took = round(time.perf_counter() - begun)
    result = {"bench": "growth", "machine": machine, "took_s": took, "not_flat": flat, **found}
    text = json.dumps(result, indent=1)
    print(text)
    if chosen.write:
        chosen.write.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
