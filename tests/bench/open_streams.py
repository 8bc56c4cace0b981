"""What a stream that is open costs the edge: 2,000 of them, slow, in one process.

    python -m tests.bench.open_streams [--streams 2000] [--deployed]

Embedded: the whole platform is one process, so the figure holds every service's share of a stream. With
`--deployed` the edge is a process of its own over a real broker and PostgreSQL, and the figure its alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.embedded import PATH, chat
from tests.bench.keys import make_keys
from tests.bench.load import post
from tests.bench.machine import described
from tests.bench.open_loop import LENGTH, RETRY_MS
from tests.bench.processes import cpu_seconds, resident_mib
from tests.e2e.deployment import Deployment
from tests.e2e.running import Running
from tests.servers.kafka import Kafka
from tests.servers.postgres import Postgres

PACE = 1.0
"""Tokens a second of each stream."""
TOKENS = 500
FIRST = 100
"""Streams before the memory is noted that all others are added to."""
AT_ONCE = 256
"""Streams that are being opened at a time."""
HELD_S = 20.0
OPENED_S = 240.0
TRIES = 10
WORKER = {
    "FREEHOLD_INFERENCE_SLOTS": "4096",
    "FREEHOLD_INFERENCE_CELLS": str(4 << 20),
    "FREEHOLD_INFERENCE_TOKENS_PER_SECOND": str(PACE),
}


@dataclass
class Edge:
    """Where to connect, as whom, and whose memory counts."""

    port: int
    pid: int
    key: str


@contextmanager
def embedded() -> Iterator[Edge]:
    """The whole platform in one process."""
    with tempfile.TemporaryDirectory() as folder:
        platform = Running(Path(folder) / "home", "synthetic", **WORKER)
        try:
            (key,) = make_keys(platform.socket, platform.token, platform.base_url, 1)
            port = int(platform.base_url.rsplit(":", 1)[1].removesuffix("/v1"))
            yield Edge(port, platform.process.pid, key)
        finally:
            platform.stop()


@contextmanager
def deployed() -> Iterator[Edge]:
    """A process a service."""
    with tempfile.TemporaryDirectory() as folder:
        kafka, postgres = Kafka(Path(folder), options=()), Postgres()
        kafka.start()
        postgres.start()
        platform = Deployment(Path(folder), kafka.settings(prefix="streams."), postgres.settings(), **WORKER)
        try:
            platform.prepare()
            platform.start()
            platform.welcome()
            token = (Path(folder) / "secrets" / "token").read_text()
            (key,) = make_keys(platform.environment["FREEHOLD_CONTROL_TARGET"], token, platform.base_url, 1)
            yield Edge(platform.http_port, platform.replicas["edge"].process.pid, key)
        finally:
            platform.stop()
            platform.kill()
            kafka.remove()
            postgres.remove()


class Streams:
    """Streams that are read as they come."""

    def __init__(self, edge: Edge) -> None:
        self._port = edge.port
        self._request = post(PATH, chat(TOKENS, stream=True), edge.key)
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self.events = 0
        self.begun = 0
        self.refused: list[str] = []
        self.repeated = 0
        """Requests that were told to come back, and did."""
        self.ended = 0

    async def open(self, count: int) -> None:
        """Return once so many more have had their first text, or `OPENED_S` have passed. Raises `SystemExit`
        where one is refused for good.
        """
        wanted = self.begun + count
        for _ in range(count):
            self._tasks.add(asyncio.create_task(self._one()))
        until = time.monotonic() + OPENED_S
        while self.begun < wanted and time.monotonic() < until:
            if self.refused:
                raise SystemExit(f"{self.begun} of {wanted} began; refused: {self.refused[0]}")
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        """Leave all of them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _one(self) -> None:
        async with self._gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            for _ in range(TRIES):
                writer.write(self._request)
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"HTTP/1.1 200"):
                    break
                length, retry = LENGTH.search(head), RETRY_MS.search(head)
                said = await reader.readexactly(int(length[1]) if length else 0)
                if retry is None:
                    self.refused.append((head + said).decode())
                    return
                self.repeated += 1
                await asyncio.sleep(int(retry[1]) / 1000)
            while b'"content":"' not in await reader.readuntil(b"\n\n"):
                pass
            self.begun += 1
        try:
            while await reader.readuntil(b"\n\n"):
                self.events += 1
        except asyncio.IncompleteReadError:
            self.ended += 1
        finally:
            writer.close()


async def measure(edge: Edge, count: int) -> dict[str, Any]:
    """Memory before, with all of them open, and after they have gone."""
    streams = Streams(edge)
    await streams.open(FIRST)
    before = resident_mib(edge.pid)
    begun = time.monotonic()
    await streams.open(count - FIRST)
    opened = time.monotonic() - begun
    events, cpu, since = streams.events, cpu_seconds(edge.pid), time.monotonic()
    most = 0.0
    while time.monotonic() - since < HELD_S:
        most = max(most, resident_mib(edge.pid))
        await asyncio.sleep(0.25)
    held = time.monotonic() - since
    more = streams.begun - FIRST
    found = {
        "streams": streams.begun,
        "ended_before_their_time": streams.ended,
        "asked_again": streams.repeated,
        "opened_per_s": round(more / opened, 1),
        f"resident_mib_with_{FIRST}": before,
        "resident_mib_with_all": most,
        "bytes_a_stream": round((most - before) * 2**20 / more),
        "streams_in_1_gib": round(FIRST + (1024 - before) / ((most - before) / more)),
        "events_per_s": round((streams.events - events) / held, 1),
        "cpu_cores": round((cpu_seconds(edge.pid) - cpu) / held, 3),
    }
    await streams.close()
    await asyncio.sleep(5.0)
    found["resident_mib_after"] = resident_mib(edge.pid)
    return found


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--deployed", action="store_true")
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    machine = described()
    with deployed() if given.deployed else embedded() as edge:
        found = asyncio.run(measure(edge, given.streams))
    print(json.dumps({"machine": machine, "deployed": given.deployed, **found}, indent=2))
    if found["ended_before_their_time"] or found["streams"] < given.streams:
        sys.exit("streams did not begin, or ended before their time")


if __name__ == "__main__":
    main()
