"""Counts over many histories, and the report that stands in the repository."""

from __future__ import annotations

import platform
import resource
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.simulation.history import Result

ROOT = Path(__file__).parents[2]


def _revision() -> str:
    """Of the tree that is simulated; empty outside a clone."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip()


@dataclass
class Totals:
    """Of one run."""

    first: int
    histories: int = 0
    failed: int = 0
    violations: int = 0
    steps: int = 0
    seconds: float = 0.0
    """Virtual."""
    faults: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    seeds: list[int] = field(default_factory=list)
    """Of histories that failed."""
    first_violation: str = ""
    revision: str = field(default_factory=_revision)
    began: float = field(default_factory=time.monotonic)

    def add(self, result: Result) -> None:
        """Count one in."""
        self.histories += 1
        self.failed += bool(result.violations)
        self.violations += len(result.violations)
        self.steps += result.steps
        self.seconds += result.seconds
        self.faults += result.faults
        self.states += result.states
        if result.violations:
            self.seeds.append(result.plan.seed)
            self.first_violation = self.first_violation or result.violations[0]

    def value(self) -> dict[str, Any]:
        """All of it."""
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall = time.monotonic() - self.began
        return {
            "first_seed": self.first,
            "histories": self.histories,
            "failed": self.failed,
            "violations": self.violations,
            "failing_seeds": self.seeds[:20],
            "first_violation": self.first_violation[:160],
            "steps": self.steps,
            "virtual_seconds": round(self.seconds),
            "requests": dict(self.states.most_common()),
            "faults": dict(self.faults.most_common()),
            "wall_s": round(wall, 1),
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        }

    def line(self) -> str:
        """In one line."""
        found = self.value()
        per_minute = 60 * self.histories / max(found["cpu_s"], 0.001)
        return (
            f"{self.histories} histories from seed {self.first}, {self.steps} steps, "
            f"{self.seconds / 3600:.1f} virtual hours, {sum(self.states.values())} requests, "
            f"{sum(self.faults.values())} faults, {self.failed} failed; {found['wall_s']:.0f} s, "
            f"{found['cpu_s']:.0f} s of CPU, {per_minute:.0f} histories a minute of one core"
        )

    def write(self, path: Path) -> None:
        """The report, in Markdown."""
        found = self.value()
        path.write_text(
            _TEXT.format(
                python=platform.python_version(),
                rate=f"{60 * self.histories / max(found['cpu_s'], 0.001):.0f}",
                hours=f"{self.seconds / 3600:.0f}",
                requests=_table(found["requests"]),
                faults=_table(found["faults"]),
                asked=sum(self.states.values()),
                struck=sum(self.faults.values()),
                revision=self.revision,
                last=self.first + self.histories - 1,
                **{key: value for key, value in found.items() if key not in ("requests", "faults")},
            )
        )


def _table(counts: dict[str, int]) -> str:
    return "\n".join(f"| {name} | {count:,} |" for name, count in counts.items())


_TEXT = """# What the simulator has found

Written by `make simulate SEED={first_seed} HISTORIES={histories} ARGS="--report tests/simulation/REPORT.md"`
at revision {revision}, on a machine that others used too. Each history is replayed by its seed.

| figure | value |
| --- | --- |
| histories | {histories:,} (seeds {first_seed} to {last}) |
| steps (callbacks that the scheduler chose) | {steps:,} |
| requests | {asked:,} |
| faults that struck | {struck:,} |
| virtual time | {hours} h |
| histories that broke a promise | {failed:,} {failing_seeds} |
| wall time, CPU time | {wall_s:,} s, {cpu_s:,} s |
| histories a minute of one core's time | {rate} (Python {python}) |

## What clients were told

| end | requests |
| --- | --- |
{requests}

## What went wrong meanwhile

| fault | times |
| --- | --- |
{faults}
"""
