"""Audit as a process runs it, beside a writer of facts who can be asked for them again."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from services.audit.app import AuditService, build
from services.audit.settings import AuditSettings
from services.audit.tlog.entry import SETTLED, answer_hash
from services.audit.tlog.receipt import assemble_receipt, evidence
from services.audit.tlog.tiles import decode_bundle
from shared.bus.envelope import Envelope
from shared.bus.local import LocalBus
from shared.bus.topics import load_topics
from shared.config_reader import ConfigReader
from shared.configuration import Configuration, config_key
from shared.contracts.freehold.billing.v1.events_pb2 import RequestSettled
from shared.contracts.freehold.control.v1.config_pb2 import Marker
from shared.contracts.freehold.edge.v1.events_pb2 import RequestClosed
from shared.files import Files, SystemFiles
from shared.host import system_host
from shared.ids import Ids
from shared.platform import Platform
from shared.pulses import Pulses
from shared.storage.database import Database
from shared.telemetry import Recorder, Telemetry, TelemetrySettings, format_traceparent
from tests.integration.stores import open_store

TOPICS = load_topics("embedded")
ANSWER = "Forty-two – 四十二"
ORIGIN = "example.com/log"


class Writer:
    """Billing's and control's side: publishes facts, and again when asked."""

    def __init__(self, bus: LocalBus, recorder: Recorder) -> None:
        self.bus = bus
        self.recorder = recorder
        self.ids = Ids(system_host().clock, system_host().random)
        self.requests: dict[int, str] = {}
        self.asked: list[tuple[str, int, int]] = []

    async def republish(self, stream: str, first: int, last: int) -> None:
        self.asked.append((stream, first, last))
        for seq in range(first, last + 1):
            await self.settle(seq)

    async def settle(self, seq: int) -> str:
        """Publish the settlement of the request numbered `seq`, the same each time."""
        request = self.requests.setdefault(seq, self.ids.request())
        fact = RequestSettled(
            request=request,
            organisation="org",
            seq=seq,
            closed=RequestClosed(project="project", answer_hash=answer_hash([ANSWER])),
        )
        await self.send(SETTLED, fact.SerializeToString(), request)
        return request

    async def send(self, kind: str, value: bytes, request: str = "") -> None:
        envelope = Envelope(
            type=kind,
            event_id=f"{kind}-{request}",
            sender=1,
            request=request,
            traceparent=format_traceparent(self.recorder.root(sampled=True)),
        )
        await self.bus.publish("facts", value, envelope.headers())


@dataclasses.dataclass
class Life:
    """One life of the process."""

    service: AuditService
    writer: Writer
    telemetry: Telemetry
    database: Database


@asynccontextmanager
async def life(home: Path, files: Files | None = None, **changes: object) -> AsyncIterator[Life]:
    host = dataclasses.replace(system_host(), files=files or SystemFiles())
    bus = LocalBus(host, TOPICS, home / "bus.db")
    await bus.start()
    telemetry = Telemetry(host, TelemetrySettings())
    configuration = Configuration()
    config = ConfigReader(bus, host, configuration)
    platform = Platform(host, bus, telemetry, configuration, config, Pulses(bus, host))
    writer = Writer(bus, telemetry.recorder("billing"))
    settings = AuditSettings(
        origin=ORIGIN, batch_interval_ms=5, checkpoint_interval_ms=5, gap_age_s=0.05, gap_period_s=0.02
    )
    settings = settings.model_copy(update=changes)
    database = await open_store(home, "audit", host)
    try:
        service = build(settings, platform, TOPICS, database, home / "audit", writer)
    except BaseException:
        await database.close()
        await bus.close()
        raise
    try:
        await service.start()
        assert not service.readiness().ready, "facts are not taken before the configuration is there"
        await bus.publish("config", Marker(epoch=1).SerializeToString(), key=config_key("marker", "control"))
        await config.start()
        await readiness(service, ready=True)
        yield Life(service, writer, telemetry, database)
    finally:
        await service.stop(host.clock.monotonic() + 5)
        await config.stop(0)
        await bus.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - what is waited for is a file or a row
            await asyncio.sleep(0.005)


async def readiness(service: AuditService, ready: bool) -> None:
    """Return once the service says so of itself."""

    async def said() -> bool:
        return service.readiness().ready is ready

    await until(said)


async def signed(home: Path, size: int) -> None:
    """Return once the checkpoint that readers find has this size."""

    async def shown() -> bool:
        path = home / "audit" / "log" / "checkpoint"
        return path.exists() and int(path.read_text().split("\n")[1]) == size

    await until(shown)


def entries(home: Path, number: int, width: int) -> list[dict[str, object]]:
    bundle = (home / "audit" / "log" / "tile" / "entries" / f"{number:03}.p" / str(width)).read_bytes()
    return [json.loads(entry) for entry in decode_bundle(bundle)]


async def receipt_of(service: AuditService, request: str) -> bytes:
    found = await service.log.find(request)
    assert found is not None
    assert found.evidence is not None
    held = found.evidence
    return assemble_receipt([ANSWER], evidence(held.entry, held.index, held.proof, held.checkpoint))
