"""Spans over a real OTLP gRPC connection: a live receiver, a dead one, a mute one, and none."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from shared.host import system_host
from shared.telemetry import Telemetry, TelemetrySettings

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class Receiver:
    """A collector: an OTLP TraceService on a free port of this machine."""

    def __init__(self, failures: int = 0) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self._failures = failures
        self.server = grpc.server(ThreadPoolExecutor(2))
        handler = grpc.unary_unary_rpc_method_handler(
            self._export,
            request_deserializer=ExportTraceServiceRequest.FromString,
            response_serializer=ExportTraceServiceResponse.SerializeToString,
        )
        service, method = METHOD.strip("/").split("/")
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: handler}),)
        )
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def _export(
        self, request: ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> ExportTraceServiceResponse:
        if self._failures:
            self._failures -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        self.requests.append(request)
        return ExportTraceServiceResponse()

    def spans(self) -> list[str]:
        return [
            f"{holder.resource.attributes[0].value.string_value}:{span.name}"
            for request in self.requests
            for holder in request.resource_spans
            for scope in holder.scope_spans
            for span in scope.spans
        ]


@asynccontextmanager
async def running(endpoint: str, **settings: object) -> AsyncIterator[Telemetry]:
    telemetry = Telemetry(system_host(), TelemetrySettings(otlp_endpoint=endpoint, **settings))  # type: ignore[arg-type]
    await telemetry.start()
    yield telemetry
    await telemetry.stop(asyncio.get_running_loop().time() + 10)


def record(telemetry: Telemetry, count: int, service: str = "edge") -> None:
    recorder = telemetry.recorder(service)
    for number in range(count):
        recorder.record(f"s{number}", recorder.root(), None, 1, 2)


def outcome(telemetry: Telemetry, name: str) -> float:
    return telemetry.registry.get_sample_value("freehold_telemetry_spans_total", {"outcome": name}) or 0.0


async def test_every_span_reaches_a_live_receiver_once() -> None:
    receiver = Receiver()
    async with running(f"http://127.0.0.1:{receiver.port}") as telemetry:
        record(telemetry, 600)
        record(telemetry, 10, "billing")
    assert sorted(receiver.spans()) == sorted(
        [f"edge:s{n}" for n in range(600)] + [f"billing:s{n}" for n in range(10)]
    )
    assert len(receiver.requests) == 3
    assert (outcome(telemetry, "sent"), outcome(telemetry, "dropped")) == (610, 0)
    receiver.server.stop(None)


async def test_a_receiver_that_is_away_for_a_moment_misses_nothing() -> None:
    receiver = Receiver(failures=1)
    async with running(f"127.0.0.1:{receiver.port}") as telemetry:
        record(telemetry, 5)
        async with asyncio.timeout(20):
            # Until the exporter has its answer: a stop between request and answer counts them as dropped.
            while outcome(telemetry, "sent") < 5:  # noqa: ASYNC110  # the exporter runs on a thread
                await asyncio.sleep(0.05)
    assert len(receiver.spans()) == 5
    assert outcome(telemetry, "dropped") == 0
    receiver.server.stop(None)


async def test_a_dead_receiver_delays_no_stop_and_its_spans_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        loop = asyncio.get_running_loop()
        with caplog.at_level(logging.WARNING, "shared.telemetry"):
            async with running(f"127.0.0.1:{taken.getsockname()[1]}") as telemetry:
                record(telemetry, 1000)
                begun = loop.time()
            assert loop.time() - begun < 1.5
    assert outcome(telemetry, "dropped") == 1000


async def test_a_mute_receiver_delays_no_stop() -> None:
    """It accepts the connection and never says a word: the call must be cut, not waited for."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        loop = asyncio.get_running_loop()
        async with running(f"127.0.0.1:{mute.getsockname()[1]}") as telemetry:
            record(telemetry, 1000)
            await asyncio.sleep(0)
            begun = loop.time()
        assert loop.time() - begun < 4
    assert outcome(telemetry, "dropped") == 1000


async def test_the_queue_is_bounded() -> None:
    receiver = Receiver()
    async with running(f"127.0.0.1:{receiver.port}", otlp_queue=50) as telemetry:
        record(telemetry, 80)
        assert outcome(telemetry, "dropped") == 30
    assert len(receiver.spans()) == 50
    receiver.server.stop(None)


async def test_nothing_is_sent_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FREEHOLD_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.setenv(name, "")

    def refuse(*args: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(grpc, "insecure_channel", refuse)
    telemetry = Telemetry(system_host(), TelemetrySettings())
    await telemetry.start()
    record(telemetry, 10)
    await telemetry.stop(asyncio.get_running_loop().time() + 10)
    assert len(telemetry.store) == 10
