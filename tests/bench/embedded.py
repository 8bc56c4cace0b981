"""The embedded platform with everything on, beside its anchors, in one run.

    python -m tests.bench.embedded [--seconds 10]

"Everything on": key check, strict validation, input and output moderation with the base pack, reservation
and usage durable before an answer ends, settlement and log entry of every request done by the end, metrics,
every request traced and exported to a live OTLP receiver. Each of these is asserted after the run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from tests.bench.load import Figures, closed_loop, post
from tests.bench.receiver import Receiver
from tests.e2e.running import Running

MODEL = "smollm2-135m-instruct"
PATH = "/v1/chat/completions"
PATIENCE = 600
"""Tenths of a second for what follows the last answer."""


def chat(tokens: int, *, stream: bool) -> bytes:
    """A request of four messages and about 1 kB."""
    messages = [
        {"role": "system", "content": "You are the assistant of a public library. " * 6},
        {"role": "user", "content": "When do you open on Saturdays, and may I bring a friend? " * 4},
        {"role": "assistant", "content": "We open at nine. Friends are welcome."},
        {"role": "user", "content": "Which shelves hold the maps of the coast?"},
    ]
    body: dict[str, Any] = {"model": MODEL, "messages": messages, "max_tokens": tokens, "stream": stream}
    if stream:
        body["stream_options"] = {"include_usage": True}
    return json.dumps(body).encode()


def anchors() -> tuple[subprocess.Popen[bytes], int]:
    """The anchors' process and its port, once it answers."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.anchors", str(port)])
    for _ in range(200):
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process, port
        time.sleep(0.05)
    raise SystemExit("the anchors did not start")


async def measure(platform: Running, anchor: int, seconds: float) -> dict[str, Any]:
    """Each figure beside its anchor."""
    port = int(platform.base_url.rsplit(":", 1)[1].removesuffix("/v1"))
    plain = post(PATH, chat(16, stream=False), platform.key)
    stream = post(PATH, chat(128, stream=True), platform.key)
    empty, chunks = post("/empty", chat(16, stream=False)), post("/chunks", b"{}")
    await closed_loop(port, plain, 16, seconds=2)
    loops: dict[str, Figures] = {}
    loops["empty c=1"] = await closed_loop(anchor, empty, 1, seconds=seconds / 2)
    loops["platform c=1"] = await closed_loop(port, plain, 1, seconds=seconds)
    loops["empty c=16"] = await closed_loop(anchor, empty, 16, seconds=seconds / 2)
    loops["platform c=16"] = await closed_loop(port, plain, 16, seconds=seconds)
    loops["chunks c=64"] = await closed_loop(anchor, chunks, 64, seconds=seconds / 2)
    loops["streams c=64"] = await closed_loop(port, stream, 64, seconds=seconds)
    return {name: figures.summary() for name, figures in loops.items()}


def totals(platform: Running) -> dict[str, int]:
    """Requests settled, from the project's usage."""
    headers = {"Authorization": f"Bearer {platform.key}"}
    rows = httpx.get(f"{platform.base_url}/usage", headers=headers).json()["data"]
    return {"requests": sum(row["requests"] for row in rows)}


def verify(platform: Running, receiver: Receiver, sent: int) -> dict[str, Any]:
    """Everything was on. Raises where something was not."""
    for _ in range(PATIENCE):
        found = totals(platform)
        if found["requests"] >= sent and len(receiver.traces) >= sent:
            break
        time.sleep(0.1)
    ledger = platform.command("ledger", "verify").stdout
    if found["requests"] != sent or "FAILED" in ledger or len(receiver.traces) < sent:
        raise SystemExit(f"sent {sent}, settled {found}, traces {len(receiver.traces)}\n{ledger}")
    return {
        **found,
        "traces": len(receiver.traces),
        "spans": receiver.spans,
        "services": sorted(receiver.services),
    }


def measure_embedded(seconds: float) -> dict[str, Any]:
    """Loops of the embedded platform alone, for others to stand beside. Everything on, and asserted."""
    receiver = Receiver()
    with tempfile.TemporaryDirectory() as folder:
        platform = Running(Path(folder) / "home", "synthetic", FREEHOLD_OTLP_ENDPOINT=receiver.endpoint)
        try:
            loops = asyncio.run(_loops(platform, seconds))
            metrics = httpx.get(platform.base_url.removesuffix("/v1") + "/metrics").text
            return loops | {"everything_on": verify(platform, receiver, accepted(metrics))}
        finally:
            platform.stop()
            receiver.stop()


async def _loops(platform: Running, seconds: float) -> dict[str, Any]:
    port = int(platform.base_url.rsplit(":", 1)[1].removesuffix("/v1"))
    plain = post(PATH, chat(16, stream=False), platform.key)
    stream = post(PATH, chat(128, stream=True), platform.key)
    await closed_loop(port, plain, 8, count=200)
    found = {
        "plain c=1": await closed_loop(port, plain, 1, seconds=seconds / 2),
        "plain c=64": await closed_loop(port, plain, 64, seconds=seconds),
        "streams c=64": await closed_loop(port, stream, 64, seconds=seconds),
    }
    return {name: figures.summary() for name, figures in found.items()}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    seconds = parser.parse_args().seconds
    receiver = Receiver()
    process, anchor = anchors()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        platform = Running(home, "synthetic", FREEHOLD_OTLP_ENDPOINT=receiver.endpoint)
        try:
            loops = asyncio.run(measure(platform, anchor, seconds))
            print(json.dumps(loops, indent=2), file=sys.stderr)
            metrics = httpx.get(platform.base_url.removesuffix("/v1") + "/metrics").text
            sent = accepted(metrics)
            report = {"loops": loops, "everything_on": verify(platform, receiver, sent)}
        finally:
            platform.stop()
            process.terminate()
            process.wait()
            receiver.stop()
    one, sixteen = loops["platform c=1"], loops["platform c=16"]
    report["figures"] = {
        "added_p50_ms_c1": round(one["p50_ms"] - loops["empty c=1"]["p50_ms"], 3),
        "requests_per_s_c16": sixteen["requests_per_s"],
        "share_of_empty_route": round(sixteen["requests_per_s"] / loops["empty c=16"]["requests_per_s"], 3),
        "streamed_tokens_per_s_c64": loops["streams c=64"]["tokens_per_s"],
        "share_of_bare_chunks": round(
            loops["streams c=64"]["tokens_per_s"] / loops["chunks c=64"]["events_per_s"], 3
        ),
        "cores": os.cpu_count(),
    }
    print(json.dumps(report, indent=2))


def accepted(metrics: str) -> int:
    """Requests that the edge took."""
    lines = [line for line in metrics.splitlines() if line.startswith("freehold_edge_requests_total")]
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines))


if __name__ == "__main__":
    main()
