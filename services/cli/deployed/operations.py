"""What machines ask a process over HTTP: is it alive, is it ready, its metrics. On a port of its own."""

from __future__ import annotations

from collections.abc import Callable

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.lifespan.off import LifespanOff

from shared.lifecycle import Readiness
from shared.listening import listening

PATIENCE_S = 5
"""An idle connection is kept so long."""


class Operations:
    """Listens from `start` to `stop`. `/livez` is 200 while the event loop turns, `/readyz` 200 or 503 with
    the reason, `/metrics` in Prometheus' text format. No credential: the port is not for clients.
    """

    def __init__(self, service: str, registry: CollectorRegistry, readiness: Callable[[], Readiness]) -> None:
        self._service = service
        self._registry = registry
        self._readiness = readiness
        routes = [
            Route("/livez", self._live),
            Route("/readyz", self._ready),
            Route("/metrics", self._metrics),
        ]
        self._config = uvicorn.Config(
            Starlette(routes=routes),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=PATIENCE_S,
        )
        self._server = uvicorn.Server(self._config)
        self.port = 0
        """Where it listens; 0 before the start."""

    async def start(self, host: str, port: int) -> None:
        """Raises `FreeholdError` NOT_READY where the address cannot be had."""
        bound = listening(host, port, "FREEHOLD_OPS_PORT")
        self.port = bound.getsockname()[1]
        self._config.load()
        self._server.lifespan = LifespanOff(self._config)
        await self._server.startup(sockets=[bound])

    async def stop(self) -> None:
        """Close what is open: who asks has only to ask again."""
        for server in getattr(self._server, "servers", ()):
            server.close()
        for connection in list(self._server.server_state.connections):
            connection.shutdown()

    async def _live(self, _: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def _ready(self, _: Request) -> Response:
        found = self._readiness()
        body = {"service": self._service, "ready": found.ready, "reason": found.reason}
        return JSONResponse(body, 200 if found.ready else 503)

    async def _metrics(self, _: Request) -> Response:
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)
