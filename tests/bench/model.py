"""The real model through the whole platform, beside a raw decode loop in the same run; and its memory.

    python -m tests.bench.model [--rounds 5]

The platform answers eight clients at a time over HTTP, everything on, greedy and by the model's own sampling;
the client is a process of its own. The anchor is `tests.bench.raw_decode`'s loop: same library, weights,
threads and batch, argmax, no detokenising. Rounds alternate, since the machine's speed drifts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

import services.cli  # noqa: F401 - sets how llama.cpp's threads wait, for the anchor as for the platform
from services.inference.engines.llama import LlamaEngine
from services.inference.engines.loading import Sizes, load_engine
from shared.models.manifest import load_manifest
from tests.bench.embedded import MODEL, PATH
from tests.bench.load import closed_loop, post
from tests.bench.raw_decode import MANIFEST, declare_batch, prompts, raw
from tests.e2e.running import Running

CLIENTS = 8
THREADS = 2
SUBJECTS = ("rivers", "ports", "bread", "winter", "glass", "rice", "bridges", "music", "paper", "rain")


def question(number: int, tokens: int, temperature: float | None) -> bytes:
    """A request whose prompt is as long as the anchor's."""
    text = (
        f"Tell me {number + 2} things about {SUBJECTS[number % len(SUBJECTS)]} and how they changed a city."
    )
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": tokens}
    return json.dumps(body if temperature is None else {**body, "temperature": temperature}).encode()


async def served(platform: Running, tokens: int, temperature: float | None) -> float:
    """Tokens per second over eight connections, each with questions of its own."""
    port = int(platform.base_url.rsplit(":", 1)[1].removesuffix("/v1"))
    begin = time.perf_counter()
    loops = [
        closed_loop(port, post(PATH, question(client, tokens, temperature), platform.key), 1, count=2)
        for client in range(CLIENTS)
    ]
    figures = await asyncio.gather(*loops)
    if any(found.failures for found in figures):
        raise SystemExit("a request failed")
    return sum(found.tokens for found in figures) / (time.perf_counter() - begin)


def resident_mib(process: int) -> float:
    """Peak resident memory of a process."""
    text = Path(f"/proc/{process}/status").read_text()
    return round(int(text.split("VmHWM:")[1].split()[0]) / 1024, 1)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=96)
    given = parser.parse_args()
    sizes = Sizes(cells=4_096, sequences=2 * CLIENTS, batch=128, threads=THREADS, gpu_layers=0)
    engine = load_engine("llama", load_manifest(MANIFEST), sizes)
    assert isinstance(engine, LlamaEngine)
    declare_batch(engine)
    asked = prompts(engine, CLIENTS)
    rates: dict[str, list[float]] = {"raw": [], "greedy": [], "sampled": []}
    with tempfile.TemporaryDirectory() as folder:
        platform = Running(Path(folder) / "home", "llama", FREEHOLD_INFERENCE_THREADS=str(THREADS))
        asyncio.run(served(platform, given.tokens, 0.0))
        for _ in range(given.rounds):
            begin = time.perf_counter()
            count = raw(engine, asked, given.tokens)
            rates["raw"].append(count / (time.perf_counter() - begin))
            rates["greedy"].append(asyncio.run(served(platform, given.tokens, 0.0)))
            rates["sampled"].append(asyncio.run(served(platform, given.tokens, None)))
        memory = resident_mib(platform.process.pid)
        platform.stop()
    engine.close()
    medians = {name: round(statistics.median(found), 1) for name, found in rates.items()}
    ratios = {
        name: round(statistics.median(a / b for a, b in zip(rates[name], rates["raw"], strict=True)), 3)
        for name in ("greedy", "sampled")
    }
    print(
        json.dumps({"tokens_per_s": medians, "ratio_to_raw": ratios, "peak_resident_mib": memory}, indent=2)
    )


if __name__ == "__main__":
    main()
