"""Trace contexts on the wire and spans as they are recorded."""

import random
import timeit

import pytest

from shared.telemetry.store import SpanStore
from shared.telemetry.trace import Recorder, SpanRow, TraceContext, format_traceparent, parse_traceparent

VALID = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def recorder(ratio: float = 1.0, rows: list[SpanRow] | None = None) -> Recorder:
    sink = rows.append if rows is not None else lambda row: None
    return Recorder("edge", random.Random(7), ratio, [sink])


def test_a_traceparent_survives_the_round_trip() -> None:
    context = parse_traceparent(VALID)
    assert context == TraceContext(
        bytes.fromhex("0af7651916cd43dd8448eb211c80319c"), bytes.fromhex("b7ad6b7169203331"), True
    )
    assert format_traceparent(context) == VALID.encode()
    assert parse_traceparent(VALID.encode()) == context


def test_only_the_sampled_bit_of_the_flags_is_read() -> None:
    assert [parse_traceparent(VALID[:-2] + flags).sampled for flags in ("00", "01", "02", "03")] == [  # type: ignore[union-attr]
        False,
        True,
        False,
        True,
    ]


def test_a_later_version_may_carry_more_fields() -> None:
    assert parse_traceparent("cc" + VALID[2:] + "-what-comes-later") == parse_traceparent(VALID)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        b"",
        VALID.upper(),
        VALID + "-extra",
        VALID + "\n",
        " " + VALID,
        "ff" + VALID[2:],
        "0" + VALID,
        VALID.replace("-", "_"),
        "00-" + "0" * 32 + VALID[35:],
        VALID[:36] + "0" * 16 + "-01",
        VALID[:-1],
        VALID[:-2] + "0x",
        "cc" + VALID[2:] + "-" + "x" * 300,
        "cc" + VALID[2:] + "-\x00",
        VALID.encode()[:-1] + b"\xff",
        VALID.replace("0af7", "０af7"),
    ],
)
def test_a_traceparent_that_breaks_the_standard_is_none(value: str | bytes | None) -> None:
    assert parse_traceparent(value) is None


def test_the_ratio_decides_where_a_trace_begins_and_only_there() -> None:
    made = recorder(0.25)
    sampled = sum(made.root().sampled for _ in range(4000))
    assert 850 < sampled < 1150
    assert not any(recorder(0.0).root().sampled for _ in range(100))
    assert all(recorder(1.0).root().sampled for _ in range(100))
    assert recorder(0.0).root(sampled=True).sampled
    assert not recorder(1.0).root(sampled=False).sampled


def test_a_child_stays_in_its_trace() -> None:
    made = recorder()
    root = made.root()
    child = made.child(root)
    assert child.trace_id == root.trace_id
    assert child.span_id != root.span_id
    assert child.sampled


def test_a_span_is_recorded_whole() -> None:
    rows: list[SpanRow] = []
    made = recorder(rows=rows)
    root = made.root()
    child = made.child(root)
    made.record("encode", child, root, 10, 30, 5, (("n", 3),), (root,), "late", "r-1")
    assert rows == [
        SpanRow("edge", "encode", child, root.span_id, 10, 30, 5, (("n", 3),), (root,), "late", "r-1")
    ]


def test_an_unsampled_span_is_never_recorded() -> None:
    rows: list[SpanRow] = []
    made = recorder(rows=rows)
    root = made.root(sampled=False)
    made.record("encode", made.child(root), root, 10, 30, request="r-1")
    assert rows == []


def test_recording_is_cheap() -> None:
    """0.5 us on a quiet machine; the bound allows a busy one."""
    made = Recorder("edge", random.Random(1), 1.0, [SpanStore(1000).add])
    root = made.root()
    best = min(timeit.repeat(lambda: made.record("x", root, None, 1, 2), number=2000, repeat=5)) / 2000
    assert best < 10e-6


def test_the_store_finds_every_span_of_a_requests_trace() -> None:
    store = SpanStore(100)
    made = Recorder("edge", random.Random(1), 1.0, [store.add])
    root, other = made.root(), made.root()
    made.record("second", made.child(root), root, 20, 30)
    made.record("first", root, None, 10, 40, request="r-1")
    made.record("stranger", other, None, 10, 40, request="r-2")
    assert [row.name for row in store.spans_of("r-1")] == ["first", "second"]
    assert [row.name for row in store.spans_of_trace(other.trace_id)] == ["stranger"]
    assert store.spans_of("unknown") == []
    assert store.spans_of("") == []


def test_the_store_forgets_the_oldest() -> None:
    store = SpanStore(10)
    made = Recorder("edge", random.Random(1), 1.0, [store.add])
    for number in range(25):
        made.record("x", made.root(), None, number, number, request=f"r-{number}")
    assert len(store) == 10
    assert store.spans_of("r-14") == []
    assert len(store.spans_of("r-15")) == 1
