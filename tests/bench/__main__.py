"""Run the measurements one after the other: `make bench`, or `python -m tests.bench NAME ...`."""

from __future__ import annotations

import subprocess
import sys

BENCHES = (
    "embedded",
    "deployed",
    "model",
    "edge_front",
    "bus",
    "settle",
    "settled",
    "audit_append",
    "growth",
    "growth.memory",
    "moderation",
    "kafka_bus",
    "overload",
    "open_streams",
    "slow_readers",
    "peers",
)


def main() -> None:
    """Entry point."""
    names = sys.argv[1:] or BENCHES
    if unknown := set(names) - set(BENCHES):
        sys.exit(f"no such measurement: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    for name in names:
        print(f"\n== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"tests.bench.{name}"], check=True)


if __name__ == "__main__":
    main()
