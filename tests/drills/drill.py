"""The shape of a drill: a fault, what is done, the figure that it prints, and what that is held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from tests.drills.books import Account
from tests.drills.world import World


@dataclass
class Figure:
    """What a drill found."""

    tried: int
    held: int
    """Of `tried`: as promised."""
    what: str
    """What was tried, in a few words."""
    seconds: str = ""
    met: bool = True
    """Whether the aim is reached, beside `held`."""
    allowed: int = 0
    """Of `tried`: may fail by the aim."""
    notes: list[str] = field(default_factory=list)


Run = Callable[[World], Figure]
F = TypeVar("F", bound=Run)
T = TypeVar("T")


@dataclass(frozen=True)
class Drill:
    """One row of the report."""

    id: str
    fault: str
    anchor: str
    aim: str
    run: Run
    seconds: float
    """It is given up after so many."""


@dataclass
class Result:
    """A drill that was done."""

    drill: Drill
    figure: Figure | None
    account: Account | None
    took_s: float
    error: str = ""

    @property
    def verdict(self) -> str:
        """held: as promised, aim met; short: every promise was kept and the aim missed; BROKEN otherwise."""
        if self.figure is None or (self.account is not None and not self.account.holds):
            return "BROKEN"
        if self.figure.held + self.figure.allowed < self.figure.tried:
            return "short"
        return "held" if self.figure.met else "short"


DRILLS: dict[str, Drill] = {}
"""By id, in the order of the report."""


def drill(name: str, fault: str, *, anchor: str = "–", aim: str, seconds: float = 600.0) -> Callable[[F], F]:
    """Registers a function of a world as a drill."""

    def register(run: F) -> F:
        DRILLS[name] = Drill(name, fault, anchor, aim, run, seconds)
        return run

    return register


SIZES = ("short", "usual", "full")
"""Of `make test`; of `make drills`; of `make drills DRILLS=full`."""
_size = "usual"


def choose(size: str) -> None:
    """How long and how many, for all drills done from now on."""
    global _size  # noqa: PLW0603 - one for the process, as its command line says
    _size = size


def sized(short: T, usual: T, full: T | None = None) -> T:
    """A number for the chosen size; `full` is as `usual` where nothing else is said."""
    if _size == "short":
        return short
    return usual if _size == "usual" or full is None else full
