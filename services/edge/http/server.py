"""Uvicorn, run from within: our protocol, our socket, our loop, our deadline for a stop."""

from __future__ import annotations

import functools
import socket
import ssl
from collections.abc import Callable

import uvicorn
from uvicorn.lifespan.off import LifespanOff

from services.edge.http.front import Front
from services.edge.http.protocol import Rules, StrictProtocol
from services.edge.http.watch import Streams
from services.edge.settings import EdgeSettings
from shared.clock import Clock
from shared.errors import FreeholdError, Kind
from shared.lifecycle import Tasks
from shared.listening import listening
from shared.tls import TlsFiles, TlsInvalid, server_context

UNSENT_BYTES = 128 * 1024
"""What the system holds of an answer that its client does not take; it doubles this for its own accounts.
Left to itself it would hold 4 MB, thousands of times over, and a reader's slowness would stay unseen."""
POLL_S = 0.01
"""How often a stop looks whether the last answer has ended."""


class HttpServer:
    """Listens from `start` to `stop`; sweeps its connections and streams meanwhile."""

    def __init__(
        self,
        settings: EdgeSettings,
        front: Front,
        streams: Streams,
        clock: Clock,
        tasks: Tasks,
        refusal: Callable[[FreeholdError], bytes],
        tls: TlsFiles | None,
    ) -> None:
        """`tls`: None = plain text."""
        self._settings = settings
        self._streams = streams
        self._clock = clock
        self._tasks = tasks
        self._tls = tls
        self._config = uvicorn.Config(
            front,
            http=functools.partial(StrictProtocol, rules=Rules(settings, clock, refusal)),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
        self._server = uvicorn.Server(self._config)
        self.port = 0
        """Where it listens; 0 before the start."""

    async def start(self) -> None:
        """Raises `FreeholdError` NOT_READY where the address or the certificate cannot be had."""
        host, port = self._settings.http_host, self._settings.http_port
        bound = listening(host, port, "FREEHOLD_HTTP_PORT")
        # Connections have it from the socket that they come in by.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNSENT_BYTES)
        self.port = bound.getsockname()[1]
        self._config.load()
        if self._tls is not None:
            self._config.ssl = _context(self._tls)
        self._server.lifespan = LifespanOff(self._config)
        await self._server.startup(sockets=[bound])
        self._tasks.spawn(self._server.main_loop(), "http")
        self._tasks.spawn(self._sweep(), "sweep")

    async def stop(self, deadline: float) -> None:
        """Take no new connections, let answers end until `deadline`, then cut them."""
        state = self._server.server_state
        for server in getattr(self._server, "servers", ()):
            server.close()
        for connection in list(state.connections):
            connection.shutdown()
        while (state.connections or state.tasks) and self._clock.monotonic() < deadline:
            await self._clock.sleep(POLL_S)
        for task in list(state.tasks):
            task.cancel()
        for connection in list(state.connections):
            connection.transport.abort()
        self._server.should_exit = True

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep(self._settings.sweep_s)
            now = self._clock.monotonic()
            for connection in list(self._server.server_state.connections):
                if isinstance(connection, StrictProtocol):
                    connection.sweep(now)
            self._streams.sweep()


def _context(files: TlsFiles) -> ssl.SSLContext:
    try:
        context = server_context(files)
    except TlsInvalid as error:
        raise FreeholdError(Kind.NOT_READY, str(error)) from error
    context.set_alpn_protocols(["http/1.1"])
    return context
