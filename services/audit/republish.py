"""`Republish` by gRPC: billing numbers an organisation's facts, control its own."""

from __future__ import annotations

import grpc

from services.audit.facts import CONTROL, organisation_of
from services.audit.mender import RepublishFailed
from shared.contracts.freehold.billing.v1 import billing_pb2, billing_pb2_grpc
from shared.contracts.freehold.control.v1 import control_pb2, control_pb2_grpc

TIMEOUT_S = 10.0


class GrpcRepublish:
    """Asks over channels that carry an operator's credential."""

    def __init__(self, billing: grpc.aio.Channel, control: grpc.aio.Channel) -> None:
        self._billing = billing_pb2_grpc.BillingStub(billing)
        self._control = control_pb2_grpc.ControlStub(control)

    async def republish(self, stream: str, first: int, last: int) -> None:
        """See `Republish`."""
        try:
            if stream == CONTROL:
                await self._control.RepublishFacts(
                    control_pb2.RepublishFactsRequest(from_seq=first, to_seq=last), timeout=TIMEOUT_S
                )
                return
            await self._billing.RepublishFacts(
                billing_pb2.RepublishFactsRequest(
                    organisation=organisation_of(stream), from_seq=first, to_seq=last
                ),
                timeout=TIMEOUT_S,
            )
        except grpc.aio.AioRpcError as error:
            raise RepublishFailed(f"{error.code().name}: {error.details()}") from None
