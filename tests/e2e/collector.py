"""A real OTLP gRPC receiver that keeps every span."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent import futures
from typing import Any, NamedTuple

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collected(NamedTuple):
    """One span and whose it says it is."""

    service: str
    span: Span
    resource: Mapping[str, str]


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
        for holder in request.resource_spans:
            resource = texts(holder.resource.attributes)
            for scope in holder.scope_spans:
                self.spans += [Collected(resource["service.name"], span, resource) for span in scope.spans]
        return pb.ExportTraceServiceResponse()

    def stop(self) -> None:
        """Stop listening."""
        self._server.stop(1).wait()


def texts(attributes: Iterable[KeyValue]) -> dict[str, str]:
    """Those whose value is a text."""
    return {item.key: item.value.string_value for item in attributes if item.value.HasField("string_value")}
