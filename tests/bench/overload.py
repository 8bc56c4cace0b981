"""More than can be served, by clients that do not wait for each other: F27.

    python -m tests.bench.overload [--seconds 20] [--factors 1,2,5]

The embedded platform with a paced synthetic engine; arrivals are Poisson, from a process of their own. 1 x
is what the workers can serve at most (slots x pace / tokens of an answer). A tenth of the clients are
patient: they have a key each, and where they are refused they come back once, when they were told to.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.embedded import PATH, chat
from tests.bench.keys import make_keys
from tests.bench.machine import described
from tests.bench.open_loop import OpenLoop
from tests.e2e.running import Running

SLOTS, PACE, TOKENS = 32, 32.0, 64
"""Sequences at once, tokens a second of each, and tokens of an answer: 2 s with a worker."""
PATIENT = 0.1
KEYS = 40
BEFORE_S = 6.0
"""Of arrivals before those that count."""


async def measure(platform: Running, keys: list[str], factors: list[float], seconds: float) -> dict[str, Any]:
    """Each factor's figures, and what they are of those at 1 x."""
    one, *patient = keys
    port = int(platform.base_url.rsplit(":", 1)[1].removesuffix("/v1"))
    capacity = SLOTS * PACE / TOKENS
    loop = OpenLoop(port, PATH, chat(TOKENS, stream=False), one, patient)
    await loop.run(capacity, 0.0, BEFORE_S, PATIENT)
    found = {}
    for factor in factors:
        seen = await loop.run(factor * capacity, BEFORE_S, seconds, PATIENT)
        found[f"{factor:g} x"] = seen.summary()
        print(json.dumps({f"{factor:g} x": found[f"{factor:g} x"]}), file=sys.stderr)
    loop.close()
    base = found["1 x"]
    return {
        "capacity_requests_per_s": capacity,
        "loads": found,
        "against_1_x": {
            name: {
                "goodput": round(one["goodput_tokens_per_s"] / base["goodput_tokens_per_s"], 3),
                "p99_of_answered": round(one["answered_p99_s"] / base["answered_p99_s"], 3),
            }
            for name, one in found.items()
        },
    }


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--factors", default="1,2,5")
    given = parser.parse_args()
    factors = sorted({1.0, *(float(one) for one in given.factors.split(","))})
    with tempfile.TemporaryDirectory() as folder:
        platform = Running(
            Path(folder) / "home",
            "synthetic",
            FREEHOLD_INFERENCE_SLOTS=str(SLOTS),
            FREEHOLD_INFERENCE_TOKENS_PER_SECOND=str(PACE),
        )
        try:
            keys = make_keys(platform.socket, platform.token, platform.base_url, 1 + KEYS)
            report = asyncio.run(measure(platform, keys, factors, given.seconds))
            platform.verify_ledger()
        finally:
            platform.stop()
    print(json.dumps({"machine": described(), **report}, indent=2))


if __name__ == "__main__":
    main()
