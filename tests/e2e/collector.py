"""A real OTLP gRPC receiver that keeps every span."""

from __future__ import annotations

from concurrent import futures
from typing import Any, NamedTuple

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collected(NamedTuple):
    """One span and the service that it says it is of."""

    service: str
    span: Span


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Listens on a free port until `stop`."""

    def __init__(self) -> None:
        self.spans: list[Collected] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(1))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Export(self, request: pb.ExportTraceServiceRequest, context: Any) -> pb.ExportTraceServiceResponse:
        """Keep what comes."""
        del context
        for resource in request.resource_spans:
            (service,) = (
                item.value.string_value for item in resource.resource.attributes if item.key == "service.name"
            )
            for scope in resource.scope_spans:
                self.spans += [Collected(service, span) for span in scope.spans]
        return pb.ExportTraceServiceResponse()

    def services_of(self, trace: bytes) -> set[str]:
        """Services that a trace has spans of."""
        return {service for service, span in self.spans if span.trace_id == trace}

    def stop(self) -> None:
        """Stop listening."""
        self._server.stop(1).wait()
