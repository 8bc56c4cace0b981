"""The gRPC servicer of audit: translation only."""

from __future__ import annotations

import uuid
from typing import TypeAlias

import grpc

from services.audit.log import Leaf, Log
from shared.callers import Caller
from shared.clock import Clock
from shared.contracts.freehold.audit.v1 import audit_pb2 as pb
from shared.contracts.freehold.audit.v1 import audit_pb2_grpc
from shared.errors import FreeholdError, Kind
from shared.rpc.auth import caller
from shared.rpc.server import translated
from shared.storage.database import DatabaseError

Context: TypeAlias = grpc.aio.ServicerContext

FULL_NAME = "freehold.audit.v1.Audit"


class AuditServicer(audit_pb2_grpc.AuditServicer):
    """`freehold.audit.v1.Audit`. A receipt is for the request's own project; proofs and checkpoints hold
    hashes only and are for every caller.
    """

    def __init__(self, log: Log, clock: Clock, patience_s: float) -> None:
        self._log = log
        self._clock = clock
        self._patience_s = patience_s

    @translated
    async def GetReceipt(self, request: pb.GetReceiptRequest, _: Context) -> pb.GetReceiptResponse:
        try:
            leaf = await self._log.find(request.request)
        except DatabaseError as error:
            raise _not_ready() from error
        if leaf is None:
            if self._may_come(request.request):
                return pb.GetReceiptResponse(pending=True)
            raise _unknown()
        if not _may_see(caller(), leaf):
            raise _unknown()
        if leaf.evidence is None:
            return pb.GetReceiptResponse(pending=True)
        found = leaf.evidence
        return pb.GetReceiptResponse(
            entry=found.entry, leaf_index=found.index, proof=found.proof, checkpoint=found.checkpoint
        )

    @translated
    async def GetProof(self, request: pb.GetProofRequest, _: Context) -> pb.GetProofResponse:
        index, old = request.HasField("leaf_index"), request.HasField("old_size")
        if index == old:
            raise FreeholdError(Kind.BAD_REQUEST, "give either leaf_index or old_size")
        try:
            if index:
                proof, size = await self._log.inclusion(request.leaf_index, request.size)
            else:
                proof, size = await self._log.consistency(request.old_size, request.size)
        except ValueError as error:
            raise FreeholdError(Kind.BAD_REQUEST, str(error)) from None
        except DatabaseError as error:
            raise _not_ready() from error
        return pb.GetProofResponse(proof=proof, size=size)

    @translated
    async def GetCheckpoint(self, _: pb.GetCheckpointRequest, __: Context) -> pb.GetCheckpointResponse:
        try:
            note = await self._log.checkpoint()
        except DatabaseError as error:
            raise _not_ready() from error
        return pb.GetCheckpointResponse(checkpoint=note, verifier_key=self._log.public_key)

    def _may_come(self, request: str) -> bool:
        """Whether this is the id of a request that began so lately that its account may still come: the
        first 48 bits of a UUIDv7 are the milliseconds of its making.
        """
        try:
            found = uuid.UUID(request)
        except ValueError:
            return False
        age_s = self._clock.time_ns() / 1e9 - (found.int >> 80) / 1e3
        # Clocks of two machines differ by a little.
        return str(found) == request and found.version == 7 and -60 <= age_s <= self._patience_s


def register(server: grpc.aio.Server, servicer: AuditServicer) -> list[str]:
    """Add the servicer; its full name."""
    audit_pb2_grpc.add_AuditServicer_to_server(servicer, server)
    return [FULL_NAME]


def _may_see(who: Caller, leaf: Leaf) -> bool:
    return who.operator or (who.organisation, who.project) == (leaf.organisation, leaf.project)


def _unknown() -> FreeholdError:
    """The same for what is not there and for what is another's."""
    return FreeholdError(Kind.NOT_FOUND, "no such request")


def _not_ready() -> FreeholdError:
    return FreeholdError(Kind.NOT_READY, "the log cannot be read now")
