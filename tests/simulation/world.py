"""The whole platform in one loop: every service as processes of its own, between brokers and disks."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from services.edge.owner.owner import Owner
from shared.bus.ports import BusError
from shared.callers import OPERATOR
from shared.contracts.freehold.control.v1 import config_pb2 as pb
from shared.errors import FreeholdError
from shared.storage.database import DatabaseError
from tests.simulation import cast
from tests.simulation.assembly import TOPICS, Assembly, Parts, Shape
from tests.simulation.broker import Broker
from tests.simulation.disk import Disk
from tests.simulation.loop import SimLoop
from tests.simulation.process import Files, Process
from tests.simulation.weather import Weather

START_S = 30.0
STOP_S = 10.0


class World:
    """Made from a shape; everything random comes from `chance`."""

    def __init__(self, shape: Shape, chance: random.Random) -> None:
        self.shape = shape
        self.chance = chance
        self.loop = SimLoop(chance)
        self.weather = Weather(chance)
        self.broker = Broker(self.loop, TOPICS, self.weather)
        self.disks = {name: Disk(name, self.weather) for name in ("control", "billing", "audit")}
        self.files = {"audit": Files()}
        self.parts: dict[str, Parts] = {}
        self._assembly = Assembly(self)
        self.lives: dict[str, int] = {}
        self.secrets: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self.truth = cast.Truth()
        self.on_point: Callable[[Process, str], None] | None = None
        """Called where a process publishes, has committed or stores offsets: it may be killed there."""
        self.began_at = 0.0
        self.complaints: list[str] = []
        """What the services logged as nobody's fault but their own."""
        self.said: list[str] = []
        """What happened, in words."""
        for name, disk in self.disks.items():
            disk.on_commit = lambda process, name=name: self.passed(process, f"commit/{name}")
        self.broker.on_store = lambda process, group: self.passed(process, f"store/{group}")

    def open(self) -> None:
        """Start everything, configure it, and return once all are ready."""
        self.start("control")
        made = self.loop.spawn(self.parts["control"].process.lane, self._configure(), "configure")
        if not self.loop.run(made.done, 1_000_000, START_S):
            raise AssertionError(f"control does not start: {self.loop.failures}")
        made.result()
        for name in self.shape.names()[1:]:
            self.start(name)
        if not self.loop.run(self.ready, 1_000_000, START_S):
            raise AssertionError(f"not ready: {self.why()} {self.loop.failures}")

    def ready(self) -> bool:
        """Whether every process runs and every service says that it is ready."""
        return all(
            parts.process.alive and parts.up and parts.service.readiness().ready and self._heard(parts)
            for parts in self.parts.values()
        )

    def passed(self, process: Process, point: str) -> None:
        """A process has come to a point where something may happen to it."""
        if self.on_point is not None:
            self.on_point(process, point)

    def why(self) -> str:
        """Who is not ready, and why."""
        found = [
            f"{name}: {'dead' if not parts.process.alive else parts.service.readiness().reason or 'starting'}"
            for name, parts in self.parts.items()
            if not (parts.process.alive and parts.up and parts.service.readiness().ready)
        ]
        return "; ".join(found)

    def _heard(self, parts: Parts) -> bool:
        pulses = parts.platform.pulses
        if not isinstance(parts.service, Owner):
            return True
        return len(pulses.workers()) == self.shape.workers and all(
            pulses.count(name) > 0 for name in ("moderation", "tokenizer", "billing")
        )

    # Processes

    def start(self, name: str) -> Parts:
        """Begin the next life of a process."""
        life = self.lives[name] = self.lives.get(name, 0) + 1
        process = Process(self.loop, name, life, random.Random(self.chance.getrandbits(64)))
        parts = self.parts[name] = self._assembly.build(name, process)
        boot = self.loop.spawn(process.lane, self._boot(parts), "boot")
        boot.add_done_callback(lambda done: self._booted(parts, done))
        return parts

    def kill(self, name: str) -> None:
        """As SIGKILL."""
        self.parts[name].process.kill()

    def _booted(self, parts: Parts, boot: Any) -> None:
        error = None if boot.cancelled() else boot.exception()
        if isinstance(error, FreeholdError | DatabaseError | BusError):
            # As a container that is restarted when it has ended with one line.
            parts.process.kill()
            self.loop.after(1.0, self._again, parts.process)
        elif error is not None:
            self.loop.failures.append(f"{parts.process.lane.name}: could not start: {error!r}")

    def _again(self, process: Process) -> None:
        if self.parts[process.name].process is process:
            self.start(process.name)

    async def _boot(self, parts: Parts) -> None:
        platform = parts.platform
        await platform.config.start()
        while True:  # as a deployed process waits for what it stands on
            try:
                await platform.pulses.start()
                break
            except BusError:
                await platform.host.clock.sleep(1.0)
        await parts.service.start()
        parts.up = True

    async def stop(self, name: str, seconds: float = STOP_S) -> None:
        """As SIGTERM: the process ends itself within its grace."""
        parts = self.parts[name]
        deadline = parts.platform.host.clock.monotonic() + seconds
        await parts.service.stop(deadline)
        await parts.platform.pulses.stop(deadline)
        await parts.platform.config.stop(deadline)
        await parts.platform.bus.close()
        parts.process.kill()

    # Control's desk

    async def _configure(self) -> None:
        parts = self.parts["control"]
        while not parts.up:
            await parts.platform.host.clock.sleep(0.01)
        keeper = parts.service.keeper
        for value in cast.values():
            await keeper.put(value, OPERATOR)
        for organisation in ("north", "south"):
            for number in range(2):
                asked = pb.Key(
                    organisation=organisation,
                    project=f"{organisation}-project",
                    name=f"{organisation}-{number}",
                    roles=["complete", "usage"],
                )
                key, secret = await keeper.create_key(asked, OPERATOR)
                self.secrets[f"{organisation}-{number}"] = secret
                self.keys[f"{organisation}-{number}"] = key.id

    def revoke(self, name: str) -> None:
        """Ask control to revoke a key; nothing where control does not run."""
        parts = self.parts["control"]
        if parts.process.alive and parts.up:
            self.loop.spawn(parts.process.lane, self._revoke(parts, self.keys[name]), "revoke")

    async def _revoke(self, parts: Parts, identifier: str) -> None:
        try:
            await parts.service.keeper.revoke_key(identifier, OPERATOR)
        except DatabaseError:
            self.said.append(f"the key {identifier} was perhaps not revoked")
