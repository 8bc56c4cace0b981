"""The outermost ASGI application: a span, a count and a last resort for every request.

Pure ASGI: a middleware between would hide the client's leaving.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from services.edge.http.body import ClientGone
from services.edge.http.chat import PATH, ChatCompletions
from services.edge.http.exchange import FAILED, Exchange, Receive, Send
from shared.clock import Clock
from shared.errors import FreeholdError, Kind
from shared.ids import Ids
from shared.telemetry import semconv
from shared.telemetry.metrics import Metrics
from shared.telemetry.trace import Recorder, SpanKind, TraceContext, parse_traceparent

log = logging.getLogger(__name__)

App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
_UNTRACED = frozenset({"/livez", "/readyz", "/metrics"})
_NO_METHOD = FreeholdError(Kind.BAD_REQUEST, "this path takes POST", code="method_not_allowed")
CLIENT_GONE = 499
"""Status in spans and counts where the client left before its answer."""


class Front:
    """Sends the hot route straight to its handler and everything else to FastAPI."""

    def __init__(
        self,
        chat: ChatCompletions,
        api: App,
        recorder: Recorder,
        metrics: Metrics,
        clock: Clock,
        ids: Ids,
        *,
        trust_traceparent: bool,
    ) -> None:
        self._chat = chat
        self._api = api
        self._recorder = recorder
        self._clock = clock
        self._ids = ids
        self._trust = trust_traceparent
        self._requests = metrics.counter("http_requests", "Requests answered over HTTP", ("route", "status"))
        self._seconds = metrics.seconds(
            "http_request_seconds", "From a request's head to its answer's end", ("route",)
        )
        self._bound: dict[tuple[str, int], tuple[Callable[[], None], Callable[[float], None]]] = {}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request; no exception leaves here, nor does its text go to the client."""
        path = scope["path"]
        trace, parent = (None, None) if path in _UNTRACED else self._trace(scope)
        exchange = Exchange(send, self._ids, trace)
        begun, begun_ns = self._clock.monotonic(), self._clock.time_ns()
        try:
            if path == PATH:
                exchange.route = PATH
                if scope["method"] == "POST":
                    await self._chat.answer(exchange, scope, receive)
                else:
                    await exchange.fail(_NO_METHOD, status=405, headers=[(b"allow", b"POST")])
            else:
                await self._delegate(exchange, scope, receive, send)
        except FreeholdError as error:
            await exchange.fail(error)
        except ClientGone:
            exchange.status = CLIENT_GONE
        except Exception:
            log.exception("a request failed", extra={"request": exchange.request, "trace": trace})
            if not exchange.status:
                await exchange.fail(FAILED)
            elif not exchange.ended:
                raise  # the answer has begun: all that is left is to cut the connection
        finally:
            self._count(exchange, self._clock.monotonic() - begun)
            if trace is not None:
                self._record(exchange, scope, trace, parent, begun_ns)

    async def _delegate(
        self, exchange: Exchange, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        async def named(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                given = [header for header in message["headers"] if header[0] != b"x-request-id"]
                message = {**message, "headers": [*given, (b"x-request-id", exchange.request.encode())]}
            else:
                exchange.ended = not message.get("more_body")
            await send(message)

        scope["freehold.exchange"] = exchange
        try:
            await self._api(scope, receive, named)
        finally:
            route = scope.get("route")
            exchange.route = route.path if route is not None else "unmatched"

    def _trace(self, scope: Mapping[str, Any]) -> tuple[TraceContext, TraceContext | None]:
        parent = None
        if self._trust:
            given = [value for name, value in scope["headers"] if name == b"traceparent"]
            parent = parse_traceparent(given[0]) if given else None
        return (self._recorder.child(parent) if parent else self._recorder.root()), parent

    def _count(self, exchange: Exchange, seconds: float) -> None:
        key = (exchange.route, exchange.status)
        bound = self._bound.get(key)
        if bound is None:
            self._requests.labels(exchange.route, "500")  # so that its first is an increase from 0
            requests = self._requests.labels(exchange.route, str(exchange.status))
            bound = self._bound[key] = (requests.inc, self._seconds.labels(exchange.route).observe)
        bound[0]()
        bound[1](seconds)

    def _record(
        self,
        exchange: Exchange,
        scope: Mapping[str, Any],
        trace: TraceContext,
        parent: TraceContext | None,
        begun_ns: int,
    ) -> None:
        attributes: list[tuple[str, str | int]] = [
            (semconv.HTTP_REQUEST_METHOD, scope["method"]),
            (semconv.HTTP_ROUTE, exchange.route),
            (semconv.HTTP_RESPONSE_STATUS_CODE, exchange.status),
        ]
        if exchange.model:
            attributes.append((semconv.GEN_AI_REQUEST_MODEL, exchange.model))
        if exchange.error:
            attributes.append((semconv.ERROR_TYPE, exchange.error))
        self._recorder.record(
            f"{scope['method']} {exchange.route}",
            trace,
            parent,
            begun_ns,
            self._clock.time_ns(),
            SpanKind.SERVER,
            tuple(attributes),
            error=exchange.error if exchange.status >= 500 else None,
            request=exchange.request,
        )
