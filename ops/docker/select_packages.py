"""Prints the entries of a hash-pinned lock that one set of packages.toml needs and `common` does not have.

Usage: select_packages.py LOCK SETS NAME. One lock serves everything: an image gets a part of it.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

COMMON = "common"
_NAME = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)


def entries(lock: str) -> dict[str, str]:
    """By package, its lines of the lock."""
    starts = [(match[1], match.start()) for match in _NAME.finditer(lock)]
    ends = [start for _, start in starts[1:]] + [len(lock)]
    return {name: lock[start:end] for (name, start), end in zip(starts, ends, strict=True)}


def needed_by(entry: str) -> set[str]:
    """Which packages the lock names as the reason of an entry."""
    reason = entry.split("# via", 1)[1]
    return set(re.findall(r"[A-Za-z0-9._-]+", reason.replace("#", " ")))


def closure(found: dict[str, str], wanted: list[str], without: set[str]) -> set[str]:
    """The wanted packages and everything that they need. Raises `KeyError` for one the lock lacks."""
    for name in wanted:
        found[name]
    chosen = set(wanted)
    while True:
        more = {
            name
            for name, entry in found.items()
            if name not in chosen and name not in without and needed_by(entry) & chosen
        }
        if not more:
            return chosen
        chosen |= more


def select(lock: str, table: str, name: str) -> str:
    """The part of the lock for one set."""
    found, tables = entries(lock), tomllib.loads(table)
    without = set(tables["without"])
    chosen = closure(found, tables["sets"][name], without)
    if name != COMMON:
        chosen -= closure(found, tables["sets"][COMMON], without)
    return "".join(found[package] for package in sorted(chosen))


if __name__ == "__main__":
    lock_path, sets_path, asked = sys.argv[1:]
    print(select(Path(lock_path).read_text(), Path(sets_path).read_text(), asked))
