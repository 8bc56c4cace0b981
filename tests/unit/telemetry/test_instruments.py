"""Our counters and histograms show a scrape what `prometheus_client`'s own would."""

from __future__ import annotations

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from shared.telemetry.metrics import SECONDS, Bounded, Metrics

Samples = set[tuple[str, tuple[tuple[str, str], ...], float]]


def samples(registry: CollectorRegistry) -> Samples:
    """All but the times of creation, which ours do not have."""
    return {
        (sample.name, tuple(sorted(sample.labels.items())), sample.value)
        for metric in registry.collect()
        for sample in metric.samples
        if not sample.name.endswith("_created")
    }


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([0.0, 0.001, 0.3, 1.0, 120.0, 500.0])))
)
def test_the_same_samples(observed: list[tuple[str, float]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    metrics = Metrics(ours, "x")
    counter = prometheus_client.Counter("freehold_x_seen", "…", ("who",), registry=theirs)
    histogram = prometheus_client.Histogram(
        "freehold_x_wait_seconds", "…", ("who",), registry=theirs, buckets=SECONDS
    )
    gauge = prometheus_client.Gauge("freehold_x_level", "…", registry=theirs)
    pairs = (
        (metrics.counter("seen", "…", ("who",)), metrics.seconds("wait_seconds", "…", ("who",))),
        (counter, histogram),
    )
    level = metrics.gauge("level", "…")
    for who, value in observed:
        for counts, waits in pairs:
            counts.labels(who).inc(2)
            waits.labels(who).observe(value)
        level.inc(value)
        gauge.inc(value)
    assert samples(ours) == samples(theirs)


def test_a_name_is_given_once_and_labels_must_fit() -> None:
    metrics = Metrics(CollectorRegistry(), "x")
    ended = metrics.counter("ended", "…", ("state",))
    with pytest.raises(ValueError, match="Duplicated"):
        metrics.gauge("ended", "…")
    with pytest.raises(ValueError, match="labels"):
        ended.labels("failed", "late")


def test_a_reading_is_asked_for_at_each_scrape() -> None:
    registry = CollectorRegistry()
    metrics, values = Metrics(registry, "x"), {("a",): 1.0}
    metrics.read("one", "One.", lambda: 7)
    metrics.read_total("all", "All.", lambda: 8)
    metrics.read_each("each", "Each.", ("name",), lambda: values)
    assert samples(registry) == {
        ("freehold_x_one", (), 7.0),
        ("freehold_x_all_total", (), 8.0),
        ("freehold_x_each", (("name", "a"),), 1.0),
    }
    values["b",] = 2.0
    del values["a",]
    assert ("freehold_x_each", (("name", "b"),), 2.0) in samples(registry)
    assert len(samples(registry)) == 3


def test_a_reading_that_fails_spoils_no_scrape() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, "x")
    metrics.read("bad", "Bad.", lambda: 1 / 0)
    metrics.read("good", "Good.", lambda: 1)
    assert samples(registry) == {("freehold_x_good", (), 1.0)}
    assert b"# TYPE freehold_x_bad gauge" in prometheus_client.generate_latest(registry)


def test_names_beyond_the_bound_are_other() -> None:
    name = Bounded(2)
    assert [name(value) for value in ("a", "b", "c", "a", "d")] == ["a", "b", "other", "a", "other"]
