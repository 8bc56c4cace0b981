"""`python -m tests.simulation`: seeded histories of the whole platform, and the story of one that fails."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.simulation.history import Result
from tests.simulation.plan import Plan, draw
from tests.simulation.report import Totals
from tests.simulation.running import Stage
from tests.simulation.shrinking import shrink

TOLD_EVERY_S = 30.0


def main() -> None:
    """See the module."""
    options = _options()
    stage = Stage(options.jobs)
    totals = Totals(options.seed)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):  # who stops a long run still gets what it has found
        _run(stage, options, totals)
    if options.json:
        print(json.dumps(totals.value()))
    elif not options.digests:
        print(totals.line())
    if options.report:
        totals.write(options.report)
    sys.exit(1 if totals.failed else 0)


def _run(stage: Stage, options: argparse.Namespace, totals: Totals) -> None:
    told = time.monotonic()
    for result in stage.play(_plans(options.seed, options.histories)):
        totals.add(result)
        if options.digests:
            print(result.plan.seed, result.digest)
        if result.violations:
            _tell(result, stage, options.shrink)
            if totals.failed >= options.most_failures:
                return
        if time.monotonic() - told > TOLD_EVERY_S:
            told = time.monotonic()
            print(totals.line(), file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--histories", type=int, default=1000, help="how many, one seed after the other")
    parser.add_argument("--jobs", type=int, default=1, help="histories at a time")
    parser.add_argument("--most-failures", type=int, default=1, help="stop after so many")
    parser.add_argument("--no-shrink", dest="shrink", action="store_false", help="tell a failure as it is")
    parser.add_argument("--digests", action="store_true", help="print the digest of every history")
    parser.add_argument("--json", action="store_true", help="print the totals as JSON")
    parser.add_argument("--report", type=Path, help="add the totals to this report")
    return parser.parse_args()


def _plans(first: int, count: int) -> Iterator[Plan]:
    return (draw(seed) for seed in range(first, first + count))


def _tell(result: Result, stage: Stage, small: bool) -> None:
    print(f"\nseed {result.plan.seed} fails ({result.digest}):", file=sys.stderr)
    for violation in result.violations[:10]:
        print(f"  {violation}", file=sys.stderr)
    if small:
        result = shrink(result, stage.play_one)
        print("  the smallest story found:", file=sys.stderr)
    for line in result.plan.words():
        print(f"    {line}", file=sys.stderr)
    print("  what happened:", file=sys.stderr)
    for line in (*result.said, *result.violations[:5]):
        print(f"    {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
