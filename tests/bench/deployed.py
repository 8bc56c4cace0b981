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

WARM = 200
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


async def bare(bench: Bench, name: str, seconds: float) -> dict[str, Any]:
    """The chain of hops by the library alone, on the same broker."""
    settings = bench.kafka.settings(prefix=f"{name}.")
    await apply(chain.TOPICS, settings)
    with chain.stages(settings):
        one = await chain.drive(settings, 1, seconds)
    return {"p50_ms": round(one.percentile(0.5), 2), "p99_ms": round(one.percentile(0.99), 2)}


async def measure(bench: Bench, anchor: int, seconds: float) -> dict[str, Any]:
    """What the deployed platform does, beside the empty route of the same minute."""
    key = bench.platform.key
    plain, stream = chat(16, stream=False), post(PATH, chat(128, stream=True), key)
    warm = await closed_loop(bench.platform.http_port, post(PATH, plain, key), 8, count=WARM)
    bench.sent += len(warm.latencies)
    empty = await closed_loop(anchor, post("/empty", plain), 1, seconds=seconds / 4)
    one = await bench.first(1, seconds)
    many = await bench.first(128, seconds)
    loops = {
        "plain c=1": await bench.loop("plain c=1", post(PATH, plain, key), 1, seconds),
        "plain c=64": await bench.loop("plain c=64", post(PATH, plain, key), 64, seconds),
        "streams c=64": await bench.loop("streams c=64", stream, 64, seconds),
    }
    added = {
        "empty_route_p50_ms": round(empty.percentile(0.5), 2),
        "p50_ms": round(many.percentile(0.5) - empty.percentile(0.5), 2),
        "p99_ms": round(many.percentile(0.99), 2),
        "without_hold_back_p50_ms": round(one.percentile(0.5) - empty.percentile(0.5), 2),
        "hold_back_p50_ms": round(many.percentile(0.5) - one.percentile(0.5), 2),
    }
    return {"added_to_first_token_c1": added, "loops": loops}


async def all_of(bench: Bench, seconds: float) -> dict[str, Any]:
    """Everything in turn: the bare chain before and after, to see how the machine's hour went."""
    first = await bare(bench, "before", seconds)
    process, anchor = anchors()
    try:
        deployed = await measure(bench, anchor, seconds)
    finally:
        process.terminate()
        process.wait()
    again = await bare(bench, "after", seconds)
    deployed["everything_on"] = prove(bench.platform, bench.receiver, bench.sent)
    return {"bare_chain": first, "bare_chain_again": again, "deployed": deployed}


def figures(report: dict[str, Any]) -> dict[str, Any]:
    """The few that there are aims for."""
    deployed, embedded = report["deployed"], report["embedded"]
    loops = deployed["loops"]
    plain, streams = loops["plain c=64"], loops["streams c=64"]
    apart = ("frames", "completions")
    records = plain["records_a_request"]
    return {
        "bare_chain_p50_ms": [report["bare_chain"]["p50_ms"], report["bare_chain_again"]["p50_ms"]],
        "added_to_first_token_p50_ms": deployed["added_to_first_token_c1"]["p50_ms"],
        "of_it_hold_back_ms": deployed["added_to_first_token_c1"]["hold_back_p50_ms"],
        "requests_per_s_c64": plain["requests_per_s"],
        "share_of_embedded": round(plain["requests_per_s"] / embedded["plain c=64"]["requests_per_s"], 2),
        "streamed_tokens_per_s_c64": streams["tokens_per_s"],
        "records_a_request": round(sum(n for topic, n in records.items() if topic not in apart), 2),
        "frames_and_completions_a_request": [records[topic] for topic in apart],
        "log_bytes_a_request": round(
            sum(n for topic, n in plain["log_bytes_a_request"].items() if topic not in IN_TIME)
        ),
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
            report |= asyncio.run(all_of(bench, given.seconds))
            report["figures"] = figures(report)
        report["resident_mib"] = {name: resident_mib(pid) for name, pid in bench.pids.items()}
    text = json.dumps(report, indent=1)
    print(text)
    if given.write:
        given.write.write_text(text + "\n")


if __name__ == "__main__":
    main()
