"""A gRPC server with credentials, health, limits and, where wanted, reflection."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from shared.bus.ports import BusError
from shared.callers import Authenticate
from shared.errors import FreeholdError, Kind
from shared.rpc.auth import Authentication, abort
from shared.storage.database import DatabaseError

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
MAX_METADATA_BYTES = 16 * 1024
MAX_STREAMS = 1000

Servicer = TypeVar("Servicer")


class RpcServer:
    """One listening address. Register servicers between construction and `start`."""

    def __init__(self, authenticate: Authenticate, *, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self.server = grpc.aio.server(
            interceptors=[Authentication(authenticate)],
            options=[
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_metadata_size", MAX_METADATA_BYTES),
                ("grpc.max_concurrent_streams", MAX_STREAMS),
                ("grpc.so_reuseport", 0),
            ],
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)
        self._names: list[str] = []

    async def start(self, address: str, names: Iterable[str], *, reflect: bool) -> int:
        """Listen on `host:port` or `unix:PATH` and return the port (0 for a socket); not ready yet.

        Raises `FreeholdError` NOT_READY where the address is in use.
        """
        self._names = list(names)
        if reflect:
            reflection.enable_server_reflection(
                [*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME], self.server
            )
        await self.set_ready(False)
        try:
            port = self.server.add_insecure_port(address)
        except RuntimeError as error:
            raise FreeholdError(Kind.NOT_READY, f"cannot listen on {address}: is it in use?") from error
        await self.server.start()
        return 0 if address.startswith("unix:") else int(port)

    async def set_ready(self, ready: bool) -> None:
        """Say so to health checks, of the server and each service."""
        status = health_pb2.HealthCheckResponse.ServingStatus
        for name in ["", *self._names]:
            await self._health.set(name, status.SERVING if ready else status.NOT_SERVING)

    async def stop(self, grace: float) -> None:
        """Take no new calls; end running ones after `grace` seconds."""
        await self.server.stop(max(0.0, grace))


def translated(call: Callable[..., Any]) -> Callable[..., Any]:
    """A unary servicer method whose `FreeholdError` ends the call by the table.

    A fault of the database or the bus is UNAVAILABLE, as nobody knows what was done; any other is INTERNAL.
    """

    @functools.wraps(call)
    async def answer(self: Any, request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            return await call(self, request, context)
        except FreeholdError as error:
            await abort(context, error)
        except (BusError, DatabaseError):
            log.exception("%s could not be done", call.__qualname__)
            await abort(context, FreeholdError(Kind.NOT_READY, "this cannot be done now; ask again"))
        except Exception:
            if context.done():
                raise
            log.exception("%s failed", call.__qualname__)
            await abort(context, FreeholdError(Kind.INTERNAL, "the call failed; the operator's log says why"))

    return answer
