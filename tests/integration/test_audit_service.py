"""Audit as a process runs it: facts on the bus become proofs, over deaths, repetitions, gaps and rubbish."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import select

from services.audit import tables
from services.audit.facts import billing_stream
from services.audit.tlog.checkpoint import open_checkpoint
from services.audit.tlog.entry import CHANGED, SETTLED
from services.audit.tlog.note import parse_verifier
from services.audit.tlog.verify import verify_receipt
from shared.contracts.freehold.control.v1.events_pb2 import ConfigurationChanged
from shared.errors import FreeholdError
from shared.files import SystemFiles
from tests.integration.audit_service_world import (
    ANSWER,
    entries,
    life,
    readiness,
    receipt_of,
    signed,
    until,
)


async def test_a_settled_request_becomes_a_receipt_that_verifies_offline(home: Path) -> None:
    async with life(home) as one:
        request = await one.writer.settle(1)
        await signed(home, 1)
        data = await receipt_of(one.service, request)
    key = (home / "audit" / "log.pub").read_text()
    verified = verify_receipt(data, key)
    assert verified.entry["request"] == request
    assert verified.receipt.answers == (ANSWER,)
    for place in range(0, len(data), 7):
        with pytest.raises(ValueError, match=r"\w"):
            verify_receipt(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :], key)


async def test_changes_of_configuration_stand_beside_requests(home: Path) -> None:
    async with life(home) as one:
        change = ConfigurationChanged(seq=1, kind="policy", id="base", version=3, who="anna")
        await one.writer.send(CHANGED, change.SerializeToString())
        await one.writer.settle(1)
        await signed(home, 2)
    first, second = entries(home, 0, 2)
    assert (first["kind"], first["object"], first["who"]) == (CHANGED, "policy/base", "anna")
    assert (second["kind"], second["organisation"]) == (SETTLED, "org")


async def test_the_same_fact_again_and_a_second_life_add_nothing(home: Path) -> None:
    async with life(home) as one:
        for seq in (1, 2, 1, 2, 3):
            await one.writer.settle(seq)
        await signed(home, 3)
        requests = one.writer.requests
        verifier = parse_verifier(one.service.log.public_key)
    async with life(home) as two:
        two.writer.requests = requests
        for seq in (3, 1, 4):
            await two.writer.settle(seq)
        await signed(home, 4)
        assert parse_verifier(two.service.log.public_key) == verifier, "the key is kept"
    note = (home / "audit" / "log" / "checkpoint").read_text()
    assert open_checkpoint(note, verifier).size == 4
    assert [entry["seq"] for entry in entries(home, 0, 4)] == [1, 2, 3, 4]


async def test_a_gap_is_mended_by_asking_its_writer(home: Path) -> None:
    async with life(home) as one:
        await one.writer.settle(1)
        await one.writer.settle(4)
        await signed(home, 4)
        assert one.writer.asked[0] == (billing_stream("org"), 2, 3)
    assert [entry["seq"] for entry in entries(home, 0, 4)] == [1, 4, 2, 3]


async def test_rubbish_is_parked_and_keeps_nobody_waiting(home: Path) -> None:
    async with life(home) as one:
        sent = [
            one.writer.send(SETTLED, b"\xff\xff"),
            one.writer.send("RequestClosed", b"", "x"),
            one.writer.settle(1),
            one.writer.bus.publish("facts", b"no headers at all"),
            one.writer.settle(2),
        ]
        await asyncio.gather(*sent)
        await signed(home, 2)
        columns = select(tables.parked.c.value, tables.parked.c.reason)

        async def three() -> bool:
            return len(await one.database.read(lambda connection: connection.execute(columns).all())) == 3

        await until(three)
        rows = await one.database.read(lambda connection: connection.execute(columns).all())
        assert {row.value for row in rows} == {b"\xff\xff", b"", b"no headers at all"}
        assert all(row.reason for row in rows)


async def test_each_request_has_a_span_in_its_own_trace_linked_to_the_batch(home: Path) -> None:
    async with life(home, batch_interval_ms=100) as one:
        requests = [await one.writer.settle(seq) for seq in range(1, 6)]
        await signed(home, 5)
        batches = set()
        for request in requests:
            (span,) = one.telemetry.store.spans_of(request)
            assert (span.service, span.name) == ("audit", "audit append")
            assert span.parent
            assert span.start_ns <= span.end_ns
            assert len(span.links) <= 1  # none where it was alone in its batch
            batches.update(span.links)
        assert batches
        for batch in batches:
            (span,) = one.telemetry.store.spans_of_trace(batch.trace_id)
            assert span.name == "audit append batch"
            assert span.context == batch
            assert len(span.links) > 1


async def test_small_batches_share_a_transaction(home: Path) -> None:
    async with life(home, batch_interval_ms=200) as one:
        for seq in range(1, 101):
            await one.writer.settle(seq)
        await signed(home, 100)
        count = one.telemetry.registry.get_sample_value("freehold_audit_append_seconds_count")
        assert count is not None
        assert count < 20
        assert one.telemetry.registry.get_sample_value("freehold_audit_entries_total") == 100


async def test_what_was_appended_is_signed_before_a_stop_ends(home: Path) -> None:
    async with life(home, checkpoint_interval_ms=60_000) as one:
        await one.writer.settle(1)
        await signed(home, 1)
        await one.writer.settle(2)

        async def there() -> bool:
            return await one.service.log.find(one.writer.requests[2]) is not None

        await until(there)
    await signed(home, 2)


class FullDisk(SystemFiles):
    """No file can be written while the disk is full."""

    def __init__(self) -> None:
        self.full = False

    def write_durably(self, path: Path, data: bytes, mode: int = 0o644) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().write_durably(path, data, mode)


async def test_a_full_disk_delays_checkpoints_and_says_so(home: Path) -> None:
    files = FullDisk()
    async with life(home, files) as one:
        await one.writer.settle(1)
        await signed(home, 1)
        files.full = True
        await one.writer.settle(2)
        await readiness(one.service, ready=False)
        assert "No space left" in one.service.readiness().reason
        files.full = False
        await signed(home, 2)
        await readiness(one.service, ready=True)


async def test_a_key_of_another_log_refuses_to_start(home: Path) -> None:
    async with life(home) as one:
        await one.writer.settle(1)
        await signed(home, 1)
    with pytest.raises(FreeholdError, match="this log is"):
        async with life(home, origin="example.com/other"):
            pass
    (home / "audit" / "log.key").unlink()
    with pytest.raises(FreeholdError, match="restore it"):
        async with life(home):
            pass
    (home / "audit" / "log.pub").unlink()
    with pytest.raises(FreeholdError, match="cannot be opened"):
        async with life(home):
            pass
