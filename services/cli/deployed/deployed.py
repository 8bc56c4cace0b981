"""One service between Kafka and PostgreSQL: its start, its readiness and its end."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.cli.deployed import roles
from services.cli.deployed.given import Given, identity, peppers, tokens
from services.cli.deployed.operations import Operations
from services.cli.deployed.settings import ProcessSettings
from services.cli.endings import Endings
from shared import vitals
from shared.bus.kafka_bus import KafkaBus
from shared.bus.kafka_settings import KafkaSettings
from shared.bus.ports import BusError, BusRefused
from shared.bus.topics import load_topics
from shared.config_reader import ConfigReader
from shared.configuration import Configuration
from shared.host import Host
from shared.lifecycle import READY, Readiness, Service, Tasks
from shared.platform import Platform
from shared.pulses import PULSES, Pulses
from shared.rpc import platform as platform_rpc
from shared.rpc.server import RpcServer
from shared.storage.database import DatabaseError, DatabaseRefused
from shared.telemetry import Telemetry, TelemetrySettings
from shared.telemetry.semconv import MESSAGING_SYSTEM_KAFKA

log = logging.getLogger(__name__)

RETRY_S = 1.0
HEALTH_S = 0.5
FLUSH_S = 2.0
"""Time for what comes after the service: the bus's last writes, the last spans."""

T = TypeVar("T")


def _nobody(credential: str) -> None:
    """Before the keys are known there is nobody whom a call could be answered."""
    del credential


class Deployed:
    """Whatever it stands on may be absent at the start: it waits, alive and not ready, and says why."""

    def __init__(
        self, name: str, settings: ProcessSettings, telemetry: TelemetrySettings, host: Host
    ) -> None:
        """`name` is one of `roles.NAMES`. Raises `FreeholdError` for secrets that are missing."""
        tokens(settings)
        peppers(settings)
        self._name = name
        self._settings = settings
        self._host = host
        self._topics = load_topics("compose")
        self._telemetry = Telemetry(
            host, telemetry, instance=settings.instance, system=MESSAGING_SYSTEM_KAFKA
        )
        self._identity = identity()
        self._door = RpcServer(_nobody, certificate=self._identity)
        self._bus = KafkaBus(host, self._topics, KafkaSettings(), f"{name}-{settings.instance}")
        self._operations = Operations(name, self._telemetry.registry, self.readiness)
        self._tasks = Tasks(f"process.{name}")
        self._endings = Endings(host.clock)
        self._service: Service | None = None
        self._waits_for = "starting"
        self.rpc_port = 0
        """Where the internal gRPC listens; 0 before the start."""

    @property
    def ops_port(self) -> int:
        """Where `/livez`, `/readyz` and `/metrics` are; 0 before the start."""
        return self._operations.port

    @property
    def service(self) -> Service | None:
        """None before what it stands on is there."""
        return self._service

    async def start(self) -> None:
        """Return once the service has started; readiness may come later.

        Raises `FreeholdError`, `BusRefused` and `DatabaseRefused` with one line for the operator: for what
        waiting does not mend.
        """
        await self._operations.start(self._settings.ops_host, self._settings.ops_port)
        self._endings.push_async_callback(self._operations.stop)
        self._endings.push_async_callback(self._tasks.cancel)
        self.rpc_port = await self._door.start(self._address(self._settings.rpc_port), (), reflect=False)
        self._endings.push_async_callback(self._door.stop, 0.0)
        await self._telemetry.start()
        self._endings.within(FLUSH_S, self._telemetry.stop)
        self._endings.push_async_callback(self._bus.close)
        self._waits_for = "waiting for Kafka"
        await self._bus.start()
        self._waits_for = "starting"
        platform = self._platform()
        vitals.tell(platform, {self._name: self.readiness}, self._identity)
        await platform.config.start()
        self._endings.within(FLUSH_S, platform.config.stop)
        given = Given(self._settings, platform, self._topics, self._until, self._close_later, self._identity)
        role = await roles.build(self._name, given)
        self._service = role.service
        server = await self._serve(platform, given, role.service)
        await self._until("the pulses", platform.pulses.start)
        self._endings.within(FLUSH_S, platform.pulses.stop)
        self._endings.within(self._settings.stop_grace_s, role.service.stop)
        await role.service.start()
        await self._until("the configuration", role.then)
        self._waits_for = ""
        self._tasks.spawn(self._tell_health(server), "health")

    async def stop(self) -> None:
        """Stop in reverse order of start. Idempotent."""
        self._waits_for = "stopping"
        await self._endings.aclose()

    def readiness(self) -> Readiness:
        """The service's own and the bus's, once started."""
        if self._waits_for or self._service is None:
            return Readiness(False, self._waits_for)
        for state in (self._bus.readiness(), self._service.readiness()):
            if not state.ready:
                return state
        return READY

    def _address(self, port: int) -> str:
        return f"{self._settings.rpc_host}:{port}"

    def _close_later(self, close: Callable[[], Awaitable[None]]) -> None:
        self._endings.push_async_callback(close)

    def _platform(self) -> Platform:
        configuration = Configuration()
        listens = self._name in self._topics[PULSES.topic].assigned
        return Platform(
            host=self._host,
            bus=self._bus,
            telemetry=self._telemetry,
            configuration=configuration,
            config=ConfigReader(self._bus, self._host, configuration),
            pulses=Pulses(self._bus, self._host, listen=listens),
        )

    async def _serve(self, platform: Platform, given: Given, service: Service) -> RpcServer:
        server = RpcServer(given.credentials(*tokens(self._settings)), certificate=self._identity)
        names = service.register(server.server)
        names += platform_rpc.register(server.server, platform_rpc.PlatformServicer(platform, [service]))
        # Until here only health was answered at this address.
        await self._door.stop(0.0)
        address = self._address(self.rpc_port)
        self.rpc_port = await server.start(address, names, reflect=self._settings.reflection)
        self._endings.push_async_callback(server.stop, 0.0)
        return server

    async def _tell_health(self, server: RpcServer) -> None:
        told = False
        while True:
            ready = self.readiness()
            if ready.ready != told:
                told = ready.ready
                await server.set_ready(told)
                log.info("%s is %s", self._name, "ready" if told else f"not ready: {ready.reason}")
            await self._host.clock.sleep(HEALTH_S)

    async def _until(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """See `Until`; said once."""
        said = False
        before, self._waits_for = self._waits_for, f"waiting for {what}"
        while True:
            try:
                found = await call()
                self._waits_for = before
                return found
            except (BusRefused, DatabaseRefused):
                raise
            except (BusError, DatabaseError) as error:
                if not said:
                    log.warning("%s waits for %s: %s", self._name, what, error)
                    said = True
                self._waits_for = f"waiting for {what}: {error}"
                await self._host.clock.sleep(RETRY_S)
