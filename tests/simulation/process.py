"""One simulated process: its lane, its clocks, its threads, and what it has of the outside world."""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar, TypeVarTuple

from shared.host import Host
from tests.simulation.loop import Lane, SimLoop

T = TypeVar("T")
Args = TypeVarTuple("Args")

EPOCH_NS = 1_700_000_000_000_000_000
THREAD_S = 0.0004
"""Longest way to a thread and back."""


class Died(BaseException):
    """Raised where a process must not go on: its machine has taken it away in the midst of a call."""


class Process:
    """One life of a process. A restart makes another one with the same name and another incarnation."""

    def __init__(self, loop: SimLoop, name: str, life: int, chance: random.Random) -> None:
        self.loop = loop
        self.name = name
        self.life = life
        self.lane = Lane(f"{name}.{life}")
        self.chance = chance
        self.skew_ns = int(chance.uniform(-2e9, 2e9))
        """Of its wall clock; a fault may step it."""
        self.base = chance.uniform(10.0, 10_000.0)
        """Of its monotonic clock: no two processes' are alike."""
        self.cut = False
        """Whether it cannot reach the brokers."""
        self.begun_at = loop.now
        self.exited = ""
        self.on_death: list[Callable[[], None]] = []

    @property
    def alive(self) -> bool:
        """Whether it has not been killed and has not exited."""
        return not self.lane.dead

    def host(self, files: Files) -> Host:
        """Its surroundings."""
        return Host(
            clock=SimClock(self),
            random=self.chance,
            files=files,
            executor=lambda name: SimExecutor(self, name),
            exit=self._exit,
            incarnation=self.chance.getrandbits(64) or 1,
        )

    def kill(self) -> None:
        """As SIGKILL: not another step, and no effect of what it had begun beyond what has left it."""
        if self.alive:
            self.loop.kill(self.lane)
            for tell in self.on_death:
                tell()

    def _exit(self, reason: str) -> NoReturn:
        self.exited = reason
        raise SystemExit(reason)


class SimClock:
    """A process's clock over the loop's time."""

    __slots__ = ("_loop", "_process")

    def __init__(self, process: Process) -> None:
        self._process = process
        self._loop = process.loop

    def monotonic(self) -> float:
        return self._process.base + self._loop.now

    def time_ns(self) -> int:
        return EPOCH_NS + int(self._loop.now * 1e9) + self._process.skew_ns

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SimExecutor:
    """A thread that takes a moment and runs its calls in order."""

    def __init__(self, process: Process, name: str) -> None:
        self._process = process
        self._name = name
        self._free_at = 0.0
        self._closed = False

    async def run(self, call: Callable[[*Args], T], *args: *Args) -> T:
        return await self.submit(call, *args)

    def submit(self, call: Callable[[*Args], T], *args: *Args) -> asyncio.Future[T]:
        if self._closed:
            raise RuntimeError(f"the executor {self._name} is closed")
        loop = self._process.loop
        done: asyncio.Future[T] = loop.create_future()
        self._free_at = max(self._free_at, loop.now + loop.chance.random() * THREAD_S)
        loop.call_at(self._free_at, self._work, done, call, args)
        return done

    def close(self) -> None:
        self._closed = True

    def _work(self, done: asyncio.Future[Any], call: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if self._closed:
            done.cancel()
            return
        try:
            value = call(*args)
        except Exception as error:  # noqa: BLE001 - whoever waits decides what it means
            if not done.done():
                done.set_exception(error)
            return
        if not done.done():
            done.set_result(value)


class Files:
    """A small disk of whole files, kept over a process's death; it can be full."""

    def __init__(self) -> None:
        self._files: dict[Path, bytes] = {}
        self._folders: set[Path] = set()
        self.full = False

    def read(self, path: Path) -> bytes:
        if path not in self._files:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        return self._files[path]

    def exists(self, path: Path) -> bool:
        return path in self._files or path in self._folders

    def make_folder(self, path: Path, mode: int = 0o700) -> None:
        del mode
        self._folders.add(path)

    def write_durably(self, path: Path, data: bytes, mode: int = 0o644) -> None:
        del mode
        if self.full:
            raise OSError(errno.ENOSPC, "no space left on device", str(path))
        self._files[path] = data

    def free_bytes(self, path: Path) -> int:
        del path
        return 0 if self.full else 1 << 40

    def remove_folder(self, path: Path) -> None:
        for name in [name for name in self._files if path in name.parents]:
            del self._files[name]
