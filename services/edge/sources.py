"""Usage and receipts, asked of billing and audit over gRPC in the caller's own name.

The edge has no right to any tenant's data: the service that owns it decides by the caller's credential.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol, TypeVar

import grpc

from shared.contracts.freehold.audit.v1 import audit_pb2 as audit
from shared.contracts.freehold.audit.v1 import audit_pb2_grpc
from shared.contracts.freehold.billing.v1 import billing_pb2 as billing
from shared.contracts.freehold.billing.v1 import billing_pb2_grpc
from shared.errors import FreeholdError, Kind

TIMEOUT_S = 5.0

T = TypeVar("T")

_KINDS = {
    grpc.StatusCode.NOT_FOUND: Kind.NOT_FOUND,
    grpc.StatusCode.PERMISSION_DENIED: Kind.FORBIDDEN,
    grpc.StatusCode.UNAUTHENTICATED: Kind.UNAUTHENTICATED,
    grpc.StatusCode.INVALID_ARGUMENT: Kind.BAD_REQUEST,
}


class UsageSource(Protocol):
    """Where metered usage is."""

    async def usage(self, secret: str, query: billing.GetUsageRequest) -> billing.GetUsageResponse:
        """Rows of the caller's project. Raises `FreeholdError`."""


class ReceiptSource(Protocol):
    """Where the evidence of settled requests is."""

    async def receipt(self, secret: str, request: str) -> audit.GetReceiptResponse:
        """Of one request of the caller's project; any other is NOT_FOUND. Raises `FreeholdError`."""


class GrpcUsage:
    """`UsageSource` over a channel without a credential of its own."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = billing_pb2_grpc.BillingStub(channel)

    async def usage(self, secret: str, query: billing.GetUsageRequest) -> billing.GetUsageResponse:
        call: Awaitable[billing.GetUsageResponse] = self._stub.GetUsage(
            query, metadata=_bearer(secret), timeout=TIMEOUT_S
        )
        return await _asked(call)


class GrpcReceipts:
    """`ReceiptSource` over a channel without a credential of its own."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = audit_pb2_grpc.AuditStub(channel)

    async def receipt(self, secret: str, request: str) -> audit.GetReceiptResponse:
        call: Awaitable[audit.GetReceiptResponse] = self._stub.GetReceipt(
            audit.GetReceiptRequest(request=request), metadata=_bearer(secret), timeout=TIMEOUT_S
        )
        return await _asked(call)


def _bearer(secret: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {secret}"),)


async def _asked(call: Awaitable[T]) -> T:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        kind = _KINDS.get(error.code())
        if kind is None:
            raise FreeholdError(Kind.NOT_READY, "this cannot be told at the moment") from error
        raise FreeholdError(kind, error.details() or "refused") from error
