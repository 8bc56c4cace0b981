"""Which adapters each simulated process is given; what `services.cli` does for real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from prometheus_client import CollectorRegistry

from services.audit import app as audit
from services.audit.facts import CONTROL, organisation_of
from services.audit.mender import RepublishFailed
from services.audit.settings import AuditSettings
from services.billing import app as billing
from services.billing.rpc import facts_between
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
from shared.callers import Credentials
from shared.config_reader import ConfigReader
from shared.configuration import Configuration
from shared.platform import Platform
from shared.pulses import PULSES, Pulses
from shared.rpc.numbers import FixedNumbers
from shared.telemetry import Telemetry, TelemetrySettings
from tests.simulation import cast
from tests.simulation.bus import SimBus
from tests.simulation.disk import SimDatabase
from tests.simulation.process import Files, Process

TOPICS = load_topics("embedded")
SETTINGS = TelemetrySettings(trace_ratio=0.0, trace_store=0, host_name="sim", version="sim")
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


class Surroundings(Protocol):
    """What a process is built into: the world."""

    shape: Shape
    broker: Any
    disks: Any
    files: dict[str, Files]
    parts: dict[str, Parts]
    truth: cast.Truth

    def passed(self, process: Process, point: str) -> None:
        """A process has come to a point where something may happen to it."""


class Assembly:
    """Builds one life of any process."""

    def __init__(self, world: Surroundings) -> None:
        self._world = world

    def build(self, name: str, process: Process) -> Parts:
        """The parts of the next life of this process."""
        service, _, number = name.partition("-")
        host = process.host(self._world.files.get(service, Files()))
        bus = SimBus(
            process, self._world.broker, lambda topic: self._world.passed(process, f"publish/{topic}")
        )
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
        return SimDatabase(parts.process, self._world.disks[name])

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
            slots=self._world.shape.slots,
            queue=2,
            kept_sequences=2,
            prefill_tokens=32,
            cells=4096,
            tokens_per_second=self._world.shape.pace,
        )
        numbers = FixedNumbers(seats=[number])

        def around(_: Any) -> Any:
            engine = cast.make_engine(self._world.shape.pace)
            return cast.WatchedEngine(engine, self._world.truth, parts.platform.host.incarnation)

        parts.service = inference.build(settings, parts.platform, TOPICS, numbers, around)
        return parts

    def _audit(self, parts: Parts, _: int) -> Parts:
        database = self._database(parts, "audit")
        settings = AuditSettings(batch_interval_ms=50, checkpoint_interval_ms=100)
        parts.service = audit.build(
            settings, parts.platform, TOPICS, database, AUDIT_FOLDER, Republish(self._world)
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


class Republish:
    """Audit's way to whoever can publish facts again: the service's own method, without the wire between."""

    def __init__(self, world: Surroundings) -> None:
        self._world = world

    async def republish(self, stream: str, first: int, last: int) -> None:
        """See `services.audit.mender.Republish`."""
        names = (
            ["control"] if stream == CONTROL else [n for n in self._world.parts if n.startswith("billing")]
        )
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
            lambda connection: facts_between(
                connection, organisation=organisation_of(stream), first=first, last=last
            )
        )
        await servicer._facts.republish(found)
