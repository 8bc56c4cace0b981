"""Spans to an OTLP gRPC receiver, behind the work and never in its way."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from enum import Enum

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from shared.host import Host
from shared.lifecycle import Tasks
from shared.telemetry import semconv
from shared.telemetry.instruments import Counter, Family
from shared.telemetry.otlp import encode_spans
from shared.telemetry.settings import TelemetrySettings
from shared.telemetry.trace import SpanRow

log = logging.getLogger(__name__)

INTERVAL = 0.5
"""Seconds between two looks at the queue."""
BATCH = 256
"""Spans an export: about 2 ms of encoding, less than the interpreter's switch interval."""
PATIENCE = 60.0
"""Seconds after which a batch that the collector did not take is dropped for younger ones."""
FLUSH = 2.0
"""Seconds that a stop waits at most for a collector that answered last time."""
_TRANSIENT = frozenset(
    (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
    )
)


class _Outcome(Enum):
    SENT = "sent"
    AGAIN = "again"
    REFUSED = "refused"


class Exporter:
    """A bounded queue, one task and one thread. What is above the bound is dropped and counted."""

    def __init__(
        self, host: Host, settings: TelemetrySettings, spans: Family[Counter], instance: str = ""
    ) -> None:
        """`spans` is counted by outcome: `sent` or `dropped`; `instance` names the replica."""
        self._clock = host.clock
        self._settings = settings
        incarnation = f"{host.incarnation:016x}"
        self._resource = {
            semconv.SERVICE_INSTANCE_ID: instance or incarnation,
            semconv.SERVICE_VERSION: settings.version,
            semconv.HOST_NAME: settings.host_name,
            semconv.FREEHOLD_INCARNATION: incarnation,
        }
        self._queue: deque[SpanRow] = deque()
        self._limit = settings.otlp_queue
        self._executor = host.executor("telemetry")
        self._tasks = Tasks("telemetry")
        self._turn = asyncio.Lock()
        self._healthy = True
        self._stopping = False
        target, credentials = _target(settings.otlp_endpoint)
        # Straight to the address that the operator set, whatever proxy the environment names.
        options = [("grpc.enable_http_proxy", 0)]
        self._channel = (
            grpc.secure_channel(target, credentials, options)
            if credentials
            else grpc.insecure_channel(target, options)
        )
        self._export = self._channel.unary_unary(
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            request_serializer=ExportTraceServiceRequest.SerializeToString,
            response_deserializer=ExportTraceServiceResponse.FromString,
        )
        self._sent = spans.labels("sent")
        self._dropped = spans.labels("dropped")

    def add(self, row: SpanRow) -> None:
        """Queue one span or drop it. From the event loop's thread."""
        if len(self._queue) < self._limit:
            self._queue.append(row)
        else:
            self._dropped.inc()

    def start(self) -> None:
        """Begin to send. Returns at once."""
        self._tasks.spawn(self._run(), "export")

    async def stop(self, deadline: float) -> None:
        """Send the rest, not longer than `deadline` and `FLUSH`; then drop it and let go."""
        self._stopping = True
        if self._healthy:
            flush = self._tasks.spawn(self._drain(), "flush")
            await asyncio.wait({flush}, timeout=min(deadline - self._clock.monotonic(), FLUSH))
        await self._tasks.cancel()
        self._dropped.inc(len(self._queue))
        self._queue.clear()
        # Cancels a call that hangs, so that the thread comes back at once.
        self._channel.close()
        self._executor.close()

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(INTERVAL)
            await self._drain()

    async def _drain(self) -> None:
        async with self._turn:
            while self._queue and not (self._stopping and not self._healthy):
                rows = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
                try:
                    outcome = await self._deliver(rows)
                except asyncio.CancelledError:
                    self._dropped.inc(len(rows))
                    raise
                (self._sent if outcome is _Outcome.SENT else self._dropped).inc(len(rows))

    async def _deliver(self, rows: list[SpanRow]) -> _Outcome:
        """Send one batch; where the collector is away, try again with growing pauses."""
        pause = 1.0
        give_up = self._clock.monotonic() + PATIENCE
        while (outcome := await self._executor.run(self._send, rows)) is _Outcome.AGAIN:
            self._note(healthy=False)
            if self._stopping or self._clock.monotonic() + pause > give_up:
                break
            await self._clock.sleep(pause)
            pause = min(2 * pause, 30.0)
        else:
            self._note(healthy=True)
        return outcome

    def _note(self, *, healthy: bool) -> None:
        if healthy != self._healthy:
            log.log(
                logging.INFO if healthy else logging.WARNING,
                "collector %s %s",
                self._settings.otlp_endpoint,
                "answers again" if healthy else "does not take spans",
            )
        self._healthy = healthy

    def _send(self, rows: list[SpanRow]) -> _Outcome:
        """Runs on the executor's thread."""
        try:
            self._export(encode_spans(rows, self._resource), timeout=self._settings.otlp_timeout)
        except grpc.RpcError as error:
            if error.code() in _TRANSIENT:
                return _Outcome.AGAIN
            log.warning("collector refused %d spans: %s", len(rows), error.code())
            return _Outcome.REFUSED
        return _Outcome.SENT


def _target(endpoint: str) -> tuple[str, grpc.ChannelCredentials | None]:
    """The gRPC target of an endpoint, and credentials where it asks for TLS."""
    if endpoint.startswith("https://"):
        return endpoint.removeprefix("https://").rstrip("/"), grpc.ssl_channel_credentials()
    return endpoint.removeprefix("http://").rstrip("/"), None
