"""The whole platform in one loop: every service as processes of its own, between brokers and disks."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from services.audit import app as audit
from services.audit.facts import CONTROL, organisation_of
from services.audit.mender import RepublishFailed
from services.audit.settings import AuditSettings
from services.billing import app as billing
from services.billing.settings import BillingSettings
from services.control import app as control
from services.control.settings import ControlSettings
from services.edge.credentials import Credentials as EdgeCredentials
from services.edge.owner.owner import Owner
from services.edge.settings import EdgeSettings
from services.inference import app as inference
from services.inference.settings import InferenceSettings
from services.moderation import app as moderation
from services.moderation.settings import ModerationSettings
from services.tokenizer import app as tokenizer
from services.tokenizer.settings import TokenizerSettings
from shared.bus.topics import load_topics
from shared.callers import OPERATOR, Credentials
from shared.config_reader import ConfigReader
from shared.configuration import Configuration
from shared.contracts.freehold.control.v1 import config_pb2 as pb
from shared.errors import FreeholdError
from shared.platform import Platform
from shared.pulses import PULSES, Pulses
from shared.rpc.numbers import FixedNumbers
from shared.storage.database import DatabaseError
from shared.telemetry import Telemetry, TelemetrySettings
from tests.simulation import cast
from tests.simulation.broker import Broker
from tests.simulation.bus import SimBus
from tests.simulation.disk import Disk, SimDatabase
from tests.simulation.loop import SimLoop
from tests.simulation.process import Files, Process
from tests.simulation.weather import Weather

TOPICS = load_topics("embedded")
SETTINGS = TelemetrySettings(trace_ratio=0.0, trace_store=0, host_name="sim", version="sim")
START_S = 30.0
STOP_S = 10.0
AUDIT_FOLDER = Path("/audit")


@dataclass(frozen=True)
class Shape:
    """How many processes there are of each service."""

    edges: int = 1
    tokenizers: int = 1
    moderations: int = 1
    billings: int = 1
    workers: int = 2
    slots: int = 4
    pace: float = 40.0
    """Tokens a second of each sequence."""

    def names(self) -> list[str]:
        """Of all processes, in the order of their start."""
        counts = {
            "tokenizer": self.tokenizers,
            "moderation": self.moderations,
            "billing": self.billings,
            "inference": self.workers,
            "audit": 1,
            "edge": self.edges,
        }
        return ["control", *(f"{name}-{i}" for name, count in counts.items() for i in range(count))]


@dataclass
class Parts:
    """What runs in one life of a process."""

    process: Process
    platform: Platform
    service: Any
    identify: Callable[[str], Any] | None = None
    """Of an edge: the principal of a secret, as its transports find it."""
    up: bool = False
    ending: bool = False
    """It was told to end."""


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
        self.lives: dict[str, int] = {}
        self.secrets: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self.drawn: dict[tuple[str, int], int] = {}
        """Ids that engines drew, by request and attempt."""
        self.shared: list[str] = []
        """Cells that were shared between tenants."""
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
        parts = self.parts[name] = self._build(name, process)
        boot = self.loop.spawn(process.lane, self._boot(parts), "boot")
        boot.add_done_callback(lambda done: self._booted(parts, done))
        return parts

    def kill(self, name: str) -> None:
        """As SIGKILL."""
        self.parts[name].process.kill()

    def _booted(self, parts: Parts, boot: Any) -> None:
        error = None if boot.cancelled() else boot.exception()
        if isinstance(error, FreeholdError | DatabaseError):
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
        await platform.pulses.start()
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

    def _build(self, name: str, process: Process) -> Parts:
        service, _, number = name.partition("-")
        host = process.host(self.files.get(service, Files()))
        bus = SimBus(process, self.broker, lambda topic: self.passed(process, f"publish/{topic}"))
        configuration = Configuration()
        platform = Platform(
            host=host,
            bus=bus,
            telemetry=Telemetry(host, SETTINGS, CollectorRegistry()),
            configuration=configuration,
            config=ConfigReader(bus, host, configuration),
            pulses=Pulses(bus, host, listen=service in TOPICS[PULSES.topic].assigned),
        )
        make = getattr(self, f"_{service}")
        return make(Parts(process, platform, None), int(number or 0))

    def _database(self, parts: Parts, name: str) -> SimDatabase:
        return SimDatabase(parts.process, self.disks[name])

    def _control(self, parts: Parts, _: int) -> Parts:
        database = self._database(parts, "control")
        parts.service = control.build(ControlSettings(), parts.platform, database, cast.PEPPERS)
        return parts

    def _tokenizer(self, parts: Parts, number: int) -> Parts:
        settings = TokenizerSettings(member=f"tokenizer-{number}")
        parts.service = tokenizer.build(settings, parts.platform, TOPICS)
        return parts

    def _moderation(self, parts: Parts, number: int) -> Parts:
        settings = ModerationSettings(always=("sim",), member=f"moderation-{number}")
        parts.service = moderation.build(settings, parts.platform, TOPICS)
        return parts

    def _billing(self, parts: Parts, number: int) -> Parts:
        settings = BillingSettings(sole_process=False, member=f"billing-{number}", settle_interval_ms=50)
        database = self._database(parts, "billing")
        parts.service = billing.build(settings, parts.platform, TOPICS, database)
        return parts

    def _inference(self, parts: Parts, number: int) -> Parts:
        settings = InferenceSettings(
            engine="synthetic",
            slots=self.shape.slots,
            queue=2,
            kept_sequences=2,
            prefill_tokens=32,
            cells=4096,
            tokens_per_second=self.shape.pace,
        )
        numbers = FixedNumbers(seats=[number])

        def around(_: Any) -> Any:
            return cast.WatchedEngine(cast.make_engine(self.shape.pace), self.drawn, self.shared)

        parts.service = inference.build(settings, parts.platform, TOPICS, numbers, around)
        return parts

    def _audit(self, parts: Parts, _: int) -> Parts:
        database = self._database(parts, "audit")
        settings = AuditSettings(batch_interval_ms=50, checkpoint_interval_ms=100)
        parts.service = audit.build(
            settings, parts.platform, TOPICS, database, AUDIT_FOLDER, Republish(self)
        )
        return parts

    def _edge(self, parts: Parts, number: int) -> Parts:
        platform = parts.platform
        parts.service = Owner(platform, FixedNumbers(lanes=[2 * number, 2 * number + 1]))
        known = Credentials(platform.configuration, cast.PEPPERS, platform.host.clock)
        asked = EdgeCredentials(known, platform.configuration, EdgeSettings())

        def identify(secret: str) -> Any:
            asker = asked.identify([(b"authorization", f"Bearer {secret}".encode())])
            return asked.principal(asker.caller)

        parts.identify = identify
        return parts

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


class Republish:
    """Audit's way to whoever can publish facts again: the service's own method, without the wire between."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def republish(self, stream: str, first: int, last: int) -> None:
        """See `services.audit.mender.Republish`."""
        names = ["control"] if stream == CONTROL else [n for n in self._world.parts if n.startswith("billing")]
        for name in names:
            parts = self._world.parts[name]
            if parts.process.alive and parts.up and not parts.process.lane.stopped:
                break
        else:
            raise RepublishFailed("nobody answers")
        process = parts.process
        answer = process.loop.create_future()
        asked = process.loop.spawn(process.lane, self._ask(parts, stream, first, last), "republish")
        asked.add_done_callback(lambda done: answer.done() or answer.set_result(done))
        limit = process.loop.after(10.0, lambda: answer.done() or answer.set_result(None))
        done = await answer
        limit.cancel()
        if done is None or done.cancelled() or done.exception() is not None:
            raise RepublishFailed("not published again")

    async def _ask(self, parts: Parts, stream: str, first: int, last: int) -> None:
        if stream == CONTROL:
            await parts.service._publications.republish(first, last)
            return
        servicer = parts.service._servicer
        found = await servicer._database.read(
            lambda connection: billing_facts(connection, organisation_of(stream), first, last)
        )
        await servicer._facts.republish(found)


def billing_facts(connection: Any, organisation: str, first: int, last: int) -> Any:
    """As `Billing.RepublishFacts` reads them."""
    from services.billing.rpc import facts_between

    return facts_between(connection, organisation=organisation, first=first, last=last)
