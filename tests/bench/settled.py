"""Usage events settled a second on PostgreSQL, exactly once, by billing's own handler in its replicas.

    python -m tests.bench.settled [--requests 40000] [--tenants 24] [--replicas 2] [--rounds 3] [--write FILE]

From records to committed rows and published facts: headers and messages are read, evidence joined, usage,
entry, lines, budgets, `seq` and fact written in one transaction with the positions, spans noted, facts
encoded. Only the bus is left out: batches of up to 500 records are handed over as a consumer does, of 12
partitions of `usage` and `closed` at a time, and facts are taken by a list. One in 20 records comes twice.
An event counts once: a usage with its close. PostgreSQL has `fsync` on and runs on the same machine.

After each round: the ledger verifies, every request is settled once, has one fact, and every `seq` from 1 is
there. Prints one JSON object; `cpu_us` is processor time for each event, of the replicas and of the server's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Iterable
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from zlib import crc32

from services.billing.books.reserving import reserve
from services.billing.books.verify import verify
from services.billing.handlers import SettleHandler
from services.billing.observing import Observer
from services.billing.publishing import Facts
from services.billing.settings import BillingSettings
from services.cli.memory import settle_memory
from shared.bus.envelope import Envelope
from shared.bus.handling import Batch
from shared.bus.ports import Headers, Position, Record
from shared.configuration import Configuration
from shared.contracts.freehold.billing.v1.events_pb2 import RequestSettled
from shared.host import Host, system_host
from shared.ids import Ids, event_id
from shared.storage.database import Database
from shared.storage.postgres import open_postgres
from shared.storage.postgres_migrations import migrate_postgres
from shared.storage.settings import DatabaseSettings
from shared.telemetry import Telemetry, TelemetrySettings
from tests.bench.machine import described
from tests.bench.processes import cpu_seconds
from tests.bench.settle import CLOSED, REPEATED, TRACE, USAGE, Clocked, ask, configured, ended
from tests.servers.postgres import Postgres

PARTITIONS = 12
RESERVED = 500
"""Requests of one reserving transaction."""
DISORDER = 250
"""Events of a partition among which their order is random: those of a third of a second at 10,000 a second.
A request's close follows its usage in milliseconds."""
KINDS = {"usage": ("UsageRecorded", USAGE, "inference"), "closed": ("RequestClosed", CLOSED, "edge")}

Requests = list[tuple[str, str]]
"""(request, tenant)."""


class Taken:
    """Where facts go in place of a bus."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def publish(
        self,
        topic: str,
        value: bytes,
        headers: Headers = (),
        *,
        key: bytes | None = None,
        partition: int | None = None,
    ) -> Awaitable[Position]:
        """Acknowledged at once."""
        del partition
        place = Position(topic, 0, len(self.records), 0)
        self.records.append(Record(topic, 0, place.offset, 0, key, value, headers))
        done: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        done.set_result(place)
        return done

    def drained(self) -> list[Record]:
        """What came since the last call."""
        records, self.records = self.records, []
        return records


def batches(host: Host, topic: str, requests: Requests, chance: random.Random, most: int) -> Iterable[Batch]:
    """What a consumer reads of one partition: some of it twice, and not quite in order."""
    kind, value, service = KINDS[topic]
    repeated = [one for one in enumerate(requests) if not chance.randrange(REPEATED)]
    events = sorted([*enumerate(requests), *repeated], key=lambda one: one[0] + chance.uniform(0, DISORDER))
    now_ms = host.clock.time_ns() // 1_000_000
    records: list[Record] = []
    for _, (request, tenant) in events:
        envelope = Envelope(
            type=kind,
            event_id=event_id(request, 1, 0, service, kind),
            sender=1,
            request=request,
            tenant=tenant,
            owner=1,
            traceparent=TRACE,
        )
        place = partition_of(tenant)
        records.append(Record(topic, place, len(records), now_ms, None, value, envelope.headers()))
    return [
        Batch(topic, records[0].partition, records[start : start + most])
        for start in range(0, len(records), most)
    ]


def partition_of(tenant: str) -> int:
    """As a producer chooses it, if by another sum."""
    return crc32(tenant.encode()) % PARTITIONS


async def one_round(server: Postgres, count: int, tenants: int, replicas: int) -> dict[str, float]:
    """Reserve, settle by so many replicas, and check; figures of the two."""
    host, known = system_host(), configured(tenants)
    ids, chosen = Ids(host.clock, random.Random(7)), server.settings()
    await asyncio.to_thread(migrate_postgres, chosen, "billing")
    database = await open_postgres(chosen, "billing", host)
    requests = [(ids.request(), f"org-{number % tenants}") for number in range(count)]
    reserving, settling = Clocked(), Clocked()
    now_ms = host.clock.time_ns() // 1_000_000
    for start in range(0, count, RESERVED):
        some = requests[start : start + RESERVED]
        begun, cpu = time.perf_counter(), time.process_time()
        asks = [ask(known, request, tenant, now_ms) for request, tenant in some]
        await database.transact(partial(reserve, asks=asks))
        ended(reserving, len(some), begun, cpu)
    shares: list[Requests] = [[] for _ in range(replicas)]
    for one in requests:
        shares[partition_of(one[1]) * replicas // PARTITIONS].append(one)
    running = [Replica(chosen, tenants, share) for share in shares]
    for replica in running:
        replica.expect("ready")
    served, begun = cpu_seconds(server.pid), time.perf_counter()
    for replica in running:
        replica.tell("begin")
    settling.cpu = sum(replica.seconds() for replica in running)
    settling.count, settling.wall = count, time.perf_counter() - begun
    served = cpu_seconds(server.pid) - served
    await checked(database, requests, [fact for replica in running for fact in replica.facts()])
    await database.close()
    return {
        "settled_per_s": settling.figures()["per_s"],
        "cpu_us": settling.figures()["cpu_us"],
        "postgres_cpu_us": round(served / count * 1e6, 1),
        "reserved_per_s": reserving.figures()["per_s"],
        "reserve_cpu_us": reserving.figures()["cpu_us"],
    }


class Replica:
    """Billing's handler in a process of its own, over its share of the partitions."""

    def __init__(self, chosen: DatabaseSettings, tenants: int, requests: Requests) -> None:
        spawn = get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=serve, args=(chosen, tenants, requests, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def expect(self, word: str) -> None:
        """Wait for a word of it. Raises `EOFError` where it has ended."""
        assert self._pipe.recv() == word

    def tell(self, word: str) -> None:
        """Send it a word."""
        self._pipe.send(word)

    def seconds(self) -> float:
        """Wait until it has settled all; processor time that this took."""
        return float(self._pipe.recv())

    def facts(self) -> list[bytes]:
        """What it has published."""
        found: list[bytes] = self._pipe.recv()
        self._process.join()
        return found


def serve(chosen: DatabaseSettings, tenants: int, requests: Requests, pipe: Connection) -> None:
    """A replica's whole life."""
    asyncio.run(_serve(chosen, configured(tenants), requests, pipe))


async def _serve(
    chosen: DatabaseSettings, known: Configuration, requests: Requests, pipe: Connection
) -> None:
    host, chance, taken, settings = system_host(), random.Random(7), Taken(), BillingSettings()
    database = await open_postgres(chosen, "billing", host)
    handler = SettleHandler(
        known,
        database,
        Facts(taken, host.incarnation),
        host,
        Observer(Telemetry(host, TelemetrySettings()), host.clock),
        settings.settle_interval_ms / 1e3,
        settings.max_records,
    )
    readers = [
        list(batches(host, topic, mine, chance, settings.max_records))
        for place in range(PARTITIONS)
        if (mine := [one for one in requests if partition_of(one[1]) == place])
        for topic in KINDS
    ]
    settle_memory()  # as a process does at its start
    pipe.send("ready")
    assert pipe.recv() == "begin"
    cpu = time.process_time()
    await asyncio.gather(*(hand_over(handler, reader) for reader in readers))
    pipe.send(time.process_time() - cpu)
    pipe.send([record.value for record in taken.records])
    await handler.stop()
    await database.close()


async def hand_over(handler: SettleHandler, reader: Iterable[Batch]) -> None:
    """One partition: a batch after the other."""
    for batch in reader:
        await handler(batch)


async def checked(database: Database, requests: Requests, told: Iterable[bytes]) -> None:
    """Exactly once, or no figure."""
    failed = [check for check in await database.read(partial(verify, organisation="")) if not check.passed]
    facts = {value: RequestSettled.FromString(value) for value in set(told)}
    numbers: dict[str, list[int]] = {}
    for fact in facts.values():
        numbers.setdefault(fact.organisation, []).append(fact.seq)
    settled = Counter(fact.request for fact in facts.values())
    if failed or settled != Counter(request for request, _ in requests):
        raise SystemExit(f"not settled once each: {failed}")
    if any(sorted(given) != list(range(1, len(given) + 1)) for given in numbers.values()):
        raise SystemExit("a seq is missing")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=40_000)
    parser.add_argument("--tenants", type=int, default=24)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path, help="Keep the result in this file too.")
    chosen = parser.parse_args()
    machine = described()
    server = Postgres()
    try:
        server.start()
        rounds = [
            asyncio.run(one_round(server, chosen.requests, chosen.tenants, chosen.replicas))
            for _ in range(chosen.rounds)
        ]
    finally:
        server.remove()
    medians = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    sizes = {"requests": chosen.requests, "tenants": chosen.tenants, "replicas": chosen.replicas}
    result = {"bench": "settled", "machine": machine, **sizes, "median": medians, "rounds": rounds}
    text = json.dumps(result, indent=1)
    print(text)
    if chosen.write:
        chosen.write.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
