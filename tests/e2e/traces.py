"""What a receiver was sent, read as traces; and what must hold for each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.e2e.collector import Collected, Collector, texts

MOST_ATTRIBUTES = 8
MOST_LINKS = 32
REFUSED = {
    "edge.request",
    "moderation screen",
    "tokenizer encode",
    "billing reserve",
    "billing settle",
    "audit append",
}
"""Spans of a request that was refused before it was generated, beside the server's."""
SERVED = REFUSED | {"inference generate", "moderation vet"}
CAUSES = (
    ("edge.request", "moderation screen"),
    ("edge.request", "tokenizer encode"),
    ("edge.request", "billing reserve"),
    ("moderation screen", "inference generate"),
    ("tokenizer encode", "inference generate"),
    ("billing reserve", "inference generate"),
    ("inference generate", "moderation vet"),
    ("inference generate", "billing settle"),
    ("billing settle", "audit append"),
)
"""What begins before what, whoever's parent it is."""
PUBLISHING = SERVED - {"audit append"}
STORING = {"billing reserve", "billing settle", "audit append"}


class Trace:
    """All spans of one trace that had come."""

    def __init__(self, collected: list[Collected]) -> None:
        self.collected = collected
        self.spans = [one.span for one in collected]
        self.names = sorted(span.name for span in self.spans)
        self.roots = [span for span in self.spans if span.kind == Span.SPAN_KIND_SERVER]

    @property
    def root(self) -> Span:
        """The server's span; asserts that there is one."""
        assert len(self.roots) == 1, self.names
        return self.roots[0]

    @property
    def request(self) -> str:
        """The id that the server's span names; empty without such a span."""
        return texts(self.roots[0].attributes).get("freehold.request.id", "") if self.roots else ""

    @property
    def orphans(self) -> list[str]:
        """Names of spans whose parent was not sent; a server's own parent is its client's."""
        known = {span.span_id for span in self.spans}
        return [
            span.name
            for span in self.spans
            if span.parent_span_id and span.parent_span_id not in known and span.kind != Span.SPAN_KIND_SERVER
        ]

    def check(self, expected: Collection[str]) -> None:
        """Each expected span once, one root, no orphan, in the order of causes, attributes as promised."""
        assert self.names == sorted([*expected, self.root.name])
        assert self.orphans == []
        by_id = {span.span_id: span for span in self.spans}
        by_name = {span.name: span for span in self.spans}
        assert len(by_id) == len(self.spans)
        for span in self.spans:
            assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
            if span is not self.root:
                parent = by_id[span.parent_span_id]
                assert parent.start_time_unix_nano <= span.start_time_unix_nano, span.name
        for cause, effect in CAUSES:
            if {cause, effect} <= by_name.keys():
                began = by_name[cause].start_time_unix_nano
                assert began <= by_name[effect].start_time_unix_nano, (cause, effect)
        for span in self.spans:
            _check_attributes(span)


def _check_attributes(span: Span) -> None:
    keys = [item.key for item in span.attributes]
    assert len(keys) == len(set(keys)) <= MOST_ATTRIBUTES, (span.name, keys)
    assert ("freehold.publish.duration" in keys) == (span.name in PUBLISHING), span.name
    assert ("freehold.database.duration" in keys) == (span.name in STORING), span.name
    assert all(item.value.double_value >= 0 for item in span.attributes if item.key.endswith(".duration"))
    if span.kind == Span.SPAN_KIND_CONSUMER and span.name != "inference generate":
        assert {"messaging.system", "messaging.destination.name", "messaging.operation.type"} <= set(keys)


def traces(collector: Collector) -> list[Trace]:
    """All that had come."""
    found: dict[bytes, list[Collected]] = defaultdict(list)
    for one in list(collector.spans):
        found[one.span.trace_id].append(one)
    return [Trace(collected) for collected in found.values()]


def traces_of(collector: Collector, request: str) -> list[Trace]:
    """Those whose server's span names the request."""
    return [trace for trace in traces(collector) if trace.request == request]


def check_links(collector: Collector) -> int:
    """Every link leads to a span that was sent, and a batch's back to it; how many batches there are."""
    spans = {(one.span.trace_id, one.span.span_id): one.span for one in list(collector.spans)}
    batches = 0
    for (trace, span_id), span in spans.items():
        assert len(span.links) <= MOST_LINKS
        joins = span.name.endswith(" batch")
        batches += joins
        assert not joins or len(span.links) > 1
        for link in span.links:
            linked = spans[link.trace_id, link.span_id]
            assert link.trace_id != trace
            if joins:
                assert [(back.trace_id, back.span_id) for back in linked.links] == [(trace, span_id)]
    return batches
