"""Our OTLP messages are those of OpenTelemetry's own exporter for the same spans."""

import random
import warnings

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from shared.telemetry.otlp import SCOPE, encode_spans
from shared.telemetry.trace import AttributeValue, Recorder, SpanRow, TraceContext

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as stock_encode

RESOURCE: dict[str, AttributeValue] = {"service.instance.id": "00000000000000ff", "service.version": "0.1.0"}
KINDS = {
    1: SpanKind.INTERNAL,
    2: SpanKind.SERVER,
    3: SpanKind.CLIENT,
    4: SpanKind.PRODUCER,
    5: SpanKind.CONSUMER,
}


def sdk_context(trace_id: bytes, span_id: bytes, *, remote: bool = False) -> SpanContext:
    return SpanContext(
        int.from_bytes(trace_id), int.from_bytes(span_id), is_remote=remote, trace_flags=TraceFlags(1)
    )


def sdk_span(row: SpanRow) -> ReadableSpan:
    trace = row.context.trace_id
    remote = KINDS[row.kind] is not SpanKind.INTERNAL
    named = {"freehold.request.id": row.request} if KINDS[row.kind] is SpanKind.SERVER and row.request else {}
    return ReadableSpan(
        name=row.name,
        context=sdk_context(trace, row.context.span_id),
        parent=sdk_context(trace, row.parent, remote=remote) if row.parent else None,
        resource=Resource({"service.name": row.service, **RESOURCE}),
        attributes={**dict(row.attributes), **named},
        links=[Link(sdk_context(link.trace_id, link.span_id)) for link in row.links],
        kind=KINDS[row.kind],
        status=Status(StatusCode.ERROR, row.error) if row.error is not None else Status(),
        start_time=row.start_ns,
        end_time=row.end_ns,
        instrumentation_scope=InstrumentationScope(SCOPE),
    )


def rows() -> list[SpanRow]:
    found: list[SpanRow] = []
    chance = random.Random(3)
    edge = Recorder("edge", chance, 1.0, [found.append])
    billing = Recorder("billing", chance, 1.0, [found.append])
    root = edge.root()
    start = 1_790_000_000_123_456_789
    for kind in KINDS:
        edge.record(f"hop {kind}", edge.child(root), root, start, start + kind, kind)
    attributes = (
        ("s", "ไทย"),
        ("i", -5),
        ("big", 1 << 40),
        ("f", 0.25),
        ("yes", True),
        ("no", False),
        ("e", ""),
        ("several", ("stop", "length")),
    )
    links: tuple[TraceContext, ...] = (edge.root(), edge.root())
    billing.record(
        "settle", billing.child(root), root, start, start + 9, 5, attributes, links, "database is away"
    )
    edge.record("request", root, None, start, start + 10, 2, (("http.route", "/v1/x"),), (), "", "r-1")
    return found


def test_equal_to_the_stock_encoder() -> None:
    ours = encode_spans(rows(), RESOURCE)
    stock = stock_encode([sdk_span(row) for row in rows()])
    assert ours == stock
    assert len(ours.resource_spans) == 2
    assert ours.SerializeToString(deterministic=True) == stock.SerializeToString(deterministic=True)


def test_one_resource_a_service_however_many_spans() -> None:
    many = rows() * 50
    encoded = encode_spans(many, RESOURCE)
    assert len(encoded.resource_spans) == 2
    assert sum(len(holder.scope_spans[0].spans) for holder in encoded.resource_spans) == len(many)
