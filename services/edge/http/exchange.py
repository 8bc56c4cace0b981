"""One HTTP request and its answer, as the front sees them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from services.edge.http.errors import Headers, error_headers, error_value
from shared.errors import FreeholdError, Kind
from shared.ids import Ids
from shared.statuses import HTTP
from shared.telemetry.trace import TraceContext

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

FAILED = FreeholdError(Kind.INTERNAL, "the request failed; the operator's log says why")


class Exchange:
    """Writes an answer's start and errors, and remembers what the span and the metrics tell."""

    __slots__ = ("_ids", "_request", "_send", "ended", "error", "model", "route", "status", "trace")

    def __init__(self, send: Send, ids: Ids, trace: TraceContext | None) -> None:
        self._send = send
        self._ids = ids
        self._request = ""
        self.trace = trace
        self.route = ""
        self.model = ""
        self.status = 0
        """Of the answer; 0 = its status line has not gone out."""
        self.ended = False
        """Whether the answer is written whole."""
        self.error: str | None = None
        """Code of an error that was answered."""

    @property
    def request(self) -> str:
        """The request's id: its owner's, or one made for an answer without an owner."""
        if not self._request:
            self._request = self._ids.request()
        return self._request

    @request.setter
    def request(self, identifier: str) -> None:
        self._request = identifier

    async def start(self, status: int, headers: Headers) -> None:
        """Write the status line and headers."""
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, body: bytes, *, more: bool = False) -> None:
        """Write a part of the body; waits while the client does not read."""
        self.ended = not more
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Write all of it."""
        await self.start(status, headers)
        await self.write(body)

    async def fail(
        self,
        error: FreeholdError,
        evidence: dict[str, Any] | None = None,
        *,
        status: int = 0,
        headers: Headers | None = None,
    ) -> None:
        """Write an error's whole answer; `status` where the table's does not say it."""
        self.error = error.code
        body = orjson.dumps(error_value(error, self.request, evidence))
        await self.whole(
            status or HTTP[error.kind].status,
            error_headers(error, self.request, body) + (headers or []),
            body,
        )
