"""Carries out what a plan says goes wrong, and in the end puts everything right again."""

from __future__ import annotations

from collections import Counter

from tests.simulation.loop import Lane
from tests.simulation.plan import Fault
from tests.simulation.process import Process
from tests.simulation.weather import Trouble
from tests.simulation.world import World


class Mischief:
    """The faults of one history."""

    def __init__(self, world: World, faults: tuple[Fault, ...]) -> None:
        self._world = world
        self._loop = world.loop
        self._faults = faults
        self._armed: dict[Lane, tuple[int, Fault, str]] = {}
        self._points: list[tuple[str, Fault]] = []
        self._passed: Counter[str] = Counter()
        self._over = False
        self.done: Counter[str] = Counter()

    def begin(self) -> None:
        """Let each happen at its time."""
        self._world.on_point = self._pass
        for fault in self._faults:
            self._loop.after(fault.at, self._happen, fault)

    def heal(self) -> None:
        """From now on nothing goes wrong; what is dead comes back."""
        world = self._world
        self._over = True
        self._loop.on_step = None
        world.on_point = None
        world.weather.troubles.clear()
        world.broker.down = False
        for files in world.files.values():
            files.full = False
        for name, parts in list(world.parts.items()):
            parts.process.cut = False
            self._loop.continue_lane(parts.process.lane)
            if not parts.process.alive:
                world.start(name)

    def _happen(self, fault: Fault) -> None:
        if self._over:
            return
        act = getattr(self, f"_{fault.kind.replace(' ', '_')}")
        act(fault)

    def _note(self, kind: str, words: str) -> None:
        self.done[kind] += 1
        self._world.said.append(f"{self._loop.now - self._world.began_at:.4f} s: {words}")

    def _process(self, name: str) -> Process | None:
        parts = self._world.parts.get(name)
        return parts.process if parts is not None and parts.process.alive else None

    # One method a kind

    def _kill(self, fault: Fault) -> None:
        process = self._process(fault.target)
        if process is None:
            return
        if fault.count:
            self._armed[process.lane] = (fault.count, fault, process.name)
            self._loop.on_step = self._step
        else:
            self._strike(process, fault)

    def _step(self, lane: Lane) -> None:
        armed = self._armed.get(lane)
        if armed is None:
            return
        left, fault, name = armed
        if left > 1:
            self._armed[lane] = (left - 1, fault, name)
            return
        del self._armed[lane]
        process = self._process(name)
        if process is not None and process.lane is lane:
            self._strike(process, fault)

    def _strike(self, process: Process, fault: Fault) -> None:
        process.kill()
        self._note(fault.kind, f"{process.lane.name} is killed")
        self._loop.after(fault.seconds, self._restart, process)

    def _restart(self, process: Process) -> None:
        if self._world.parts[process.name].process is process:
            self._world.start(process.name)

    def _kill_upon(self, fault: Fault) -> None:
        self._points.append((fault.target, fault))

    def _pass(self, process: Process, point: str) -> None:
        for entry in self._points:
            target, fault = entry
            if target == point and process.alive:
                self._passed[point] += 1
                if self._passed[point] >= fault.count:
                    self._points.remove(entry)
                    self._passed[point] = 0
                    self._strike(process, fault)
                return

    def _stop(self, fault: Fault) -> None:
        process = self._process(fault.target)
        if process is None or process.lane.stopped:
            return
        self._loop.stop_lane(process.lane)
        self._world.broker.silent(process)
        self._note(fault.kind, f"{process.lane.name} is stopped")
        self._loop.after(fault.seconds, self._continue, process)

    def _continue(self, process: Process) -> None:
        self._world.said.append(f"{self._loop.now - self._world.began_at:.4f} s: {process.lane.name} goes on")
        self._loop.continue_lane(process.lane)

    def _cut(self, fault: Fault) -> None:
        process = self._process(fault.target)
        if process is None or process.cut:
            return
        process.cut = True
        self._world.broker.silent(process)
        self._note(fault.kind, f"{process.lane.name} is cut off")
        self._loop.after(fault.seconds, setattr, process, "cut", False)

    def _drain(self, fault: Fault) -> None:
        process = self._process(fault.target)
        parts = self._world.parts.get(fault.target)
        if process is None or parts is None or not parts.up or parts.ending:
            return
        parts.ending = True
        self._note(fault.kind, f"{process.lane.name} is told to end")
        self._loop.spawn(process.lane, self._world.stop(fault.target), "stop")
        process.on_death.append(lambda: self._loop.after(fault.seconds, self._restart, process))

    def _trouble(self, fault: Fault) -> None:
        trouble = Trouble(fault.trouble, fault.target, fault.probability, fault.delay)
        self._world.weather.troubles.append(trouble)
        self._loop.after(fault.seconds, self._clear, trouble)

    def _clear(self, trouble: Trouble) -> None:
        if trouble in self._world.weather.troubles:
            self._world.weather.troubles.remove(trouble)

    def _down(self, fault: Fault) -> None:
        if self._world.broker.down:
            return
        self._world.broker.down = True
        self._note(fault.kind, "the brokers are down")
        self._loop.after(fault.seconds, setattr, self._world.broker, "down", False)

    def _shake(self, fault: Fault) -> None:
        self._note(fault.kind, f"{fault.target} is rebalanced")
        self._world.broker.shake(fault.target)

    def _clock(self, fault: Fault) -> None:
        process = self._process(fault.target)
        if process is not None:
            process.skew_ns += int(fault.delay * 1e9)
            self._note(fault.kind, f"the clock of {process.lane.name} steps by {fault.delay:+.0f} s")

    def _revoke(self, fault: Fault) -> None:
        self._note(fault.kind, f"{fault.target} is revoked")
        self._world.revoke(fault.target)

    def _full(self, fault: Fault) -> None:
        files = self._world.files["audit"]
        files.full = True
        self._note(fault.kind, "audit's file system is full")
        self._loop.after(fault.seconds, setattr, files, "full", False)
