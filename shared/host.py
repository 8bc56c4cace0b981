"""What a process is given by its surroundings: in production the machine, in tests a simulator."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from shared.chance import SystemChance
from shared.clock import Clock, SystemClock
from shared.executor import Executor, ThreadExecutor
from shared.files import Files, SystemFiles


def _leave(reason: str) -> NoReturn:
    sys.exit(reason)


@dataclass(frozen=True)
class Host:
    """The outside world of one process. Nothing in `services` takes time, chance, threads,
    files or process exit from anywhere else.
    """

    clock: Clock
    random: random.Random
    """Source of identifiers, seeds and placeholders; the operating system's in production."""
    files: Files
    executor: Callable[[str], Executor]
    """Makes a named executor; whoever makes it closes it."""
    exit: Callable[[str], NoReturn]
    """Ends the process with one line to standard error. For states that cannot be served on from."""
    incarnation: int = field(default=0)
    """64 random bits drawn at start; says which life of a process a record is meant for."""


def system_host() -> Host:
    """The machine as it is."""
    chance = SystemChance()
    return Host(
        clock=SystemClock(),
        random=chance,
        files=SystemFiles(),
        executor=ThreadExecutor,
        exit=_leave,
        incarnation=chance.getrandbits(64) or 1,
    )
