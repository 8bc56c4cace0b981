"""A batch's spans: one a request, one that joins several, recorded once the answers are acknowledged."""

from __future__ import annotations

import random

import pytest

from shared.clock import Clock
from shared.host import system_host
from shared.telemetry import Recorder, SpanKind, TraceContext, Turn, format_traceparent, parse_traceparent
from shared.telemetry.trace import SpanRow
from shared.telemetry.turns import MOST_LINKS

CLOCK: Clock = system_host().clock


@pytest.fixture
def rows() -> list[SpanRow]:
    return []


@pytest.fixture
def recorder(rows: list[SpanRow]) -> Recorder:
    return Recorder("billing", random.Random(5), 1.0, [rows.append])


def a_turn(recorder: Recorder, *, publishes: bool = True) -> Turn:
    return Turn(recorder, CLOCK, "kafka", "reserves", "reserve", publishes=publishes)


def note(turn: Turn, parent: TraceContext, request: str = "r") -> bytes:
    return turn.note(format_traceparent(parent), (("freehold.outcome", "RESERVED"),), request)


def test_a_lone_request_has_one_span_and_no_batch(recorder: Recorder, rows: list[SpanRow]) -> None:
    parent = recorder.root()
    with a_turn(recorder) as turn:
        turn.stored(CLOCK.time_ns() - 5_000_000)
        sent = note(turn, parent)
        assert rows == []
    (row,) = rows
    assert (row.name, row.kind, row.request) == ("billing reserve", SpanKind.CONSUMER, "r")
    assert (row.context.trace_id, row.parent, row.links) == (parent.trace_id, parent.span_id, ())
    assert parse_traceparent(sent) == row.context
    attributes = dict(row.attributes)
    assert (attributes["messaging.system"], attributes["messaging.destination.name"]) == ("kafka", "reserves")
    assert attributes["freehold.database.duration"] >= 0.005
    assert attributes["freehold.publish.duration"] >= 0
    assert len(row.attributes) <= 8


def test_a_batch_of_several_is_linked_both_ways(recorder: Recorder, rows: list[SpanRow]) -> None:
    with a_turn(recorder) as turn:
        for number in range(MOST_LINKS + 8):
            note(turn, recorder.root(), f"r{number}")
    batch, *spans = rows
    assert (batch.name, batch.parent) == ("billing reserve batch", b"")
    assert batch.links == tuple(span.context for span in spans[:MOST_LINKS])
    assert dict(batch.attributes)["messaging.batch.message_count"] == MOST_LINKS + 8 == len(spans)
    assert all(span.links == (batch.context,) for span in spans)
    assert batch.context.trace_id not in {span.context.trace_id for span in spans}


def test_what_is_not_sampled_or_not_traced_is_handed_on_as_it_came(
    recorder: Recorder, rows: list[SpanRow]
) -> None:
    unsampled = recorder.root(sampled=False)
    with a_turn(recorder) as turn:
        assert note(turn, unsampled) == format_traceparent(unsampled)
        assert turn.note(b"", (), "r") == b""
        assert turn.note(b"nonsense", (), "r") == b"nonsense"
    assert rows == []


def test_a_batch_that_fails_is_told_because_what_it_published_names_its_spans(
    recorder: Recorder, rows: list[SpanRow]
) -> None:
    def fail() -> None:
        with a_turn(recorder, publishes=False) as turn:
            note(turn, recorder.root())
            note(turn, recorder.root())
            raise OSError("a text that is nobody's business")

    with pytest.raises(OSError, match="nobody"):
        fail()
    assert [row.error for row in rows] == ["OSError"] * 3
    assert all("freehold.publish.duration" not in dict(row.attributes) for row in rows)
