"""One trace a request, metrics and logs without prompts; the only package that knows OpenTelemetry."""

from shared.telemetry.settings import TelemetrySettings
from shared.telemetry.telemetry import Telemetry
from shared.telemetry.trace import Recorder, SpanKind, TraceContext, format_traceparent, parse_traceparent
from shared.telemetry.turns import Turn

__all__ = [
    "Recorder",
    "SpanKind",
    "Telemetry",
    "TelemetrySettings",
    "TraceContext",
    "Turn",
    "format_traceparent",
    "parse_traceparent",
]
