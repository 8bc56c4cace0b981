"""A gRPC channel to a service of the platform, with its credential on every call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import grpc

from shared.lifecycle import Tasks
from shared.rpc.identity import Identity, Pem, channel_credentials
from shared.rpc.server import ALIVE, MAX_MESSAGE_BYTES

LAST_CALLS_S = 60.0
"""That calls get over a connection with the certificate of before."""


class _Bearer(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    def __init__(self, token: str) -> None:
        self._metadata = (("authorization", f"Bearer {token}"),)

    async def intercept_unary_unary(
        self, continuation: Callable[[Any, Any], Any], details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        """Add the credential."""
        metadata = (*(details.metadata or ()), *self._metadata)
        return await continuation(details._replace(metadata=metadata), request)


def connect(
    target: str, token: str = "", *, service: str = "", identity: Identity | None = None
) -> grpc.aio.Channel:
    """A channel to `host:port` or `unix:PATH`; connects when first used. Unary calls only where there is a
    token or an identity.

    With an identity the call is mutual TLS, and the other side must be that service by its certificate,
    whatever its address is.
    """
    if identity is None:
        return grpc.aio.insecure_channel(target, interceptors=_interceptors(token), options=_OPTIONS)
    return RenewedChannel(target, token, service, identity)


class RenewedChannel:
    """What the stubs use of a `grpc.aio.Channel`. A call made after the certificate was replaced goes over
    a connection with the new one; calls that run end over theirs.
    """

    def __init__(self, target: str, token: str, service: str, identity: Identity) -> None:
        self._target = target
        self._token = token
        self._service = service
        self._identity = identity
        self._tasks = Tasks("channel")
        self._pem: Pem | None = None
        self._channel: grpc.aio.Channel | None = None

    def unary_unary(self, *method: Any, **named: Any) -> Callable[..., Any]:
        """See `grpc.aio.Channel.unary_unary`."""

        def call(*arguments: Any, **options: Any) -> Any:
            return self._current().unary_unary(*method, **named)(*arguments, **options)

        return call

    def unary_stream(self, *_: Any, **__: Any) -> Callable[..., Any]:
        """Made by the stubs, called by nobody."""
        return _unary_only

    stream_unary = stream_stream = unary_stream

    async def close(self) -> None:
        """Break off what runs."""
        await self._tasks.cancel()
        if self._channel is not None:
            await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _current(self) -> grpc.aio.Channel:
        pem = self._identity.pem()
        if self._channel is None or pem is not self._pem:
            if self._channel is not None:
                self._tasks.spawn(self._channel.close(LAST_CALLS_S), "close")
            self._channel = grpc.aio.secure_channel(
                self._target,
                channel_credentials(pem),
                interceptors=_interceptors(self._token),
                options=[*_OPTIONS, ("grpc.ssl_target_name_override", self._service)],
            )
            self._pem = pem
        return self._channel


_OPTIONS = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES), *ALIVE]


def _interceptors(token: str) -> list[grpc.aio.ClientInterceptor]:
    return [_Bearer(token)] if token else []


def _unary_only(*_: Any, **__: Any) -> Any:
    raise TypeError("services call one another by unary calls only")
