"""The local bus and the database beside raw parts, in one run: `python -m tests.bench.bus [SECONDS]`.

Prints one JSON object. A ratio is our part over the raw one, measured in the same run: for times
lower is better, for rates higher.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import uvloop
from sqlalchemy import Connection

from shared.bus.consumer import Assigned, Consumer, InGroup
from shared.bus.handling import Batch
from shared.bus.local import LocalBus
from shared.bus.ports import Start, TopicPartition
from shared.bus.topics import load_topics
from shared.host import Host, system_host
from shared.storage.sqlite import SqliteDatabase

VALUE = bytes(450)
HEADERS = (
    ("type", b"RequestAccepted"),
    ("event_id", b"0" * 32),
    ("from", b"12345678901234567890"),
    ("request", b"0" * 36),
    ("tenant", b"0" * 36),
    ("traceparent", b"0" * 55),
)
WORK, REPLIES = TopicPartition("work", 0), TopicPartition("replies", 0)

Once = Callable[[], Awaitable[object]]


async def paced(once: Once, seconds: float) -> float:
    """Median microseconds of one awaited call, over rounds of a hundred."""
    rounds = []
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        for _ in range(100):
            await once()
        rounds.append((time.perf_counter() - began) * 1e4)
    return statistics.median(rounds)


async def rate(once: Once, workers: int, seconds: float) -> dict[str, float]:
    """Calls a second with so many at a time, and their CPU."""
    done = 0
    until = time.perf_counter() + seconds

    async def work() -> None:
        nonlocal done
        while time.perf_counter() < until:
            await once()
            done += 1

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(workers)))
    taken, used = time.perf_counter() - began, time.process_time() - cpu
    return {"per_s": round(done / taken), "cpu_us": round(used / done * 1e6, 1)}


async def future_hop(seconds: float) -> float:
    """Microseconds for one wake-up of another task by a future, there and back halved."""
    loop = asyncio.get_running_loop()
    there, back = loop.create_future(), loop.create_future()

    async def echo() -> None:
        nonlocal there
        while True:
            await there
            there = loop.create_future()
            back.set_result(None)

    async def once() -> None:
        nonlocal back
        back = loop.create_future()
        there.set_result(None)
        await back

    task = asyncio.ensure_future(echo())
    taken = await paced(once, seconds)
    task.cancel()
    return taken / 2


async def bare_hop(bus: LocalBus, seconds: float) -> float:
    """Microseconds from a publish to its records in another task's hands, by two bare readers."""
    there, back = await bus.assign([WORK], Start.END), await bus.assign([REPLIES], Start.END)

    async def echo() -> None:
        while True:
            for records in (await there.poll(500, 1.0)).values():
                for record in records:
                    bus.publish("replies", record.value, record.headers, partition=0)

    async def once() -> None:
        bus.publish("work", VALUE, HEADERS, partition=0)
        while not await back.poll(500, 1.0):
            pass

    task = asyncio.ensure_future(echo())
    taken = await paced(once, seconds)
    task.cancel()
    await asyncio.gather(there.close(), back.close())  # an open reader that lags is waited for
    return taken / 2


class Loop:
    """Two consumers that hand records round; each round trip is two hops through the whole loop."""

    def __init__(self, bus: LocalBus, host: Host) -> None:
        self._bus = bus
        self._waiting: dict[bytes, asyncio.Future[None]] = {}
        self._number = 0
        topics = load_topics("embedded")
        source = Assigned((REPLIES,), Start.END)
        self.consumers = [
            Consumer(bus, host, topics, InGroup(("frames",), "moderation.output", "m"), self._forward),
            Consumer(bus, host, topics, source, self._resolve),
        ]

    async def once(self) -> None:
        self._number += 1
        value = b"%d" % self._number
        waiter = self._waiting[value] = asyncio.get_running_loop().create_future()
        self._bus.publish("frames", value + VALUE, HEADERS, partition=0)
        await waiter

    async def _forward(self, batch: Batch) -> None:
        for record in batch.records:
            self._bus.publish("replies", record.value, record.headers, partition=0)

    async def _resolve(self, batch: Batch) -> None:
        for record in batch.records:
            self._waiting.pop(record.value[: -len(VALUE)]).set_result(None)


def raw_commits(path: Path, seconds: float) -> float:
    """Commits a second of one row each, by the driver alone."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE rows (data BLOB)")
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        connection.execute("INSERT INTO rows VALUES (?)", (VALUE,))
        done += 1
    connection.close()
    return done / seconds


def insert(connection: Connection) -> None:
    """One row, as a service's hot path writes it."""
    connection.exec_driver_sql("INSERT INTO rows VALUES (?)", (VALUE,))


async def measure(seconds: float, folder: Path) -> dict[str, object]:
    """Everything, one after the other."""
    host = system_host()
    bus = LocalBus(host, load_topics("embedded"), folder / "bus.db")
    await bus.start()
    raw = await future_hop(seconds)
    bare = await bare_hop(bus, seconds)
    loop = Loop(bus, host)
    for consumer in loop.consumers:
        await consumer.start()
    whole = await paced(loop.once, seconds) / 2
    busy = {str(workers): await rate(loop.once, workers, seconds) for workers in (1, 16, 64)}
    for consumer in loop.consumers:
        await consumer.stop(host.clock.monotonic() + 5)

    commits = raw_commits(folder / "raw.db", seconds)
    durable = {
        str(workers): await rate(lambda: bus.publish("usage", VALUE, HEADERS, partition=0), workers, seconds)
        for workers in (1, 16, 64)
    }
    await bus.close()
    database = SqliteDatabase(folder / "database.db", host)
    await database.transact(lambda connection: connection.exec_driver_sql("CREATE TABLE rows (data BLOB)"))
    stored = {
        str(workers): await rate(lambda: database.transact(insert), workers, seconds)
        for workers in (1, 16, 64)
    }
    await database.close()
    return {
        "hop_us": {"raw_future": round(raw, 2), "readers": round(bare, 2), "consumers": round(whole, 2)},
        "hop_ratio_to_raw_future": {"readers": round(bare / raw, 1), "consumers": round(whole / raw, 1)},
        "round_trips_of_two_hops": busy,
        "raw_sqlite_commits_per_s": round(commits),
        "durable_publishes": with_ratio(durable, commits),
        "database_transactions": with_ratio(stored, commits),
    }


def with_ratio(rates: dict[str, dict[str, float]], raw: float) -> dict[str, dict[str, float]]:
    """Each rate with its ratio to the raw one."""
    return {name: {**one, "ratio_to_raw": round(one["per_s"] / raw, 2)} for name, one in rates.items()}


def main(arguments: Iterable[str]) -> None:
    """Print the figures as JSON."""
    seconds = float(next(iter(arguments), "1"))
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(uvloop.run(measure(seconds, Path(folder))), indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
