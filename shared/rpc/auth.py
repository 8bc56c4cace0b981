"""Who calls over gRPC: every call but health's needs a credential."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from shared.clock import Clock
from shared.configuration import Configuration, hash_key
from shared.errors import FreeholdError, Kind
from shared.statuses import GRPC

HEALTH = "/grpc.health.v1.Health/"
DOMAIN = "freehold"


@dataclass(frozen=True)
class Caller:
    """The owner of a credential."""

    key: str
    organisation: str
    project: str
    roles: frozenset[str] = field(default_factory=frozenset)

    @property
    def operator(self) -> bool:
        """Whether the caller runs the platform and so sees every tenant."""
        return "operator" in self.roles

    def require(self, *roles: str) -> None:
        """Raises `FreeholdError` FORBIDDEN unless the caller has one of these roles or is an operator."""
        if not self.operator and self.roles.isdisjoint(roles):
            raise FreeholdError(Kind.FORBIDDEN, f"this call needs the role {' or '.join(roles)}")


OPERATOR = Caller("operator", "", "", frozenset({"operator", "admin", "usage", "complete"}))

Authenticate = Callable[[str], Caller | None]
"""The caller of a bearer credential, or None."""

_caller: ContextVar[Caller] = ContextVar("caller")


def caller() -> Caller:
    """The caller of the gRPC call that is running."""
    return _caller.get()


class Credentials:
    """Knows the process's own token and every key of the configuration."""

    def __init__(
        self, configuration: Configuration, peppers: dict[int, bytes], clock: Clock, token: str = ""
    ) -> None:
        if any(not pepper for pepper in peppers.values()):
            raise FreeholdError(Kind.INTERNAL, "the key pepper is empty")
        self._configuration = configuration
        self._peppers = peppers
        self._clock = clock
        self._token = token.encode()

    def __call__(self, secret: str) -> Caller | None:
        if self._token and hmac.compare_digest(secret.encode(), self._token):
            return OPERATOR
        values = self._configuration
        for version, pepper in self._peppers.items():
            key = values.keys_by_hash.get(hash_key(secret, pepper))
            if key is None or key.pepper_version != version or key.revoked:
                continue
            expired = key.expires_ns and key.expires_ns <= self._clock.time_ns()
            organisation, project = (
                values.organisations.get(key.organisation),
                values.projects.get(key.project),
            )
            if (
                expired
                or organisation is None
                or organisation.disabled
                or project is None
                or project.disabled
            ):
                return None
            return Caller(key.id, key.organisation, key.project, frozenset(key.roles))
        return None


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
        if details.method.startswith(HEALTH):
            return await continuation(details)
        found = self._authenticate(bearer(details.invocation_metadata))
        handler = await continuation(details)
        if found is not None or handler is None:
            if found is not None:
                _caller.set(found)
            return handler if found is not None else _refusal(handler)
        return _refusal(handler)


def bearer(metadata: Any) -> str:
    """The one bearer credential of a call's metadata; empty where there is none or more than one."""
    values = [str(value) for name, value in metadata or () if name == "authorization"]
    if len(values) != 1 or not values[0].startswith("Bearer "):
        return ""
    return values[0].removeprefix("Bearer ")


def _refusal(handler: grpc.RpcMethodHandler | None) -> grpc.RpcMethodHandler:
    error = FreeholdError(Kind.UNAUTHENTICATED, "no valid credential was given")

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
    """End the call with the table's status and details in `google.rpc.ErrorInfo`."""
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
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=error.kind.name, domain=DOMAIN, metadata=metadata))
    code = code_pb2.Code.Value(GRPC[error.kind].name)
    status = status_pb2.Status(code=code, message=error.message, details=[detail])
    await context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort returns never")
