"""Who calls over gRPC: every call but health's needs a credential."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from shared.callers import Authenticate, Caller
from shared.errors import FreeholdError, Kind
from shared.statuses import GRPC

HEALTH = "/grpc.health.v1.Health/"
DOMAIN = "freehold"


_caller: ContextVar[Caller] = ContextVar("caller")


def caller() -> Caller:
    """The caller of the gRPC call that is running."""
    return _caller.get()


class Authentication(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Refuses calls without a credential, and lets the servicer know the caller."""

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Refuse, or go on."""
        handler = await continuation(details)
        if details.method.startswith(HEALTH):
            return handler
        try:
            found = self._authenticate(bearer(details.invocation_metadata))
        except FreeholdError as error:
            return _refusal(handler, error)
        if found is None:  # also of a method that is not there
            return _refusal(handler, FreeholdError(Kind.UNAUTHENTICATED, "no valid credential was given"))
        _caller.set(found)
        return handler


def bearer(metadata: Any) -> str:
    """The one bearer credential of a call's metadata; empty where there is none or more than one."""
    values = [str(value) for name, value in metadata or () if name == "authorization"]
    if len(values) != 1 or not values[0].startswith("Bearer "):
        return ""
    return values[0].removeprefix("Bearer ")


def _refusal(handler: grpc.RpcMethodHandler | None, error: FreeholdError) -> grpc.RpcMethodHandler:
    async def refuse(_: Any, context: grpc.aio.ServicerContext) -> NoReturn:
        await abort(context, error)

    async def refuse_stream(_: Any, context: grpc.aio.ServicerContext) -> Any:
        await abort(context, error)
        yield  # makes this a generator, which is what a streaming handler must be

    if handler is not None and handler.request_streaming:
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(refuse_stream)
        return grpc.stream_unary_rpc_method_handler(refuse)
    if handler is not None and handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(refuse_stream)
    return grpc.unary_unary_rpc_method_handler(refuse)


async def abort(context: grpc.aio.ServicerContext, error: FreeholdError) -> NoReturn:
    """End the call with the table's status, a `google.rpc.ErrorInfo`, and a `RetryInfo` if it says when."""
    metadata = {
        name: value
        for name, value in {
            "code": error.code,
            "param": error.param or "",
            "rule": error.rule,
            "policy_version": error.policy_version,
            "first_request": error.first_request,
        }.items()
        if value
    }
    details = [error_details_pb2.ErrorInfo(reason=error.kind.name, domain=DOMAIN, metadata=metadata)]
    if error.retry_after:
        delay = Duration()
        delay.FromMilliseconds(math.ceil(error.retry_after * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = [any_pb2.Any() for _ in details]
    for holder, detail in zip(packed, details, strict=True):
        holder.Pack(detail)
    code = code_pb2.Code.Value(GRPC[error.kind].name)
    status = status_pb2.Status(code=code, message=error.message, details=packed)
    await context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort returns never")
