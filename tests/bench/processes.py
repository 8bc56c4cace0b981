"""CPU time of processes, from the kernel's own accounts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Of a process, all its threads, and the children that it has now."""
    own = _of(pid)
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        own += sum(cpu_seconds(int(child)) for child in task.read_text().split())
    return own


def all_cpu(pids: Mapping[str, int]) -> dict[str, float]:
    """Seconds by name."""
    return {name: cpu_seconds(pid) for name, pid in pids.items()}


def spent(before: Mapping[str, float], after: Mapping[str, float], over: float) -> dict[str, float]:
    """What each has used, divided by `over`."""
    return {name: round((after[name] - before[name]) / over, 5) for name in before}


def resident_mib(pid: int) -> float:
    """Memory that the process holds now, without its children."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def tree_mib(pid: int) -> float:
    """Memory that a process and its children hold now; what they share counts once for each."""
    whole = resident_mib(pid)
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        whole += sum(tree_mib(int(child)) for child in task.read_text().split())
    return whole


def _of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    # Times of ended children are in 13 and 14: a server's short-lived backends count too.
    return sum(int(fields[number]) for number in (11, 12, 13, 14)) / TICK
