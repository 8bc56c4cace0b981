"""The deployed platform with everything on, beside the embedded one and a bare chain of hops, in one run.

    python -m tests.bench.deployed [--seconds 10] [--idle] [--write FILE]

Seven processes over a real broker and a real PostgreSQL, one replica each, synthetic engine. "Everything on"
means what it does in `embedded`, and is asserted after the run: every request settled, in the signed log,
traced to a live OTLP receiver; the ledger verified. `--idle` looks at what a platform at rest costs instead.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.bus.kafka_topics import apply
from tests.bench import chain
from tests.bench.broker import ends, per_request, sizes
from tests.bench.embedded import PATH, anchors, chat, measure_embedded
from tests.bench.idle import at_rest
from tests.bench.load import Figures, closed_loop, first_tokens, post
from tests.bench.machine import described
from tests.bench.processes import all_cpu, resident_mib, spent
from tests.bench.proof import prove
from tests.bench.receiver import Receiver
from tests.e2e.deployment import Deployment
from tests.servers.kafka import Kafka
from tests.servers.postgres import Postgres

WARM = 10_000
"""Requests before anything is measured: the broker's compiler is at work for so long."""
ROUNDS = 4
IN_TIME = {"pulses", "config"}
"""Topics whose records come with time, not with requests."""


class Bench:
    """The platform, its servers and its receiver."""

    def __init__(self, folder: Path) -> None:
        self.kafka = Kafka(folder, options=())
        self.postgres = Postgres()
        self.receiver = Receiver()
        self.kafka.start()
        self.postgres.start()
        self.settings = self.kafka.settings(prefix="bench.")
        self.platform = Deployment(
            folder,
            self.settings,
            self.postgres.settings(),
            FREEHOLD_OTLP_ENDPOINT=self.receiver.endpoint,
        )
        self.sent = 1  # `welcome` asks once

    def open(self) -> None:
        """Return when it serves."""
        self.platform.prepare()
        self.platform.start()
        self.platform.welcome()

    @property
    def pids(self) -> dict[str, int]:
        """Of everything that is part of a deployment, and of this process, which makes the load."""
        services = {name: one.process.pid for name, one in self.platform.replicas.items()}
        return {**services, "kafka": self.kafka.pid(), "postgres": self.postgres.pid}

    def close(self) -> None:
        """End all of it."""
        self.platform.stop()
        self.platform.kill()
        self.receiver.stop()
        self.kafka.remove()
        self.postgres.remove()

    async def loop(self, name: str, request: bytes, connections: int, seconds: float) -> dict[str, Any]:
        """One closed loop, with what the broker and each process had to do for a request."""
        records, held, cpu = await ends(self.settings), self._sizes(), all_cpu(self.pids)
        figures = await closed_loop(self.platform.http_port, request, connections, seconds=seconds)
        self.sent += len(figures.latencies)
        await asyncio.to_thread(prove, self.platform, self.receiver, self.sent)
        used = spent(cpu, all_cpu(self.pids), max(1, len(figures.latencies)))
        count = len(figures.latencies)
        after = per_request(records, await ends(self.settings), count)
        found = figures.summary() | {
            "records_a_request": {name: number for name, number in after.items() if name not in IN_TIME},
            "log_bytes_a_request": per_request(held, self._sizes(), count),
            "cpu_ms_a_request": {name: round(seconds * 1000, 3) for name, seconds in used.items()},
        }
        print(json.dumps({name: found}), file=sys.stderr)
        return found

    async def first(self, tokens: int, seconds: float) -> Figures:
        """Times to the first text of streams of so many tokens."""
        request = post(PATH, chat(tokens, stream=True), self.platform.key)
        figures = await first_tokens(self.platform.http_port, request, seconds)
        self.sent += len(figures.latencies)
        return figures

    def _sizes(self) -> dict[str, int]:
        return sizes(self.settings, self.kafka.data())


@contextmanager
def opened() -> Iterator[Bench]:
    """A running platform."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        try:
            bench.open()
            yield bench
        finally:
            bench.close()


async def one_at_a_time(bench: Bench, anchor: int, seconds: float) -> dict[str, Any]:
    """Times to first tokens beside a bare chain of as many hops on the same broker, in turns."""
    settings = bench.kafka.settings(prefix="bare.")
    await apply(chain.TOPICS, settings)
    empty, bare, one, many = Figures(), Figures(), Figures(), Figures()
    plain = post("/empty", chat(16, stream=False))
    with chain.stages(settings):
        owner = chain.Owner(settings)
        await owner.open()
        for _ in range(ROUNDS):
            empty.latencies += (await closed_loop(anchor, plain, 1, seconds=0.5)).latencies
            bare.latencies += (await owner.alone(seconds / ROUNDS)).latencies
            one.latencies += (await bench.first(1, seconds / ROUNDS)).latencies
            many.latencies += (await bench.first(128, seconds / ROUNDS)).latencies
        await owner.close()
    return {
        "empty_route": spread(empty),
        "bare_chain": spread(bare),
        "first_token_of_1": spread(one),
        "first_token_of_128": spread(many),
    }


def spread(figures: Figures) -> dict[str, float]:
    """How many, and milliseconds."""
    count = len(figures.latencies)
    shares = {"p10": 0.1, "p50": 0.5, "p99": 0.99}
    return {"count": count, **{name: round(figures.percentile(at), 2) for name, at in shares.items()}}


async def measure(bench: Bench, anchor: int, seconds: float) -> dict[str, Any]:
    """What the deployed platform does."""
    key = bench.platform.key
    plain, stream = post(PATH, chat(16, stream=False), key), post(PATH, chat(128, stream=True), key)
    warm = await closed_loop(bench.platform.http_port, plain, 64, count=WARM)
    bench.sent += len(warm.latencies)
    alone = await one_at_a_time(bench, anchor, seconds)
    loops = {
        "plain c=1": await bench.loop("plain c=1", plain, 1, seconds / 2),
        "plain c=64": await bench.loop("plain c=64", plain, 64, seconds),
        "streams c=64": await bench.loop("streams c=64", stream, 64, seconds),
    }
    proof = await asyncio.to_thread(prove, bench.platform, bench.receiver, bench.sent)
    return {"one_at_a_time": alone, "loops": loops, "everything_on": proof}


def deployed(bench: Bench, seconds: float) -> dict[str, Any]:
    """With the anchors beside it."""
    process, anchor = anchors()
    try:
        return asyncio.run(measure(bench, anchor, seconds))
    finally:
        process.terminate()
        process.wait()


def figures(report: dict[str, Any]) -> dict[str, Any]:
    """The few that there are aims for. Embedded is the better of its two turns."""
    found, loops = report["deployed"], report["deployed"]["loops"]
    alone, plain = found["one_at_a_time"], loops["plain c=64"]
    embedded = max(
        turn["plain c=64"]["requests_per_s"] for name, turn in report.items() if name.startswith("embedded")
    )
    apart = ("frames", "completions")
    records, held = plain["records_a_request"], plain["log_bytes_a_request"]
    one, many = alone["first_token_of_1"]["p50"], alone["first_token_of_128"]["p50"]
    return {
        "bare_chain_p50_ms": alone["bare_chain"]["p50"],
        "added_to_first_token_p50_ms": round(many - alone["empty_route"]["p50"], 2),
        "of_it_hold_back_ms": round(many - one, 2),
        "without_hold_back_over_bare_chain": round(one / alone["bare_chain"]["p50"], 2),
        "requests_per_s_c64": plain["requests_per_s"],
        "share_of_embedded": round(plain["requests_per_s"] / embedded, 2),
        "cpu_ms_a_request": round(sum(plain["cpu_ms_a_request"].values()), 2),
        "streamed_tokens_per_s_c64": loops["streams c=64"]["tokens_per_s"],
        "records_a_request": round(sum(n for topic, n in records.items() if topic not in apart), 2),
        "frames_and_completions_a_request": [records[topic] for topic in apart],
        "log_bytes_a_request": round(sum(n for topic, n in held.items() if topic not in IN_TIME)),
    }


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--idle", action="store_true", help="CPU of a platform at rest, over 60 seconds")
    parser.add_argument("--write", type=Path, help="also into this file")
    given = parser.parse_args()
    report: dict[str, Any] = {"command": " ".join(["python -m tests.bench.deployed", *sys.argv[1:]])}
    report |= described()
    if not given.idle:
        report["embedded"] = measure_embedded(given.seconds)
    with opened() as bench:
        if given.idle:
            report["idle"] = at_rest(bench.platform, bench.pids)
        else:
            report["deployed"] = deployed(bench, given.seconds)
        report["resident_mib"] = {name: resident_mib(pid) for name, pid in bench.pids.items()}
    if not given.idle:
        report["embedded again"] = measure_embedded(given.seconds)
        report["figures"] = figures(report)
    text = json.dumps(report, indent=1)
    print(text)
    if given.write:
        given.write.write_text(text + "\n")


if __name__ == "__main__":
    main()
