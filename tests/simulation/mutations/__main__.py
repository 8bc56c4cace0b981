"""`python -m tests.simulation.mutations`: each bug in a copy of the tree, and histories until it is found."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.simulation.mutations.bugs import BUGS, Bug

ROOT = Path(__file__).parents[3]
NEEDED = ("services", "shared", "proto", "ops/models", "ops/policies", "tests/simulation", "pyproject.toml")


def main() -> None:
    """Ends with 1 where a bug is not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutations", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--histories", type=int, default=1500, help="how many may be needed for each")
    parser.add_argument("--jobs", type=int, default=1, help="histories at a time")
    parser.add_argument("--only", default="", help="bugs whose name holds this text")
    options = parser.parse_args()
    print("| bug | found | seed | histories | by |\n| --- | --- | --- | --- | --- |", flush=True)
    missed = 0
    for bug in BUGS:
        if options.only in bug.name:
            missed += not _hunt(bug, options)
    sys.exit(1 if missed else 0)


def _hunt(bug: Bug, options: argparse.Namespace) -> bool:
    with tempfile.TemporaryDirectory(prefix="freehold-mutation-") as folder:
        tree = Path(folder)
        for name in NEEDED:
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "mutations")
                shutil.copytree(source, tree / name, symlinks=True, ignore=ignored)
            else:
                shutil.copy(source, tree / name)
        _put(bug, tree)
        found = _simulate(tree, options)
    words = found["first_violation"].replace("|", "/")
    seed = found["failing_seeds"][0] if found["failed"] else ""
    verdict = "yes" if found["failed"] else "**no**"
    print(f"| {bug.name} | {verdict} | {seed} | {found['histories']} | {words} |", flush=True)
    return bool(found["failed"])


def _put(bug: Bug, tree: Path) -> None:
    path = tree / bug.file
    text = path.read_text(encoding="utf-8")
    if text.count(bug.old) != 1:
        raise SystemExit(
            f"{bug.name}: its text stands {text.count(bug.old)} times in {bug.file}; mend the list"
        )
    path.write_text(text.replace(bug.old, bug.new), encoding="utf-8")


def _simulate(tree: Path, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.simulation", "--no-shrink", "--json"]
    command += ["--seed", str(options.seed), "--histories", str(options.histories)]
    command += ["--jobs", str(options.jobs)]
    begun = time.monotonic()
    ended = subprocess.run(
        command,
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in ended.stdout.splitlines() if line.startswith("{")]
    if not lines:
        # It does not even run: that is no find of the simulator's.
        words = (ended.stderr.strip().splitlines() or ["nothing said"])[-1]
        return {"failed": 0, "failing_seeds": [], "histories": 0, "first_violation": words[:160]}
    found: dict[str, Any] = json.loads(lines[-1])
    found["seconds"] = time.monotonic() - begun
    return found


if __name__ == "__main__":
    main()
