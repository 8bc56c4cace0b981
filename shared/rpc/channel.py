"""A gRPC channel to a service of the platform, with its credential on every call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from shared.rpc.server import MAX_MESSAGE_BYTES


class _Bearer(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    def __init__(self, token: str) -> None:
        self._metadata = (("authorization", f"Bearer {token}"),)

    async def intercept_unary_unary(
        self, continuation: Callable[[Any, Any], Any], details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        """Add the credential."""
        metadata = (*(details.metadata or ()), *self._metadata)
        return await continuation(details._replace(metadata=metadata), request)


def connect(target: str, token: str = "") -> grpc.aio.Channel:
    """A channel to `host:port` or `unix:PATH`; connects when first used. With a token: unary calls only."""
    return grpc.aio.insecure_channel(
        target,
        interceptors=[_Bearer(token)] if token else [],
        options=[("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)],
    )
