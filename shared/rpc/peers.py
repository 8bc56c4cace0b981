"""Which service is at the other end, and whether it may call what it calls: nothing, unless it is written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import grpc
import yaml
from pydantic import RootModel, ValidationError

from shared.errors import FreeholdError, Kind
from shared.rpc.auth import HEALTH, abort

OPERATOR: Final = "operator"
"""The name in the certificate of the operator's command line, which may call everything."""
PATH: Final = Path(__file__).with_name("calls.yaml")
"""A link to `proto/calls.yaml`, so that an installed package carries it too."""

Calls = Mapping[str, frozenset[str]]
"""By `/service/method`, the names of certificates that may call it."""


class CallsError(ValueError):
    """`calls.yaml` is not what this module can trust."""


class _File(RootModel[dict[str, dict[str, frozenset[str]]]]):
    pass


def load_calls(path: Path = PATH) -> Calls:
    """Who may call what. Raises `CallsError`."""
    try:
        declared = _File.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))).root
    except (yaml.YAMLError, ValidationError) as error:
        raise CallsError(f"{path}: {error}") from error
    return {
        f"/{service}/{method}": callers
        for service, methods in declared.items()
        for method, callers in methods.items()
    }


class PeerRights(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Refuses calls of services that may not make them, whatever credential they bring."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """The handler, behind a check of who is at the other end."""
        handler, method = await continuation(details), str(details.method)
        if handler is None or method.startswith(HEALTH):
            return handler
        return _guarded(handler, {OPERATOR, *self._calls.get(method, ())})


def names_of(context: grpc.aio.ServicerContext) -> set[str]:
    """What the certificate at the other end is made out to; nothing without one."""
    found = context.auth_context().get("x509_subject_alternative_name", ())
    return {bytes(name).decode(errors="replace") for name in found}


def _guarded(handler: grpc.RpcMethodHandler, allowed: set[str]) -> grpc.RpcMethodHandler:
    inner = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream

    async def check(context: grpc.aio.ServicerContext) -> None:
        if not names_of(context) & allowed:
            await abort(context, FreeholdError(Kind.FORBIDDEN, "this service may not call this method"))

    async def once(request: Any, context: grpc.aio.ServicerContext) -> Any:
        await check(context)
        return await inner(request, context)

    async def streamed(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        await check(context)
        async for answer in inner(request, context):
            yield answer

    made = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]
    return made(
        streamed if handler.response_streaming else once,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
