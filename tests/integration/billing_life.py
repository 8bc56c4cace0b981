"""One life of billing over a real bus and database, and the edge and worker that it meets there."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from services.billing.app import BillingService, build
from services.billing.books.verify import verify
from services.billing.settings import BillingSettings
from shared.bus.envelope import Envelope, parse_envelope
from shared.bus.local import LocalBus
from shared.bus.ports import BusError, Position, Reader, Record, Start, TopicPartition
from shared.bus.topics import load_topics
from shared.clock import SystemClock
from shared.config_reader import ConfigReader
from shared.configuration import Configuration, config_key
from shared.contracts.freehold.billing.v1.events_pb2 import RequestSettled
from shared.contracts.freehold.control.v1 import config_pb2 as config
from shared.contracts.freehold.edge.v1.events_pb2 import RequestClosed, ReserveBudget
from shared.contracts.freehold.inference.v1.events_pb2 import UsageRecorded
from shared.host import Host, system_host
from shared.ids import Ids, event_id
from shared.platform import Platform
from shared.pulses import Pulses
from shared.storage.database import Database
from shared.telemetry import Telemetry, TelemetrySettings, format_traceparent
from shared.telemetry.trace import SpanRow, TraceContext
from tests.integration.stores import open_store
from tests.unit.billing.world import KEY, MODEL, ORGANISATION, PROJECT, closed, configured, usage

TOPICS = load_topics("embedded")
LANE = 3
FACTS = TopicPartition("facts", 0)


class ShiftedClock(SystemClock):
    """The machine's clocks, some seconds ahead."""

    def __init__(self) -> None:
        self.ahead_s = 0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s

    def time_ns(self) -> int:
        return super().time_ns() + self.ahead_s * 1_000_000_000


class BrokenBus(LocalBus):
    """A local bus that does not take records of some topics."""

    broken: frozenset[str] = frozenset()

    def publish(self, topic: str, *rest: Any, **more: Any) -> Any:
        if topic in self.broken:
            raise BusError(f"{topic} takes nothing")
        return super().publish(topic, *rest, **more)


@dataclasses.dataclass
class Life:
    """One life of the process."""

    service: BillingService
    bus: BrokenBus
    clock: ShiftedClock
    host: Host
    database: Database
    telemetry: Telemetry
    configuration: Configuration
    pulses: Pulses
    answers: Reader
    facts: Reader

    async def publish(
        self, topic: str, message: Message, request: str, trace: TraceContext | None = None, **more: Any
    ) -> Position:
        kind = message.DESCRIPTOR.name
        envelope = Envelope(
            type=kind,
            event_id=event_id(request, 0, 0, "test", kind),
            sender=self.host.incarnation,
            request=request,
            tenant=ORGANISATION,
            owner=self.host.incarnation,
            lane=LANE,
            ttl_ms=60_000,
            traceparent=format_traceparent(trace) if trace else b"",
        )
        for name, value in more.items():
            setattr(envelope, name, value)
        key = envelope.tenant.encode()
        position: Position = await self.bus.publish(
            topic, message.SerializeToString(), envelope.headers(), key=key
        )
        return position

    async def reserve(self, request: str, trace: TraceContext | None = None, **more: Any) -> Position:
        asked = ReserveBudget(
            project=PROJECT,
            key=KEY,
            model=MODEL,
            prompt_bound=64,
            max_output=32,
            choices=1,
            body_fingerprint=b"body",
        )
        return await self.publish("reserves", asked, request, trace, **more)

    async def use(self, request: str, event: UsageRecorded | None = None) -> Position:
        return await self.publish("usage", event or usage(), request)

    async def close(
        self, request: str, event: RequestClosed | None = None, trace: TraceContext | None = None
    ) -> Position:
        return await self.publish("closed", event or closed(), request, trace)

    async def answered(self, count: int) -> dict[str, tuple[Envelope, bytes]]:
        """The next answers on the lane, by request."""
        records = await take(self.answers, count)
        found = [(parse_envelope(record.headers), record.value) for record in records]
        return {envelope.request: (envelope, value) for envelope, value in found}

    async def settled(self, *requests: str) -> dict[str, tuple[Envelope, RequestSettled]]:
        """The facts of these requests, once all are there; they may come more than once, but never differ."""
        found: dict[str, tuple[Envelope, RequestSettled]] = {}
        async with asyncio.timeout(20):
            while not set(requests) <= found.keys():
                for record in [
                    item for items in (await self.facts.poll(100, 1.0)).values() for item in items
                ]:
                    envelope, fact = parse_envelope(record.headers), RequestSettled.FromString(record.value)
                    assert found.setdefault(fact.request, (envelope, fact))[1] == fact
        return found

    async def swept(self) -> int:
        """Let a pulse be read back that was sent after this call, and sweep; how many were settled."""
        now_ms = self.bus.now_ms()
        while self.pulses.own_broker_ms <= now_ms:
            self.pulses.send_now()
            await asyncio.sleep(0.005)
        return await self.service.sweeper.turn() + await self.service.sweeper.turn()

    async def verified(self) -> None:
        """Fail unless the ledger's own check passes."""
        found = await self.database.read(lambda connection: verify(connection, ""))
        assert [check.violations for check in found] == [[]] * len(found)

    async def rows(self, statement: str) -> list[tuple[Any, ...]]:
        return await self.database.read(
            lambda connection: [tuple(row) for row in connection.exec_driver_sql(statement)]
        )

    def spans(self, request: str) -> list[SpanRow]:
        return self.telemetry.store.spans_of(request)


async def take(reader: Reader, count: int) -> list[Record]:
    found: list[Record] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            for records in (await reader.poll(1000, 1.0)).values():
                found += records
    assert len(found) == count
    return found


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - what is waited for is a row
            await asyncio.sleep(0.005)


def requests(count: int) -> list[str]:
    host = system_host()
    made = Ids(host.clock, host.random)
    return [made.request() for _ in range(count)]


def configuration_records(known: Configuration) -> Iterable[tuple[bytes, bytes]]:
    for kind, values in (
        ("organisation", known.organisations),
        ("price", known.prices),
        ("budget", known.budgets),
    ):
        for identifier, value in values.items():
            yield config_key(kind, identifier), value.SerializeToString()


@asynccontextmanager
async def life(home: Path, *budgets: config.Budget, **changes: object) -> AsyncIterator[Life]:
    """Billing from its start until it is stopped; `changes` are settings."""
    clock = ShiftedClock()
    host = dataclasses.replace(system_host(), clock=clock)
    bus = BrokenBus(host, TOPICS, home / "bus.db")
    await bus.start()
    telemetry = Telemetry(host, TelemetrySettings())
    configuration = Configuration()
    reader = ConfigReader(bus, host, configuration)
    pulses = Pulses(bus, host)
    platform = Platform(host, bus, telemetry, configuration, reader, pulses)
    database = await open_store(home, "billing", host)
    settings = BillingSettings(sweep_period_s=0.01).model_copy(update=changes)
    service = build(settings, platform, TOPICS, database)
    answers = await bus.assign([TopicPartition("replies", LANE)], Start.END)
    facts = await bus.assign([FACTS], Start.END)
    try:
        await service.start()
        for key, value in configuration_records(configured(*budgets)):
            await bus.publish("config", value, key=key)
        assert not service.readiness().ready, "nothing is taken before the configuration is there"
        marker = config.Marker(epoch=1).SerializeToString()
        await bus.publish("config", marker, key=config_key("marker", "control"))
        await reader.start()
        await pulses.start()
        async with asyncio.timeout(10):
            while not service.readiness().ready:  # noqa: ASYNC110 - readiness is asked, never told
                await asyncio.sleep(0.005)
        yield Life(service, bus, clock, host, database, telemetry, configuration, pulses, answers, facts)
    finally:
        await service.stop(host.clock.monotonic() + 5)
        await pulses.stop(0)
        await reader.stop(0)
        await bus.close()
