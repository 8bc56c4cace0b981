"""A gRPC server with credentials, health, limits and, where wanted, reflection."""

from __future__ import annotations

import errno
import functools
import logging
import socket
from collections.abc import Callable, Iterable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from shared.bus.ports import BusError
from shared.callers import Authenticate
from shared.errors import FreeholdError, Kind
from shared.rpc.auth import Authentication, abort
from shared.rpc.identity import CONNECTION_S, GRACE_S, ServerCertificate
from shared.rpc.peers import PeerRights, load_calls
from shared.storage.database import DatabaseError

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
MAX_METADATA_BYTES = 16 * 1024
PINGS_MS = 10_000
ALIVE = (
    ("grpc.keepalive_time_ms", PINGS_MS),
    ("grpc.keepalive_timeout_ms", PINGS_MS // 2),
    ("grpc.http2.ping_timeout_ms", PINGS_MS // 2),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
"""Either side finds out in 15 s that nothing passes any more on a connection that is still open. A ping's own
time-out is a minute unless said, and the longer of the two counts.
"""
MAX_STREAMS = 1000
_REPEATED_PROOF = (
    ("grpc.max_connection_age_ms", CONNECTION_S * 1000),
    ("grpc.max_connection_age_grace_ms", GRACE_S * 1000),
)


class RpcServer:
    """One listening address. Register servicers between construction and `start`.

    With a certificate it is TLS; with an `Identity` mutual TLS, and a call then needs the certificate of a
    service that may make it.
    """

    def __init__(
        self,
        authenticate: Authenticate,
        *,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        certificate: ServerCertificate | None = None,
    ) -> None:
        mutual = certificate is not None and certificate.mutual
        peers = [PeerRights(load_calls())] if mutual else []
        self._certificate = certificate
        self.server = grpc.aio.server(
            interceptors=[*peers, Authentication(authenticate)],
            options=[
                *(_REPEATED_PROOF if mutual else ()),
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_metadata_size", MAX_METADATA_BYTES),
                ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),  # between the two chance decides
                ("grpc.max_concurrent_streams", MAX_STREAMS),
                ("grpc.so_reuseport", 0),
                *ALIVE,
                ("grpc.http2.min_ping_interval_without_data_ms", PINGS_MS // 2),
            ],
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)
        self._names: list[str] = []

    async def start(self, address: str, names: Iterable[str], *, reflect: bool) -> int:
        """Listen on `host:port` or `unix:PATH` and return the port (0 for a socket); not ready yet.

        Raises `FreeholdError` NOT_READY where the address is in use, or cannot be had.
        """
        self._names = list(names)
        if reflect:
            reflection.enable_server_reflection(
                [*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME], self.server
            )
        await self.set_ready(False)
        _check_free(address)
        try:
            port = self._listen(address)
        except RuntimeError as error:
            raise FreeholdError(Kind.NOT_READY, f"cannot listen on {address}: is it an address?") from error
        await self.server.start()
        return 0 if address.startswith("unix:") else port

    def _listen(self, address: str) -> int:
        if self._certificate is None:
            return int(self.server.add_insecure_port(address))
        return int(self.server.add_secure_port(address, self._certificate.server_credentials()))

    async def set_ready(self, ready: bool) -> None:
        """Say so to health checks, of the server and each service."""
        status = health_pb2.HealthCheckResponse.ServingStatus
        for name in ["", *self._names]:
            await self._health.set(name, status.SERVING if ready else status.NOT_SERVING)

    async def stop(self, grace: float) -> None:
        """Take no new calls; end running ones after `grace` seconds."""
        await self.server.stop(max(0.0, grace))


def _check_free(address: str) -> None:
    """Raises `FreeholdError`. gRPC takes a socket's path over from whoever listens there, and says of a
    port in use no more than that it failed.
    """
    try:
        _occupy_for_a_moment(address)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FreeholdError(Kind.NOT_READY, f"cannot listen on {address}: {reason}") from error


def _occupy_for_a_moment(address: str) -> None:
    if address.startswith("unix:"):
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(address.removeprefix("unix:")) == 0:
                raise OSError(errno.EADDRINUSE, "Address already in use")
        return
    host, _, port = address.rpartition(":")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host.strip("[]"), int(port)))


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
        except (BusError, DatabaseError) as error:
            log.warning("%s could not be done: %s", call.__qualname__, error)
            await abort(context, FreeholdError(Kind.NOT_READY, "this cannot be done now; ask again"))
        except Exception:
            if context.done():
                raise
            log.exception("%s failed", call.__qualname__)
            await abort(context, FreeholdError(Kind.INTERNAL, "the call failed; the operator's log says why"))

    return answer
