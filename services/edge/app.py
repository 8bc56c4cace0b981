"""Wiring of the edge: one owner, two transports."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Protocol

import grpc

from services.edge import rpc
from services.edge.credentials import Credentials
from services.edge.http.api import Api, build_api
from services.edge.http.chat import ChatCompletions, Owner
from services.edge.http.errors import refusal
from services.edge.http.front import Front
from services.edge.http.receipts import Receipts
from services.edge.http.server import HttpServer
from services.edge.http.usage import Usage
from services.edge.http.watch import Streams
from services.edge.models import Models
from services.edge.settings import EdgeSettings
from services.edge.sources import ReceiptSource, UsageSource
from shared.callers import Authenticate
from shared.clock import Clock
from shared.contracts.freehold.platform.v1.pulse_pb2 import WorkerLoad
from shared.errors import FreeholdError
from shared.ids import Ids
from shared.lifecycle import Readiness, Tasks
from shared.platform import Platform
from shared.pulses import Pulses
from shared.rpc.identity import ServerCertificate
from shared.rpc.platform import VERSION
from shared.rpc.server import RpcServer
from shared.tls import TlsFiles

TELLING_SHARE = 0.1
"""Of a stop's time: what is kept to tell clients of requests that the owner gave up."""
HEALTH_S = 1.0
RPC_OVERHEAD_BYTES = 64 * 1024
"""Above the body limit: what protobuf adds."""


class RunningOwner(Owner, Protocol):
    """The owner as a part of the service."""

    async def start(self) -> None:
        """Begin to read and to publish."""

    async def stop(self, deadline: float) -> None:
        """Close what is open until `deadline` (monotonic seconds)."""

    def readiness(self) -> Readiness:
        """Whether requests can be taken."""


class EdgeService:
    """The edge as a process runs it: takes requests only while its owner runs."""

    name = "edge"

    def __init__(
        self,
        settings: EdgeSettings,
        owner: RunningOwner,
        http: HttpServer,
        public: RpcServer,
        names: list[str],
        tasks: Tasks,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._owner = owner
        self._http = http
        self._public = public
        self._names = names
        self._tasks = tasks
        self._clock = clock
        self._stopping = False
        self.grpc_port = 0
        """Where the public gRPC API listens; 0 before the start."""

    @property
    def http_port(self) -> int:
        """Where HTTP listens; 0 before the start."""
        return self._http.port

    async def start(self) -> None:
        """Start the owner, then listen. Raises `FreeholdError` NOT_READY where a port is in use."""
        await self._owner.start()
        try:
            await self._http.start()
            address = f"{self._settings.grpc_host}:{self._settings.grpc_port}"
            self.grpc_port = await self._public.start(
                address, self._names, reflect=self._settings.grpc_reflection
            )
        except FreeholdError:
            await self._http.stop(self._clock.monotonic())
            await self._owner.stop(self._clock.monotonic())
            raise
        self._tasks.spawn(self._tell_health(), "health")

    async def stop(self, deadline: float) -> None:
        """Take nothing new, let answers end, then close the owner.

        The owner gives up first: what it fails then, clients are still told by an error in their streams.
        """
        self._stopping = True
        left = max(0.0, deadline - self._clock.monotonic())
        await self._public.set_ready(False)
        ends = [
            self._tasks.spawn(stop, name)
            for name, stop in (
                ("stop.http", self._http.stop(deadline)),
                ("stop.grpc", self._public.stop(left)),
                ("stop.owner", self._owner.stop(deadline - left * TELLING_SHARE)),
            )
        ]
        await asyncio.gather(*ends)
        await self._tasks.cancel()

    def readiness(self) -> Readiness:
        """The owner's, until the stop."""
        return Readiness(False, "the edge is stopping") if self._stopping else self._owner.readiness()

    def register(self, server: grpc.aio.Server) -> list[str]:
        """Nothing: the public API has a server of its own."""
        del server
        return []

    async def _tell_health(self) -> None:
        while True:
            await self._public.set_ready(self.readiness().ready)
            await self._clock.sleep(HEALTH_S)


def build(
    settings: EdgeSettings,
    platform: Platform,
    owner: RunningOwner,
    authenticate: Authenticate,
    usage: UsageSource,
    receipts: ReceiptSource,
) -> EdgeService:
    """The edge. `authenticate` knows clients' keys; it should not know the process's own token."""
    host, telemetry, configuration = platform.host, platform.telemetry, platform.configuration
    tasks, ids = Tasks("edge.front"), Ids(host.clock, host.random)
    metrics, recorder = telemetry.metrics("edge"), telemetry.recorder("edge")
    credentials = Credentials(authenticate, configuration, settings, lambda: owner.readiness().reason)
    models = Models(configuration, partial(_loads, platform.pulses), lambda: owner.readiness().reason)
    streams = Streams(max(1, round(settings.comment_s / settings.sweep_s)))
    files = TlsFiles(None, settings.certificate, settings.key) if settings.certificate else None
    public = RpcServer(
        credentials.authenticate,
        max_message_bytes=settings.max_body_bytes + RPC_OVERHEAD_BYTES,
        certificate=ServerCertificate(files) if files else None,
    )
    names = rpc.register(
        public.server,
        rpc.CompletionsServicer(
            owner,
            credentials,
            models,
            recorder,
            host.clock,
            trust_traceparent=settings.trust_traceparent,
            stalled_s=settings.stalled_s,
        ),
    )

    def refuse(error: FreeholdError) -> bytes:
        refused.labels(error.code).inc()
        return refusal(error, ids.request())

    refused = metrics.counter("refused_connections", "Requests refused before they were whole", ("code",))
    api = build_api(
        Api(
            credentials=credentials,
            models=models,
            usage=Usage(usage),
            receipts=Receipts(receipts),
            readiness=owner.readiness,
            registry=telemetry.registry,
            clock=host.clock,
            metrics_for=settings.metrics_for,
        ),
        VERSION,
    )
    chat = ChatCompletions(owner, credentials, models, streams, tasks, host.clock, settings.max_body_bytes)
    front = Front(chat, api, recorder, metrics, host.clock, ids, trust_traceparent=settings.trust_traceparent)
    server = HttpServer(settings, front, streams, host.clock, tasks, refuse, files)
    return EdgeService(settings, owner, server, public, names, tasks, host.clock)


def _loads(pulses: Pulses) -> list[WorkerLoad]:
    return [seen.load for seen in pulses.workers().values() if seen.load is not None]
