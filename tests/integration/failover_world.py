"""The embedded platform with several workers, each an incarnation of its own behind a wire to cut."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from services.cli.embedded.assembly import Assembly
from services.cli.embedded.platform import Embedded
from services.cli.embedded.settings import EmbeddedSettings
from services.edge.app import EdgeService
from services.inference import app as inference
from services.inference.engine import Engine
from services.inference.engines.counting import CountingEngine
from services.inference.settings import InferenceSettings
from shared.bus.ports import Assigned, Bus, Headers, Position, Reader, Record, Revoked, Start, TopicPartition
from shared.bus.topics import load_topics
from shared.contracts.freehold.billing.v1 import billing_pb2
from shared.contracts.freehold.billing.v1.billing_pb2_grpc import BillingStub
from shared.host import system_host
from shared.lifecycle import Service
from shared.platform import Platform
from shared.pulses import Pulses
from shared.rpc.channel import connect
from shared.rpc.numbers import FixedNumbers
from shared.telemetry import Telemetry, TelemetrySettings
from tests.integration.failover_chains import Chains


class Wire:
    """A bus until it is cut: then nothing is acknowledged and nothing comes, as of a process that is stopped.

    Mended, what was published meanwhile goes out in its order.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._whole = asyncio.Event()
        self._whole.set()
        self._held: deque[tuple[Any, dict[str, Any], asyncio.Future[Position]]] = deque()

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        self._whole.set()
        while self._held:
            arguments, options, future = self._held.popleft()
            sent = asyncio.ensure_future(_wait(self._bus.publish(*arguments, **options)))
            sent.add_done_callback(lambda done, future=future: _hand_on(done, future))

    async def whole(self) -> None:
        await self._whole.wait()

    def publish(
        self,
        topic: str,
        value: bytes,
        headers: Headers = (),
        *,
        key: bytes | None = None,
        partition: int | None = None,
    ) -> Awaitable[Position]:
        if self._whole.is_set():
            return self._bus.publish(topic, value, headers, key=key, partition=partition)
        future: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._held.append(((topic, value, headers), {"key": key, "partition": partition}, future))
        return future

    async def group(
        self, topics: Iterable[str], group: str, member: str, on_assigned: Assigned, on_revoked: Revoked
    ) -> Reader:
        return WiredReader(self, await self._bus.group(topics, group, member, on_assigned, on_revoked))

    async def assign(self, partitions: Iterable[TopicPartition], start: Start) -> Reader:
        return WiredReader(self, await self._bus.assign(partitions, start))

    def partitions(self, topic: str) -> int:
        return self._bus.partitions(topic)

    async def close(self) -> None:
        """Not the wire's to close."""


class WiredReader:
    def __init__(self, wire: Wire, reader: Reader) -> None:
        self._wire = wire
        self._reader = reader

    async def poll(self, max_records: int, timeout: float) -> Mapping[TopicPartition, list[Record]]:
        await self._wire.whole()
        found = await self._reader.poll(max_records, timeout)
        await self._wire.whole()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


async def _wait(sent: Awaitable[Position]) -> Position:
    return await sent


def _hand_on(done: asyncio.Future[Position], future: asyncio.Future[Position]) -> None:
    if not future.done():
        if (error := done.exception()) is not None:
            future.set_exception(error)
        else:
            future.set_result(done.result())


@dataclass
class Worker:
    """One worker of the platform."""

    service: inference.InferenceService
    wire: Wire
    pulses: Pulses
    engine: CountingEngine | None = None
    alive: bool = True
    """Until a test ends it."""

    @property
    def running(self) -> int:
        """Attempts that it has."""
        loaded = self.service.loaded()
        return len(loaded.generation.attempts()) if loaded else 0

    async def stop(self, deadline: float) -> None:
        """Drain, and be silent afterwards."""
        await self.service.stop(deadline)
        await self.pulses.stop(deadline)


class World(Embedded):
    """The platform as `make run` starts it, its one worker replaced."""

    def __init__(self, home: Path, engine: str = "synthetic", **settings: Any) -> None:
        """Further settings are the workers'."""
        self._worker_settings = InferenceSettings(engine=engine).model_copy(update=settings)
        self._platform: Platform | None = None
        self.chains: Chains | None = None
        self.workers: list[Worker] = []
        super().__init__(
            EmbeddedSettings(home=home, engine=engine, http_port=0, grpc_port=0, stop_grace_s=4.0),
            TelemetrySettings(),
            system_host(),
            lambda step: None,
        )

    async def _start(self, platform: Platform, assembly: Assembly) -> None:
        self._platform = platform
        self.chains = await Chains.listen(platform.bus)
        await super()._start(platform, Staffed(assembly, self))  # type: ignore[arg-type]

    async def begin_edge(self, assembly: Assembly) -> None:
        """The edge is another process too."""
        self.edge_wire, platform = self._apart()
        self._edge_pulses = platform.pulses
        self.front = copy(assembly)
        self.front._platform = platform
        await platform.pulses.start()

    async def hire(self) -> Worker:
        """One more worker, in a seat of its own; it is not ready yet."""
        worker = self._build()
        await worker.pulses.start()
        await worker.service.start()
        return worker

    def _build(self) -> Worker:
        wire, platform = self._apart()

        def around(engine: Engine) -> Engine:
            worker.engine = CountingEngine(engine)
            return worker.engine

        seats = FixedNumbers(seats=[len(self.workers)])
        service = inference.build(self._worker_settings, platform, load_topics("embedded"), seats, around)
        worker = Worker(service, wire, platform.pulses)
        self.workers.append(worker)
        return worker

    def _apart(self) -> tuple[Wire, Platform]:
        """What a process of its own has: an incarnation, a wire to the bus, pulses."""
        assert self._platform is not None
        shared = self._platform
        host = replace(shared.host, incarnation=shared.host.random.getrandbits(64))
        wire = Wire(shared.bus)
        telemetry = Telemetry(host, TelemetrySettings(), CollectorRegistry())
        pulses = Pulses(wire, host)
        return wire, Platform(host, wire, telemetry, shared.configuration, shared.config, pulses)

    async def stop(self) -> None:
        for worker in self.workers:
            worker.wire.mend()
            await worker.stop(self._host.clock.monotonic() + 2.5)
        self.edge_wire.mend()
        await super().stop()
        await self._edge_pulses.stop(0.0)

    @property
    def pieces(self) -> Sequence[bytes]:
        """Bytes of each id."""
        engine = self.workers[0].engine
        assert engine is not None
        return engine.vocabulary.pieces

    @property
    def heard(self) -> int:
        """Workers that the edge may send to."""
        return len(self._edge_pulses.workers())

    async def entries(self, requests: Iterable[str], seconds: float = 60.0) -> dict[str, Any]:
        """The ledger's entries of these requests, once all are settled."""
        wanted = set(requests)
        async with connect(self.home.address, self.home.token.read_text().strip()) as channel:
            billing = BillingStub(channel)
            async with asyncio.timeout(seconds):
                while True:
                    found = await billing.ListEntries(billing_pb2.ListEntriesRequest(limit=1000))
                    entries = {entry.request: entry for entry in found.entries if entry.request in wanted}
                    if entries.keys() == wanted:
                        assert len([one for one in found.entries if one.request in wanted]) == len(wanted)
                        return entries
                    await asyncio.sleep(0.2)


class Staffed:
    """An assembly whose one worker makes room for others."""

    def __init__(self, assembly: Assembly, world: World) -> None:
        self._assembly = assembly
        self._world = world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._assembly, name)

    async def others(self) -> list[Service]:
        found = [one for one in await self._assembly.others() if one.name != "inference"]
        for _ in range(2):
            await self._world.hire()
        await self._world.begin_edge(self._assembly)
        return found

    def edge(self) -> EdgeService:
        return self._world.front.edge()
