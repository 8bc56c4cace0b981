"""Control on a real local bus, SQLite and gRPC, with a clock that a test moves; it can die and come back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from google.protobuf.message import Message
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, func, select

from services.control import app, repository, tables
from services.control.settings import ControlSettings
from services.control.values import Value
from shared.bus.local import LocalBus
from shared.bus.ports import Record, Start, TopicPartition
from shared.bus.topics import load_topics
from shared.callers import OPERATOR, Credentials
from shared.config_reader import ConfigReader
from shared.configuration import Configuration
from shared.contracts.freehold.control.v1 import config_pb2 as pb
from shared.contracts.freehold.control.v1.control_pb2_grpc import ControlStub
from shared.contracts.freehold.control.v1.events_pb2 import ConfigurationChanged
from shared.contracts.freehold.platform.v1.pulse_pb2_grpc import PlatformStub
from shared.host import system_host
from shared.platform import Platform
from shared.pulses import Pulses
from shared.rpc import platform as platform_rpc
from shared.rpc.channel import connect
from shared.rpc.server import RpcServer
from shared.telemetry import Telemetry, TelemetrySettings
from tests.integration.stepped_clock import SteppedClock, until
from tests.integration.stores import open_store
from tests.unit.shared.faulty_bus import FaultyBus

TOKEN = "the process's own token"
PEPPERS = {1: b"pepper"}
KINDS = ("organisations", "projects", "keys", "policies", "prices", "budgets", "models")
DIGEST = "ab" * 32

VALUES: list[Value] = [
    pb.Policy(id="base", pack="rules: []", version="base@1+0123456789ab"),
    pb.Organisation(id="acme", time_zone="Asia/Jakarta", currency="EUR", policies=["base"]),
    pb.Organisation(id="rival", time_zone="UTC", currency="EUR"),
    pb.Project(id="web", organisation="acme"),
    pb.Project(id="other", organisation="rival"),
    *(
        pb.Model(
            name=name,
            weights_digest=DIGEST,
            tokenizer_digest=DIGEST,
            template_digest=DIGEST,
            context=2048,
            default_output=256,
            expand=1,
        )
        for name in ("small", "large")
    ),
    pb.Price(model="small", currency="EUR", version="1", prompt=1, cached=1, output=2),
    pb.Budget(
        level=pb.LEVEL_ORGANISATION,
        id="acme",
        organisation="acme",
        currency="EUR",
        limit=1000,
        period=pb.PERIOD_MONTH,
    ),
]
"""Two tenants and what they buy, each value after those that it names."""


def _waiting(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(tables.outbox)).scalar_one())


def values_of(configuration: Configuration) -> dict[str, dict[str, Message]]:
    """Everything that two configurations must agree in."""
    return {kind: dict(getattr(configuration, kind)) for kind in KINDS}


class ControlWorld:
    """One home of control. `open` begins a life, `close` ends it."""

    def __init__(self, folder: Path, peppers: Mapping[int, bytes] = PEPPERS, address: str = "") -> None:
        self._folder = folder
        self._peppers = peppers
        self._address = address or f"unix:{folder}/s"
        self._lives = 0
        self._life = AsyncExitStack()
        self.clock = SteppedClock()

    async def open(self, *, cut_off: bool = False) -> None:
        """Start; with `cut_off` the bus takes nothing until it is mended."""
        self._lives += 1
        host = replace(system_host(), clock=self.clock, incarnation=self._lives)
        bus = LocalBus(host, load_topics("embedded"), self._folder / "bus.db")
        await bus.start()
        self._life.push_async_callback(bus.close)
        self.bus = FaultyBus(bus)
        self.configuration = Configuration()
        self.platform = Platform(
            host=host,
            bus=self.bus,
            telemetry=Telemetry(host, TelemetrySettings(), CollectorRegistry()),
            configuration=self.configuration,
            config=ConfigReader(self.bus, host, self.configuration),
            pulses=Pulses(bus, host),
        )
        self.database = await open_store(self._folder, "control", host)
        self.service = app.build(ControlSettings(), self.platform, self.database, self._peppers)
        self.keeper = self.service.keeper
        await self.platform.config.start()
        self._life.push_async_callback(self.platform.config.stop, 0)
        self.bus.refuses = cut_off
        await self.service.start()
        self._life.push_async_callback(self.service.stop, self.clock.monotonic())
        await self._serve()

    async def _serve(self) -> None:
        credentials = Credentials(self.configuration, self._peppers, self.clock, TOKEN)
        server = RpcServer(credentials)
        names = self.service.register(server.server)
        names += platform_rpc.register(
            server.server, platform_rpc.PlatformServicer(self.platform, [self.service])
        )
        port = await server.start(self._address, names, reflect=False)
        self._life.push_async_callback(server.stop, 0)
        self.target = f"127.0.0.1:{port}" if port else self._address

    async def close(self) -> None:
        """End as a killed process does: what is in the outbox stays there."""
        await self._life.aclose()

    def stub(self, token: str = TOKEN) -> ControlStub:
        """A client with this credential."""
        return ControlStub(self._channel(token))

    def platform_stub(self, token: str) -> PlatformStub:
        """A client of the process itself."""
        return PlatformStub(self._channel(token))

    def _channel(self, token: str) -> object:
        channel = connect(self.target, token)
        self._life.push_async_callback(channel.close)
        return channel

    async def put_all(self) -> None:
        """Put `VALUES` as the operator."""
        for value in VALUES:
            await self.keeper.put(value, OPERATOR)

    async def key(self, organisation: str, project: str, *roles: str, **fields: object) -> str:
        """Make a key as the operator; its secret, once everybody knows it."""
        asked = pb.Key(organisation=organisation, project=project, roles=roles, **fields)  # type: ignore[arg-type]
        _, secret = await self.keeper.create_key(asked, OPERATOR)
        await self.in_step()
        return secret

    async def in_step(self) -> None:
        """Return once everything is published, and what was read from the bus is what control knows."""
        async with asyncio.timeout(10):
            while await self.database.read(_waiting):  # noqa: ASYNC110 - of what a thread does there is no event
                await asyncio.sleep(0.001)
        await until(lambda: values_of(self.configuration) == values_of(self.keeper.known))

    async def stored(self, kind: str, identifier: str) -> bytes:
        """What the database holds of one value."""
        rows = await self.database.read(repository.stored)
        return {(row[0], row[1]): row[2] for row in rows}[kind, identifier]

    async def records(self, topic: str) -> list[Record]:
        """All that is on a topic of one partition now."""
        reader = await self.bus.assign([TopicPartition(topic, 0)], Start.BEGINNING)
        end = (await reader.end_offsets())[TopicPartition(topic, 0)]
        found: list[Record] = []
        while reader.positions()[TopicPartition(topic, 0)] < end:
            for records in (await reader.poll(1000, 1)).values():
                found += records
        await reader.close()
        return found

    async def facts(self) -> list[ConfigurationChanged]:
        """All facts that were published, in order."""
        return [ConfigurationChanged.FromString(record.value) for record in await self.records("facts")]
