"""Do the drills, all or some, and report.

    python -m tests.drills [--only F1,F5] [--size full] [--write FILE] [--readme FILE]

A drill that fails or takes too long does not keep the others from being done: what it was done to is set
right, or thrown away and made anew. Ends with 1 where a promise was broken.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.drills.all_of_them import DRILLS
from tests.drills.drill import SIZES, choose
from tests.drills.readme import rewrite
from tests.drills.report import markdown
from tests.drills.running import Runner


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="ids, separated by commas")
    parser.add_argument("--size", choices=SIZES, default="usual", help="how long and how many")
    parser.add_argument("--write", type=Path, help="the report into this file")
    parser.add_argument("--readme", type=Path, help="and the table of what happens when into this one")
    given = parser.parse_args()
    choose(given.size)
    names = [name for name in given.only.split(",") if name] or list(DRILLS)
    if unknown := [name for name in names if name not in DRILLS]:
        raise SystemExit(f"there is no drill {', '.join(unknown)}; there are {', '.join(DRILLS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    runner = Runner(f"python -m tests.drills {' '.join(sys.argv[1:])}".strip())

    def report(ends: Sequence[str]) -> str:
        text = markdown(runner.results, runner.machine(), ends)
        if given.write:
            given.write.write_text(text)
        return text

    try:
        for name in names:
            runner.do(DRILLS[name])
            report(["not at its end"])
        print(report(runner.close_books()))
        if given.readme:
            rewrite(given.readme, runner.results)
    finally:
        runner.end()
    sys.exit(runner.broken)


if __name__ == "__main__":
    main()
