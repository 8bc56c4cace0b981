"""What the containers' check calls a whole trace, on answers as Jaeger's API gives them."""

from __future__ import annotations

from typing import Any

from ops.docker.verify.tracing import faults

SERVICES = frozenset({"edge", "billing"})


def span(number: str, name: str, process: str, start: int, parent: str = "", kind: str = "CHILD_OF") -> Any:
    references = [{"refType": kind, "traceID": "t", "spanID": parent}] if parent else []
    return {
        "traceID": "t",
        "spanID": number,
        "operationName": name,
        "references": references,
        "startTime": start,
        "duration": 5,
        "processID": process,
    }


def trace(*spans: Any) -> Any:
    names = {"p1": "edge", "p2": "billing"}
    return {
        "traceID": "t",
        "spans": list(spans),
        "processes": {key: {"serviceName": name} for key, name in names.items()},
    }


ROOT = span("1", "POST", "p1", 100)
SETTLE = span("2", "billing settle", "p2", 110, "1")


def test_a_whole_trace_has_no_fault() -> None:
    assert faults([trace(ROOT, SETTLE)], SERVICES) == []


def test_a_link_is_no_parent() -> None:
    linked = span("2", "billing settle", "p2", 110, "1")
    linked["references"].insert(0, {"refType": "FOLLOWS_FROM", "traceID": "batch", "spanID": "9"})
    assert faults([trace(ROOT, linked)], SERVICES) == []


def test_each_fault_is_told() -> None:
    assert faults([], SERVICES) == ["0 traces"]
    assert faults([trace(ROOT)] * 2, SERVICES) == ["2 traces"]
    assert faults([trace(ROOT)], SERVICES) == ["no span of billing"]
    orphan = span("2", "billing settle", "p2", 110, "7")
    assert faults([trace(ROOT, orphan)], SERVICES) == ["billing settle is an orphan"]
    early = span("2", "billing settle", "p2", 90, "1")
    assert faults([trace(ROOT, early)], SERVICES) == ["billing settle began before its parent"]
    second = span("2", "billing settle", "p2", 110)
    assert faults([trace(ROOT, second)], SERVICES) == ["2 roots: ['POST', 'billing settle']"]
