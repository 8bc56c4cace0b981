"""A short set of histories, and that a seed means the same everywhere.

Each run is an interpreter of its own: it forks once a history, which a test runner's threads would not like.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.plan import draw

ROOT = Path(__file__).parents[2]
HISTORIES = 150
"""Half a minute of one core; a loaded machine takes several."""


def simulate(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(900)
def test_no_history_breaks_a_promise() -> None:
    found = simulate("--seed", "0", "--histories", str(HISTORIES), "--json")
    assert found.returncode == 0, found.stderr
    totals = json.loads(found.stdout.splitlines()[-1])
    assert totals["histories"] == HISTORIES
    # It is no test of calm weather: most requests end well, and much goes wrong.
    assert totals["requests"]["completed"] > HISTORIES
    assert {"kill", "kill upon", "stop", "cut", "drain", "down", "shake"} <= totals["faults"].keys()


@pytest.mark.timeout(600)
def test_a_seed_replays_exactly_in_another_interpreter() -> None:
    arguments = ("--seed", "40", "--histories", "12", "--digests")
    first = simulate(*arguments, PYTHONHASHSEED="1")
    second = simulate(*arguments, PYTHONHASHSEED="2", MALLOC_PERTURB_="7")
    assert first.returncode == 0, first.stderr
    assert len(first.stdout.splitlines()) == 12
    assert first.stdout == second.stdout


def test_a_plan_is_told_in_words() -> None:
    told = "\n".join(line for seed in range(60) for line in draw(seed).words())
    for words in ("is killed", "is stopped for", "cannot reach the brokers", "rebalanced", "asks edge-0"):
        assert words in told
