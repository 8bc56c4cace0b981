"""What an operator asks any process: which services it runs, and the hops of a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import grpc

from shared.contracts.freehold.platform.v1 import pulse_pb2 as pb
from shared.contracts.freehold.platform.v1 import pulse_pb2_grpc
from shared.errors import FreeholdError, Kind
from shared.lifecycle import Service
from shared.platform import Platform
from shared.rpc.auth import caller
from shared.rpc.server import translated
from shared.telemetry.trace import SpanRow

VERSION = "0.1.0"
Context: TypeAlias = grpc.aio.ServicerContext


class PlatformServicer(pulse_pb2_grpc.PlatformServicer):
    """`freehold.platform.v1.Platform`."""

    def __init__(self, platform: Platform, services: Sequence[Service]) -> None:
        self._platform = platform
        self._services = services
        self._started = platform.host.clock.monotonic()

    @translated
    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:  # noqa: N802
        """Each service and whether it is ready."""
        del request, context
        caller().require("operator")
        states = [(service.name, service.readiness()) for service in self._services]
        return pb.GetStatusResponse(
            incarnation=self._platform.host.incarnation,
            version=VERSION,
            services=[
                pb.ServiceStatus(service=name, ready=state.ready, reason=state.reason)
                for name, state in states
            ],
            config_offset=self._platform.configuration.offset,
            uptime_s=self._platform.host.clock.monotonic() - self._started,
        )

    @translated
    async def GetTrace(self, request: pb.GetTraceRequest, context: Context) -> pb.GetTraceResponse:  # noqa: N802
        """The spans that this process still keeps of one request."""
        del context
        caller().require("operator")
        rows = self._platform.telemetry.store.spans_of(request.request)
        if not rows:
            raise FreeholdError(Kind.NOT_FOUND, "no spans are kept of this request")
        return pb.GetTraceResponse(trace_id=rows[0].context.trace_id, spans=[_span(row) for row in rows])


def _span(row: SpanRow) -> pb.Span:
    return pb.Span(
        service=row.service,
        name=row.name,
        span_id=row.context.span_id,
        parent_span_id=row.parent,
        start_ns=row.start_ns,
        end_ns=row.end_ns,
        attributes={
            name: ", ".join(value) if isinstance(value, tuple) else str(value)
            for name, value in row.attributes
        },
        error=row.error or "",
    )


def register(server: Any, servicer: PlatformServicer) -> list[str]:
    """Add the servicer to a server; its full name."""
    pulse_pb2_grpc.add_PlatformServicer_to_server(servicer, server)
    return [pb.DESCRIPTOR.services_by_name["Platform"].full_name]
