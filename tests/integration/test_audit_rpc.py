"""Receipts, proofs and checkpoints over real gRPC, by tenant."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from services.audit import rpc
from services.audit.facts import Fact, billing_stream
from services.audit.log import Log
from services.audit.mender import RepublishFailed
from services.audit.republish import GrpcRepublish
from services.audit.rpc import AuditServicer
from services.audit.site import Site
from services.audit.tlog import merkle
from services.audit.tlog.checkpoint import open_checkpoint
from services.audit.tlog.merkle import leaf_hash
from services.audit.tlog.note import Signer, parse_verifier
from shared.callers import OPERATOR, Caller
from shared.contracts.freehold.audit.v1 import audit_pb2 as pb
from shared.contracts.freehold.audit.v1.audit_pb2_grpc import AuditStub
from shared.contracts.freehold.billing.v1 import billing_pb2, billing_pb2_grpc
from shared.contracts.freehold.control.v1 import control_pb2, control_pb2_grpc
from shared.host import system_host
from shared.ids import Ids
from shared.rpc.channel import connect
from shared.rpc.server import RpcServer
from tests.integration.stores import open_store

CALLERS = {
    "mine": Caller("k1", "org", "project", frozenset({"complete"})),
    "sibling": Caller("k2", "org", "another", frozenset({"complete", "admin"})),
    "stranger": Caller("k3", "other", "project", frozenset({"complete"})),
    "operator": OPERATOR,
}
HOST = system_host()
IDS = Ids(HOST.clock, random.Random(7))
REQUEST = IDS.request()
SIGNER = Signer("example.com/log", bytes(range(32)))


def fact(seq: int, request: str) -> Fact:
    return Fact(billing_stream("org"), seq, "org", "project", request, b'{"seq":%d}' % seq)


@asynccontextmanager
async def served(home: Path) -> AsyncIterator[tuple[Log, dict[str, AuditStub]]]:
    database = await open_store(home, "audit", HOST)
    executor = HOST.executor("audit")
    log = Log(database, Site(HOST.files, home / "log"), executor, SIGNER, HOST.clock)
    await log.open()
    server = RpcServer(CALLERS.get)
    names = rpc.register(server.server, AuditServicer(log, HOST.clock, 1200))
    assert names == ["freehold.audit.v1.Audit"]
    port = await server.start("127.0.0.1:0", names, reflect=False)
    channels = {token: connect(f"127.0.0.1:{port}", token) for token in [*CALLERS, "nobody"]}
    try:
        yield log, {token: AuditStub(channel) for token, channel in channels.items()}
    finally:
        for channel in channels.values():
            await channel.close()
        await server.stop(0)
        executor.close()
        await database.close()


async def code_of(call: grpc.aio.UnaryUnaryCall) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return failure.value.code()


@pytest.mark.attack(7)
async def test_a_receipt_is_pending_then_there_and_only_for_its_project(home: Path) -> None:
    async with served(home) as (log, stubs):
        ask = pb.GetReceiptRequest(request=REQUEST)
        assert (await stubs["mine"].GetReceipt(ask)).pending, "its account may still come"
        await log.append([fact(1, REQUEST)])
        assert (await stubs["mine"].GetReceipt(ask)).pending, "no checkpoint holds it yet"
        assert await code_of(stubs["stranger"].GetReceipt(ask)) == grpc.StatusCode.NOT_FOUND
        await log.publish()
        found = await stubs["mine"].GetReceipt(ask)
        assert not found.pending
        checkpoint = open_checkpoint(found.checkpoint, SIGNER.verifier)
        leaf = leaf_hash(found.entry)
        merkle.verify_inclusion(leaf, found.leaf_index, checkpoint.size, found.proof, checkpoint.root)
        assert await stubs["operator"].GetReceipt(ask) == found
        for token in ("sibling", "stranger"):
            assert await code_of(stubs[token].GetReceipt(ask)) == grpc.StatusCode.NOT_FOUND
        assert await code_of(stubs["nobody"].GetReceipt(ask)) == grpc.StatusCode.UNAUTHENTICATED


async def test_what_was_never_a_request_is_not_pending_for_ever(home: Path) -> None:
    async with served(home) as (_, stubs):
        for request in (
            "",
            "nonsense",
            "01890a5d-ac96-774b-bcce-b302099a8057",  # of the year 2023
            REQUEST.upper(),
            REQUEST[:14] + "4" + REQUEST[15:],
            "ffffffff-ffff-7fff-bfff-ffffffffffff",
        ):
            ask = pb.GetReceiptRequest(request=request)
            assert await code_of(stubs["mine"].GetReceipt(ask)) == grpc.StatusCode.NOT_FOUND, request


async def test_checkpoints_and_proofs_are_for_everybody(home: Path) -> None:
    async with served(home) as (log, stubs):
        stub = stubs["stranger"]
        empty = await stub.GetCheckpoint(pb.GetCheckpointRequest())
        assert empty.checkpoint == ""
        await log.append([fact(seq, IDS.request()) for seq in range(1, 6)])
        await log.publish()
        first = await stub.GetCheckpoint(pb.GetCheckpointRequest())
        await log.append([fact(seq, IDS.request()) for seq in range(6, 10)])
        await log.publish()
        second = await stub.GetCheckpoint(pb.GetCheckpointRequest())
        key = parse_verifier(second.verifier_key)
        old, new = (open_checkpoint(found.checkpoint, key) for found in (first, second))
        found = await stub.GetProof(pb.GetProofRequest(old_size=5))
        assert found.size == 9
        merkle.verify_consistency(5, 9, old.root, new.root, found.proof)
        found = await stub.GetProof(pb.GetProofRequest(leaf_index=0, size=5))
        merkle.verify_inclusion(leaf_hash(fact(1, "").entry), 0, 5, found.proof, old.root)
        for wrong in (
            pb.GetProofRequest(),
            pb.GetProofRequest(size=5),
            pb.GetProofRequest(leaf_index=1, old_size=1),
            pb.GetProofRequest(leaf_index=5, size=5),
            pb.GetProofRequest(leaf_index=0, size=10),
            pb.GetProofRequest(old_size=6, size=5),
            pb.GetProofRequest(leaf_index=(1 << 64) - 1, size=(1 << 64) - 1),
            pb.GetProofRequest(old_size=(1 << 64) - 1),
        ):
            assert await code_of(stub.GetProof(wrong)) == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_closed_database_is_a_service_that_is_not_ready(home: Path) -> None:
    async with served(home) as (log, stubs):
        await log._database.close()
        for call in (
            stubs["mine"].GetReceipt(pb.GetReceiptRequest(request=REQUEST)),
            stubs["mine"].GetProof(pb.GetProofRequest(leaf_index=0)),
            stubs["mine"].GetCheckpoint(pb.GetCheckpointRequest()),
        ):
            assert await code_of(call) == grpc.StatusCode.UNAVAILABLE


class Billing(billing_pb2_grpc.BillingServicer):
    def __init__(self) -> None:
        self.asked: list[billing_pb2.RepublishFactsRequest] = []

    async def RepublishFacts(
        self, request: billing_pb2.RepublishFactsRequest, context: grpc.aio.ServicerContext
    ) -> billing_pb2.RepublishFactsResponse:
        self.asked.append(request)
        return billing_pb2.RepublishFactsResponse(published=1)


class Control(control_pb2_grpc.ControlServicer):
    def __init__(self) -> None:
        self.asked: list[control_pb2.RepublishFactsRequest] = []

    async def RepublishFacts(
        self, request: control_pb2.RepublishFactsRequest, context: grpc.aio.ServicerContext
    ) -> control_pb2.RepublishFactsResponse:
        self.asked.append(request)
        return control_pb2.RepublishFactsResponse(published=1)


async def test_missing_facts_are_asked_of_their_writer() -> None:
    server = RpcServer(CALLERS.get)
    billing, control = Billing(), Control()
    billing_pb2_grpc.add_BillingServicer_to_server(billing, server.server)
    control_pb2_grpc.add_ControlServicer_to_server(control, server.server)
    port = await server.start("127.0.0.1:0", [], reflect=False)
    channel = connect(f"127.0.0.1:{port}", "operator")
    refused = connect(f"127.0.0.1:{port}", "wrong")
    try:
        republish = GrpcRepublish(channel, channel)
        await republish.republish("billing/org", 3, 5)
        await republish.republish("control", 1, 2)
        assert billing.asked == [billing_pb2.RepublishFactsRequest(organisation="org", from_seq=3, to_seq=5)]
        assert control.asked == [control_pb2.RepublishFactsRequest(from_seq=1, to_seq=2)]
        with pytest.raises(RepublishFailed, match="UNAUTHENTICATED"):
            await GrpcRepublish(refused, refused).republish("control", 1, 2)
    finally:
        await channel.close()
        await refused.close()
        await server.stop(0)
