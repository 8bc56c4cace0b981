"""Entries a second that the log takes, by batch size: fact to leaf, committed, tiles on disk, signed, shown.
The service signs less often than this (`checkpoint_interval_ms`); here each batch has its checkpoint.

    python -m tests.bench.audit_append [--seconds 2] [--postgres]

On SQLite at `synchronous=FULL`, or on a PostgreSQL of its own with `fsync`.

Anchor, in the same run: one loop that hashes the same entries and appends them to one file with one
`fdatasync` a batch. Prints one JSON object; `ratio` is ours by the anchor's entries a second.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import tempfile
import time
from pathlib import Path

from services.audit.facts import Fact, read_fact
from services.audit.log import Log
from services.audit.site import Site
from services.audit.tlog.entry import SETTLED
from services.audit.tlog.note import Signer
from shared.contracts.freehold.billing.v1.events_pb2 import Money, RequestSettled, Tokens
from shared.contracts.freehold.edge.v1.events_pb2 import RequestClosed
from shared.host import Host, system_host
from shared.storage.database import Database
from shared.storage.migrations import open_database
from shared.storage.postgres import open_postgres
from shared.storage.postgres_migrations import migrate_postgres
from tests.servers.postgres import Postgres

BATCHES = (1, 16, 100, 500)


def records(first: int, count: int) -> list[bytes]:
    """Encoded facts, as they come on the bus."""
    return [
        RequestSettled(
            request=f"01890a5d-ac96-774b-bcce-{seq:012x}",
            organisation="org",
            seq=seq,
            closed=RequestClosed(
                project="project",
                key="key",
                model="smollm2-135m-instruct",
                policy_versions=["base@1+0123456789ab"],
                weights_digest="a" * 64,
                tokenizer_digest="b" * 64,
                template_digest="c" * 64,
                request_hash=bytes(32),
                answer_hash=bytes(32),
                accepted_ns=1_800_000_000_000_000_000,
                closed_ns=1_800_000_000_500_000_000,
            ),
            tokens=Tokens(prompt=99, chain=16, generated=16, delivered=16, billed=16),
            money=Money(currency="USD", total=123_456_789),
        ).SerializeToString()
        for seq in range(first, first + count)
    ]


async def opened(home: Path, host: Host, server: Postgres | None) -> Database:
    """An empty database."""
    if server is None:
        return await open_database(home / "audit.db", "audit", host)
    settings = server.settings()
    await asyncio.to_thread(migrate_postgres, settings, "audit")
    return await open_postgres(settings, "audit", host)


async def ours(home: Path, batch: int, seconds: float, server: Postgres | None) -> dict[str, float]:
    """The log itself."""
    host = system_host()
    database = await opened(home, host, server)
    executor = host.executor("audit")
    log = Log(database, Site(host.files, home / "log"), executor, Signer("bench", bytes(32)), host.clock)
    await log.open()
    count, size = 0, 0
    spent, publishing, cpu = 0.0, 0.0, 0.0
    while spent < seconds:
        values = records(count + 1, batch)
        begin, begin_cpu = time.perf_counter(), time.process_time()
        facts: list[Fact] = [read_fact(SETTLED, value) for value in values]
        await log.append(facts)
        middle = time.perf_counter()
        await log.publish()
        end = time.perf_counter()
        spent += end - begin
        publishing += end - middle
        cpu += time.process_time() - begin_cpu
        count += batch
        size = len(facts[-1].entry)
    executor.close()
    await database.close()
    return {
        "entries_per_s": round(count / spent),
        "cpu_us_per_entry": round(cpu / count * 1e6, 1),
        "append_ms_per_batch": round((spent - publishing) / count * batch * 1e3, 2),
        "checkpoint_ms_per_batch": round(publishing / count * batch * 1e3, 2),
        "entry_bytes": size,
    }


def anchor(home: Path, batch: int, seconds: float) -> float:
    """Entries a second of the plainest loop."""
    entry = read_fact(SETTLED, records(1, 1)[0]).entry
    count = 0
    begin = time.perf_counter()
    with (home / "anchor").open("wb") as file:
        while time.perf_counter() - begin < seconds:
            for _ in range(batch):
                file.write(hashlib.sha256(entry).digest())
                file.write(entry)
            file.flush()
            os.fdatasync(file.fileno())
            count += batch
    return count / (time.perf_counter() - begin)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each batch size")
    parser.add_argument("--postgres", action="store_true", help="On PostgreSQL in place of SQLite.")
    chosen = parser.parse_args()
    server = Postgres() if chosen.postgres else None
    try:
        if server:
            server.start()
        found = cells(chosen.seconds, server)
    finally:
        if server:
            server.remove()
    database = "postgres" if server else "sqlite"
    print(json.dumps({"bench": "audit_append", "database": database, "by_batch": found}))


def cells(seconds: float, server: Postgres | None) -> dict[str, dict[str, float]]:
    """Every batch size."""
    found: dict[str, dict[str, float]] = {}
    for batch in BATCHES:
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            row = asyncio.run(ours(home, batch, seconds, server))
            plain = anchor(home, batch, min(seconds, 1.0))
        row["anchor_entries_per_s"] = round(plain)
        row["ratio"] = round(row["entries_per_s"] / plain, 4)
        found[str(batch)] = row
    return found


if __name__ == "__main__":
    main()
