"""Freehold, embedded and deployed, beside LiteLLM and Portkey, in one run on the same cores.

    python -m tests.bench.peers [--seconds 8] [--rounds 2] [--write FILE]

Freehold does everything that it does (see `embedded`) in front of its engine without a model; the two others
pass requests on to one backend that answers at once and packs as many tokens into an event. One gateway runs
at a time, all in turns; a latency is *added* over the backend's own, asked directly. The deployed platform's
broker and database run on the same cores as all else.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tests.bench.deployed import WARM, opened
from tests.bench.embedded import PATH, accepted, chat, verify
from tests.bench.load import Figures, closed_loop, post
from tests.bench.machine import described
from tests.bench.peers import gateways
from tests.bench.peers.backend import STREAM
from tests.bench.peers.plot import draw
from tests.bench.processes import tree_mib
from tests.bench.proof import prove
from tests.bench.receiver import Receiver
from tests.e2e.running import Running
from tests.servers.process import free_port

CONNECTIONS = (1, 16, 64)
STREAMS = "streams c=64"
SERVERS = ("kafka", "postgres")
"""Their memory is told apart."""
FRAME = 3
"""Events of a stream beside those with text: why it ended, its usage, the mark of its end."""


class Measured(NamedTuple):
    """All turns of one gateway."""

    loops: dict[str, Figures]
    about: dict[str, Any]


class Turn(NamedTuple):
    """One that can be asked now."""

    port: int
    plain: bytes
    stream: bytes
    pids: dict[str, int]
    about: dict[str, Any]
    warm: int = 300
    done: Callable[[int], dict[str, Any]] | None = None
    """Called with the number of requests sent; what it proved."""


@contextmanager
def embedded() -> Iterator[Turn]:
    """`freehold up`, everything on and asserted."""
    receiver = Receiver()
    with tempfile.TemporaryDirectory() as folder:
        platform = Running(Path(folder) / "home", "synthetic", FREEHOLD_OTLP_ENDPOINT=receiver.endpoint)
        try:
            port = int(platform.base_url.rsplit(":", 1)[1].removesuffix("/v1"))

            def done(_: int) -> dict[str, Any]:
                return verify(platform, receiver, accepted(_metrics(port)))

            yield Turn(
                port, *_requests(platform.key), {"freehold": platform.process.pid}, {}, warm=1_000, done=done
            )
        finally:
            platform.stop()
            receiver.stop()


@contextmanager
def deployed() -> Iterator[Turn]:
    """Seven processes over Kafka and PostgreSQL, everything on and asserted."""
    with opened() as bench:

        def done(sent: int) -> dict[str, Any]:
            return prove(bench.platform, bench.receiver, bench.sent + sent)

        yield Turn(
            bench.platform.http_port,
            *_requests(bench.platform.key),
            bench.pids,
            {},
            warm=WARM,
            done=done,
        )


@contextmanager
def peer(
    make: Callable[[Path, int], AbstractContextManager[gateways.Gateway]], backend: int
) -> Iterator[Turn]:
    """A gateway before the backend."""
    with tempfile.TemporaryDirectory() as folder, make(Path(folder), backend) as gateway:
        plain, stream = (gateway.request(body) for body in _bodies())
        gateways.until_answers(gateway.port, plain, time.monotonic())
        about = {"version": gateway.version}
        yield Turn(gateway.port, plain, stream, {gateway.name: gateway.pid}, about)


@contextmanager
def direct(backend: int) -> Iterator[Turn]:
    """The backend itself."""
    plain, stream = (post(PATH, body) for body in _bodies())
    yield Turn(backend, plain, stream, {}, {})


def _bodies() -> tuple[bytes, bytes]:
    return chat(16, stream=False), chat(STREAM, stream=True)


def _requests(key: str) -> tuple[bytes, bytes]:
    plain, stream = _bodies()
    return post(PATH, plain, key), post(PATH, stream, key)


def _metrics(port: int) -> str:
    return httpx.get(f"http://127.0.0.1:{port}/metrics").text


def take(turn: Turn, seconds: float, into: Measured) -> None:
    """One turn: warm up, each loop, memory, proof."""
    warm = asyncio.run(closed_loop(turn.port, turn.plain, 16, count=turn.warm))
    sent = len(warm.latencies)
    loops = {f"plain c={count}": (turn.plain, count) for count in CONNECTIONS}
    for name, (request, count) in (loops | {STREAMS: (turn.stream, 64)}).items():
        found = asyncio.run(closed_loop(turn.port, request, count, seconds=seconds))
        sent += len(found.latencies)
        into.loops[name].add(found)
        print(f"{name}: {json.dumps(found.summary())}", file=sys.stderr)
    into.about.update(turn.about)
    into.about["resident_mib"] = {name: tree_mib(pid) for name, pid in turn.pids.items()}
    if turn.done is not None:
        into.about["everything_on"] = turn.done(sent)


def measure(seconds: float, rounds: int) -> dict[str, Measured]:
    """All of them, in turns; the first also says how many events a stream has."""
    found: dict[str, Measured] = defaultdict(lambda: Measured(defaultdict(Figures), {}))
    with embedded() as turn:
        take(turn, seconds, found["Freehold, embedded"])
    streams = found["Freehold, embedded"].loops[STREAMS]
    events = max(1, round(streams.events / len(streams.latencies)) - FRAME)
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.peers.backend", str(port), str(events)]
    with tempfile.TemporaryDirectory() as folder, gateways.process(command, Path(folder) / "backend.log"):
        gateways.until_answers(port, post(PATH, chat(16, stream=False)), time.monotonic())
        for number in range(rounds):
            order: dict[str, AbstractContextManager[Turn]] = {
                "backend": direct(port),
                "LiteLLM": peer(gateways.litellm, port),
                "Portkey": peer(gateways.portkey, port),
                "Freehold, deployed": deployed(),
            }
            if number:
                order["Freehold, embedded"] = embedded()
            for name, opening in order.items():
                print(f"-- {name}", file=sys.stderr)
                with opening as turn:
                    take(turn, seconds, found[name])
    found["backend"].about["events_a_stream"] = events
    return found


def figures(found: dict[str, Measured]) -> dict[str, dict[str, Any]]:
    """What there are aims for, of each."""
    floor = {name: loop.percentile(0.5) for name, loop in found["backend"].loops.items()}
    table: dict[str, dict[str, Any]] = {}
    for name, one in found.items():
        loops = {label: loop.summary() for label, loop in one.loops.items()}
        row: dict[str, Any] = {"streamed_tokens_per_s_c64": loops[STREAMS]["tokens_per_s"]}
        for count in CONNECTIONS:
            loop = loops[f"plain c={count}"]
            row[f"requests_per_s_c{count}"] = loop["requests_per_s"]
            row[f"added_p50_ms_c{count}"] = round(loop["p50_ms"] - floor[f"plain c={count}"], 2)
        row["failures"] = sum(loop["failures"] for loop in loops.values())
        held = one.about["resident_mib"]
        row["resident_mib"] = round(sum(size for part, size in held.items() if part not in SERVERS), 1)
        table[name] = row
    return table


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--write", type=Path, help="also into this file, and a plot beside it")
    given = parser.parse_args()
    report: dict[str, Any] = {"command": " ".join(["python -m tests.bench.peers", *sys.argv[1:]])}
    report |= described()
    found = measure(given.seconds, given.rounds)
    report["loops"] = {
        name: {label: loop.summary() for label, loop in one.loops.items()} for name, one in found.items()
    }
    report["about"] = {name: one.about for name, one in found.items()}
    report["figures"] = figures(found)
    text = json.dumps(report, indent=1)
    print(text)
    if given.write:
        given.write.write_text(text + "\n")
        draw(report["figures"], given.write.with_suffix(".svg"))


if __name__ == "__main__":
    main()
