"""How a client reaches the edges, and what became of each of its tries, seen from its side of the wire."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import count

import httpx2

KEY = "idempotency-key"
RETRY = "x-stainless-retry-count"
"""How the `openai` client numbers its tries of one request."""


@dataclass(slots=True)
class Try:
    """One HTTP request that an edge's machine accepted the connection of."""

    key: str
    """The client's own name for it, sent as its `Idempotency-Key`: what the books are joined by."""
    edge: str
    began: float
    status: int = 0
    """0 = no status line came."""
    request: str = ""
    """What the platform calls it."""
    whole: bool = False
    """The body came to its end. A stream may still have ended with an error."""
    ended: float = 0.0


class Edges(httpx2.AsyncBaseTransport):
    """Takes the edges in turn, and the next where a connection is refused. Names each try."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = [httpx2.URL(url) for url in urls]
        self._turn = count()
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=64)
        self._wire = httpx2.AsyncHTTPTransport(limits=limits)
        self._tries: dict[str, list[Try]] = {}

    @property
    def tries(self) -> list[Try]:
        """Of all requests that a status line came for, or that broke off."""
        return [one for tries in list(self._tries.values()) for one in list(tries)]

    def of(self, key: str) -> list[Try]:
        """Of one request, the first one first."""
        return self._tries.get(key, [])

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send it to the first edge of its turn that listens."""
        first = next(self._turn)
        key = f"{request.headers[KEY]}.{request.headers.get(RETRY, '0')}"
        request.headers[KEY] = key
        refused: httpx2.ConnectError | None = None
        for place in range(len(self._urls)):
            edge = self._urls[(first + place) % len(self._urls)]
            request.url = request.url.copy_with(host=edge.host, port=edge.port)
            request.headers["host"] = f"{edge.host}:{edge.port}"
            made = Try(key, str(edge), time.monotonic())
            try:
                response = await self._sent(request, made)
            except httpx2.ConnectError as error:
                refused = error
                continue
            return response
        raise refused or httpx2.ConnectError("there are no edges")

    async def _sent(self, request: httpx2.Request, made: Try) -> httpx2.Response:
        try:
            response = await self._wire.handle_async_request(request)
        except httpx2.ConnectError:
            raise
        except BaseException:
            made.ended = time.monotonic()
            self._keep(made)
            raise
        self._keep(made)
        made.status = response.status_code
        made.request = response.headers.get("x-request-id", "")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Watched(response.stream, made)
        return response

    def _keep(self, made: Try) -> None:
        self._tries.setdefault(made.key.rpartition(".")[0], []).append(made)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._wire.aclose()


class _Watched(httpx2.AsyncByteStream):
    """A body that notes whether it was read to its end."""

    def __init__(self, body: httpx2.AsyncByteStream, made: Try) -> None:
        self._body = body
        self._try = made

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            yield part
        self._try.whole = True

    async def aclose(self) -> None:
        self._try.ended = time.monotonic()
        await self._body.aclose()
