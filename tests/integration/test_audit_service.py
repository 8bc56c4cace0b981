"""Audit as a process runs it: facts on the bus become proofs, over deaths, repetitions, gaps and rubbish."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from services.audit import tables
from services.audit.app import AuditService, build
from services.audit.facts import billing_stream
from services.audit.settings import AuditSettings
from services.audit.tlog.checkpoint import open_checkpoint
from services.audit.tlog.entry import CHANGED, SETTLED, answer_hash
from services.audit.tlog.note import parse_verifier
from services.audit.tlog.receipt import assemble_receipt, evidence
from services.audit.tlog.tiles import decode_bundle
from services.audit.tlog.verify import verify_receipt
from shared.bus.envelope import Envelope
from shared.bus.local import LocalBus
from shared.bus.topics import load_topics
from shared.config_reader import ConfigReader
from shared.configuration import Configuration, config_key
from shared.contracts.freehold.billing.v1.events_pb2 import RequestSettled
from shared.contracts.freehold.control.v1.config_pb2 import Marker
from shared.contracts.freehold.control.v1.events_pb2 import ConfigurationChanged
from shared.contracts.freehold.edge.v1.events_pb2 import RequestClosed
from shared.errors import FreeholdError
from shared.files import Files, SystemFiles
from shared.host import system_host
from shared.ids import Ids
from shared.platform import Platform
from shared.pulses import Pulses
from shared.storage.database import Database
from shared.storage.migrations import open_database
from shared.telemetry import Recorder, Telemetry, TelemetrySettings, format_traceparent

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
    database = await open_database(home / "audit.db", "audit", host)
    service = build(settings, platform, TOPICS, database, home / "audit", writer)
    try:
        await service.start()
        assert not service.readiness().ready, "facts are not taken before the configuration is there"
        await bus.publish("config", Marker(epoch=1).SerializeToString(), key=config_key("marker", "control"))
        await config.start()
        await until(lambda: _true(service.readiness().ready))
        yield Life(service, writer, telemetry, database)
    finally:
        await service.stop(host.clock.monotonic() + 5)
        await config.stop(0)
        await bus.close()


async def _true(value: bool) -> bool:
    return value


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - what is waited for is a file or a row
            await asyncio.sleep(0.005)


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


async def test_a_settled_request_becomes_a_receipt_that_verifies_offline(tmp_path: Path) -> None:
    async with life(tmp_path) as one:
        request = await one.writer.settle(1)
        await signed(tmp_path, 1)
        data = await receipt_of(one.service, request)
    key = (tmp_path / "audit" / "log.pub").read_text()
    verified = verify_receipt(data, key)
    assert verified.entry["request"] == request
    assert verified.receipt.answers == (ANSWER,)
    for place in range(0, len(data), 7):
        with pytest.raises(ValueError, match=r"\w"):
            verify_receipt(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :], key)


async def test_changes_of_configuration_stand_beside_requests(tmp_path: Path) -> None:
    async with life(tmp_path) as one:
        change = ConfigurationChanged(seq=1, kind="policy", id="base", version=3, who="anna")
        await one.writer.send(CHANGED, change.SerializeToString())
        await one.writer.settle(1)
        await signed(tmp_path, 2)
    first, second = entries(tmp_path, 0, 2)
    assert (first["kind"], first["object"], first["who"]) == (CHANGED, "policy/base", "anna")
    assert (second["kind"], second["organisation"]) == (SETTLED, "org")


async def test_the_same_fact_again_and_a_second_life_add_nothing(tmp_path: Path) -> None:
    async with life(tmp_path) as one:
        for seq in (1, 2, 1, 2, 3):
            await one.writer.settle(seq)
        await signed(tmp_path, 3)
        requests = one.writer.requests
        verifier = parse_verifier(one.service.log.public_key)
    async with life(tmp_path) as two:
        two.writer.requests = requests
        for seq in (3, 1, 4):
            await two.writer.settle(seq)
        await signed(tmp_path, 4)
        assert parse_verifier(two.service.log.public_key) == verifier, "the key is kept"
    note = (tmp_path / "audit" / "log" / "checkpoint").read_text()
    assert open_checkpoint(note, verifier).size == 4
    assert [entry["seq"] for entry in entries(tmp_path, 0, 4)] == [1, 2, 3, 4]


async def test_a_gap_is_mended_by_asking_its_writer(tmp_path: Path) -> None:
    async with life(tmp_path) as one:
        await one.writer.settle(1)
        await one.writer.settle(4)
        await signed(tmp_path, 4)
        assert one.writer.asked == [(billing_stream("org"), 2, 3)]
    assert [entry["seq"] for entry in entries(tmp_path, 0, 4)] == [1, 4, 2, 3]


async def test_rubbish_is_parked_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    async with life(tmp_path) as one:
        sent = [
            one.writer.send(SETTLED, b"\xff\xff"),
            one.writer.send("RequestClosed", b"", "x"),
            one.writer.settle(1),
            one.writer.bus.publish("facts", b"no headers at all"),
            one.writer.settle(2),
        ]
        await asyncio.gather(*sent)
        await signed(tmp_path, 2)
        columns = select(tables.parked.c.value, tables.parked.c.reason)

        async def three() -> bool:
            return len(await one.database.read(lambda connection: connection.execute(columns).all())) == 3

        await until(three)
        rows = await one.database.read(lambda connection: connection.execute(columns).all())
        assert {row.value for row in rows} == {b"\xff\xff", b"", b"no headers at all"}
        assert all(row.reason for row in rows)


async def test_each_request_has_a_span_in_its_own_trace_linked_to_the_batch(tmp_path: Path) -> None:
    async with life(tmp_path, batch_interval_ms=100) as one:
        requests = [await one.writer.settle(seq) for seq in range(1, 6)]
        await signed(tmp_path, 5)
        batches = set()
        for request in requests:
            (span,) = one.telemetry.store.spans_of(request)
            assert (span.service, span.name) == ("audit", "audit append")
            assert span.parent
            assert span.start_ns <= span.end_ns
            (link,) = span.links
            assert link.trace_id != span.context.trace_id
            batches.add(link)
        for batch in batches:
            (span,) = one.telemetry.store.spans_of_trace(batch.trace_id)
            assert span.name == "audit append batch"
            assert span.context == batch


async def test_small_batches_share_a_transaction(tmp_path: Path) -> None:
    async with life(tmp_path, batch_interval_ms=200) as one:
        for seq in range(1, 101):
            await one.writer.settle(seq)
        await signed(tmp_path, 100)
        count = one.telemetry.registry.get_sample_value("freehold_audit_append_seconds_count")
        assert count is not None
        assert count < 20
        assert one.telemetry.registry.get_sample_value("freehold_audit_entries_total") == 100


async def test_what_was_appended_is_signed_before_a_stop_ends(tmp_path: Path) -> None:
    async with life(tmp_path, checkpoint_interval_ms=60_000) as one:
        await one.writer.settle(1)
        await signed(tmp_path, 1)
        await one.writer.settle(2)

        async def there() -> bool:
            return await one.service.log.find(one.writer.requests[2]) is not None

        await until(there)
    await signed(tmp_path, 2)


class FullDisk(SystemFiles):
    """No file can be written while the disk is full."""

    def __init__(self) -> None:
        self.full = False

    def write_durably(self, path: Path, data: bytes, mode: int = 0o644) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().write_durably(path, data, mode)


async def test_a_full_disk_delays_checkpoints_and_says_so(tmp_path: Path) -> None:
    files = FullDisk()
    async with life(tmp_path, files) as one:
        await one.writer.settle(1)
        await signed(tmp_path, 1)
        files.full = True
        await one.writer.settle(2)
        await until(lambda: _true(not one.service.readiness().ready))
        assert "No space left" in one.service.readiness().reason
        files.full = False
        await signed(tmp_path, 2)
        await until(lambda: _true(one.service.readiness().ready))


async def test_a_key_of_another_log_refuses_to_start(tmp_path: Path) -> None:
    async with life(tmp_path) as one:
        await one.writer.settle(1)
        await signed(tmp_path, 1)
    with pytest.raises(FreeholdError, match="this log is"):
        async with life(tmp_path, origin="example.com/other"):
            pass
    (tmp_path / "audit" / "log.key").unlink()
    with pytest.raises(FreeholdError, match="restore it"):
        async with life(tmp_path):
            pass
    (tmp_path / "audit" / "log.pub").unlink()
    with pytest.raises(FreeholdError, match="cannot be opened"):
        async with life(tmp_path):
            pass
