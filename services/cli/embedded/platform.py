"""The embedded platform: every service in one process, on the local bus and SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from services.cli.embedded.assembly import Assembly
from services.cli.embedded.home import Home
from services.cli.embedded.ports import check_ports
from services.cli.embedded.settings import EmbeddedSettings
from services.cli.endings import Endings
from services.cli.memory import settle_memory
from services.control.keeper import Keeper
from services.control.seed import put_platform, seed_demo
from services.edge.app import EdgeService
from services.inference.app import Around
from shared import vitals
from shared.bus.local import LocalBus
from shared.bus.topics import load_topics
from shared.callers import Credentials
from shared.config_reader import ConfigReader
from shared.configuration import Configuration
from shared.errors import FreeholdError, Kind
from shared.host import Host
from shared.lifecycle import Service
from shared.models.manifest import load_manifest
from shared.platform import Platform
from shared.pulses import Pulses
from shared.rpc import platform as platform_rpc
from shared.rpc.server import RpcServer
from shared.telemetry import Telemetry, TelemetrySettings

POLL_S = 0.05
HEARD = ("moderation", "tokenizer", "billing")
FLUSH_S = 2.0
"""Time for what comes after the services: the bus's last writes, the last spans."""


class Embedded:
    """Starts and stops the whole platform; the order is that of proto/README.md, section 5."""

    def __init__(
        self,
        settings: EmbeddedSettings,
        telemetry: TelemetrySettings,
        host: Host,
        say: Callable[[str], None],
        around: Around | None = None,
    ) -> None:
        """`say` is told each step of the start; `around` may put a recorder inside the engine port."""
        self._around = around
        self.home = Home(settings.home, host.files)
        self.engine = settings.engine
        self.manifest = load_manifest(settings.manifest)
        self._settings = settings
        self._telemetry = Telemetry(host, telemetry)
        self._host = host
        self._say = say
        self._endings = Endings(host.clock)
        self._services: list[Service] = []
        self._edge: EdgeService | None = None

    @property
    def base_url(self) -> str:
        """Where OpenAI clients call; only once started."""
        assert self._edge is not None  # noqa: S101 - a fault of this program, not of its surroundings
        return f"http://{self._settings.http_host}:{self._edge.http_port}/v1"

    @property
    def grpc_target(self) -> str:
        """Where gRPC clients call; only once started."""
        assert self._edge is not None  # noqa: S101 - as above
        return f"{self._settings.http_host}:{self._edge.grpc_port}"

    async def start(self) -> None:
        """Return once every service is ready. Raises `FreeholdError` with one line for the operator."""
        self._say(f"opening {self.home.path}")
        self.home.open()
        self._endings.callback(self.home.close)
        check_ports(self._settings)
        peppers = {1: self.home.secret("pepper-1", self._host.random, guards="control.db")}
        token = self.home.secret("token", self._host.random).decode()
        await self._telemetry.start()
        self._endings.within(FLUSH_S, self._telemetry.stop)
        topics = load_topics("embedded")
        bus = LocalBus(self._host, topics, self.home.path / "bus.db")
        await bus.start()
        self._endings.push_async_callback(bus.close)
        configuration = Configuration()
        platform = Platform(
            host=self._host,
            bus=bus,
            telemetry=self._telemetry,
            configuration=configuration,
            config=ConfigReader(bus, self._host, configuration),
            pulses=Pulses(bus, self._host),
        )
        assembly = Assembly(
            self._settings, platform, topics, self.home, peppers, token, self.manifest, self._around
        )
        await self._start(platform, assembly)

    async def stop(self) -> None:
        """Stop in reverse order of start. Idempotent."""
        await self._endings.aclose()

    async def _start(self, platform: Platform, assembly: Assembly) -> None:
        control = await assembly.control()
        await self._run(control)
        await put_platform(control.keeper, [assembly.model], assembly.policies)
        await platform.config.start()
        self._endings.within(FLUSH_S, platform.config.stop)
        await self._ready("reading the configuration", platform.config.wait_ready())
        others = await assembly.others()
        self._edge = assembly.edge()
        self._services = [control, *others, self._edge]
        await self._serve(platform, assembly.credentials)
        await platform.pulses.start()
        self._endings.within(FLUSH_S, platform.pulses.stop)
        for service in self._services[1:]:
            await self._run(service)
        await self._ready(f"loading {self.manifest.name} ({self.engine})", self._all_ready(platform.pulses))
        await self._ready("opening the demo", self._write_demo(control.keeper, assembly))
        settle_memory()

    async def _run(self, service: Service) -> None:
        self._say(f"starting {service.name}")
        self._endings.within(self._settings.stop_grace_s, service.stop)
        await service.start()

    async def _serve(self, platform: Platform, credentials: Credentials) -> None:
        """The operator's own server, on a Unix socket that only this user can open."""
        server = RpcServer(credentials)
        names = [name for service in self._services for name in service.register(server.server)]
        servicer = platform_rpc.PlatformServicer(platform, self._services)
        vitals.tell(platform, {service.name: service.readiness for service in self._services})
        names += platform_rpc.register(server.server, servicer)
        self.home.clear_socket()
        await server.start(self.home.address, names, reflect=self._settings.reflection)
        self._endings.push_async_callback(server.stop, 0.0)
        self.home.protect_socket()
        await server.set_ready(True)

    async def _all_ready(self, pulses: Pulses) -> None:
        """Until every service is ready and the edge has heard so: it refuses while it has not."""
        while not all(service.readiness().ready for service in self._services):
            await self._host.clock.sleep(POLL_S)
        pulses.send_now()
        while not (pulses.workers() and all(pulses.alive(service) for service in HEARD)):
            await self._host.clock.sleep(POLL_S)

    async def _ready(self, what: str, wait: Awaitable[None]) -> None:
        self._say(what)
        waiting = asyncio.ensure_future(wait)
        limit = asyncio.ensure_future(self._host.clock.sleep(self._settings.ready_timeout_s))
        try:
            await asyncio.wait({waiting, limit}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise FreeholdError(Kind.NOT_READY, f"gave up {what}: {self._why()}")
            await waiting
        finally:
            waiting.cancel()
            limit.cancel()

    def _why(self) -> str:
        states = [(service.name, service.readiness()) for service in self._services]
        reasons = [f"{name}: {state.reason}" for name, state in states if not state.ready]
        return "; ".join(reasons) or "no answer"

    async def _write_demo(self, keeper: Keeper, assembly: Assembly) -> None:
        """Seed the demo once; its keys are kept, the addresses are those of this start."""
        values = self.home.read_demo()
        if not {"OPENAI_API_KEY", "FREEHOLD_ADMIN_KEY"} <= values.keys():
            made = await seed_demo(keeper)
            values = {"OPENAI_API_KEY": made.client, "FREEHOLD_ADMIN_KEY": made.admin}
            while assembly.credentials(made.admin) is None:  # the last that is seeded, and so published
                await self._host.clock.sleep(POLL_S)
        addresses = {"OPENAI_BASE_URL": self.base_url, "FREEHOLD_GRPC_TARGET": self.grpc_target}
        self.home.write_demo({**values, **addresses})
